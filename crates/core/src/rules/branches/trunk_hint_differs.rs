//! IPAM328: the node's annotation names an interface that is not its trunk.

use crate::{
    facts::Facts,
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink},
};

rule! {
    /// The node's trunk annotation names another interface than its trunk.
    ///
    /// ## What it means
    ///
    /// Nothing of AWS writes or reads the annotation; it is a hint of your own tools. Tools that trust it look at the
    /// wrong interface. This program does not: EC2 says which interface is the trunk.
    ///
    /// ## Why it happens
    ///
    /// The annotation was written once and the trunk was made anew, or the node was replaced under the same name.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get node NODE -o jsonpath='{.metadata.annotations.vpc\.k8s\.aws/trunk-eni-id}'
    /// aws ec2 describe-network-interfaces --filters Name=attachment.instance-id,Values=INSTANCE \
    ///     Name=interface-type,Values=trunk --query 'NetworkInterfaces[].NetworkInterfaceId'
    /// ```
    ///
    /// ## What to do
    ///
    /// Correct or remove the annotation where it is written.
    ///
    /// ## What it costs
    ///
    /// Nothing.
    ///
    /// ## When it fires
    ///
    /// The annotation of `spec.cni.trunkEniAnnotation` is there and EC2's trunk of the instance is another interface,
    /// or there is none. A missing annotation is never a finding, and the label `vpc.amazonaws.com/has-trunk-attached`
    /// is not looked at: it may say `false` on a node with a working trunk.
    pub TrunkHintDiffers;
    code: "IPAM328",
    name: "trunk-hint-differs",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [Nodes, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for node in facts.nodes.iter().filter(|node| node.signals.attached.is_some()) {
        let Some(hint) = &node.node.trunk_hints.annotation else { continue };
        let trunk = node.signals.interface.map(|trunk| &trunk.id);
        if trunk == Some(hint) {
            continue;
        }
        let truth = trunk.map_or_else(|| "EC2 shows no trunk".to_owned(), |trunk| format!("the trunk is {trunk}"));
        let violation = sink::Violation {
            severity: Severity::Info,
            message: format!("the trunk annotation names {hint}, but {truth}"),
            remediation: "Correct or remove the annotation; nothing of AWS reads it.".to_owned(),
            evidence: vec![sink::evidence("annotation", hint)],
        };
        found.node(node, violation);
    }
}

#[cfg(test)]
mod tests {
    use crate::{outcome::RuleAnswer, tests::branches::*};

    #[test]
    fn a_wrong_hint_is_good_to_know_and_a_missing_one_nothing() {
        let mut snapshot = cluster("m5.large", 1);
        edit_node(&mut snapshot, 0, |node| node.trunk_hints.legacy_label = Some("false".into()));
        assert_eq!(answer(&snapshot, "IPAM328"), RuleAnswer::Passed);
        edit_node(&mut snapshot, 0, |node| node.trunk_hints.annotation = Some("eni-trunk-0".into()));
        assert_eq!(answer(&snapshot, "IPAM328"), RuleAnswer::Passed);
        edit_node(&mut snapshot, 0, |node| node.trunk_hints.annotation = Some("eni-old".into()));
        assert_eq!(
            messages(&snapshot, "IPAM328"),
            ["the trunk annotation names eni-old, but the trunk is eni-trunk-0"]
        );
        snapshot.ec2.interfaces = missing();
        assert!(matches!(answer(&snapshot, "IPAM328"), RuleAnswer::Inconclusive { .. }));
    }
}
