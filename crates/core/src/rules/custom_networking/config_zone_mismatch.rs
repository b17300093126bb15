//! IPAM503: an ENIConfig's subnet is in another zone than the nodes that use it.

use super::words;
use crate::{
    facts::{Facts, NodeFacts},
    finding::{Severity, Subject},
    inventory::Subnet,
    policy::AuditPolicy,
    rules::{Violations, sink},
    source::Source,
    text,
};

rule! {
    /// An ENIConfig's subnet is in another zone than its nodes.
    ///
    /// ## What it means
    ///
    /// An interface can be attached only to an instance of its own zone. The interface is made, attaching it fails, it is
    /// deleted, and so on: unattached interfaces come and go, and the nodes get no pod addresses.
    ///
    /// ## Why it happens
    ///
    /// One ENIConfig (often `default`) serves nodes of several zones: it names one subnet and so one zone. Or the ids of
    /// two zones were swapped. In a VPC shared between accounts the names of zones differ by account; their ids
    /// (`euc1-az1`) do not.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get eniconfig ENICONFIG -o jsonpath='{.spec.subnet}{"\n"}'
    /// aws ec2 describe-subnets --subnet-ids SUBNET --query 'Subnets[].[AvailabilityZone,AvailabilityZoneId]' --output text
    /// kubectl get nodes -L topology.kubernetes.io/zone -L topology.k8s.aws/zone-id
    /// ```
    ///
    /// ## What to do
    ///
    /// One ENIConfig for each zone, named like the zone, and `ENI_CONFIG_LABEL_DEF=topology.kubernetes.io/zone`.
    ///
    /// ## What it costs
    ///
    /// A pod subnet in each zone.
    ///
    /// ## When it fires
    ///
    /// A node with custom networking on resolves to an ENIConfig whose subnet has another zone id than the subnet of its
    /// primary interface; zones are compared by name where an id is not known. A warning only while all such nodes are
    /// cordoned.
    pub EniConfigZoneMismatch;
    code: "IPAM503",
    name: "eni-config-zone-mismatch",
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
        let Some(row) = facts.subnet_row(&config.subnet) else { continue };
        let elsewhere: Vec<&NodeFacts<'_>> =
            used.nodes(facts).filter(|node| facts.is_out_of_reach(node, config)).collect();
        let number = u32::try_from(elsewhere.len()).unwrap_or(u32::MAX);
        if number == 0 {
            continue;
        }
        let violation = sink::Violation {
            severity: if words::take_pods(elsewhere.iter().copied()) { Severity::Critical } else { Severity::Warning },
            message: format!(
                "ENIConfig {} names {} in {}, and {number} of the {} that ask for it {} in {}: no interface made there \
                 can be attached to {}",
                config.name,
                row.id,
                zone(row),
                text::count(used.count(), "node"),
                text::verb(number, "is", "are"),
                words::zones(elsewhere.iter().copied()),
                text::verb(number, "it", "them"),
            ),
            remediation: format!(
                "Give {} an ENIConfig of its own with a subnet there, and choose by zone: \
                 ENI_CONFIG_LABEL_DEF=topology.kubernetes.io/zone.",
                words::zones(elsewhere.iter().copied())
            ),
            evidence: vec![sink::evidence("subnetZone", zone(row)), sink::evidence("nodesElsewhere", number)],
        };
        found.subject(Subject::EniConfig(config.name.clone()), violation);
    }
}

fn zone(subnet: &Subnet) -> String {
    match &subnet.zone_id {
        Some(id) => format!("{} ({id})", subnet.zone),
        None => subnet.zone.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        outcome::RuleAnswer,
        source::{FaultCategory, Reading},
        tests::custom_networking::{answer, custom, findings},
    };

    const CODE: &str = "IPAM503";

    /// Pods' subnet in another zone by name and by id.
    fn in_zone(name: &str, id: Option<&str>) -> crate::snapshot::ClusterSnapshot {
        let mut snapshot = custom(2, |_| {});
        for subnet in &mut snapshot.ec2.subnets.last_good.as_mut().unwrap().value {
            subnet.zone_id = Some("euc1-az2".into());
            if subnet.id.as_str() == "subnet-pods" {
                subnet.zone = name.into();
                subnet.zone_id = id.map(Into::into);
            }
        }
        snapshot
    }

    #[test]
    fn the_zones_are_named() {
        let found = findings(&in_zone("eu-central-1b", Some("euc1-az3")), CODE);
        assert_eq!(
            found[0].message,
            "ENIConfig eu-central-1a names subnet-pods in eu-central-1b (euc1-az3), and 2 of the 2 nodes that ask for it \
             are in eu-central-1a: no interface made there can be attached to them"
        );
        assert_eq!(found[0].severity, Severity::Critical);
    }

    #[test]
    fn the_id_counts_and_the_name_only_without_it() {
        assert_eq!(findings(&in_zone("other-name", Some("euc1-az2")), CODE), [], "one zone under two names");
        assert_eq!(findings(&in_zone("eu-central-1a", Some("euc1-az3")), CODE).len(), 1, "two zones under one name");
        assert_eq!(findings(&in_zone("eu-central-1b", None), CODE).len(), 1);
        assert_eq!(answer(&in_zone("eu-central-1a", None), CODE), RuleAnswer::Passed);
    }

    #[test]
    fn without_subnets_no_zone_is_known() {
        let mut snapshot = custom(2, |_| {});
        snapshot.ec2.subnets = Reading::missing(FaultCategory::Denied, "not allowed");
        assert_eq!(answer(&snapshot, CODE), RuleAnswer::Inconclusive { missing: vec![Source::Subnets], suspects: 0 });
    }
}
