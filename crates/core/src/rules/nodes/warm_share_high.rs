//! IPAM214: many small warm pools that together are most of what the nodes hold, while a subnet runs out.

use crate::{
    facts::Facts,
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

rule! {
    /// Most addresses that the nodes hold serve no pod, and a subnet runs out.
    ///
    /// ## What it means
    ///
    /// No single node holds too much. Together the nodes keep more addresses free than their pods use, and the subnets
    /// cannot afford it.
    ///
    /// ## Why it happens
    ///
    /// The targets are per node: many small nodes with few pods each keep many times the target free. Spreading pods over
    /// more nodes raises the sum.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get ipnode --sort-by=.status.addresses.idle
    /// kubectl set env ds/aws-node -n kube-system --list | grep -E 'WARM|MINIMUM'
    /// ```
    ///
    /// ## What to do
    ///
    /// Lower the targets as the finding says; or put the same pods on fewer, larger nodes.
    ///
    /// ## What it costs
    ///
    /// A smaller burst that each node can serve at once, and a rollout of aws-node, during which running pods keep their
    /// addresses.
    ///
    /// ## When it fires
    ///
    /// More than half of the pod addresses on all nodes are free, a subnet with nodes is low or full, and no node is a
    /// finding of IPAM210, which would say the same of that node.
    pub WarmShareHigh;
    code: "IPAM214",
    name: "warm-share-high",
    severity: Warning,
    condition: WarmPoolSized,
    sources: [Nodes, Pods, AwsNode, Subnets, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations<'_>) {
    let mut scarce = facts.subnets.iter().filter(|subnet| !subnet.nodes.is_empty());
    let Some(scarce) = scarce.find(|subnet| subnet.is_low() || subnet.is_full()) else { return };
    let pools: Vec<_> = super::settled_pools(facts).collect();
    let said =
        |node| facts.advice.node(node).is_some_and(|better| better.freed > policy.for_node(node.node).idle_addresses);
    if pools.iter().any(|(node, _)| said(node)) {
        return;
    }
    let held: u32 = pools.iter().map(|(_, pool)| pool.managed()).sum();
    let free: u32 = pools.iter().map(|(_, pool)| pool.spare()).sum();
    if u64::from(free) * 2 <= u64::from(held) {
        return;
    }
    let returned = facts.advice.returned_by(pools.iter().map(|(node, _)| *node));
    let nodes = u32::try_from(pools.len()).unwrap_or(u32::MAX);
    let scarce = (scarce.subnet.id.to_string(), scarce.subnet.available);
    found.subject(Subject::Cluster, violation(facts, nodes, (held, free), returned, &scarce));
}

fn violation(
    facts: &Facts<'_>,
    nodes: u32,
    (held, free): (u32, u32),
    returned: u32,
    (subnet, left): &(String, u32),
) -> sink::Violation {
    let advice = if returned > 0 {
        format!("{} gives {} back to the subnets.", facts.advice.settings(), text::count(returned, "address"))
    } else {
        "Run the same pods on fewer, larger nodes: each node keeps its own warm addresses.".to_owned()
    };
    sink::Violation {
        severity: Severity::Warning,
        message: format!(
            "{} of {} on {} serve no pod, {} %, and {subnet} has {left} free",
            text::thousands(free),
            text::count(held, "pod address"),
            text::count(nodes, "node"),
            text::percent(free, held),
        ),
        remediation: advice,
        evidence: vec![
            sink::evidence("held", held),
            sink::evidence("free", free),
            sink::evidence("nodes", nodes),
            sink::evidence("returned", returned),
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
            fixtures::Cluster,
            nodes::{answer, findings},
        },
    };

    const ONE_PREFIX: &[(&str, &str)] = &[("WARM_IP_TARGET", "10"), ("MINIMUM_IP_TARGET", "12")];

    fn small_nodes(free: u32, pods: u32) -> ClusterSnapshot {
        let nodes = |cluster: Cluster, _| cluster.node("m5.large", 29, &[9, 3], pods);
        (0..10).fold(Cluster::new("10.0.0.0/20", ONE_PREFIX), nodes).with_free(free).snapshot()
    }

    #[test]
    fn small_pools_add_up_where_a_subnet_is_low() {
        let found = findings("IPAM214", &small_nodes(90, 2));
        assert_eq!(
            found[0].message,
            "100 of 120 pod addresses on 10 nodes serve no pod, 83 %, and subnet-1 has 90 free"
        );
        assert_eq!(
            found[0].remediation,
            "MINIMUM_IP_TARGET=10 WARM_IP_TARGET=3 gives 20 addresses back to the subnets."
        );
    }

    #[test]
    fn pools_that_serve_pods_or_a_subnet_with_room_are_no_finding() {
        assert!(findings("IPAM214", &small_nodes(90, 6)).is_empty());
        assert!(findings("IPAM214", &small_nodes(2000, 2)).is_empty());
    }

    #[test]
    fn one_large_pool_says_it_itself() {
        let large = Cluster::new("10.0.0.0/20", &[]).node("m6a.32xlarge", 250, &[49, 49], 1).with_free(90).snapshot();
        assert_eq!(findings("IPAM210", &large).len(), 1);
        assert!(findings("IPAM214", &large).is_empty());
    }

    #[test]
    fn without_subnets_it_cannot_tell() {
        let mut snapshot = small_nodes(90, 2);
        snapshot.ec2.subnets = Reading::missing(FaultCategory::Denied, "not allowed");
        let missing = vec![Source::Subnets];
        assert_eq!(answer("IPAM214", &snapshot), RuleAnswer::Inconclusive { missing, suspects: 0 });
    }
}
