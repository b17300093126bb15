//! IPAM702: a node class that admits more pods than its types have addresses for.

use super::{can_tell, node_class};
use crate::{
    facts::{
        Facts,
        karpenter::{ClassFacts, PoolFacts, limits_of},
    },
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink},
    source::Source,
    text,
};

rule! {
    /// An `EC2NodeClass` admits more pods than some of its instance types have addresses for.
    ///
    /// ## What it means
    ///
    /// `spec.kubelet.maxPods` is one number for every type that Karpenter may pick. On a type that holds fewer addresses
    /// the scheduler places pods that can never get one; they stay in `ContainerCreating`.
    ///
    /// ## Why it happens
    ///
    /// 110 is a common default, and right only with prefixes or on large types. Custom networking and security groups
    /// for pods each take an interface of every node away.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get ec2nodeclasses -o custom-columns=NAME:.metadata.name,MAXPODS:.spec.kubelet.maxPods
    /// kubectl get nodes -L node.kubernetes.io/instance-type,karpenter.sh/nodepool
    /// ipam-audit simulate --instance-type TYPE --pods 110
    /// ```
    ///
    /// ## What to do
    ///
    /// Lower `maxPods` to what the smallest type holds (the finding has the number), keep small types out by a
    /// requirement of the NodePool, or turn prefix delegation on.
    ///
    /// ## What it costs
    ///
    /// Fewer pods per node on large types; a second node class keeps both. Nodes are replaced.
    ///
    /// ## When it fires
    ///
    /// `maxPods` less the pods on the host's network exceeds the addresses that the model of the CNI gives a type which
    /// a NodePool of the class names, or, where none is named, a type of its nodes.
    pub KarpenterMaxPods;
    code: "IPAM702",
    name: "karpenter-max-pods",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [Nodes],
    check: check,
}

/// A type that holds less than the class admits.
struct TooSmall<'a> {
    kind: &'a str,
    pool: &'a str,
    addresses: u32,
    host_pods: u32,
}

impl TooSmall<'_> {
    fn pods(&self) -> u32 {
        self.addresses + self.host_pods
    }
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    if !can_tell(facts, found, &[Source::AwsNode, Source::NodeClasses, Source::NodePools]) {
        return;
    }
    for class in &facts.karpenter.classes {
        let Some(max_pods) = class.class.max_pods else { continue };
        if let Some(violation) = violation(facts, class, max_pods) {
            found.subject(node_class(class), violation);
        }
    }
}

fn too_small<'a>(facts: &Facts<'_>, kind: &'a str, pool: &PoolFacts<'a>, max_pods: u32) -> Option<TooSmall<'a>> {
    let addresses = facts.karpenter.capacity(limits_of(facts.snapshot, kind)?.interfaces()?)?;
    let small = TooSmall { kind, pool: &pool.pool.name, addresses, host_pods: pool.host_pods(&facts.nodes) };
    (max_pods > small.pods()).then_some(small)
}

fn violation(facts: &Facts<'_>, class: &ClassFacts<'_>, max_pods: u32) -> Option<sink::Violation> {
    let types = class.types();
    let bad: Vec<TooSmall<'_>> =
        types.iter().filter_map(|(kind, pool)| too_small(facts, kind, pool, max_pods)).collect();
    let worst = bad.iter().min_by_key(|one| (one.pods(), one.kind))?;
    let (few, all) = (u32::try_from(bad.len()).ok()?, u32::try_from(types.len()).ok()?);
    let others = if few > 1 { format!("; {few} of {} are too small", text::count(all, "type")) } else { String::new() };
    Some(sink::Violation {
        severity: Severity::Warning,
        message: format!(
            "EC2NodeClass {} admits {} per node, and {} (NodePool {}) has addresses for {} beside {} on the host's \
             network: {} too many{others}",
            class.class.name,
            text::count(max_pods, "pod"),
            worst.kind,
            worst.pool,
            text::thousands(worst.addresses),
            text::thousands(worst.host_pods),
            text::thousands(max_pods - worst.pods()),
        ),
        remediation: format!(
            "Set spec.kubelet.maxPods to {}, or keep {} out by a requirement of the NodePool.",
            worst.pods(),
            if few > 1 { "the types that hold fewer" } else { worst.kind },
        ),
        evidence: vec![
            sink::evidence("maxPods", max_pods),
            sink::evidence("podsThatFit", worst.pods()),
            sink::evidence("typesTooSmall", few),
        ],
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        source::Source,
        tests::karpenter::{Setup, answers},
    };

    const CODE: &str = "IPAM702";

    #[test]
    fn a_small_type_that_a_pool_names_is_too_small() {
        let setup = Setup::new(&[]).class("default", Some(110)).pool("general", "default", &["m5.large", "m5.4xlarge"]);
        let seen = answers(&setup.snapshot(), CODE);
        assert_eq!(
            seen.messages(),
            ["EC2NodeClass default admits 110 pods per node, and m5.large (NodePool general) has addresses for 27 \
                 beside 2 on the host's network: 81 too many"]
        );
        assert_eq!(
            seen.findings[0].remediation,
            "Set spec.kubelet.maxPods to 29, or keep m5.large out by a requirement of the NodePool."
        );
    }

    #[test]
    fn without_named_types_those_of_its_nodes_count() {
        let setup = Setup::new(&[]).class("default", Some(30)).pool("general", "default", &[]).node_of("general");
        assert_eq!(answers(&setup.snapshot(), CODE).findings.len(), 1);
        let setup = Setup::new(&[]).class("default", Some(30)).pool("general", "default", &[]).node_of("other");
        assert!(answers(&setup.snapshot(), CODE).passed(), "nothing says that it launches small types");
    }

    #[test]
    fn prefixes_make_room_and_a_trunk_takes_some() {
        let of = |env, pods| {
            let setup = Setup::new(env).class("default", Some(pods)).pool("general", "default", &["m5.large"]);
            answers(&setup.snapshot(), CODE)
        };
        assert!(of(&[("ENABLE_PREFIX_DELEGATION", "true")], 110).passed());
        assert!(of(&[], 29).passed());
        assert_eq!(of(&[("ENABLE_POD_ENI", "true")], 29).findings.len(), 1, "20 fit");
    }

    #[test]
    fn without_its_pools_it_cannot_tell() {
        let mut snapshot = Setup::new(&[]).class("default", Some(110)).snapshot();
        snapshot.objects.node_pools = crate::source::Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::NodePools]);
    }
}
