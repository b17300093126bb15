//! IPAM306: an instance type that cannot have a trunk.

use super::common;
use crate::{
    facts::{Facts, NodeFacts},
    finding::Severity,
    limits::{Limits, Trunking},
    policy::AuditPolicy,
    rules::{Violations, sink},
};

rule! {
    /// The node's instance type has no trunk, while security groups for pods are on.
    ///
    /// ## What it means
    ///
    /// No pod that a SecurityGroupPolicy selects can run on the node: it has no branch slots. That is fine as long as
    /// other nodes have some. On types that are newer than the controller's table it is also waste, because the CNI
    /// keeps an interface slot free for a trunk that the controller refuses to make.
    ///
    /// ## Why it happens
    ///
    /// The t3, t3a and t4g families and all Xen types have no trunk. CNI versions before 1.20.4 keep the slot free on
    /// these types too.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get nodes -L node.kubernetes.io/instance-type \
    ///     -o custom-columns='NODE:.metadata.name,SLOTS:.status.allocatable.vpc\.amazonaws\.com/pod-eni'
    /// kubectl get events -A --field-selector reason=Unsupported
    /// ```
    ///
    /// ## What to do
    ///
    /// Nothing if pods with a policy have other nodes. Else keep the type out of the node group or the NodePool's
    /// requirements. Upgrade a CNI older than 1.20.4.
    ///
    /// ## What it costs
    ///
    /// Another instance type may cost more.
    ///
    /// ## When it fires
    ///
    /// `ENABLE_POD_ENI` is on at the node, and its type cannot have a trunk (information), or is in no table and the
    /// node has neither trunk nor branch slots after `spec.thresholds.settleSeconds` (warning). A warning too where the
    /// CNI keeps a slot free for nothing and the remaining addresses are fewer than the node's max-pods admits.
    pub TypeWithoutTrunk;
    code: "IPAM306",
    name: "type-without-trunk",
    severity: Warning,
    condition: BranchCapacityAvailable,
    sources: [Nodes, AwsNode, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations<'_>) {
    for node in facts.nodes.iter().filter(|node| node.signals.intended == Some(true)) {
        let trunking = node.limits.as_ref().map_or(Trunking::Unknown, Limits::trunking);
        if trunking == Trunking::Unsupported || trunking == Trunking::Unknown && refused(facts, policy, node) {
            found.at(common::type_place(node), violation(node, trunking));
        }
    }
}

/// A type that only this program's table lacks shows its trunk.
fn refused(facts: &Facts<'_>, policy: &AuditPolicy, node: &NodeFacts<'_>) -> bool {
    let signals = &node.signals;
    let named = node.node.instance_type.is_some();
    named && signals.attached == Some(false) && signals.resource == Some(false) && common::settled(facts, policy, node)
}

fn violation(node: &NodeFacts<'_>, trunking: Trunking) -> sink::Violation {
    let kind = common::type_name(node);
    let known = trunking == Trunking::Unsupported;
    let wasted = !known || node.cni.as_ref().is_some_and(|cni| cni.wastes_slot_without_trunk());
    // A slot that the node can do without costs nothing.
    let hurts = !known || wasted && common::short_of_addresses(node).is_some();
    let state = if known { "cannot have a trunk" } else { "is in no table of types and got no trunk" };
    let waste = if wasted { ", yet the CNI keeps an interface slot free for one" } else { "" };
    let remediation = match (known, wasted) {
        (true, false) => "Nothing, as long as pods with a policy have other nodes.".to_owned(),
        (true, true) => "Upgrade the CNI to 1.20.4 or newer, which keeps no slot free on such types.".to_owned(),
        (false, _) => {
            format!("Keep {kind} out of node groups that run pods with a policy until the controller knows it.")
        }
    };
    sink::Violation {
        severity: if hurts { Severity::Warning } else { Severity::Info },
        message: format!("{kind} {state}: no pod with a SecurityGroupPolicy can run here{waste}"),
        remediation,
        evidence: vec![sink::evidence("instanceType", kind)],
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::{finding::Severity, outcome::RuleAnswer, tests::branches::*};

    #[test]
    fn a_type_without_trunk_is_good_to_know() {
        let mut snapshot = cluster("t3.medium", 1);
        drop_interface(&mut snapshot, "eni-trunk-0");
        let found = findings(&snapshot, "IPAM306");
        assert_eq!(found[0].message, "t3.medium cannot have a trunk: no pod with a SecurityGroupPolicy can run here");
        assert_eq!((found[0].severity, &*found[0].group), (Severity::Info, "t3.medium"));
    }

    #[test]
    fn a_slot_kept_for_nothing_matters_where_addresses_are_short() {
        let mut snapshot = cluster("t3.medium", 1);
        drop_interface(&mut snapshot, "eni-trunk-0");
        edit_aws_node(&mut snapshot, |aws_node| {
            let mut env = aws_node.template.as_ref().clone();
            env.image = "registry/amazon-k8s-cni:v1.18.3".into();
            aws_node.template = Arc::new(env);
            aws_node.pods.iter_mut().for_each(|pod| pod.env = Arc::clone(&aws_node.template));
        });
        let short = findings(&snapshot, "IPAM306");
        assert!(short[0].message.ends_with("yet the CNI keeps an interface slot free for one"), "{}", short[0].message);
        assert_eq!(short[0].severity, Severity::Warning);
        edit_node(&mut snapshot, 0, |node| node.max_pods = Some(8));
        assert_eq!(findings(&snapshot, "IPAM306")[0].severity, Severity::Info);
    }

    #[test]
    fn an_unknown_type_loses_a_slot_but_not_when_it_has_its_trunk() {
        let mut snapshot = cluster("x9.imaginary", 1);
        assert_eq!(answer(&snapshot, "IPAM306"), RuleAnswer::Passed, "it has a trunk: only the table is old");
        drop_interface(&mut snapshot, "eni-trunk-0");
        let found = findings(&snapshot, "IPAM306");
        assert_eq!(found[0].severity, Severity::Warning);
        assert!(found[0].message.contains("the CNI keeps an interface slot free"), "{}", found[0].message);
    }

    #[test]
    fn without_interfaces_it_cannot_tell() {
        let mut snapshot = cluster("t3.medium", 1);
        snapshot.ec2.interfaces = missing();
        assert!(matches!(answer(&snapshot, "IPAM306"), RuleAnswer::Inconclusive { .. }));
    }
}
