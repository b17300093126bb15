//! IPAM434: prefixes on a node that a pod or two keep from being given back.

use crate::{
    facts::{Facts, NodeFacts, Pool},
    finding::Severity,
    net,
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

/// So few pods keep a prefix sparsely used.
const FEW: u32 = 2;

rule! {
    /// Prefixes of the node carry a pod or two each.
    ///
    /// ## What it means
    ///
    /// The CNI gives a prefix back only when none of its 16 addresses is in use. A few pods, spread over several
    /// prefixes, keep all of them.
    ///
    /// ## Why it happens
    ///
    /// Many pods ran on the node, most have ended, and those that are left sit where they once started.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get pods -A -o wide --field-selector spec.nodeName=NODE
    /// aws ec2 describe-network-interfaces --filters Name=attachment.instance-id,Values=INSTANCE \
    ///     --query 'NetworkInterfaces[].Ipv4Prefixes[].Ipv4Prefix'
    /// ```
    ///
    /// ## What to do
    ///
    /// Replace the node when that suits: on a new one its pods share a prefix. It is worth it only where /28 blocks are
    /// scarce.
    ///
    /// ## What it costs
    ///
    /// The pods of the node are started elsewhere.
    ///
    /// ## When it fires
    ///
    /// The CNI is in prefix mode, and at least two prefixes of the node carry one or two pods each that would fit into
    /// fewer prefixes.
    pub PrefixesSparse;
    code: "IPAM434",
    name: "prefixes-sparse",
    severity: Info,
    condition: WarmPoolSized,
    sources: [Nodes, Pods, AwsNode, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for (node, pool) in facts.nodes.iter().filter_map(|node| Some((node, node.pool.as_ref()?))) {
        let (prefixes, pods) = sparse(pool);
        let enough = pods.div_ceil(net::ADDRESSES_PER_PREFIX);
        if prefixes > enough && prefixes > 1 && !facts.is_young(node) {
            found.node(node, violation(node, prefixes, pods, enough));
        }
    }
}

/// Sparsely used prefixes that pods can get addresses out of, and the pods on them.
fn sparse(pool: &Pool<'_>) -> (u32, u32) {
    // Where pods get single addresses, what is left on prefixes is stranded instead.
    let serving = pool.interfaces.iter().filter(|on| on.prefixes_serve && !on.singles_serve);
    let sparse = serving.flat_map(|on| &on.on_prefixes).filter(|pods| (1..=FEW).contains(*pods));
    sparse.fold((0, 0), |(prefixes, all), pods| (prefixes + 1, all + pods))
}

fn violation(node: &NodeFacts<'_>, prefixes: u32, pods: u32, enough: u32) -> sink::Violation {
    let back = (prefixes - enough) * net::ADDRESSES_PER_PREFIX;
    sink::Violation {
        severity: Severity::Info,
        message: format!(
            "{} {} for {}; {enough} would do",
            text::count(prefixes, "prefix"),
            text::verb(prefixes, "is kept", "are kept"),
            text::count(pods, "pod"),
        ),
        remediation: format!(
            "Replace {} when that suits: its pods then share {}, and {} come back.",
            node.node.name,
            text::count(enough, "prefix"),
            text::count(back, "address"),
        ),
        evidence: vec![sink::evidence("sparsePrefixes", prefixes), sink::evidence("pods", pods)],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        outcome::RuleAnswer,
        snapshot::ClusterSnapshot,
        source::{FaultCategory, Reading, Source},
        tests::{
            addresses::{answer, interfaces, of, once, pod_mut},
            fixtures::Cluster,
        },
    };

    const CODE: &str = "IPAM434";

    /// Three pods on a node with three prefixes: each pod's address lies in the prefix of this index.
    fn spread(prefixes: [u8; 3]) -> ClusterSnapshot {
        let env = [("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_PREFIX_TARGET", "1")];
        let mut snapshot = Cluster::new("10.0.0.0/24", &env).node("m5.large", 110, &[3], 3).snapshot();
        let row = &mut interfaces(&mut snapshot)[0];
        row.secondary = Box::default();
        row.prefixes = ["10.0.0.64/28", "10.0.0.80/28", "10.0.0.96/28"].map(|text| text.parse().unwrap()).into();
        for (at, prefix) in (0_u8..).zip(prefixes) {
            pod_mut(&mut snapshot, &format!("resizer-0-{at}")).address = Some([10, 0, 0, 64 + 16 * prefix + at].into());
        }
        snapshot
    }

    #[test]
    fn a_pod_on_each_prefix_keeps_them_all() {
        let finding = of(&once(&spread([0, 1, 2])), CODE).remove(0);
        assert_eq!(finding.message, "3 prefixes are kept for 3 pods; 1 would do");
        assert!(finding.remediation.ends_with("its pods then share 1 prefix, and 32 addresses come back."));
    }

    #[test]
    fn pods_that_share_a_prefix_are_right() {
        assert_eq!(of(&once(&spread([0, 0, 0])), CODE), []);
        assert_eq!(of(&once(&spread([1, 1, 1])), CODE), []);
    }

    #[test]
    fn without_pods_it_cannot_tell() {
        let mut snapshot = spread([0, 1, 2]);
        snapshot.pods = Reading::missing(FaultCategory::Denied, "denied");
        let answer = answer(&once(&snapshot), CODE);
        assert_eq!(answer, RuleAnswer::Inconclusive { missing: vec![Source::Pods], suspects: 0 });
    }
}
