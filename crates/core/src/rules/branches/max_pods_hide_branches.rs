//! IPAM326: branch slots that max-pods keeps out of reach.

use crate::{
    facts::Facts,
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

rule! {
    /// The node is at its max-pods while branch slots are free.
    ///
    /// ## What it means
    ///
    /// Pods with a branch take no address of the node's pool, yet count against max-pods. The branch slots that are
    /// left cannot be used.
    ///
    /// ## Why it happens
    ///
    /// The usual formulas for max-pods count addresses of the pool only. On some types a trunk carries more pods than
    /// max-pods admits at all.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get node NODE -o jsonpath='{.status.allocatable}'
    /// kubectl get pods -A --field-selector spec.nodeName=NODE --no-headers | wc -l
    /// ```
    ///
    /// ## What to do
    ///
    /// Raise max-pods of the node group by the branch slots that are used, if processor and memory allow more pods.
    ///
    /// ## What it costs
    ///
    /// More pods share the node.
    ///
    /// ## When it fires
    ///
    /// Unfinished pods on the node are as many as its max-pods, at least one of them has a branch, and slots are free.
    pub MaxPodsHideBranches;
    code: "IPAM326",
    name: "max-pods-hide-branches",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [Nodes, Pods],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for node in &facts.nodes {
        let (Some(trunk), Some(max_pods), Some(on_pool)) = (node.trunk, node.node.max_pods, node.pool_pods) else {
            continue;
        };
        let free = trunk.limit.unwrap_or_default().saturating_sub(trunk.branches);
        let with_branch = trunk.branches.saturating_sub(trunk.cooling);
        if free == 0 || with_branch == 0 || on_pool + node.other_pods < max_pods {
            continue;
        }
        let violation = sink::Violation {
            severity: Severity::Info,
            message: format!(
                "{} at max-pods, {} of them with a branch, while {} {} free",
                text::count(max_pods, "pod"),
                text::thousands(with_branch),
                text::count(free, "branch slot"),
                text::verb(free, "is", "are"),
            ),
            remediation: format!("Raise max-pods by {with_branch}, if processor and memory allow more pods."),
            evidence: vec![
                sink::evidence("maxPods", max_pods),
                sink::evidence("branches", trunk.branches),
                sink::evidence("freeSlots", free),
            ],
        };
        found.node(node, violation);
    }
}

#[cfg(test)]
mod tests {
    use crate::{outcome::RuleAnswer, tests::branches::*};

    #[test]
    fn a_full_node_with_free_slots_is_good_to_know() {
        let mut snapshot = cluster("m5.large", 1);
        branch_pod(&mut snapshot, 0, "db-1");
        assert_eq!(answer(&snapshot, "IPAM326"), RuleAnswer::Passed);
        edit_node(&mut snapshot, 0, |node| node.max_pods = Some(3));
        assert_eq!(
            messages(&snapshot, "IPAM326"),
            ["3 pods at max-pods, 1 of them with a branch, while 8 branch slots are free"]
        );
        snapshot.pods = missing();
        assert!(matches!(answer(&snapshot, "IPAM326"), RuleAnswer::Inconclusive { .. }));
    }
}
