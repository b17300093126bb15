//! IPAM211: a node whose next pod finds no free address although the node has room for it.

use jiff::SignedDuration;

use super::no_growth::{self, NoGrowth};
use crate::{
    facts::{Facts, NodeFacts, Pool},
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink},
    source::Source,
    text,
};

rule! {
    /// The node has room for more pods and no free address for them.
    ///
    /// ## What it means
    ///
    /// The scheduler sees room on the node and will place a pod there. The CNI has no free address for it: the pod
    /// waits until the pool grows, and for ever if it cannot.
    ///
    /// ## Why it happens
    ///
    /// The subnet cannot give what the node asks for; aws-node is down or lacks a right; the node is cordoned; or targets
    /// of 0 make the pool grow only once it is empty. A pool that its settings freeze is IPAM212.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl set env ds/aws-node -n kube-system --list | grep -E 'WARM|MINIMUM'
    /// kubectl get pods -A --field-selector spec.nodeName=NODE -o wide
    /// ```
    ///
    /// ## What to do
    ///
    /// The finding names the cause. For settings: keep at least a few addresses free (`WARM_IP_TARGET=3` or more with a
    /// `MINIMUM_IP_TARGET` near the usual number of pods). For the subnet: see IPAM101.
    ///
    /// ## What it costs
    ///
    /// More warm addresses are taken from the subnet on every node: the number of nodes times the difference.
    ///
    /// ## When it fires
    ///
    /// The addresses that the next pod can get are fewer than `spec.thresholds.warmFloor` (default 1), while max-pods
    /// and instance type leave room for more pods. Where nothing is known to keep the pool from growing, a second look
    /// has to show the same. Nodes younger than `spec.thresholds.settleSeconds`, and nodes on which the CNI takes no
    /// addresses by itself, are left out. The burst in the text is `spec.thresholds.burstPods`, or the room left.
    pub WarmPoolTooSmall;
    code: "IPAM211",
    name: "warm-pool-too-small",
    severity: Warning,
    condition: WarmPoolSized,
    sources: [Nodes, Pods, AwsNode, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations<'_>) {
    let seen_at = facts.as_of(Source::NetworkInterfaces).unwrap_or(facts.snapshot.taken_at);
    for (node, pool) in super::settled_pools(facts) {
        let Some(room) = node.room().filter(|room| *room > 0) else { continue };
        let thresholds = policy.for_node(node.node);
        let said_elsewhere = || super::frozen_at(node).is_some() || super::is_empty(node, pool);
        if pool.spare() >= thresholds.warm_floor || said_elsewhere() {
            continue;
        }
        let cause = no_growth::why(facts, node, u32::try_from(node.waiting.len()).unwrap_or(u32::MAX).max(1));
        let (lasts, place) = (cause.lasts, sink::Place::node(node));
        let violation = violation(node, pool, cause, room.min(thresholds.burst_pods), thresholds.warm_floor);
        if lasts {
            found.at(place, violation);
        } else {
            let apart = SignedDuration::from_secs(thresholds.suspicion_seconds.into());
            found.suspicion(place, "", seen_at, apart, violation);
        }
    }
}

fn violation(node: &NodeFacts<'_>, pool: &Pool<'_>, cause: NoGrowth, burst: u32, floor: u32) -> sink::Violation {
    sink::Violation {
        severity: Severity::Warning,
        message: format!(
            "{} of {} free for a burst of {}, with room for {} more by the node's limits; {}",
            text::thousands(pool.spare()),
            text::count(pool.held, "pod address"),
            text::count(burst, "pod"),
            node.room().map_or_else(|| "?".to_owned(), |room| text::count(room, "pod")),
            cause.state,
        ),
        remediation: cause.remedy,
        evidence: vec![
            sink::evidence("held", pool.held),
            sink::evidence("free", pool.spare()),
            sink::evidence("burst", burst),
            sink::evidence("floor", floor),
            sink::evidence("settingsNow", node.cni.as_ref().map_or_else(|| "?".to_owned(), |cni| cni.targets_text())),
        ],
    }
}
