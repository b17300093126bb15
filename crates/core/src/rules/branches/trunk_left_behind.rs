//! IPAM332: a trunk on a node on which security groups for pods are off.

use crate::{
    facts::Facts,
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

rule! {
    /// The node has a trunk although security groups for pods are off there.
    ///
    /// ## What it means
    ///
    /// The trunk takes an interface slot and one address and serves no new pod. The pod addresses of one interface are
    /// lost until the node is replaced.
    ///
    /// ## Why it happens
    ///
    /// `ENABLE_POD_ENI` was on when the node started and was switched off later. Neither the CNI nor the resource
    /// controller removes a trunk.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl set env daemonset/aws-node -n kube-system --list | grep ENABLE_POD_ENI
    /// aws ec2 describe-network-interfaces --filters Name=attachment.instance-id,Values=INSTANCE \
    ///     Name=interface-type,Values=trunk
    /// ```
    ///
    /// ## What to do
    ///
    /// Replace the node when it suits.
    ///
    /// ## What it costs
    ///
    /// The replacement of the node.
    ///
    /// ## When it fires
    ///
    /// EC2 shows a trunk on the instance and the node's own aws-node pod runs without `ENABLE_POD_ENI`. A warning while
    /// pods on the node have branches, for the CNI no longer sets them up; else information.
    pub TrunkLeftBehind;
    code: "IPAM332",
    name: "trunk-left-behind",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [Nodes, Pods, AwsNode, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for node in facts.nodes.iter().filter(|node| node.signals.intended == Some(false)) {
        let Some(trunk) = node.signals.interface else { continue };
        let pods = node.trunk.map_or(0, |trunk| trunk.branches.saturating_sub(trunk.cooling));
        let violation = sink::Violation {
            severity: if pods > 0 { Severity::Warning } else { Severity::Info },
            message: format!(
                "the trunk {} is left although ENABLE_POD_ENI is off here; {} {} on it",
                trunk.id,
                text::count(pods, "pod"),
                text::verb(pods, "rests", "rest"),
            ),
            remediation: "Replace the node: a trunk goes only with it.".to_owned(),
            evidence: vec![sink::evidence("trunk", &trunk.id), sink::evidence("branchPods", pods)],
        };
        found.node(node, violation);
    }
}

#[cfg(test)]
mod tests {
    use crate::{finding::Severity, outcome::RuleAnswer, tests::branches::*};

    #[test]
    fn a_trunk_outlives_the_setting() {
        let mut snapshot = cluster("m5.large", 1);
        assert_eq!(answer(&snapshot, "IPAM332"), RuleAnswer::Passed);
        set_env(&mut snapshot, "ENABLE_POD_ENI", "false");
        let found = findings(&snapshot, "IPAM332");
        assert_eq!(found[0].severity, Severity::Info);
        assert_eq!(
            found[0].message,
            "the trunk eni-trunk-0 is left although ENABLE_POD_ENI is off here; 0 pods rest on it"
        );
        branch_pod(&mut snapshot, 0, "db-1");
        assert_eq!(findings(&snapshot, "IPAM332")[0].severity, Severity::Warning);
        snapshot.aws_node = missing();
        assert!(matches!(answer(&snapshot, "IPAM332"), RuleAnswer::Inconclusive { .. }));
    }
}
