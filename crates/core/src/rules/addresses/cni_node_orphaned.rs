//! IPAM420: a CNINode without a node, or one that does not go.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::cni_nodes;
use crate::{
    facts::Facts,
    finding::{Severity, Subject},
    ids::NodeName,
    policy::AuditPolicy,
    rules::{
        Violations,
        sink::{self, Place},
    },
    snapshot::{CniNode, PodPhase},
    text,
};

/// The resource controller gives its clean-up three minutes.
const STUCK: SignedDuration = SignedDuration::from_mins(10);

rule! {
    /// A CNINode outlives its node, or its deletion does not end.
    ///
    /// ## What it means
    ///
    /// A CNINode goes with its node: on the way the VPC resource controller removes the interfaces that the node left
    /// behind. Where that does not end, such interfaces keep their addresses.
    ///
    /// ## Why it happens
    ///
    /// The controller does not work or lacks a right in AWS, or the object lost the reference to its node.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get cninode CNINODE -o jsonpath='{.metadata.deletionTimestamp} {.metadata.finalizers} {.spec.tags}'
    /// kubectl get node CNINODE
    /// ```
    ///
    /// ## What to do
    ///
    /// Remove what IPAM410 lists for the instance of the CNINode, then the CNINode; the finding has the command.
    ///
    /// ## What it costs
    ///
    /// Nothing: the node is gone.
    ///
    /// ## When it fires
    ///
    /// A CNINode is in deletion for more than ten minutes: warning. There is no node of its name, no pod on such a
    /// node and no interface on its instance, in two looks at least `spec.thresholds.settleSeconds` (default 300) apart: info.
    pub CniNodeOrphaned;
    code: "IPAM420",
    name: "cni-node-orphaned",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [Nodes, Pods, CniNodes, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let Some(seen_at) = cni_nodes::seen_at(facts) else { return };
    let place = |row: &CniNode| Place { group: "CNINodes".into(), ..Place::audit(Subject::CniNode(row.name.clone())) };
    let stuck = |row: &CniNode| Some(seen_at.duration_since(row.deleted_at?)).filter(|length| *length >= STUCK);
    for row in cni_nodes::all(facts) {
        if let Some(length) = stuck(row) {
            found.at(place(row), in_deletion(row, length));
        }
    }
    let settle = cni_nodes::settle(facts);
    for row in orphans(facts) {
        let young = row.created_at.is_some_and(|created| seen_at.duration_since(created) < settle);
        if !young && row.deleted_at.is_none() {
            found.suspicion(place(row), "", seen_at, settle, without_node(row));
        }
    }
}

/// CNINodes of which nothing says that their node lives. An audit of some nodes does not see the others: their pods and
/// their instances' interfaces speak for them.
fn orphans<'a>(facts: &Facts<'a>) -> Vec<&'a CniNode> {
    let nodes = cni_nodes::nodes(facts);
    let mut orphans: Vec<&CniNode> =
        cni_nodes::all(facts).iter().filter(|row| !nodes.contains_key(&row.name)).collect();
    if orphans.is_empty() {
        return orphans;
    }
    let names: BTreeSet<&NodeName> = orphans.iter().map(|row| &row.name).collect();
    let pods = facts.snapshot.pods.value().into_iter().flatten().filter(|pod| pod.phase != PodPhase::Finished);
    let alive: BTreeSet<&NodeName> = pods.filter_map(|pod| names.get(pod.node()?).copied()).collect();
    let interfaces = facts.snapshot.ec2.interfaces.value().into_iter().flatten();
    let instances: BTreeSet<_> = interfaces.filter_map(|row| row.attachment.as_ref()?.instance.as_ref()).collect();
    let runs = |row: &CniNode| row.instance.as_ref().is_some_and(|instance| instances.contains(instance));
    orphans.retain(|row| !alive.contains(&row.name) && !runs(row));
    orphans
}

fn instance(row: &CniNode) -> &str {
    row.instance.as_ref().map_or("an unknown instance", |instance| instance.as_str())
}

fn in_deletion(row: &CniNode, length: SignedDuration) -> sink::Violation {
    sink::Violation {
        severity: Severity::Warning,
        message: format!(
            "CNINode {} is in deletion for {}: the clean-up of {} by the resource controller does not end",
            row.name,
            text::age(length),
            instance(row),
        ),
        remediation: format!(
            "Remove the interfaces that IPAM410 lists for {}, then let the CNINode go: kubectl patch cninode {} \
             --type=merge -p '{{\"metadata\":{{\"finalizers\":null}}}}'.",
            instance(row),
            row.name,
        ),
        evidence: vec![
            sink::evidence("instance", instance(row)),
            sink::evidence("inDeletionSeconds", length.as_secs()),
        ],
    }
}

fn without_node(row: &CniNode) -> sink::Violation {
    sink::Violation {
        severity: Severity::Info,
        message: format!("CNINode {} has no node, and {} has no interface", row.name, instance(row)),
        remediation: format!("kubectl delete cninode {}: its node is gone and does not come back.", row.name),
        evidence: vec![sink::evidence("instance", instance(row))],
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use crate::{
        finding::Severity,
        outcome::RuleAnswer,
        snapshot::{ClusterSnapshot, CniNode},
        source::{Reading, Source},
        tests::{
            addresses::{answer, cluster, of, once, pod_mut, proven},
            fixtures::now,
        },
    };

    const CODE: &str = "IPAM420";

    fn with(change: impl FnOnce(&mut CniNode)) -> ClusterSnapshot {
        let mut snapshot = cluster();
        let mut row = CniNode::new("node-gone".into(), false);
        row.instance = Some("i-gone".into());
        change(&mut row);
        snapshot.cni_nodes = Reading::fresh(vec![row], now());
        snapshot
    }

    #[test]
    fn a_deletion_that_does_not_end_is_a_warning() {
        let finding =
            of(&once(&with(|row| row.deleted_at = Some(now() - SignedDuration::from_hours(3)))), CODE).remove(0);
        assert_eq!(finding.severity, Severity::Warning);
        assert_eq!(
            finding.message,
            "CNINode node-gone is in deletion for 3 h: the clean-up of i-gone by the resource controller does not end"
        );
        let young = with(|row| row.deleted_at = Some(now() - SignedDuration::from_mins(2)));
        assert_eq!(of(&once(&young), CODE), []);
    }

    #[test]
    fn without_a_node_it_is_left_over_unless_something_of_the_node_lives() {
        let messages = proven(&with(|_| ()), CODE);
        assert_eq!(messages, ["CNINode node-gone has no node, and i-gone has no interface"]);
        assert_eq!(proven(&with(|row| row.instance = Some("i-0".into())), CODE), Vec::<String>::new());
        let mut other_nodes_pod = with(|_| ());
        pod_mut(&mut other_nodes_pod, "resizer-0-0").node = Some("node-gone".into());
        assert_eq!(proven(&other_nodes_pod, CODE), Vec::<String>::new());
    }

    #[test]
    fn without_cni_nodes_it_cannot_tell() {
        let answer = answer(&once(&cluster()), CODE);
        assert_eq!(answer, RuleAnswer::Inconclusive { missing: vec![Source::CniNodes], suspects: 0 });
    }
}
