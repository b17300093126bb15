//! IPAM613: an interface kept for a trunk that cannot be.

use crate::{
    cni::CniVersion,
    facts::Facts,
    finding::Severity,
    limits::Trunking,
    policy::AuditPolicy,
    rules::{
        Violations,
        configuration::environment::{self, Environment},
        sink::{self, Violation},
    },
    text,
};

rule! {
    /// An interface is kept free for a trunk on instance types that cannot have one.
    ///
    /// ## What it means
    ///
    /// With security groups for pods the CNI keeps one of the node's interfaces for a trunk. Before 1.20.4 it does so
    /// on types that cannot carry a trunk as well: those nodes address fewer pods than their max-pods may promise.
    ///
    /// ## Why it happens
    ///
    /// `ENABLE_POD_ENI` is a setting for the whole cluster; t3 and other types without trunk support are among the
    /// nodes.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get daemonset aws-node -n kube-system -o jsonpath='{range .spec.template.spec.containers[?(@.name=="aws-node")].env[*]}{.name}={.value}{"\n"}{end}' | grep ENABLE_POD_ENI
    /// kubectl get nodes -L node.kubernetes.io/instance-type
    /// ```
    ///
    /// ## What to do
    ///
    /// Update the CNI to 1.20.4 or newer, which asks whether the type can have a trunk.
    ///
    /// ## What it costs
    ///
    /// An update of the CNI.
    ///
    /// ## When it fires
    ///
    /// `ENABLE_POD_ENI` is on, the version is known and older than 1.20.4, and some nodes are of types without trunk
    /// support. Information: whether pods miss addresses for it is in the nodes' findings.
    pub TrunkSlotWasted;
    code: "IPAM613",
    name: "trunk-slot-wasted",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [AwsNode],
    check: check,
}

/// The first version that asks.
const ASKS: CniVersion = CniVersion::new(1, 20, 4);

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    environment::each(facts, found, &["ENABLE_POD_ENI"], wasted);
}

fn wasted(environment: &Environment<'_>) -> Option<Violation> {
    let version = environment.variant.cni.known_version().filter(|version| *version < ASKS)?;
    if !environment.config().pod_eni.value_or(false) || !environment.sizes_a_pool() {
        return None;
    }
    let without = environment
        .nodes()
        .filter(|node| node.limits.as_ref().is_some_and(|limits| limits.trunking() == Trunking::Unsupported))
        .collect::<Vec<_>>();
    let first = without.first()?;
    let kind = first.node.instance_type.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string);
    let number = u32::try_from(without.len()).unwrap_or(u32::MAX);
    Some(Violation {
        severity: Severity::Info,
        message: format!(
            "{} runs {version} with ENABLE_POD_ENI, which keeps one interface unused on {} of types without trunk \
             support, such as {kind}",
            environment.who(),
            text::count(number, "node"),
        ),
        remediation: format!("Update the CNI to {ASKS} or newer."),
        evidence: vec![sink::evidence("version", version), sink::evidence("nodes", number)],
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        tests::configuration::{self as cluster, answer, is_inconclusive, only},
    };

    const CODE: &str = "IPAM613";

    use crate::tests::fixtures::Cluster;

    fn burstable(tag: &str) -> crate::snapshot::ClusterSnapshot {
        let cluster = Cluster::new("10.0.0.0/20", &[("ENABLE_POD_ENI", "true")]).node("t3.large", 35, &[11], 3);
        let mut snapshot = cluster.snapshot();
        cluster::run_version(&mut snapshot, tag);
        snapshot
    }

    #[test]
    fn types_without_a_trunk_lose_an_interface() {
        let finding = only(&burstable("v1.19.2-eksbuild.1"), CODE);
        assert_eq!(finding.severity, Severity::Info);
        assert_eq!(
            finding.message,
            "kube-system/aws-node runs 1.19.2 with ENABLE_POD_ENI, which keeps one interface unused on 1 node of types \
             without trunk support, such as t3.large"
        );
    }

    #[test]
    fn newer_versions_and_capable_types_are_left_alone() {
        assert!(cluster::found(&burstable("v1.20.4"), CODE).is_empty());
        let mut capable = cluster::with(&[("ENABLE_POD_ENI", "true")]);
        cluster::run_version(&mut capable, "v1.19.2");
        assert!(cluster::found(&capable, CODE).is_empty());
    }

    #[test]
    fn an_unread_switch_leaves_it_open() {
        let mut snapshot = burstable("v1.19.2");
        cluster::unread(&mut snapshot, "ENABLE_POD_ENI");
        assert!(is_inconclusive(&answer(&snapshot, CODE)));
    }
}
