//! IPAM505: an ENIConfig in use names no security groups.

use super::words;
use crate::{
    facts::Facts,
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{
        Violations,
        sink::{self, Place},
    },
};

rule! {
    /// An ENIConfig names no security groups, so that pods have those of their node.
    ///
    /// ## What it means
    ///
    /// The interfaces for pods get the security groups of the node's primary interface. That is valid, and often meant.
    /// It is worth knowing where pod subnets were made to keep pods and nodes apart.
    ///
    /// ## Why it happens
    ///
    /// `spec.securityGroups` is optional.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get eniconfigs -o custom-columns=NAME:.metadata.name,SUBNET:.spec.subnet,GROUPS:.spec.securityGroups
    /// ```
    ///
    /// ## What to do
    ///
    /// Nothing if it is meant. Otherwise name the groups; they hold for interfaces that are made from then on.
    ///
    /// ## What it costs
    ///
    /// Nothing.
    ///
    /// ## When it fires
    ///
    /// A node with custom networking on resolves to an ENIConfig without groups. Information only; all such ENIConfigs
    /// are one problem.
    pub EniConfigWithoutGroups;
    code: "IPAM505",
    name: "eni-config-without-groups",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [Nodes, AwsNode],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for used in words::uses(facts, found) {
        let Some(config) = used.config.filter(|config| config.security_groups.is_empty()) else { continue };
        let violation = sink::Violation {
            severity: Severity::Info,
            message: format!(
                "ENIConfig {} names no security groups, and {}: pods get the groups of their node's primary interface",
                config.name,
                words::who_asks(facts, used),
            ),
            remediation: "Nothing if pods and nodes shall have the same groups; else name the pods' groups.".to_owned(),
            evidence: vec![sink::evidence("nodes", used.count())],
        };
        let subject = Subject::EniConfig(config.name.clone());
        found.at(Place { group: "eni-configs".into(), ..Place::audit(subject) }, violation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        outcome::RuleAnswer,
        source::{FaultCategory, Reading, Source},
        tests::custom_networking::{answer, custom, findings},
    };

    const CODE: &str = "IPAM505";

    #[test]
    fn pods_without_groups_of_their_own_are_worth_knowing() {
        let mut snapshot = custom(1, |_| {});
        snapshot.objects.eni_configs.last_good.as_mut().unwrap().value[0].security_groups = Box::default();
        let found = findings(&snapshot, CODE);
        assert!(found[0].message.ends_with("pods get the groups of their node's primary interface"));
        assert_eq!(found[0].severity, Severity::Info);
        assert_eq!(answer(&custom(1, |_| {}), CODE), RuleAnswer::Passed);
    }

    #[test]
    fn without_the_objects_it_cannot_tell() {
        let mut snapshot = custom(1, |_| {});
        snapshot.objects.eni_configs = Reading::missing(FaultCategory::NotCollected, "not collected");
        let missing = vec![Source::EniConfigs];
        assert_eq!(answer(&snapshot, CODE), RuleAnswer::Inconclusive { missing, suspects: 0 });
    }
}
