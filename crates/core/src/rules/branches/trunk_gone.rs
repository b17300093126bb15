//! IPAM331: branch slots are published and EC2 has no trunk.

use jiff::SignedDuration;

use crate::{
    facts::{Facts, lookup::Set},
    finding::Severity,
    ids::InstanceId,
    policy::AuditPolicy,
    rules::{
        Violations,
        sink::{self, Place},
    },
    source::Source,
    text,
};

rule! {
    /// The node publishes branch slots, but EC2 shows no trunk.
    ///
    /// ## What it means
    ///
    /// The scheduler places pods with a SecurityGroupPolicy on the node, and no branch can be attached there: they stay
    /// in `ContainerCreating`. Pods that had a branch have lost their network.
    ///
    /// ## Why it happens
    ///
    /// Somebody detached or deleted the trunk. The resource controller looks for it only when it starts to manage the
    /// node.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get node NODE -o jsonpath='{.status.allocatable.vpc\.amazonaws\.com/pod-eni}'
    /// aws ec2 describe-network-interfaces --filters Name=attachment.instance-id,Values=INSTANCE \
    ///     --query 'NetworkInterfaces[].[NetworkInterfaceId,InterfaceType]'
    /// ```
    ///
    /// ## What to do
    ///
    /// Replace the node.
    ///
    /// ## What it costs
    ///
    /// The replacement of the node.
    ///
    /// ## When it fires
    ///
    /// Allocatable `vpc.amazonaws.com/pod-eni` is above zero and none of the instance's interfaces is a trunk, in two
    /// looks at least `spec.thresholds.suspicionSeconds` (default 60) apart. Instances that EC2 shows as ending are left
    /// out.
    pub TrunkGone;
    code: "IPAM331",
    name: "trunk-gone",
    severity: Critical,
    condition: BranchCapacityAvailable,
    sources: [Nodes, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations<'_>) {
    let Some(seen_at) = facts.as_of(Source::NetworkInterfaces) else { return };
    let instances = facts.snapshot.ec2.instances.value().into_iter().flatten();
    // An instance loses its interfaces before Kubernetes loses its node.
    let ended: Set<&InstanceId> = instances.filter(|row| row.is_gone()).map(|row| &row.id).collect();
    for node in &facts.nodes {
        let gone = node.signals.resource == Some(true) && node.signals.attached == Some(false);
        let leaves =
            node.node.state.deleted_at.is_some() || node.node.instance.as_ref().is_some_and(|id| ended.contains(id));
        if !gone || leaves || node.node.created_at.is_none_or(|at| at > seen_at) {
            continue;
        }
        let slots = node.node.branch_slots.unwrap_or_default();
        let branches = node.trunk.map_or(0, |trunk| trunk.branches);
        let violation = sink::Violation {
            severity: Severity::Critical,
            message: format!(
                "{} published, but EC2 shows no trunk; {} {} on it",
                text::count(slots, "branch slot"),
                text::count(branches, "pod"),
                text::verb(branches, "rests", "rest"),
            ),
            remediation: "Replace the node: nothing attaches a trunk again.".to_owned(),
            evidence: vec![sink::evidence("publishedSlots", slots), sink::evidence("branchPods", branches)],
        };
        let instance = node.node.instance.as_ref().map_or("", |instance| instance.as_str());
        let apart = SignedDuration::from_secs(policy.for_node(node.node).suspicion_seconds.into());
        found.suspicion(Place::node(node), instance, seen_at, apart, violation);
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        outcome::RuleAnswer,
        source::Reading,
        tests::{addresses::instance, branches::*, fixtures::now},
    };

    #[test]
    fn a_trunk_that_is_gone_twice_is_gone() {
        let mut snapshot = cluster("m5.large", 1);
        branch_pod(&mut snapshot, 0, "db-1");
        assert_eq!(answer(&snapshot, "IPAM331"), RuleAnswer::Passed);
        drop_interface(&mut snapshot, "eni-trunk-0");
        assert_eq!(answer(&snapshot, "IPAM331"), RuleAnswer::Inconclusive { missing: Vec::new(), suspects: 1 });
        assert_eq!(
            second_look(&snapshot, "IPAM331")[0].message,
            "9 branch slots published, but EC2 shows no trunk; 1 pod rests on it"
        );
        snapshot.ec2.interfaces = missing();
        assert!(matches!(answer(&snapshot, "IPAM331"), RuleAnswer::Inconclusive { suspects: 0, .. }));
    }

    #[test]
    fn an_instance_that_ends_takes_its_trunk_with_it() {
        let mut snapshot = cluster("m5.large", 1);
        drop_interface(&mut snapshot, "eni-trunk-0");
        snapshot.ec2.instances = Reading::fresh(vec![instance("i-0", "shutting-down", None)].into(), now());
        assert_eq!(answer(&snapshot, "IPAM331"), RuleAnswer::Passed);
        snapshot.ec2.instances = Reading::fresh(vec![instance("i-0", "running", None)].into(), now());
        assert_eq!(second_look(&snapshot, "IPAM331").len(), 1);
    }
}
