//! IPAM304: the node asks for a trunk and does not get one.

use std::sync::Arc;

use super::common;
use crate::{
    facts::{Facts, NodeFacts, interface_limit, sgp},
    finding::Severity,
    limits::{Limits, Trunking},
    policy::AuditPolicy,
    rules::{
        Violations,
        sink::{self, Place},
    },
    source::Source,
    text,
};

rule! {
    /// The node asks for a trunk and has none.
    ///
    /// ## What it means
    ///
    /// The CNI asked the VPC resource controller for a trunk interface, minutes ago, and EC2 shows none. The node
    /// publishes no branch slots, so no pod that a SecurityGroupPolicy selects can be scheduled to it, and the CNI
    /// keeps an interface slot free all the while.
    ///
    /// ## Why it happens
    ///
    /// The cluster's IAM role lacks the policy `AmazonEKSVPCResourceController`, the subnet has no free address, the
    /// security groups do not exist, or every interface slot of the instance is taken. The controller runs in the
    /// control plane and says why in events only, which are kept for an hour.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get cninode NODE -o jsonpath='{.spec.features}'
    /// kubectl get events -A --field-selector involvedObject.name=NODE | grep -i trunk
    /// aws ec2 describe-network-interfaces --filters Name=attachment.instance-id,Values=INSTANCE \
    ///     Name=interface-type,Values=trunk
    /// ```
    ///
    /// ## What to do
    ///
    /// Remove the cause that the finding names. The controller tries again with the next change of the node, at the
    /// latest after 30 minutes. A node whose slots are all taken has to be replaced.
    ///
    /// ## What it costs
    ///
    /// Nothing but the change itself.
    ///
    /// ## When it fires
    ///
    /// The node's CNINode has the feature `SecurityGroupsForPods`, EC2 shows no trunk, the node publishes no branch
    /// slot, its type can have a trunk, and node, CNI and CNINode are older than `spec.thresholds.settleSeconds`
    /// (default 300). Critical while pods find no branch slot, else a warning.
    pub TrunkMissing;
    code: "IPAM304",
    name: "trunk-missing",
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
    let pods = common::pods_without_slot(facts);
    for node in facts.nodes.iter().filter(|node| is_missing(node) && common::settled(facts, policy, node)) {
        let Cause { group, state, remedy } = cause(facts, node);
        let violation = sink::Violation {
            severity: if pods > 0 { Severity::Critical } else { Severity::Warning },
            message: format!("no trunk after its CNINode asked for one; {state}{}", needed_by(pods)),
            remediation: remedy,
            evidence: vec![
                sink::evidence("interfaces", attached(node)),
                sink::evidence("interfaceLimit", text::known(node.limits.as_ref().and_then(interface_limit))),
                sink::evidence("podsWithoutSlot", pods),
            ],
        };
        found.at(Place { group: group.unwrap_or_else(|| Place::node(node).group), ..Place::node(node) }, violation);
    }
}

/// Requested, by whichever sign the CNI's version uses, on a type that can have one.
fn is_missing(node: &NodeFacts<'_>) -> bool {
    let signals = &node.signals;
    let by_label = node.cni.as_ref().is_some_and(|cni| !cni.asks_by_cni_node());
    let requested = signals.requested == Some(true) || by_label && node.node.trunk_hints.legacy_label.is_some();
    let able = node
        .limits
        .as_ref()
        .map(Limits::trunking)
        .is_some_and(|trunking| matches!(trunking, Trunking::Supported { .. }));
    requested
        && able
        && signals.intended == Some(true)
        && signals.attached == Some(false)
        && signals.resource == Some(false)
}

struct Cause {
    group: Option<Arc<str>>,
    state: String,
    remedy: String,
}

/// The controller's own words first; else the state of the instance that explains it.
fn cause(facts: &Facts<'_>, node: &NodeFacts<'_>) -> Cause {
    if let Some(event) = facts.pod_groups.failure("Node", "", node.node.name.as_str()) {
        // One answer of EC2 on all nodes is one thing to fix.
        let group = sgp::error_code(&event.message).map(Arc::from);
        let state = format!("the resource controller says {}", common::said(event));
        return Cause { group, state, remedy: common::remedy(event) };
    }
    let limit = node.limits.as_ref().and_then(interface_limit);
    if let Some(limit) = limit.filter(|limit| attached(node) >= *limit) {
        return Cause {
            group: None,
            state: format!("all {} are taken", text::count(limit, "interface slot")),
            remedy: "Replace the node: the trunk needs a free interface slot, which only a new node has.".to_owned(),
        };
    }
    Cause {
        group: None,
        state: "no event of the last hour says why".to_owned(),
        remedy:
            "Check that the cluster's IAM role has the policy AmazonEKSVPCResourceController, then replace the node."
                .to_owned(),
    }
}

fn attached(node: &NodeFacts<'_>) -> u32 {
    common::number(node.interfaces.as_ref().map_or(0, Vec::len))
}

/// Who would need it now.
fn needed_by(pods: u32) -> String {
    match pods {
        0 => String::new(),
        _ => format!(", and {} {} no branch slot", text::count(pods, "pod"), text::verb(pods, "finds", "find")),
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        outcome::RuleAnswer,
        snapshot::ClusterSnapshot,
        source::Source,
        tests::{branches::*, fixtures::now},
    };

    fn without_trunk() -> ClusterSnapshot {
        let mut snapshot = cluster("m5.large", 2);
        drop_interface(&mut snapshot, "eni-trunk-0");
        edit_node(&mut snapshot, 0, |node| node.branch_slots = None);
        snapshot
    }

    #[test]
    fn the_controllers_event_is_the_cause() {
        let mut snapshot = without_trunk();
        let text = "Failed to create trunk interface: error UnauthorizedOperation: You are not authorized";
        event(&mut snapshot, "Node", "node-0", "TrunkENICreationFailed", text);
        let found = findings(&snapshot, "IPAM304");
        assert_eq!(
            found[0].message,
            "no trunk after its CNINode asked for one; the resource controller says UnauthorizedOperation (event \
             TrunkENICreationFailed)"
        );
        assert_eq!((found[0].severity, &*found[0].group), (Severity::Warning, "UnauthorizedOperation"));
        assert!(found[0].remediation.contains("AmazonEKSVPCResourceController"));
    }

    #[test]
    fn it_is_critical_while_a_pod_finds_no_slot() {
        let mut snapshot = without_trunk();
        branch_pod(&mut snapshot, 0, "db-1");
        edit_pod(&mut snapshot, "db-1", |pod| (pod.node, pod.address) = (None, None));
        edit_traits(&mut snapshot, "db-1", |traits| traits.lacks_branch_slot = true);
        let found = findings(&snapshot, "IPAM304");
        assert_eq!(found[0].severity, Severity::Critical);
        assert!(found[0].message.ends_with("no event of the last hour says why, and 1 pod finds no branch slot"));
    }

    #[test]
    fn a_young_node_gets_time() {
        let mut snapshot = without_trunk();
        edit_node(&mut snapshot, 0, |node| node.created_at = Some(now()));
        assert_eq!(answer(&snapshot, "IPAM304"), RuleAnswer::Passed);
    }

    #[test]
    fn without_cni_nodes_nobody_knows_who_asked() {
        let mut snapshot = without_trunk();
        snapshot.cni_nodes = missing();
        let lacks = RuleAnswer::Inconclusive { missing: vec![Source::CniNodes], suspects: 0 };
        assert_eq!(answer(&snapshot, "IPAM304"), lacks);
    }
}
