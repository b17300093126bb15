//! IPAM707: a NodePool whose types cannot all carry the branches that its pods use.

use super::can_tell;
use crate::{
    facts::{
        Facts,
        karpenter::{Feature, PoolFacts, limits_of},
    },
    finding::{Severity, Subject},
    limits::Trunking,
    policy::AuditPolicy,
    rules::{Violations, sink},
    source::Source,
    text,
};

rule! {
    /// A NodePool runs pods with security groups and may launch types that carry no trunk.
    ///
    /// ## What it means
    ///
    /// Pods with security groups of their own need a node with a trunk interface. Karpenter launches a fitting type for
    /// them, but nodes of the others (the t family, for example) never take them, and consolidation onto such a node
    /// leaves them behind.
    ///
    /// ## Why it happens
    ///
    /// The NodePool's requirements allow types without trunks.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get nodepool NAME -o jsonpath='{.spec.template.spec.requirements}'
    /// kubectl get nodes -L node.kubernetes.io/instance-type \
    ///     -o custom-columns='NAME:.metadata.name,BRANCHES:.status.allocatable.vpc\.amazonaws\.com/pod-eni'
    /// ```
    ///
    /// ## What to do
    ///
    /// Require families that carry trunks (`karpenter.k8s.aws/instance-family`), or give these pods a NodePool of their
    /// own. Nothing breaks if you do not.
    ///
    /// ## What it costs
    ///
    /// A smaller choice of types.
    ///
    /// ## When it fires
    ///
    /// Nodes of the NodePool carry branches in use, and a type that it names, or that one of its nodes has, cannot have
    /// a trunk.
    pub KarpenterNoTrunk;
    code: "IPAM707",
    name: "karpenter-no-trunk",
    severity: Info,
    condition: BranchCapacityAvailable,
    sources: [Nodes, Pods],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    // Where branches are off nothing has to be known of Karpenter.
    if facts.karpenter.new_nodes_use(Feature::BranchInterfaces) == Some(false) {
        return;
    }
    if !can_tell(facts, found, &[Source::NodeClasses, Source::NodePools]) {
        return;
    }
    for pool in facts.karpenter.classes.iter().flat_map(|class| &class.pools) {
        if let Some(violation) = violation(facts, pool) {
            found.subject(Subject::Object("NodePool", pool.pool.name.clone()), violation);
        }
    }
}

fn violation(facts: &Facts<'_>, pool: &PoolFacts<'_>) -> Option<sink::Violation> {
    let branches = pool.branches(&facts.nodes);
    let without =
        |kind: &&&str| limits_of(facts.snapshot, kind).is_some_and(|limits| limits.trunking() == Trunking::Unsupported);
    let kinds: Vec<String> = pool.types.iter().filter(without).map(ToString::to_string).collect();
    if branches == 0 || kinds.is_empty() {
        return None;
    }
    let count = u32::try_from(kinds.len()).ok()?;
    Some(sink::Violation {
        severity: Severity::Info,
        message: format!(
            "NodePool {} may launch {}, which {} no trunk, and {} of its pods {} a branch interface",
            pool.pool.name,
            text::list(&kinds, "and", super::NAMED),
            text::verb(count, "carries", "carry"),
            text::thousands(branches),
            text::verb(branches, "uses", "use"),
        ),
        remediation: "Require families that carry trunks, or give pods with security groups a NodePool of their own."
            .to_owned(),
        evidence: vec![sink::evidence("typesWithoutTrunk", count), sink::evidence("branches", branches)],
    })
}

#[cfg(test)]
mod tests {

    use crate::{
        snapshot::BranchUse,
        source::{Reading, Source},
        tests::karpenter::{Setup, answers},
    };

    const CODE: &str = "IPAM707";

    fn setup(types: &[&str], branches: usize) -> Setup {
        let setup = Setup::new(&[("ENABLE_POD_ENI", "true")]).class("default", None);
        setup.pool("general", "default", types).node_of("general").change(|snapshot| {
            for pod in snapshot.pods.last_good.as_mut().unwrap().value.iter_mut().take(branches) {
                pod.edit(|pod| pod.branch = BranchUse::Has("eni-branch".into()));
            }
        })
    }

    #[test]
    fn a_type_without_a_trunk_beside_pods_that_need_one() {
        assert_eq!(
            answers(&setup(&["m5.large", "t3.large"], 2).snapshot(), CODE).messages(),
            ["NodePool general may launch t3.large, which carries no trunk, and 2 of its pods use a branch \
                 interface"]
        );
    }

    #[test]
    fn trunks_everywhere_or_no_branches_are_none() {
        assert!(answers(&setup(&["m5.large", "c5.large"], 2).snapshot(), CODE).passed());
        assert!(answers(&setup(&["m5.large", "t3.large"], 0).snapshot(), CODE).passed());
    }

    #[test]
    fn without_its_pools_it_cannot_tell() {
        let mut snapshot = setup(&["t3.large"], 2).snapshot();
        snapshot.objects.node_pools = Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::NodePools]);
    }
}
