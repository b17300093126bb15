//! IPAM504: an ENIConfig in use names security groups that an interface cannot have.

use std::{collections::BTreeSet, sync::Arc};

use super::words;
use crate::{
    facts::{Facts, eni_config::Use},
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{
        Violations,
        sink::{self, Place},
    },
    snapshot::EniConfig,
    source::Source,
    text,
};

rule! {
    /// An ENIConfig names security groups that an interface cannot have.
    ///
    /// ## What it means
    ///
    /// With a group that does not exist, or with more groups than an interface may have, no interface is made: new nodes
    /// never become Ready, running ones cannot grow.
    ///
    /// ## Why it happens
    ///
    /// The group was deleted and made again under another id, or the object was copied from another VPC. Nothing checks
    /// an ENIConfig when it is written.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get eniconfig ENICONFIG -o jsonpath='{.spec.securityGroups}{"\n"}'
    /// aws ec2 describe-security-groups --group-ids GROUP --query 'SecurityGroups[].[GroupId,VpcId]' --output text
    /// ```
    ///
    /// ## What to do
    ///
    /// Write ids of groups of the nodes' VPC into the ENIConfig, or leave `spec.securityGroups` out: then the groups of
    /// each node's primary interface are used.
    ///
    /// ## What it costs
    ///
    /// Nothing.
    ///
    /// ## When it fires
    ///
    /// A node with custom networking on resolves to the ENIConfig and one of its groups is neither among those of the VPC
    /// nor on any interface of it; or it names more than 16 groups, the most that EC2 allows. More than 5, the quota
    /// unless it was raised, is a warning as long as no interface of the VPC has more than 5.
    pub EniConfigGroupsMissing;
    code: "IPAM504",
    name: "eni-config-groups-missing",
    severity: Critical,
    condition: ConfigurationConsistent,
    sources: [Nodes, AwsNode],
    check: check,
}

/// Groups on one interface unless the quota was raised.
const QUOTA: usize = 5;
/// What the quota can be raised to.
const MOST: usize = 16;

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let uses = words::uses(facts, found);
    let unknown = unknown_groups(facts, uses);
    for used in uses {
        let Some(config) = used.config.filter(|config| !config.security_groups.is_empty()) else { continue };
        if too_many(facts, used, config, found) || !words::has(facts, found, Source::SecurityGroups) {
            continue;
        }
        let missing = config.security_groups.iter().filter(|group| unknown.contains(group));
        let missing: Vec<String> = missing.map(ToString::to_string).collect();
        if missing.is_empty() {
            continue;
        }
        if facts.is_failing(Source::SecurityGroups) {
            found.lacks(Source::SecurityGroups);
            continue;
        }
        let number = u32::try_from(missing.len()).unwrap_or(u32::MAX);
        let names = text::list(&missing, "and", words::NAMED);
        let place = Place::audit(Subject::EniConfig(config.name.clone()));
        let violation = sink::Violation {
            severity: severity(facts, used),
            message: format!(
                "ENIConfig {} names {names}, which {} not in the VPC, and {}: no further interface is made for {}",
                config.name,
                text::verb(number, "is", "are"),
                words::who_asks(facts, used),
                text::verb(used.count(), "it", "them"),
            ),
            remediation: format!("Take {names} out of spec.securityGroups, or put the group of this VPC in its place."),
            evidence: vec![sink::evidence("groups", &names), sink::evidence("nodes", used.count())],
        };
        words::absent(facts, found, Source::SecurityGroups, place, &names, violation);
    }
}

fn severity(facts: &Facts<'_>, used: &Use<'_>) -> Severity {
    if words::take_pods(used.nodes(facts)) { Severity::Critical } else { Severity::Warning }
}

