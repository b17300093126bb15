//! IPAM507: a node whose labels and annotation name different ENIConfigs.

use super::words;
use crate::{
    facts::{Facts, eni_config::ChosenBy},
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink},
};

rule! {
    /// A node's labels and annotation name different ENIConfigs.
    ///
    /// ## What it means
    ///
    /// Only one of them counts: the label `vpc.amazonaws.com/externalEniConfig` before the annotation, the annotation
    /// before the label. Pods of the node get addresses from the winner's subnet, whatever the other says.
    ///
    /// ## Why it happens
    ///
    /// An annotation that makes an exception from the zone's ENIConfig is meant that way. Two explicit names rarely are:
    /// one of them was forgotten.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get node NODE -o jsonpath='{.metadata.labels}{"\n"}{.metadata.annotations}{"\n"}' | tr ',' '\n' | grep -i -e eniconfig -e zone
    /// kubectl set env ds/aws-node -n kube-system --list | grep ENI_CONFIG
    /// ```
    ///
    /// ## What to do
    ///
    /// Remove the key that loses, or the one that wins if the other is right. Interfaces that exist stay where they are:
    /// replace the node to move its pods.
    ///
    /// ## What it costs
    ///
    /// Nothing, or a new node.
    ///
    /// ## When it fires
    ///
    /// With custom networking on, two keys of a node name different ENIConfigs. A warning if both are keys of their own;
    /// information if the loser is the zone's label, since an annotation is the documented way to except a node.
    pub TwoEniConfigsNamed;
    code: "IPAM507",
    name: "two-eni-configs-named",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [Nodes, AwsNode],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for (node, choice) in words::uses(facts, found).iter().flat_map(|used| used.choices(facts)) {
        let (Some((loser, other)), Some(cni)) = (choice.overruled, &node.cni) else { continue };
        let loser_key = loser.text(cni);
        let by_zone = loser == ChosenBy::Label && loser_key.ends_with("/zone");
        let violation = sink::Violation {
            severity: if by_zone { Severity::Info } else { Severity::Warning },
            message: format!(
                "its {} names {} and wins over its {loser_key}, which names {}",
                choice.by.text(cni),
                words::config(choice.name),
                words::config(other),
            ),
            remediation: format!("Remove the {loser_key}, or the {} if the other is right.", choice.by.text(cni)),
            evidence: vec![sink::evidence("winner", choice.name), sink::evidence("loser", other)],
        };
        found.node(node, violation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        outcome::RuleAnswer,
        source::{FaultCategory, Reading, Source},
        tests::custom_networking::{answer, custom, findings, named},
    };

    const CODE: &str = "IPAM507";

    #[test]
    fn the_annotation_wins_over_the_label() {
        let found = findings(&custom(1, |node| node.annotations = named("k8s.amazonaws.com/eniConfig", "batch")), CODE);
        assert_eq!(
            found[0].message,
            "its annotation k8s.amazonaws.com/eniConfig names ENIConfig batch and wins over its label \
             topology.kubernetes.io/zone, which names ENIConfig eu-central-1a"
        );
        assert_eq!(found[0].severity, Severity::Info, "an exception from the zone is documented");
    }

    #[test]
    fn the_external_label_wins_over_the_annotation() {
        let found = findings(
            &custom(1, |node| {
                node.labels = named("vpc.amazonaws.com/externalEniConfig", "hybrid");
                node.annotations = named("k8s.amazonaws.com/eniConfig", "batch");
            }),
            CODE,
        );
        assert!(found[0].message.starts_with("its label vpc.amazonaws.com/externalEniConfig names ENIConfig hybrid"));
        assert_eq!(found[0].severity, Severity::Warning);
    }

    #[test]
    fn two_keys_that_agree_are_no_finding() {
        let agrees = custom(1, |node| node.annotations = named("k8s.amazonaws.com/eniConfig", "eu-central-1a"));
        assert_eq!(answer(&agrees, CODE), RuleAnswer::Passed);
    }

    #[test]
    fn without_the_objects_it_cannot_tell() {
        let mut snapshot = custom(1, |_| {});
        snapshot.objects.eni_configs = Reading::missing(FaultCategory::NotCollected, "not collected");
        let missing = vec![Source::EniConfigs];
        assert_eq!(answer(&snapshot, CODE), RuleAnswer::Inconclusive { missing, suspects: 0 });
    }
}
