//! IPAM509: ENIConfigs are chosen by a deprecated label.

use super::words;
use crate::{
    facts::Facts,
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

rule! {
    /// ENIConfigs are chosen by a deprecated zone label.
    ///
    /// ## What it means
    ///
    /// `ENI_CONFIG_LABEL_DEF` names `failure-domain.beta.kubernetes.io/zone`, the old name of the zone's label. A node
    /// without it falls back to the ENIConfig `default`, which names one subnet of one zone, or does not exist.
    ///
    /// ## Why it happens
    ///
    /// The setting is from a time when Kubernetes had no other label for the zone.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl set env ds/aws-node -n kube-system --list | grep ENI_CONFIG_LABEL_DEF
    /// kubectl get nodes -L failure-domain.beta.kubernetes.io/zone -L topology.kubernetes.io/zone
    /// ```
    ///
    /// ## What to do
    ///
    /// `kubectl set env ds/aws-node -n kube-system ENI_CONFIG_LABEL_DEF=topology.kubernetes.io/zone`, and the same where
    /// the environment is kept. Both labels have the same values.
    ///
    /// ## What it costs
    ///
    /// A restart of the `aws-node` pods.
    ///
    /// ## When it fires
    ///
    /// A node runs with custom networking and that label. A warning if a node has no such label, information otherwise.
    pub ZoneLabelDeprecated;
    code: "IPAM509",
    name: "zone-label-deprecated",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [Nodes, AwsNode],
    check: check,
}

const DEPRECATED: &str = "failure-domain.beta.kubernetes.io/zone";

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let uses = words::uses(facts, found);
    let choosing = uses.iter().flat_map(|used| used.nodes(facts));
    let (mut all, mut without) = (0_u32, 0_u32);
    for node in
        choosing.filter(|node| node.cni.as_ref().is_some_and(|cni| *cni.config().eni_config_label == *DEPRECATED))
    {
        all += 1;
        without += u32::from(node.node.label(DEPRECATED).is_none());
    }
    let (Some(daemon_set), true) = (words::daemon_set(facts), all > 0) else { return };
    let violation = sink::Violation {
        severity: if without > 0 { Severity::Warning } else { Severity::Info },
        message: format!(
            "ENIConfigs are chosen by the deprecated label {DEPRECATED}, which {} of {} {} not have",
            text::thousands(without),
            text::count(all, "node"),
            text::verb(without, "does", "do"),
        ),
        remediation: "Set ENI_CONFIG_LABEL_DEF=topology.kubernetes.io/zone, which has the same values.".to_owned(),
        evidence: vec![sink::evidence("nodes", all), sink::evidence("nodesWithoutLabel", without)],
    };
    found.subject(daemon_set, violation);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        outcome::RuleAnswer,
        source::{FaultCategory, Reading, Source},
        tests::custom_networking::{answer, custom, findings, named, set},
    };

    const CODE: &str = "IPAM509";

    #[test]
    fn nodes_without_the_old_label_make_it_a_warning() {
        let mut snapshot = custom(2, |_| {});
        set(&mut snapshot, "ENI_CONFIG_LABEL_DEF", DEPRECATED);
        let found = findings(&snapshot, CODE);
        assert!(found[0].message.ends_with("which 2 of 2 nodes do not have"), "{}", found[0].message);
        assert_eq!(found[0].severity, Severity::Warning);

        let mut labelled = custom(2, |node| node.labels = named(DEPRECATED, "eu-central-1a"));
        set(&mut labelled, "ENI_CONFIG_LABEL_DEF", DEPRECATED);
        assert_eq!(findings(&labelled, CODE)[0].severity, Severity::Info);
    }

    #[test]
    fn the_present_label_passes() {
        assert_eq!(answer(&custom(2, |_| {}), CODE), RuleAnswer::Passed);
    }

    #[test]
    fn without_the_objects_it_cannot_tell() {
        let mut snapshot = custom(1, |_| {});
        snapshot.objects.eni_configs = Reading::missing(FaultCategory::NotCollected, "not collected");
        let missing = vec![Source::EniConfigs];
        assert_eq!(answer(&snapshot, CODE), RuleAnswer::Inconclusive { missing, suspects: 0 });
    }
}
