//! IPAM422: a node for which the resource controller made no CNINode.

use std::collections::BTreeSet;

use super::cni_nodes;
use crate::{
    facts::Facts,
    finding::{Home, Severity},
    ids::NodeName,
    policy::AuditPolicy,
    rules::{
        Violations,
        sink::{self, Place},
    },
    text,
};

rule! {
    /// A node has no CNINode, although other nodes have one.
    ///
    /// ## What it means
    ///
    /// The resource controller in the control plane does not look after the node: it gets no trunk, and what it leaves
    /// behind when it ends is not removed at once.
    ///
    /// ## Why it happens
    ///
    /// The controller could not make the object, or was not told of the node: it says so in an event of the node if it
    /// can.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get cninodes
    /// kubectl get events -A --field-selector involvedObject.kind=Node | grep -i cninode
    /// ```
    ///
    /// ## What to do
    ///
    /// If the node needs a trunk, replace it. If every new node lacks the object, ask AWS support: the controller is
    /// part of the control plane.
    ///
    /// ## What it costs
    ///
    /// The pods of the node are started elsewhere.
    ///
    /// ## When it fires
    ///
    /// A Linux node on EC2 that is older than `spec.thresholds.settleSeconds` (default 300) has no CNINode in two looks as far
    /// apart, while other nodes have one.
    pub CniNodeMissing;
    code: "IPAM422",
    name: "cni-node-missing",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [Nodes, CniNodes],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let Some(seen_at) = cni_nodes::seen_at(facts) else { return };
    let settle = cni_nodes::settle(facts);
    let known: BTreeSet<&NodeName> = cni_nodes::all(facts).iter().map(|row| &row.name).collect();
    // Where there are none at all the controller is not in use: nothing is missing.
    if known.is_empty() {
        return;
    }
    for node in facts.nodes.iter().filter(|node| !known.contains(&node.node.name)) {
        let age = node.node.created_at.map(|created| seen_at.duration_since(created));
        if age.is_some_and(|age| age < settle) {
            continue;
        }
        // In the audit's report: one cause, and not the node's fault.
        let place = Place { home: Home::Audit, group: "CNINodes".into(), ..Place::node(node) };
        let violation = sink::Violation {
            severity: Severity::Info,
            message: format!(
                "no CNINode, {} other {} one: the resource controller does not look after this node",
                text::thousands(u32::try_from(known.len()).unwrap_or(u32::MAX)),
                if known.len() == 1 { "node has" } else { "nodes have" },
            ),
            remediation: format!("If {} needs a trunk, replace it: a new node is announced anew.", node.node.name),
            evidence: vec![sink::evidence("cniNodes", known.len())],
        };
        found.suspicion(place, "", seen_at, settle, violation);
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        outcome::RuleAnswer,
        snapshot::CniNode,
        source::{Reading, Source},
        tests::{
            addresses::{answer, cluster, once, proven},
            fixtures::now,
        },
    };

    const CODE: &str = "IPAM422";

    #[test]
    fn a_node_without_one_is_worth_a_word_where_others_have_one() {
        let mut snapshot = cluster();
        snapshot.cni_nodes = Reading::fresh(vec![CniNode::new("node-0".into(), false)], now());
        let messages = proven(&snapshot, CODE);
        assert_eq!(
            messages,
            ["no CNINode, 1 other node has one: the resource controller does not look after this node"]
        );
        snapshot.cni_nodes = Reading::fresh(Vec::new(), now());
        assert_eq!(proven(&snapshot, CODE), Vec::<String>::new());
    }

    #[test]
    fn without_cni_nodes_it_cannot_tell() {
        let answer = answer(&once(&cluster()), CODE);
        assert_eq!(answer, RuleAnswer::Inconclusive { missing: vec![Source::CniNodes], suspects: 0 });
    }
}
