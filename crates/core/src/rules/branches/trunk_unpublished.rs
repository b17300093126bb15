//! IPAM330: a trunk whose branch slots the node does not publish.

use super::common;
use crate::{
    facts::{Facts, NodeFacts},
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

rule! {
    /// The node has a trunk and publishes no branch slots.
    ///
    /// ## What it means
    ///
    /// EC2 shows the trunk, but the node's status lacks `vpc.amazonaws.com/pod-eni`. The scheduler places no pod with a
    /// SecurityGroupPolicy there: the trunk takes an interface slot for nothing.
    ///
    /// ## Why it happens
    ///
    /// The resource controller made the trunk and failed afterwards: its role may not patch the node's status, or the
    /// type is not in its table. Its events say so for an hour.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get node NODE -o jsonpath='{.status.capacity}{.status.allocatable}'
    /// kubectl get events -A --field-selector involvedObject.name=NODE
    /// ```
    ///
    /// ## What to do
    ///
    /// Remove the cause that the events name, then change the node in some way (a label is enough): the controller
    /// looks again. Else replace the node.
    ///
    /// ## What it costs
    ///
    /// Nothing, or the replacement of the node.
    ///
    /// ## When it fires
    ///
    /// `ENABLE_POD_ENI` is on at the node, its trunk has been attached for more than `spec.thresholds.settleSeconds`
    /// (default 300), and allocatable `vpc.amazonaws.com/pod-eni` is absent or 0. Critical while pods find no branch
    /// slot, else a warning.
    pub TrunkUnpublished;
    code: "IPAM330",
    name: "trunk-unpublished",
    severity: Critical,
    condition: BranchCapacityAvailable,
    sources: [Nodes, AwsNode, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations<'_>) {
    let severity = if common::pods_without_slot(facts) > 0 { Severity::Critical } else { Severity::Warning };
    for node in facts.nodes.iter().filter(|node| is_silent(facts, policy, node)) {
        let Some(trunk) = node.signals.interface else { continue };
        let event = facts.pod_groups.failure("Node", "", node.node.name.as_str());
        let why =
            event.map_or_else(String::new, |event| format!("; the resource controller says {}", common::said(event)));
        let violation = sink::Violation {
            severity,
            message: format!("the trunk {} is attached, but no branch slot is published{why}", trunk.id),
            remediation: event.map_or_else(
                || {
                    "Change a label of the node, so that the resource controller looks again; else replace it."
                        .to_owned()
                },
                common::remedy,
            ),
            evidence: vec![
                sink::evidence("trunk", &trunk.id),
                sink::evidence("publishedSlots", text::known(node.node.branch_slots)),
            ],
        };
        found.node(node, violation);
    }
}

fn is_silent(facts: &Facts<'_>, policy: &AuditPolicy, node: &NodeFacts<'_>) -> bool {
    let settle = policy.for_node(node.node).settle_seconds;
    let attachment = node.signals.interface.and_then(|trunk| trunk.attachment.as_ref());
    let attached_at = attachment.and_then(|attachment| attachment.attached_at);
    let unpublished = node.signals.intended == Some(true) && node.signals.resource == Some(false);
    unpublished
        && attached_at.is_some_and(|at| common::older(facts, at, settle))
        && common::settled(facts, policy, node)
}

#[cfg(test)]
mod tests {
    use crate::{
        outcome::RuleAnswer,
        tests::{branches::*, fixtures::now},
    };

    #[test]
    fn a_trunk_that_nobody_can_use_is_told_with_the_controllers_words() {
        let mut snapshot = cluster("m5.large", 1);
        assert_eq!(answer(&snapshot, "IPAM330"), RuleAnswer::Passed);
        edit_node(&mut snapshot, 0, |node| node.branch_slots = None);
        event(&mut snapshot, "Node", "node-0", "NodeTrunkFailedInit", "The node failed initializing trunk interface");
        assert_eq!(
            messages(&snapshot, "IPAM330"),
            [
                "the trunk eni-trunk-0 is attached, but no branch slot is published; the resource controller says The node \
              failed initializing trunk interface (event NodeTrunkFailedInit)"
            ]
        );
        edit_interface(&mut snapshot, "eni-trunk-0", |trunk| {
            trunk.attachment.as_mut().unwrap().attached_at = Some(now());
        });
        assert_eq!(answer(&snapshot, "IPAM330"), RuleAnswer::Passed, "it has just been attached");
        snapshot.ec2.interfaces = missing();
        assert!(matches!(answer(&snapshot, "IPAM330"), RuleAnswer::Inconclusive { .. }));
    }
}
