//! IPAM215: a node that takes pods and has not a single address for them.

use super::no_growth::{self, NoGrowth};
use crate::{
    facts::{Facts, Growth},
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

rule! {
    /// The node is Ready and has not a single address for pods.
    ///
    /// ## What it means
    ///
    /// The node joined, kubelet says Ready, the scheduler uses it, and no pod on it can start. Autoscalers take it for
    /// capacity and add nothing.
    ///
    /// ## Why it happens
    ///
    /// The subnet had an address for the node itself and none for its pods, or no whole /28 block. Since version 1.10.2
    /// the CNI takes that for something that will pass and starts nevertheless.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get node NODE
    /// aws ec2 describe-network-interfaces --filters Name=attachment.instance-id,Values=INSTANCE \
    ///     --query 'NetworkInterfaces[].[NetworkInterfaceId,SubnetId,length(PrivateIpAddresses),length(Ipv4Prefixes||`[]`)]' --output text
    /// ```
    ///
    /// ## What to do
    ///
    /// Cordon the node, so that pods go where they can start, then do what the finding says of the cause.
    ///
    /// ## What it costs
    ///
    /// One node of capacity that was none.
    ///
    /// ## When it fires
    ///
    /// The node is Ready, not cordoned and older than `spec.thresholds.settleSeconds`; none of its interfaces holds an
    /// address for pods, although its settings ask for some even without pods. Where pods wait already, IPAM201 says so
    /// instead.
    pub PoolEmpty;
    code: "IPAM215",
    name: "pool-empty",
    severity: Critical,
    condition: CapacityAvailable,
    sources: [Nodes, Pods, AwsNode, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for (node, pool) in super::settled_pools(facts) {
        // A missing ENIConfig is a problem of its own for all its nodes: IPAM501.
        let resolves = || !matches!(facts.growth(node), Growth::NoEniConfig(_));
        if node.waiting.is_empty() && super::is_empty(node, pool) && resolves() {
            found.node(node, violation(&no_growth::why(facts, node, 1)));
        }
    }
}

fn violation(cause: &NoGrowth) -> sink::Violation {
    sink::Violation {
        severity: Severity::Critical,
        message: format!("Ready, and without a single address for pods: none can start here; {}", cause.state),
        remediation: format!("Cordon the node. {}", cause.remedy),
        evidence: vec![sink::evidence("held", text::thousands(0_u32))],
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
            nodes::{answer, findings},
        },
    };

    fn node(addresses: u32, change: impl FnOnce(&mut crate::snapshot::Node)) -> ClusterSnapshot {
        let cluster = Cluster::new("10.0.0.0/24", &[("WARM_ENI_TARGET", "1")]).node("m5.large", 29, &[addresses], 0);
        let ready = cluster.tweak(|node| node.state.ready = Some(true)).tweak(change);
        ready.with_free(0).snapshot()
    }

    #[test]
    fn a_ready_node_without_addresses_is_a_trap() {
        let found = findings("IPAM215", &node(0, |_| ()));
        assert_eq!(
            found[0].message,
            "Ready, and without a single address for pods: none can start here; subnet-1 has 0 free addresses"
        );
        assert!(findings("IPAM211", &node(0, |_| ())).is_empty(), "and is not said twice");
    }

    #[test]
    fn a_young_a_cordoned_and_a_served_node_are_no_trap() {
        assert!(findings("IPAM215", &node(0, |node| node.created_at = Some(now()))).is_empty());
        assert!(findings("IPAM215", &node(0, |node| node.cordoned = true)).is_empty());
        assert!(findings("IPAM215", &node(0, |node| node.state.ready = Some(false))).is_empty());
        assert!(findings("IPAM215", &node(9, |_| ())).is_empty());
    }

    #[test]
    fn without_interfaces_it_cannot_tell() {
        let mut snapshot = node(0, |_| ());
        snapshot.ec2.interfaces = Reading::missing(FaultCategory::Denied, "not allowed");
        let missing = vec![Source::NetworkInterfaces];
        assert_eq!(answer("IPAM215", &snapshot), RuleAnswer::Inconclusive { missing, suspects: 0 });
    }
}
