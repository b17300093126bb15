//! IPAM310: pods for which no node has a branch slot.

use super::common;
use crate::{
    facts::{Facts, sgp},
    finding::Severity,
    policy::AuditPolicy,
    rules::{
        Violations,
        sink::{self, Place},
    },
    text,
};

rule! {
    /// The pod is Pending because no node has a branch slot left for it.
    ///
    /// ## What it means
    ///
    /// The scheduler answers `Insufficient vpc.amazonaws.com/pod-eni`. The pod starts only when another pod with a
    /// branch goes, or a node with free slots comes.
    ///
    /// ## Why it happens
    ///
    /// A node carries as many pods with a branch as its type allows: 4 on most `medium` sizes, 9 on `large`, 18 on
    /// `xlarge`; more prefixes do not raise that. Or the nodes have no trunk at all (IPAM304, IPAM305, IPAM306).
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get events -A --field-selector reason=FailedScheduling | grep pod-eni
    /// kubectl get nodes -o custom-columns='NODE:.metadata.name,SLOTS:.status.allocatable.vpc\.amazonaws\.com/pod-eni'
    /// ```
    ///
    /// ## What to do
    ///
    /// Add nodes of a type with more branch slots, or narrow the policy's selector to the pods that need it.
    ///
    /// ## What it costs
    ///
    /// The nodes; nothing where a selector can be narrowed.
    ///
    /// ## When it fires
    ///
    /// A pod older than `spec.thresholds.settleSeconds` (default 300) is on no node, and its condition or an event of
    /// the last hour says that branch slots are what it lacks. Silent where security groups for pods are off despite
    /// policies: that is IPAM302.
    pub BranchSlotsLacking;
    code: "IPAM310",
    name: "branch-slots-lacking",
    severity: Critical,
    condition: BranchCapacityAvailable,
    sources: [Nodes, Pods],
    check: check,
}

fn check(facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations<'_>) {
    // Where the feature is off, IPAM302 names the cause and counts these pods.
    if facts.pod_groups.is_off_despite_policies() && !facts.nodes.is_empty() {
        return;
    }
    let settle = policy.thresholds.settle_seconds;
    let (with_slots, free) = supply(facts);
    for pod in facts.pod_groups.pods.iter().map(|pod| pod.pod).filter(|pod| common::lacks_slot(facts, pod)) {
        if pod.terminating || !pod.created_at().is_some_and(|at| common::older(facts, at, settle)) {
            continue;
        }
        let state = match (with_slots, free) {
            (0, _) => "no node publishes any".to_owned(),
            (nodes, 0) => format!("those of {} are all taken", text::count(nodes, "node")),
            (nodes, free) => format!(
                "{} of {} {} free where the pod does not fit otherwise",
                text::count(free, "slot"),
                text::count(nodes, "node"),
                text::verb(free, "is", "are"),
            ),
        };
        let remediation = match with_slots {
            0 => "Add nodes of a type that can have a trunk, and see why the present ones have none.",
            _ => "Add nodes of a type with more branch slots, or narrow the policy's selector.",
        };
        let violation = sink::Violation {
            severity: Severity::Critical,
            message: format!("pod {} finds no branch slot: {state}", pod.full_name()),
            remediation: remediation.to_owned(),
            evidence: vec![sink::evidence("nodesWithSlots", with_slots), sink::evidence("freeSlots", free)],
        };
        let place = Place { group: sgp::owner(pod), ..Place::audit(common::pod_subject(pod)) };
        found.at(place, violation);
    }
}

/// Nodes that publish branch slots, and how many of these no pod has.
fn supply(facts: &Facts<'_>) -> (u32, u32) {
    let with_slots = facts.nodes.iter().filter(|node| node.signals.resource == Some(true));
    with_slots.filter_map(|node| node.trunk).fold((0, 0), |(nodes, free), trunk| {
        (nodes + 1, free + trunk.limit.unwrap_or_default().saturating_sub(trunk.branches))
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        outcome::RuleAnswer,
        snapshot::{BranchUse, ClusterSnapshot},
        tests::{branches::*, fixtures::now},
    };

    fn pending() -> ClusterSnapshot {
        let mut snapshot = cluster("m5.large", 1);
        branch_pod(&mut snapshot, 0, "db-1");
        edit_pod(&mut snapshot, "db-1", |pod| {
            (pod.node, pod.address, pod.branch) = (None, None, BranchUse::Wanted);
        });
        edit_node(&mut snapshot, 0, |node| node.branch_slots = Some(1));
        snapshot
    }

    #[test]
    fn the_scheduler_says_so_in_the_condition_or_in_an_event() {
        let mut by_condition = pending();
        edit_traits(&mut by_condition, "db-1", |traits| traits.lacks_branch_slot = true);
        let found = findings(&by_condition, "IPAM310");
        assert_eq!(found[0].message, "pod shop/db-1 finds no branch slot: those of 1 node are all taken");
        assert_eq!(&*found[0].group, "shop/db");
        let mut by_event = pending();
        let text = "0/1 nodes are available: 1 Insufficient vpc.amazonaws.com/pod-eni.";
        event(&mut by_event, "Pod", "db-1", "FailedScheduling", text);
        assert_eq!(findings(&by_event, "IPAM310").len(), 1);
    }

    #[test]
    fn other_reasons_and_young_pods_are_no_such_case() {
        let mut snapshot = pending();
        event(&mut snapshot, "Pod", "db-1", "FailedScheduling", "0/1 nodes are available: 1 Insufficient cpu.");
        assert_eq!(answer(&snapshot, "IPAM310"), RuleAnswer::Passed);
        edit_traits(&mut snapshot, "db-1", |traits| traits.lacks_branch_slot = true);
        edit_pod(&mut snapshot, "db-1", |pod| pod.created_at = Some(now()));
        assert_eq!(answer(&snapshot, "IPAM310"), RuleAnswer::Passed);
        snapshot.pods = missing();
        assert!(matches!(answer(&snapshot, "IPAM310"), RuleAnswer::Inconclusive { .. }));
    }
}
