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
    /// has to show the same. Nodes younger than `spec.thresholds.settleSeconds`, cordoned nodes, nodes whose instance EC2
    /// no longer shows, and nodes on which the CNI takes no addresses by itself, are left out. The burst in the text is `spec.thresholds.burstPods`, or the room left.
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
        if super::sizing_is_unknown(node) {
            found.lacks(Source::AwsNode);
        }
        let Some(room) = node.room().filter(|room| *room > 0) else { continue };
        let thresholds = policy.for_node(node.node);
        // What is cordoned takes no pods, and what EC2 does not show is gone or going.
        let leaving = node.node.cordoned || node.interfaces.as_ref().is_some_and(Vec::is_empty);
        let said_elsewhere = || super::frozen_at(node).is_some() || super::is_empty(node, pool);
        if pool.spare() >= thresholds.warm_floor || leaving || said_elsewhere() {
            continue;
        }
        let cause = no_growth::why(facts, node, u32::try_from(node.waiting.len()).unwrap_or(u32::MAX).max(1));
        let (lasts, place) = (cause.lasts, sink::Place::node(node));
        let violation = violation(node, pool, cause, room.min(thresholds.burst_pods), thresholds.warm_floor);
        if lasts {
            found.at(place, violation);
        } else {
            let apart = SignedDuration::from_secs(thresholds.suspicion_seconds.into());
            // A pool that holds more at the second look is growing.
            found.suspicion(place, &pool.held.to_string(), seen_at, apart, violation);
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
            text::known(node.room()),
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

#[cfg(test)]
mod tests {
    use crate::{
        outcome::RuleAnswer,
        snapshot::ClusterSnapshot,
        source::{FaultCategory, Reading, Source},
        tests::{
            fixtures::{Cluster, now},
            nodes::{answer, findings, later},
        },
    };

    fn full_pool(free: u32) -> ClusterSnapshot {
        let cluster = Cluster::new("10.0.0.0/20", &[("WARM_ENI_TARGET", "1")]).node("m5.large", 29, &[9, 9], 18);
        cluster.with_free(free).snapshot()
    }

    #[test]
    fn a_pool_without_a_free_address_in_a_full_subnet() {
        assert_eq!(
            findings("IPAM211", &full_pool(5))[0].message,
            "0 of 18 pod addresses free for a burst of 9 pods, with room for 9 more by the node's limits; subnet-1 has \
             5 free addresses"
        );
    }

    #[test]
    fn a_pool_that_may_be_growing_is_looked_at_twice() {
        let snapshot = full_pool(500);
        assert_eq!(answer("IPAM211", &snapshot), RuleAnswer::Inconclusive { missing: vec![], suspects: 1 });
        assert_eq!(later("IPAM211", &snapshot, 60).len(), 1);
    }

    #[test]
    fn young_nodes_and_pools_with_an_address_are_fine() {
        let young = Cluster::new("10.0.0.0/20", &[("WARM_ENI_TARGET", "1")]).node("m5.large", 29, &[9, 9], 18);
        let young = young.tweak(|node| node.created_at = Some(now())).with_free(5);
        assert!(findings("IPAM211", &young.snapshot()).is_empty());
        let one_free = Cluster::new("10.0.0.0/20", &[("WARM_ENI_TARGET", "1")]).node("m5.large", 29, &[9, 9], 17);
        assert!(findings("IPAM211", &one_free.with_free(5).snapshot()).is_empty());
    }

    #[test]
    fn nodes_that_leave_are_fine() {
        let cluster = Cluster::new("10.0.0.0/20", &[("WARM_ENI_TARGET", "1")]).node("m5.large", 29, &[9, 9], 18);
        let cordoned = cluster.tweak(|node| node.cordoned = true).with_free(5);
        assert!(findings("IPAM211", &cordoned.snapshot()).is_empty());
        let mut gone = full_pool(5);
        gone.ec2.interfaces.last_good.as_mut().unwrap().value.clear();
        assert!(later("IPAM211", &gone, 600).is_empty(), "EC2 terminated it, Kubernetes does not know yet");
    }

    #[test]
    fn without_the_settings_it_cannot_tell() {
        let mut snapshot = full_pool(5);
        snapshot.aws_node = Reading::missing(FaultCategory::Denied, "not allowed");
        let missing = vec![Source::AwsNode];
        assert_eq!(answer("IPAM211", &snapshot), RuleAnswer::Inconclusive { missing, suspects: 0 });
    }
}
