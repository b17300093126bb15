//! IPAM502: an ENIConfig in use names a subnet that its nodes cannot use.

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
    /// An ENIConfig names a subnet that is not in the nodes' VPC.
    ///
    /// ## What it means
    ///
    /// Nothing checks an ENIConfig when it is written. The first interface that a node wants to make in that subnet fails,
    /// and so does every other: new nodes never become Ready, running ones cannot grow.
    ///
    /// ## Why it happens
    ///
    /// The subnet was deleted and made again under another id, the id was mistyped, or the object was copied from a
    /// cluster in another VPC or account.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get eniconfig ENICONFIG -o jsonpath='{.spec.subnet}{"\n"}'
    /// aws ec2 describe-subnets --subnet-ids SUBNET --query 'Subnets[].[VpcId,AvailabilityZone,State]' --output text
    /// ```
    ///
    /// ## What to do
    ///
    /// Write the id of a subnet of the nodes' VPC and zone into the ENIConfig. It holds for interfaces that are made from
    /// then on; those that exist stay where they are.
    ///
    /// ## What it costs
    ///
    /// Nothing where another pod subnet of the zone exists.
    ///
    /// ## When it fires
    ///
    /// A node with custom networking on resolves to the ENIConfig, and its subnet is not among those of the VPC or is in
    /// another VPC than the node. If the ENIConfig is newer than the reading of EC2, a second reading has to agree.
    pub EniConfigSubnetMissing;
    code: "IPAM502",
    name: "eni-config-subnet-missing",
    severity: Critical,
    condition: ConfigurationConsistent,
    sources: [Nodes, AwsNode],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for used in words::uses(facts, found) {
        let Some(config) = used.config else { continue };
        if !words::has(facts, found, Source::Subnets) {
            return;
        }
        let Some(state) = state(facts, found, used, config) else { continue };
        let place = Place::audit(Subject::EniConfig(config.name.clone()));
        let violation = sink::Violation {
            severity: if words::take_pods(used.nodes(facts)) { Severity::Critical } else { Severity::Warning },
            message: format!(
                "{state}, and {}: no further interface is made for {}",
                words::who_asks(facts, used),
                text::verb(used.count(), "it", "them"),
            ),
            remediation: format!(
                "Set spec.subnet of ENIConfig {} to a subnet of {}.",
                config.name,
                words::zones(used.nodes(facts))
            ),
            evidence: vec![sink::evidence("subnet", &config.subnet), sink::evidence("nodes", used.count())],
        };
        words::absent(facts, found, Source::Subnets, place, config.subnet.as_str(), violation);
    }
}

/// What is wrong with the subnet, as the start of a sentence.
fn state(facts: &Facts<'_>, found: &mut Violations<'_>, used: &Use<'_>, config: &EniConfig) -> Option<String> {
    let EniConfig { name, subnet, .. } = config;
    let vpc = used.nodes(facts).find_map(|node| Some(&words::home(facts, node)?.vpc));
    if subnet.as_str().is_empty() {
        return Some(format!("ENIConfig {name} names no subnet"));
    }
    match (facts.subnet_row(subnet), vpc) {
        (Some(row), Some(vpc)) if row.vpc != *vpc => {
            Some(format!("ENIConfig {name} names {subnet}, which is in {} and not in {vpc}", row.vpc))
        }
        (Some(_), _) => None,
        // An interface there proves the subnet, whoever may list it: it may be shared by another account.
        (None, _)
            if used.nodes(facts).any(|node| node.interfaces.iter().flatten().any(|one| one.subnet == *subnet)) =>
        {
            None
        }
        (None, _) if facts.is_failing(Source::Subnets) => {
            found.lacks(Source::Subnets);
            None
        }
        (None, Some(vpc)) => Some(format!("ENIConfig {name} names {subnet}, which is not in {vpc}")),
        (None, None) => Some(format!("ENIConfig {name} names {subnet}, which is not in the VPC")),
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::{
        outcome::RuleAnswer,
        source::{FaultCategory, Reading},
        tests::{
            custom_networking::{answer, custom, eni_config, findings, subnet},
            fixtures::now,
        },
    };

    const CODE: &str = "IPAM502";

    fn with(subnet: &str) -> crate::snapshot::ClusterSnapshot {
        let mut snapshot = custom(2, |_| {});
        snapshot.objects.eni_configs = Reading::fresh(vec![eni_config("eu-central-1a", subnet)], now());
        snapshot
    }

    #[test]
    fn a_subnet_that_is_not_there_is_named() {
        let found = findings(&with("subnet-gone"), CODE);
        assert_eq!(
            found[0].message,
            "ENIConfig eu-central-1a names subnet-gone, which is not in vpc-1, and 2 nodes ask for it by their label \
             topology.kubernetes.io/zone: no further interface is made for them"
        );
        assert_eq!(answer(&with("subnet-pods"), CODE), RuleAnswer::Passed);
    }

    #[test]
    fn a_subnet_of_another_vpc_is_as_good_as_none() {
        let mut snapshot = with("subnet-far");
        let mut far = subnet("subnet-far", "eu-central-1a", 100, &[]);
        far.vpc = "vpc-2".into();
        snapshot.ec2.subnets.last_good.as_mut().unwrap().value.push(far);
        assert!(findings(&snapshot, CODE)[0].message.contains("which is in vpc-2 and not in vpc-1"));
    }

    #[test]
    fn an_object_newer_than_the_reading_is_only_suspected() {
        let mut snapshot = with("subnet-gone");
        snapshot.ec2.subnets.last_good.as_mut().unwrap().as_of = now() - SignedDuration::from_secs(30);
        assert_eq!(answer(&snapshot, CODE), RuleAnswer::Inconclusive { missing: Vec::new(), suspects: 1 });
    }

    #[test]
    fn without_subnets_nothing_is_absent() {
        let mut snapshot = with("subnet-gone");
        snapshot.ec2.subnets = Reading::missing(FaultCategory::Denied, "not allowed");
        assert_eq!(answer(&snapshot, CODE), RuleAnswer::Inconclusive { missing: vec![Source::Subnets], suspects: 0 });
    }
}
