//! IPAM311: a pod on a node that waits for its branch.

use std::sync::Arc;

use super::common;
use crate::{
    facts::{Facts, NodeFacts, sgp},
    finding::Severity,
    policy::AuditPolicy,
    rules::{
        Violations,
        sink::{self, Place},
    },
    snapshot::{BranchUse, Pod},
    source::Source,
    text,
};

rule! {
    /// The pod was scheduled for a branch and does not get one.
    ///
    /// ## What it means
    ///
    /// The resource controller has not written the annotation `vpc.amazonaws.com/pod-eni`. The pod stays in
    /// `ContainerCreating`; the CNI refuses it until the annotation is there.
    ///
    /// ## Why it happens
    ///
    /// The trunk is at its limit because branches of deleted pods still cool down: then there is no event at all. Or
    /// EC2 refused the branch, and event `BranchAllocationFailed` says why. Or the node has no trunk.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl describe pod POD -n NAMESPACE
    /// kubectl get events -n NAMESPACE --field-selector reason=BranchAllocationFailed
    /// kubectl get configmap amazon-vpc-cni -n kube-system -o jsonpath='{.data.branch-eni-cooldown}'
    /// ```
    ///
    /// ## What to do
    ///
    /// Remove the cause that the finding names. A full trunk frees itself after the cool-down; spread pods that come
    /// and go quickly over more nodes.
    ///
    /// ## What it costs
    ///
    /// Nothing, or more nodes.
    ///
    /// ## When it fires
    ///
    /// The pod asks for a branch, has none, and was bound to its node more than two cool-downs ago (key
    /// `branch-eni-cooldown` of ConfigMap `amazon-vpc-cni`, 60 s by default).
    pub BranchNotGiven;
    code: "IPAM311",
    name: "branch-not-given",
    severity: Critical,
    condition: BranchCapacityAvailable,
    sources: [Nodes, Pods],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for (node, pod) in facts.pod_groups.on_nodes(&facts.nodes) {
        let pod = pod.pod;
        if *pod.branch() != BranchUse::Wanted || pod.terminating || pod.address.is_some() {
            continue;
        }
        let Some(cooldown) = facts.pod_groups.cooldown else {
            found.lacks(Source::ConfigMaps);
            continue;
        };
        let Some(bound) = pod.scheduled_at().filter(|at| common::older(facts, *at, 2 * cooldown.seconds)) else {
            continue;
        };
        let seconds = facts.snapshot.taken_at.duration_since(bound).as_secs();
        let waits = u32::try_from(seconds).unwrap_or_default();
        let Cause { group, state, remedy } = cause(facts, node, pod);
        let violation = sink::Violation {
            severity: Severity::Critical,
            message: format!(
                "pod {} has waited {} for its branch; {state}",
                pod.full_name(),
                text::count(waits / 60, "minute")
            ),
            remediation: remedy,
            evidence: vec![
                sink::evidence("waitsSeconds", waits),
                sink::evidence("cooldownSeconds", cooldown.seconds),
                sink::evidence("branches", text::known(node.trunk.map(|trunk| trunk.branches))),
                sink::evidence("limit", text::known(node.trunk.and_then(|trunk| trunk.limit))),
            ],
        };
        let place = common::pod_place(node, pod);
        found.at(Place { group: group.unwrap_or_else(|| Arc::clone(&place.group)), ..place }, violation);
    }
}

struct Cause {
    group: Option<Arc<str>>,
    state: String,
    remedy: String,
}

/// The controller's own words first; else what the trunk shows.
fn cause(facts: &Facts<'_>, node: &NodeFacts<'_>, pod: &Pod) -> Cause {
    let of_pod = facts.pod_groups.failure("Pod", pod.namespace(), &pod.name().to_string());
    if let Some(event) = of_pod.filter(|event| event.reason.starts_with("Branch")) {
        let group = sgp::error_code(&event.message).map(Arc::from);
        let state = format!("the resource controller says {}", common::said(event));
        return Cause { group, state, remedy: common::remedy(event) };
    }
    if node.signals.attached == Some(false) {
        return Cause {
            group: Some(node.node.name.as_str().into()),
            state: "its node has no trunk".to_owned(),
            remedy: "Delete the pod, so that it goes to a node with a trunk.".to_owned(),
        };
    }
    if let Some((trunk, limit)) = node.trunk.and_then(|trunk| Some((trunk, trunk.limit?)))
        && trunk.branches >= limit
    {
        return Cause {
            group: Some(node.node.name.as_str().into()),
            state: format!(
                "{} of {} of its node in use, {} of them by no pod any more",
                text::thousands(trunk.branches),
                text::count(limit, "branch slot"),
                text::thousands(trunk.cooling)
            ),
            remedy: "Wait for the cool-down, and spread pods that come and go over more nodes.".to_owned(),
        };
    }
    Cause {
        group: None,
        state: "the trunk has free slots and no event of the last hour says why".to_owned(),
        remedy: "Delete the pod, so that the resource controller looks at its successor.".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use crate::{
        outcome::RuleAnswer,
        snapshot::{BranchUse, ClusterSnapshot},
        source::Source,
        tests::{branches::*, fixtures::now},
    };

    fn waiting(minutes: i64) -> ClusterSnapshot {
        let mut snapshot = cluster("m5.large", 1);
        branch_pod(&mut snapshot, 0, "db-1");
        edit_pod(&mut snapshot, "db-1", |pod| {
            (pod.address, pod.branch) = (None, BranchUse::Wanted);
            pod.scheduled_at = Some(now() - SignedDuration::from_mins(minutes));
        });
        drop_interface(&mut snapshot, "eni-branch-db-1");
        snapshot
    }

    #[test]
    fn the_cause_is_the_event_or_the_full_trunk() {
        let mut snapshot = waiting(12);
        assert_eq!(
            messages(&snapshot, "IPAM311"),
            [
                "pod shop/db-1 has waited 12 minutes for its branch; the trunk has free slots and no event of the last hour \
              says why"
            ]
        );
        edit_node(&mut snapshot, 0, |node| node.branch_slots = Some(1));
        assert!(
            messages(&snapshot, "IPAM311")[0]
                .ends_with("1 of 1 branch slot of its node in use, 0 of them by no pod any more")
        );
        let text =
            "failed to allocate branch ENI to pod: InsufficientFreeAddressesInSubnet: the subnet has no addresses";
        event(&mut snapshot, "Pod", "db-1", "BranchAllocationFailed", text);
        let found = findings(&snapshot, "IPAM311");
        assert!(found[0].message.ends_with("says InsufficientFreeAddressesInSubnet (event BranchAllocationFailed)"));
        assert_eq!(&*found[0].group, "InsufficientFreeAddressesInSubnet");
    }

    #[test]
    fn two_cooldowns_are_waited_for() {
        assert_eq!(answer(&waiting(2), "IPAM311"), RuleAnswer::Passed);
        assert!(matches!(answer(&waiting(3), "IPAM311"), RuleAnswer::Violated { .. }));
    }

    #[test]
    fn an_unknown_cooldown_is_not_the_default() {
        let mut snapshot = waiting(12);
        snapshot.objects.config_maps = missing();
        let lacks = RuleAnswer::Inconclusive { missing: vec![Source::ConfigMaps], suspects: 0 };
        assert_eq!(answer(&snapshot, "IPAM311"), lacks);
    }
}
