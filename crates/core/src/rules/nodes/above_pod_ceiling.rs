//! IPAM204: a node that runs more pods than EKS recommends for its size.

use crate::{
    facts::{Facts, NodeFacts},
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

rule! {
    /// The node runs more pods than EKS recommends for its size.
    ///
    /// ## What it means
    ///
    /// Amazon recommends at most 110 pods on nodes of up to 30 processors and 250 on larger ones, and caps managed node
    /// groups there. Above that kubelet, the container runtime and the node's own agents get slow before addresses run
    /// out.
    ///
    /// ## Why it happens
    ///
    /// Max-pods made from the limits of the interfaces alone, as nodeadm and Karpenter do, goes up to 737; with prefixes
    /// it goes far beyond.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get pods -A --field-selector spec.nodeName=NODE --no-headers | wc -l
    /// kubectl get node NODE -o jsonpath='{.status.capacity.cpu} {.status.allocatable.pods}{"\n"}'
    /// ```
    ///
    /// ## What to do
    ///
    /// Set max-pods of such nodes to the recommended number, unless you have tested that this many run well.
    ///
    /// ## What it costs
    ///
    /// The pods beyond it need room on other nodes.
    ///
    /// ## When it fires
    ///
    /// More pods are on the node, those of the host's network included, than 110 (up to 30 processors) or 250.
    pub AbovePodCeiling;
    code: "IPAM204",
    name: "above-pod-ceiling",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [Nodes, Pods],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for node in &facts.nodes {
        if let (Some(pods), Some(ceiling)) = (node.all_pods(), node.recommended_ceiling())
            && pods > ceiling
        {
            found.node(node, violation(node, pods, ceiling));
        }
    }
}

fn violation(node: &NodeFacts<'_>, pods: u32, ceiling: u32) -> sink::Violation {
    sink::Violation {
        severity: Severity::Info,
        message: format!(
            "{} {} on the node, whose max-pods is {}; for its size {} are recommended",
            text::count(pods, "pod"),
            text::verb(pods, "is", "are"),
            text::known(node.max_pods()),
            text::thousands(ceiling),
        ),
        remediation: format!("Set max-pods to {} on nodes of this size.", text::thousands(ceiling)),
        evidence: vec![sink::evidence("pods", pods), sink::evidence("recommended", ceiling)],
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

    fn node(cpus: u32) -> ClusterSnapshot {
        let cluster = Cluster::new("10.0.0.0/20", &[]).node("m5.4xlarge", 234, &[29, 29, 29, 29, 29], 120);
        cluster.tweak(|node| node.state.cpus = Some(cpus)).snapshot()
    }

    #[test]
    fn more_than_110_pods_are_many_for_a_small_node() {
        let found = findings("IPAM204", &node(16));
        assert_eq!(
            found[0].message,
            "120 pods are on the node, whose max-pods is 234; for its size 110 are recommended"
        );
    }

    #[test]
    fn a_large_node_may_run_them() {
        assert!(findings("IPAM204", &node(32)).is_empty());
    }

    #[test]
    fn without_pods_it_cannot_tell() {
        let mut snapshot = node(16);
        snapshot.pods = Reading::missing(FaultCategory::Denied, "not allowed");
        let missing = vec![Source::Pods];
        assert_eq!(answer("IPAM204", &snapshot), RuleAnswer::Inconclusive { missing, suspects: 0 });
    }
}
