//! IPAM421: a CNINode that stands for another instance than its node.

use super::cni_nodes;
use crate::{
    facts::Facts,
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{
        Violations,
        sink::{self, Place},
    },
};

rule! {
    /// A CNINode names another instance than its node.
    ///
    /// ## What it means
    ///
    /// When the node ends, the resource controller removes the interfaces of the instance that the CNINode names. That
    /// is another one: what this node leaves behind stays, with its addresses.
    ///
    /// ## Why it happens
    ///
    /// A node of the same name was replaced faster than its CNINode went away: node names that come from addresses are
    /// used again.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get cninode NODE -o jsonpath='{.spec.tags}'
    /// kubectl get node NODE -o jsonpath='{.spec.providerID}'
    /// ```
    ///
    /// ## What to do
    ///
    /// Delete the CNINode: the resource controller makes it anew for the node that is there.
    ///
    /// ## What it costs
    ///
    /// Nothing for pods that run. Until it is there again the node gets no trunk.
    ///
    /// ## When it fires
    ///
    /// The instance of the CNINode's tags is not that of the node's provider id, in two looks at least
    /// `spec.thresholds.settleSeconds` (default 300) apart.
    pub CniNodeStale;
    code: "IPAM421",
    name: "cni-node-stale",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [Nodes, CniNodes],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let Some(seen_at) = cni_nodes::seen_at(facts) else { return };
    let nodes = cni_nodes::nodes(facts);
    for row in cni_nodes::all(facts).iter().filter(|row| row.deleted_at.is_none()) {
        let real = nodes.get(&row.name).and_then(|node| node.instance.as_ref());
        let Some((named, real)) = row.instance.as_ref().zip(real).filter(|(named, real)| named != real) else {
            continue;
        };
        let place = Place { group: "CNINodes".into(), ..Place::audit(Subject::CniNode(row.name.clone())) };
        let violation = sink::Violation {
            severity: Severity::Warning,
            message: format!("CNINode {} names instance {named}; the node is {real}", row.name),
            remediation: format!(
                "kubectl delete cninode {0}: the resource controller makes it anew for {real}.",
                row.name
            ),
            evidence: vec![sink::evidence("named", named), sink::evidence("instance", real)],
        };
        found.suspicion(place, named.as_str(), seen_at, cni_nodes::settle(facts), violation);
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        outcome::RuleAnswer,
        snapshot::CniNode,
        source::{Reading, Source},
        tests::{
            addresses::{answer, cluster, of, once, proven},
            fixtures::now,
        },
    };

    const CODE: &str = "IPAM421";

    #[test]
    fn another_instance_is_named() {
        for (instance, messages) in
            [("i-old", vec!["CNINode node-0 names instance i-old; the node is i-0"]), ("i-0", vec![])]
        {
            let mut snapshot = cluster();
            let mut row = CniNode::new("node-0".into(), false);
            row.instance = Some(instance.into());
            snapshot.cni_nodes = Reading::fresh(vec![row], now());
            assert_eq!(proven(&snapshot, CODE), messages);
            assert_eq!(of(&once(&snapshot), CODE), []);
        }
    }

    #[test]
    fn without_cni_nodes_it_cannot_tell() {
        let answer = answer(&once(&cluster()), CODE);
        assert_eq!(answer, RuleAnswer::Inconclusive { missing: vec![Source::CniNodes], suspects: 0 });
    }
}