/// Groups of ENIConfigs in use that nothing in the VPC knows. One that an interface has is usable, whoever owns it.
fn unknown_groups<'a>(facts: &Facts<'a>, uses: &[Use<'a>]) -> BTreeSet<&'a Arc<str>> {
    let named = uses.iter().filter_map(|used| used.config).flat_map(|config| config.security_groups.iter());
    let Some(listed) = facts.snapshot.ec2.security_groups.value() else { return BTreeSet::new() };
    let listed: BTreeSet<&Arc<str>> = listed.iter().map(|group| &group.id).collect();
    let mut unknown: BTreeSet<&Arc<str>> = named.filter(|group| !listed.contains(group)).collect();
    if !unknown.is_empty() {
        for interface in facts.snapshot.ec2.interfaces.value().into_iter().flatten() {
            for group in &*interface.groups {
                unknown.remove(group);
            }
        }
    }
    unknown
}

fn too_many(facts: &Facts<'_>, used: &Use<'_>, config: &EniConfig, found: &mut Violations<'_>) -> bool {
    let groups = config.security_groups.len();
    let interfaces = || facts.snapshot.ec2.interfaces.value();
    let raised = || interfaces().is_some_and(|list| list.iter().any(|interface| interface.groups.len() > QUOTA));
    let severity = match groups {
        0..=QUOTA => return false,
        _ if groups > MOST => severity(facts, used),
        _ if raised() => return false,
        _ => Severity::Warning,
    };
    let violation = sink::Violation {
        severity,
        message: format!(
            "ENIConfig {} names {groups} security groups, and an interface can have {QUOTA}, or up to {MOST} where the \
             quota was raised: {}",
            config.name,
            words::who_asks(facts, used),
        ),
        remediation: format!("Merge the groups of ENIConfig {} into {QUOTA}, or raise the quota.", config.name),
        evidence: vec![sink::evidence("groups", groups), sink::evidence("nodes", used.count())],
    };
    found.subject(Subject::EniConfig(config.name.clone()), violation);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        outcome::RuleAnswer,
        snapshot::ClusterSnapshot,
        source::{FaultCategory, Reading},
        tests::custom_networking::{answer, custom, findings},
    };

    const CODE: &str = "IPAM504";

    fn with_groups(groups: &[String]) -> ClusterSnapshot {
        let mut snapshot = custom(2, |_| {});
        let config = &mut snapshot.objects.eni_configs.last_good.as_mut().unwrap().value[0];
        config.security_groups = groups.iter().map(|group| group.as_str().into()).collect();
        snapshot
    }

    #[test]
    fn a_group_that_nobody_has_is_named() {
        let snapshot = with_groups(&["sg-pods".to_owned(), "sg-gone".to_owned()]);
        let found = findings(&snapshot, CODE);
        assert_eq!(
            found[0].message,
            "ENIConfig eu-central-1a names sg-gone, which is not in the VPC, and 2 nodes ask for it by their label \
             topology.kubernetes.io/zone: no further interface is made for them"
        );
    }

    #[test]
    fn a_group_on_an_interface_is_usable_wherever_it_is_from() {
        let mut snapshot = with_groups(&["sg-shared".to_owned()]);
        snapshot.ec2.interfaces.last_good.as_mut().unwrap().value[0].groups = ["sg-shared".into()].into();
        assert_eq!(answer(&snapshot, CODE), RuleAnswer::Passed);
    }

    #[test]
    fn the_number_of_groups_is_limited() {
        let groups = |number: usize| with_groups(&vec!["sg-pods".to_owned(); number]);
        let worst = |number| findings(&groups(number), CODE).first().map(|finding| finding.severity);
        assert_eq!([worst(5), worst(6), worst(17)], [None, Some(Severity::Warning), Some(Severity::Critical)]);
        let mut raised = groups(6);
        raised.ec2.interfaces.last_good.as_mut().unwrap().value[0].groups = vec!["sg-pods".into(); 6].into();
        assert_eq!(findings(&raised, CODE), [], "the quota was raised");
    }

    #[test]
    fn without_groups_the_rule_cannot_tell() {
        let mut snapshot = custom(2, |_| {});
        snapshot.ec2.security_groups = Reading::missing(FaultCategory::NotCollected, "not collected");
        let missing = vec![Source::SecurityGroups];
        assert_eq!(answer(&snapshot, CODE), RuleAnswer::Inconclusive { missing, suspects: 0 });
    }
}
