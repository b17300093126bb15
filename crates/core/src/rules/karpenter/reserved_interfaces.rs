//! IPAM701: Karpenter plans with interfaces that pods cannot use.

use super::{can_tell, new_nodes_use};
use crate::{
    facts::{
        Facts,
        karpenter::{ClassFacts, Feature, ReservedInterfaces, limits_of},
    },
    finding::{Severity, Subject},
    limits,
    policy::AuditPolicy,
    rules::{Violations, sink},
    source::Source,
    text,
};

rule! {
    /// Karpenter plans with interfaces that pods cannot use.
    ///
    /// ## What it means
    ///
    /// Where an `EC2NodeClass` sets no `maxPods`, Karpenter computes the pods of a node from all its interfaces. Custom
    /// networking takes the primary interface out of use, security groups for pods take one for the trunk, and Karpenter
    /// does not look at either. It places pods on nodes that have no address for them.
    ///
    /// ## Why it happens
    ///
    /// `RESERVED_ENIS` (in the Helm chart `settings.reservedENIs`) is 0 by default and holds for all node classes.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get deployments -A -o yaml | grep -A1 RESERVED_ENIS
    /// kubectl set env -n kube-system daemonset/aws-node --list | grep -E 'CUSTOM_NETWORK_CFG|ENABLE_POD_ENI'
    /// kubectl get ec2nodeclasses -o custom-columns=NAME:.metadata.name,MAXPODS:.spec.kubelet.maxPods
    /// ```
    ///
    /// ## What to do
    ///
    /// Set `settings.reservedENIs` to 1 for custom networking, 1 for security groups for pods, 2 for both; new nodes get
    /// the smaller number. Or set `spec.kubelet.maxPods` of each node class.
    ///
    /// ## What it costs
    ///
    /// Fewer pods per node: those that would have waited go to another node, which may be a new one.
    ///
    /// ## When it fires
    ///
    /// `RESERVED_ENIS` of Karpenter's Deployment is smaller than what the two features take, a node class leaves
    /// `maxPods` open, and the CNI does not use prefixes, with which addresses abound. Where types of the node class are
    /// known, only if Karpenter's figure for one of them exceeds what it can hold.
    pub KarpenterReservedInterfaces;
    code: "IPAM701",
    name: "karpenter-reserved-interfaces",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [Nodes],
    check: check,
}

/// A type on which more pods are planned than fit.
struct Example<'a> {
    kind: &'a str,
    planned: u32,
    fits: u32,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    if !can_tell(facts, found, &[Source::AwsNode, Source::Deployments, Source::NodeClasses]) {
        return;
    }
    let features = [Feature::CustomNetworking, Feature::BranchInterfaces, Feature::Prefixes];
    let [Some(custom), Some(branches), Some(prefixes)] = features.map(|one| new_nodes_use(facts, found, one)) else {
        return;
    };
    let taken = u32::from(custom) + u32::from(branches);
    let by_interfaces = |class: &&ClassFacts<'_>| class.class.max_pods.is_none() && !class.class.max_pods_is_expression;
    let classes: Vec<&ClassFacts<'_>> = facts.karpenter.classes.iter().filter(by_interfaces).collect();
    if taken == 0 || prefixes || classes.is_empty() {
        return;
    }
    let (Some(controller), ReservedInterfaces::Known(reserved)) =
        (facts.karpenter.controller(), facts.karpenter.reserved_interfaces())
    else {
        found.lacks(Source::Deployments);
        return;
    };
    let types_known = classes.iter().any(|class| !class.types().is_empty());
    let worst = worst(facts, &classes, reserved);
    if reserved >= taken || (types_known && worst.is_none()) {
        return;
    }
    let subject = Subject::Object("Deployment", format!("{}/{}", controller.namespace, controller.name).into());
    found.subject(subject, violation((custom, branches), reserved, worst.as_ref()));
}

