//! IPAM203: prefixes are on and the node still admits no more pods than without them.

use crate::{
    facts::{Facts, Kind, NodeFacts},
    finding::Severity,
    limits,
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

rule! {
    /// The node hands out prefixes and admits no more pods than it would without them.
    ///
    /// ## What it means
    ///
    /// With prefixes one interface serves 16 times as many pods. kubelet's max-pods on this node is still the figure for
    /// single addresses, so that the density that prefixes are for is not used. Nothing is broken.
    ///
    /// ## Why it happens
    ///
    /// `ENABLE_PREFIX_DELEGATION` is a setting of the CNI, max-pods one of kubelet. Nobody raises the second when the
    /// first is switched on, and nodes keep the number with which they started.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get node NODE -o jsonpath='{.status.allocatable.pods}{"\n"}'
    /// kubectl set env ds/aws-node -n kube-system --list | grep PREFIX_DELEGATION
    /// ```
    ///
    /// ## What to do
    ///
    /// Set max-pods to the number in the finding for new nodes of this type, then replace the old ones. Leave it if the
    /// processors or the memory of the type are the limit anyway.
    ///
    /// ## What it costs
    ///
    /// kubelet keeps more memory for itself: about 11 MiB for each pod that it admits.
    ///
    /// ## When it fires
    ///
    /// Pods get addresses out of prefixes, max-pods is exactly the formula for single addresses, and the addresses and
    /// the recommended ceiling (110 pods, 250 on more than 30 processors) both allow more.
    pub MaxPodsTooLow;
    code: "IPAM203",
    name: "max-pods-too-low",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [Nodes, Pods, AwsNode, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for node in &facts.nodes {
        if let Some(violation) = violation(node) {
            found.node(node, violation);
        }
    }
}

fn violation(node: &NodeFacts<'_>) -> Option<sink::Violation> {
    let max_pods = node.max_pods()?;
    let single = limits::classic_eni_max_pods(&node.limits.as_ref()?.interfaces()?);
    let better = node.fitting_max_pods()?.min(node.recommended_ceiling()?);
    let wasted = Kind::of(node)?.uses_prefixes() && max_pods == single && better > max_pods;
    let addresses = node.pod_capacity()?.addresses;
    wasted.then(|| sink::Violation {
        severity: Severity::Info,
        message: format!(
            "max-pods is {}, the figure without prefixes; with them {} could have an address",
            text::thousands(max_pods),
            text::count(addresses, "pod"),
        ),
        remediation: format!("Set max-pods to {} on new nodes of this type.", text::thousands(better)),
        evidence: vec![
            sink::evidence("maxPods", max_pods),
            sink::evidence("addresses", addresses),
            sink::evidence("betterMaxPods", better),
        ],
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        outcome::RuleAnswer,
        source::{FaultCategory, Reading, Source},
        tests::{
            fixtures::Cluster,
            nodes::{answer, findings},
        },
    };

    const PREFIXES: &[(&str, &str)] = &[("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_PREFIX_TARGET", "1")];

    fn node(kind: &str, max_pods: u32, cpus: u32) -> crate::snapshot::ClusterSnapshot {
        let cluster = Cluster::new("10.0.0.0/20", PREFIXES).node(kind, max_pods, &[0], 0);
        cluster.tweak(|node| node.state.cpus = Some(cpus)).snapshot()
    }

    #[test]
    fn the_old_figure_wastes_the_density() {
        let found = findings("IPAM203", &node("m5.large", 29, 2));
        assert_eq!(
            found[0].message,
            "max-pods is 29, the figure without prefixes; with them 432 pods could have an address"
        );
        assert_eq!(found[0].remediation, "Set max-pods to 110 on new nodes of this type.");
    }

    #[test]
    fn a_number_that_somebody_chose_is_right() {
        assert!(findings("IPAM203", &node("m5.large", 20, 2)).is_empty());
        assert!(findings("IPAM203", &node("m5.large", 110, 2)).is_empty());
        assert!(findings("IPAM203", &node("m5.4xlarge", 234, 16)).is_empty(), "beyond the ceiling already");
    }

    #[test]
    fn without_the_settings_it_cannot_tell() {
        let mut snapshot = node("m5.large", 29, 2);
        snapshot.aws_node = Reading::missing(FaultCategory::Denied, "not allowed");
        let missing = vec![Source::AwsNode];
        assert_eq!(answer("IPAM203", &snapshot), RuleAnswer::Inconclusive { missing, suspects: 0 });
    }
}
