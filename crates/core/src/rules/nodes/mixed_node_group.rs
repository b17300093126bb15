//! IPAM218: a managed node group whose smallest type decides max-pods for all.

use std::collections::BTreeMap;

use crate::{
    facts::{Facts, NodeFacts},
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

rule! {
    /// A managed node group mixes instance types, and the smallest decides max-pods for all.
    ///
    /// ## What it means
    ///
    /// EKS gives all nodes of a managed node group one max-pods: the lowest of its types. The larger nodes of this group
    /// admit less than half of the pods that they could serve.
    ///
    /// ## Why it happens
    ///
    /// The group lists types of very different sizes, for example for Spot capacity.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get nodes -l eks.amazonaws.com/nodegroup=GROUP \
    ///     -o custom-columns=NODE:.metadata.name,TYPE:.metadata.labels.node\\.kubernetes\\.io/instance-type,PODS:.status.allocatable.pods
    /// ```
    ///
    /// ## What to do
    ///
    /// Make one node group per size, or set max-pods yourself with a launch template that names an image. Leave it if
    /// processors or memory fill up first.
    ///
    /// ## What it costs
    ///
    /// Spot requests that can choose from fewer types.
    ///
    /// ## When it fires
    ///
    /// All nodes of a managed node group have the same max-pods, the smallest of their types could not serve more, and
    /// the largest could serve more than twice as many, within the recommended ceiling of 110 (250 on more than 30
    /// processors).
    pub MixedNodeGroup;
    code: "IPAM218",
    name: "mixed-node-group",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [Nodes, Pods, AwsNode, NetworkInterfaces],
    check: check,
}

/// Label of a managed node group.
const MANAGED: &str = "eks.amazonaws.com/nodegroup";

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let mut groups: BTreeMap<&str, Vec<Member<'_>>> = BTreeMap::new();
    for node in &facts.nodes {
        if let (Some(group), Some(sized)) = (node.node.label(MANAGED), Member::of(node)) {
            groups.entry(group).or_default().push(sized);
        }
    }
    for (group, nodes) in groups {
        let smallest = nodes.iter().min_by_key(|node| (node.fits, node.kind));
        let largest = nodes.iter().max_by_key(|node| (node.fits, std::cmp::Reverse(node.kind)));
        if let (Some(smallest), Some(largest)) = (smallest, largest)
            && nodes.iter().all(|node| node.max_pods == smallest.max_pods)
            && smallest.max_pods >= smallest.fits
            && largest.fits > 2 * smallest.max_pods
        {
            found.subject(Subject::Object("NodeGroup", group.into()), violation(group, smallest, largest));
        }
    }
}

/// A node as far as this rule looks at it.
struct Member<'a> {
    kind: &'a str,
    max_pods: u32,
    /// Max-pods that would fit it, within the recommended ceiling.
    fits: u32,
}

impl<'a> Member<'a> {
    fn of(node: &NodeFacts<'a>) -> Option<Self> {
        let kind = node.node.instance_type.as_ref()?.as_str();
        let fits = node.fitting_max_pods()?.min(node.recommended_ceiling()?);
        Some(Self { kind, max_pods: node.max_pods()?, fits })
    }
}

fn violation(group: &str, smallest: &Member<'_>, largest: &Member<'_>) -> sink::Violation {
    sink::Violation {
        severity: Severity::Info,
        message: format!(
            "node group {group} admits {} on every node because of its {}; its {} could serve {}",
            text::count(smallest.max_pods, "pod"),
            smallest.kind,
            largest.kind,
            text::thousands(largest.fits),
        ),
        remediation: format!("Give {} a node group of their own with max-pods {}.", largest.kind, largest.fits),
        evidence: vec![
            sink::evidence("maxPods", smallest.max_pods),
            sink::evidence("smallest", smallest.kind),
            sink::evidence("largest", largest.kind),
            sink::evidence("largestFits", largest.fits),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::MANAGED;
    use crate::{
        outcome::RuleAnswer,
        snapshot::{ClusterSnapshot, Node},
        source::{FaultCategory, Reading, Source},
        tests::{
            fixtures::Cluster,
            nodes::{answer, findings},
        },
    };

    fn group(large: &str, max_pods: u32) -> ClusterSnapshot {
        let managed = |node: &mut Node| {
            node.labels = [(MANAGED.into(), "spot".into())].into();
            node.state.cpus = Some(16);
        };
        let cluster =
            Cluster::new("10.0.0.0/20", &[("WARM_ENI_TARGET", "1")]).node("m5.large", 29, &[9], 2).tweak(managed);
        cluster.node(large, max_pods, &[29], 2).tweak(managed).snapshot()
    }

    #[test]
    fn the_smallest_type_decides_for_all() {
        let found = findings("IPAM218", &group("m5.4xlarge", 29));
        assert_eq!(
            found[0].message,
            "node group spot admits 29 pods on every node because of its m5.large; its m5.4xlarge could serve 110"
        );
    }

    #[test]
    fn own_numbers_and_like_types_are_fine() {
        assert!(findings("IPAM218", &group("m5.4xlarge", 110)).is_empty());
        assert!(findings("IPAM218", &group("m5.xlarge", 29)).is_empty());
    }

    #[test]
    fn without_nodes_it_cannot_tell() {
        let mut snapshot = group("m5.4xlarge", 29);
        snapshot.nodes = Reading::missing(FaultCategory::Denied, "not allowed");
        let missing = vec![Source::Nodes];
        assert_eq!(answer("IPAM218", &snapshot), RuleAnswer::Inconclusive { missing, suspects: 0 });
    }
}
