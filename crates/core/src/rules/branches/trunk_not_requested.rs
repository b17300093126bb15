//! IPAM305: the CNI wants a trunk and did not ask for it.

use super::common;
use crate::{
    facts::{Facts, NodeFacts, interface_limit},
    finding::Severity,
    limits::Trunking,
    policy::AuditPolicy,
    rules::{Violations, sink},
    source::Source,
    text,
};

rule! {
    /// Security groups for pods are on, but the node has not asked for its trunk.
    ///
    /// ## What it means
    ///
    /// The node's own aws-node pod has `ENABLE_POD_ENI=true`, and its CNINode lacks the feature
    /// `SecurityGroupsForPods`: the resource controller does not know that a trunk is wanted. The node will never have
    /// a branch slot.
    ///
    /// ## Why it happens
    ///
    /// The CNI asks only while an interface slot is free. A node that was full when the feature was switched on logs a
    /// line and goes on without. With a free slot, the CNI may not change the CNINode, or the object does not exist.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get cninode NODE -o jsonpath='{.spec.features}'
    /// aws ec2 describe-network-interfaces --filters Name=attachment.instance-id,Values=INSTANCE \
    ///     --query 'length(NetworkInterfaces)'
    /// kubectl auth can-i patch cninodes.vpcresources.k8s.aws --as system:serviceaccount:kube-system:aws-node
    /// ```
    ///
    /// ## What to do
    ///
    /// Replace a node that is full: a new one keeps a slot free from its start. With a free slot, give aws-node the
    /// right to patch CNINodes (its own manifest has it) and restart it.
    ///
    /// ## What it costs
    ///
    /// The replacement of the nodes that are older than the setting.
    ///
    /// ## When it fires
    ///
    /// As above, on a type that can have a trunk, with neither trunk nor branch slots, CNI 1.15.0 or newer, and node
    /// and CNI older than `spec.thresholds.settleSeconds` (default 300). Critical while pods find no branch slot, else
    /// a warning.
    pub TrunkNotRequested;
    code: "IPAM305",
    name: "trunk-not-requested",
    severity: Critical,
    condition: BranchCapacityAvailable,
    sources: [Nodes, AwsNode, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations<'_>) {
    if facts.pod_groups.enabled != Some(true) {
        return;
    }
    if facts.is_missing(Source::CniNodes) {
        return found.lacks(Source::CniNodes);
    }
    let severity = if common::pods_without_slot(facts) > 0 { Severity::Critical } else { Severity::Warning };
    for node in facts.nodes.iter().filter(|node| did_not_ask(node) && common::settled(facts, policy, node)) {
        found.node(node, violation(node, severity));
    }
}

fn did_not_ask(node: &NodeFacts<'_>) -> bool {
    let signals = &node.signals;
    let able = node.limits.as_ref().is_some_and(|limits| matches!(limits.trunking(), Trunking::Supported { .. }));
    let knows = node.cni.as_ref().is_some_and(|cni| cni.asks_by_cni_node());
    let wanted = signals.intended == Some(true) && signals.requested == Some(false);
    able && knows && wanted && signals.attached == Some(false) && signals.resource == Some(false)
}

fn violation(node: &NodeFacts<'_>, severity: Severity) -> sink::Violation {
    let attached = common::number(node.interfaces.as_ref().map_or(0, Vec::len));
    let of_type = node.limits.as_ref().and_then(interface_limit);
    let limit = of_type.map(|of_type| node.cni.as_ref().map_or(of_type, |cni| cni.interface_cap(of_type)));
    let (state, remediation) = match limit {
        Some(limit) if attached >= limit => (
            format!("its {} were all taken when the feature came", text::count(limit, "interface slot")),
            "Replace the node: a new one keeps a slot free for its trunk.".to_owned(),
        ),
        _ if node.signals.cni_node.is_none() => (
            "it has no CNINode to ask with".to_owned(),
            "Check the node's events for CNINodeCreationFailed, then restart its aws-node pod.".to_owned(),
        ),
        _ => (
            format!("{attached} of {} interface slots are taken, so one is free", text::known(limit)),
            "Let aws-node patch CNINodes (its ClusterRole), then restart the node's aws-node pod.".to_owned(),
        ),
    };
    sink::Violation {
        severity,
        message: format!("ENABLE_POD_ENI is on, but no trunk was asked for; {state}"),
        remediation,
        evidence: vec![sink::evidence("interfaces", attached), sink::evidence("interfaceLimit", text::known(limit))],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        outcome::RuleAnswer,
        snapshot::ClusterSnapshot,
        tests::{branches::*, fixtures::interface},
    };

    fn silent_node() -> ClusterSnapshot {
        let mut snapshot = cluster("m5.large", 2);
        drop_interface(&mut snapshot, "eni-trunk-0");
        edit_node(&mut snapshot, 0, |node| node.branch_slots = None);
        edit(&mut snapshot.cni_nodes)[0].wants_trunk = false;
        snapshot
    }

    #[test]
    fn a_node_that_was_full_never_asked() {
        let mut snapshot = silent_node();
        for index in 1..3 {
            let mut more = interface(&format!("eni-0-{index}"), "subnet-1");
            more.attachment.clone_from(&snapshot.ec2.interfaces.value().unwrap()[0].attachment);
            more.attachment.as_mut().unwrap().device_index = index;
            edit(&mut snapshot.ec2.interfaces).push(more);
        }
        assert_eq!(
            messages(&snapshot, "IPAM305"),
            [
                "ENABLE_POD_ENI is on, but no trunk was asked for; its 3 interface slots were all taken when the feature came"
            ]
        );
    }

    #[test]
    fn a_free_slot_has_another_cause() {
        let found = findings(&silent_node(), "IPAM305");
        assert!(found[0].message.ends_with("1 of 3 interface slots are taken, so one is free"));
        assert!(found[0].remediation.contains("ClusterRole"));
    }

    #[test]
    fn a_type_that_cannot_have_one_and_an_old_cni_are_no_such_case() {
        let mut snapshot = silent_node();
        edit_node(&mut snapshot, 0, |node| node.instance_type = Some("t3.medium".into()));
        assert_eq!(answer(&snapshot, "IPAM305"), RuleAnswer::Passed);
        let mut snapshot = silent_node();
        snapshot.cni_nodes = missing();
        assert!(matches!(answer(&snapshot, "IPAM305"), RuleAnswer::Inconclusive { .. }));
    }
}