fn worst<'a>(facts: &'a Facts<'_>, classes: &[&'a ClassFacts<'_>], reserved: u32) -> Option<Example<'a>> {
    let told = limits::Karpenter { reserved_enis: reserved, eni_limited: true, ..limits::Karpenter::default() };
    let types = classes.iter().flat_map(|class| class.types());
    let examples = types.filter_map(|(kind, pool)| {
        let interfaces = limits_of(facts.snapshot, kind)?.interfaces()?;
        let planned = limits::karpenter(&interfaces, &told, None)?;
        let fits = facts.karpenter.capacity(interfaces)? + pool.host_pods(&facts.nodes);
        (planned > fits).then_some(Example { kind, planned, fits })
    });
    examples.max_by_key(|one| (one.planned - one.fits, std::cmp::Reverse(one.kind)))
}

fn violation((custom, branches): (bool, bool), reserved: u32, worst: Option<&Example<'_>>) -> sink::Violation {
    let (takers, verb) = match (custom, branches) {
        (true, true) => ("custom networking and security groups for pods", "take"),
        (true, false) => ("custom networking", "takes"),
        (false, _) => ("security groups for pods", "takes"),
    };
    let taken = u32::from(custom) + u32::from(branches);
    let consequence = worst.map_or_else(String::new, |one| {
        format!(": it plans {} on a {} that has room for {}", text::count(one.planned, "pod"), one.kind, one.fits)
    });
    sink::Violation {
        severity: Severity::Warning,
        message: format!(
            "Karpenter leaves {} of each node out of its arithmetic, and {takers} {verb} {taken}{consequence}",
            text::count(reserved, "interface"),
        ),
        remediation: format!(
            "Set settings.reservedENIs (RESERVED_ENIS) of Karpenter to {taken}, or spec.kubelet.maxPods of every \
             EC2NodeClass; it holds for new nodes."
        ),
        evidence: vec![sink::evidence("reservedEnis", reserved), sink::evidence("interfacesTaken", taken)],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        source::Source,
        tests::karpenter::{Setup, answers},
    };

    const CODE: &str = "IPAM701";

    #[test]
    fn both_features_without_a_reserve_are_two_interfaces_too_many() {
        let both = [("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true"), ("ENABLE_POD_ENI", "true")];
        let setup = Setup::new(&both).class("default", None).pool("general", "default", &["m5.large", "t3.large"]);
        let seen = answers(&setup.controller(&[]).snapshot(), CODE);
        assert_eq!(
            seen.messages(),
            ["Karpenter leaves 0 interfaces of each node out of its arithmetic, and custom networking and security \
                 groups for pods take 2: it plans 29 pods on a m5.large that has room for 11"]
        );
        assert!(
            seen.findings[0].remediation.starts_with("Set settings.reservedENIs (RESERVED_ENIS) of Karpenter to 2")
        );
    }

    #[test]
    fn a_reserve_a_fixed_number_or_prefixes_are_enough() {
        let custom = ("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true");
        let pool = |setup: Setup| setup.pool("general", "default", &["m5.large"]);
        let reserved = pool(Setup::new(&[custom]).class("default", None)).controller(&[("RESERVED_ENIS", "1")]);
        let fixed = pool(Setup::new(&[custom]).class("default", Some(20))).controller(&[]);
        let prefixes = pool(Setup::new(&[custom, ("ENABLE_PREFIX_DELEGATION", "true")]).class("default", None));
        for setup in [reserved, fixed, prefixes.controller(&[])] {
            assert!(answers(&setup.snapshot(), CODE).passed());
        }
    }

    #[test]
    fn without_its_deployment_it_cannot_tell() {
        let setup = Setup::new(&[("ENABLE_POD_ENI", "true")]).class("default", None);
        let seen = answers(&setup.snapshot(), CODE);
        assert_eq!(seen.missing(), [Source::Deployments]);
    }

    #[test]
    fn a_cluster_without_karpenter_needs_none_of_it() {
        let mut snapshot = Setup::new(&[("ENABLE_POD_ENI", "true")]).snapshot();
        snapshot.objects = crate::snapshot::ClusterObjects::default();
        assert!(answers(&snapshot, CODE).passed());
    }
}
