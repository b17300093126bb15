//! IPAM301: a trunk with few branch slots left.

use crate::{
    facts::Facts,
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

rule! {
    /// The node's trunk has few branch slots left.
    ///
    /// ## What it means
    ///
    /// Each pod of security groups for pods takes one branch of the node's trunk interface, and each instance type
    /// carries a fixed number of them. At the limit further pods wait without any event: a freed branch cools down
    /// before it is given again.
    ///
    /// ## Why it happens
    ///
    /// Many pods that a SecurityGroupPolicy selects on one node, or much churn of them. The limit differs by type, from
    /// 1 to 120; 50 is the limit of a handful of types only.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get node NODE -o jsonpath='{.status.allocatable.vpc\.amazonaws\.com/pod-eni}'
    /// aws ec2 describe-network-interfaces --filters Name=interface-type,Values=branch \
    ///     Name=tag:vpcresources.k8s.aws/trunk-eni-id,Values=TRUNK --query 'length(NetworkInterfaces)'
    /// ```
    ///
    /// ## What to do
    ///
    /// Spread the pods, use a type that carries more branches, or narrow the SecurityGroupPolicy's selector. Branches
    /// of deleted pods come back after the cool-down (`branch-eni-cooldown`, 60 s by default, at least 30 s).
    ///
    /// ## What it costs
    ///
    /// More or larger nodes, or nothing where a selector can be narrowed.
    ///
    /// ## When it fires
    ///
    /// At least `spec.thresholds.branchUsedPercent` (default 85) of the limit are in use: warning; all of them:
    /// critical. In use are the branches that EC2 shows on the trunk, those without a pod included, and those that pods
    /// wait for. The limit is the node's allocatable `vpc.amazonaws.com/pod-eni`, else the type's.
    pub BranchLimitNear;
    code: "IPAM301",
    name: "branch-limit-near",
    severity: Critical,
    condition: BranchCapacityAvailable,
    sources: [Nodes, Pods],
    check: check,
}

fn check(facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations<'_>) {
    for node in &facts.nodes {
        let Some((trunk, limit)) = node.trunk.and_then(|trunk| Some((trunk, trunk.limit?))) else {
            continue;
        };
        let share = u64::from(trunk.branches) * 100;
        if share < u64::from(limit) * u64::from(policy.for_node(node.node).branch_used_percent) {
            continue;
        }
        let cooling = match trunk.cooling {
            0 => String::new(),
            some => format!(", {} of them by no pod any more", text::thousands(some)),
        };
        let kind = node.node.instance_type.as_ref().map_or_else(|| "type".to_owned(), ToString::to_string);
        let violation = sink::Violation {
            severity: if trunk.branches >= limit { Severity::Critical } else { Severity::Warning },
            message: format!(
                "{} of {} in use on the trunk of {}{cooling}; the limit is that of {kind}",
                text::thousands(trunk.branches),
                text::count(limit, "branch slot"),
                node.node.name,
            ),
            remediation: "Spread these pods over more nodes or use an instance type that carries more branches; \
                          freed branches come back after their cool-down."
                .to_owned(),
            evidence: vec![
                sink::evidence("branches", trunk.branches),
                sink::evidence("withoutPod", trunk.cooling),
                sink::evidence("limit", limit),
            ],
        };
        found.node(node, violation);
    }
}

#[cfg(test)]
mod tests {
    use crate::{finding::Severity, outcome::RuleAnswer, tests::branches::*};

    #[test]
    fn branches_that_cool_down_take_slots() {
        let mut snapshot = cluster("m5.large", 1);
        for pod in 0..9 {
            branch_pod(&mut snapshot, 0, &format!("db-{pod}"));
        }
        edit(&mut snapshot.pods).retain(|pod| !["db-0", "db-1"].iter().any(|name| pod.name() == *name));
        let found = findings(&snapshot, "IPAM301");
        assert_eq!(found[0].severity, Severity::Critical);
        assert_eq!(
            found[0].message,
            "9 of 9 branch slots in use on the trunk of node-0, 2 of them by no pod any more; the limit is that of m5.large"
        );
        drop_interface(&mut snapshot, "eni-branch-db-0");
        assert_eq!(findings(&snapshot, "IPAM301")[0].severity, Severity::Warning);
        drop_interface(&mut snapshot, "eni-branch-db-1");
        assert_eq!(answer(&snapshot, "IPAM301"), RuleAnswer::Passed);
        snapshot.pods = missing();
        assert!(matches!(answer(&snapshot, "IPAM301"), RuleAnswer::Inconclusive { .. }));
    }
}
