//! IPAM558: subnets are offered in some of the nodes' zones and not in all.

use std::collections::BTreeMap;

use super::words;
use crate::{
    facts::{
        Facts,
        discovery::{self, ROLE_TAG},
    },
    finding::{Severity, Subject},
    ids::Zone,
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

rule! {
    /// Subnets are offered to the CNI in some of the nodes' zones and not in this one.
    ///
    /// ## What it means
    ///
    /// Pods get addresses of the offered subnets in other zones. In this one they stay in the nodes' own subnets, which
    /// run out first.
    ///
    /// ## Why it happens
    ///
    /// The tag was forgotten on one zone's subnet, a zone was added later, or another cluster took its tag along when it
    /// was deleted.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-subnets --filters Name=tag-key,Values=kubernetes.io/role/cni \
    ///     --query 'Subnets[].[AvailabilityZone,SubnetId,AvailableIpAddressCount]' --output text
    /// kubectl get nodes -L topology.kubernetes.io/zone
    /// ```
    ///
    /// ## What to do
    ///
    /// Tag a pod subnet of the zone `kubernetes.io/role/cni=1`.
    ///
    /// ## What it costs
    ///
    /// Nothing where there is such a subnet.
    ///
    /// ## When it fires
    ///
    /// Nodes with discovery on are in several zones, subnets other than the nodes' own are offered in at least one of
    /// them, and in this one none is. Information only: IPAM101 and IPAM102 say when the zone's own subnets run out.
    pub ZoneNotOffered;
    code: "IPAM558",
    name: "zone-not-offered",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [Nodes, AwsNode, Subnets, NetworkInterfaces],
    check: check,
}

/// A zone with nodes that discover.
#[derive(Debug, Default)]
struct InZone {
    nodes: u32,
    offered: bool,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let mut zones: BTreeMap<&Zone, InZone> = BTreeMap::new();
    for outlook in words::outlooks(facts, found).iter().filter(|outlook| outlook.regime.discovers()) {
        let zone = zones.entry(&outlook.home.zone).or_default();
        zone.nodes += outlook.count();
        zone.offered |= outlook.zone().any(|subnet| discovery::is_offered(&outlook.cni, subnet));
    }
    let with: Vec<String> = zones.iter().filter(|(_, zone)| zone.offered).map(|(name, _)| name.to_string()).collect();
    if with.is_empty() {
        return;
    }
    for (name, zone) in zones.iter().filter(|(_, zone)| !zone.offered) {
        let violation = sink::Violation {
            severity: Severity::Info,
            message: format!(
                "{name} has {} and no subnet with {ROLE_TAG}=1, while {} {} one",
                text::count(zone.nodes, "node"),
                text::list(&with, "and", words::NAMED),
                text::verb(u32::try_from(with.len()).unwrap_or(u32::MAX), "has", "have"),
            ),
            remediation: format!("Tag a pod subnet of {name} {ROLE_TAG}=1."),
            evidence: vec![sink::evidence("nodes", zone.nodes)],
        };
        found.subject(Subject::Object("Zone", name.as_str().into()), violation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        outcome::RuleAnswer,
        snapshot::ClusterSnapshot,
        source::{FaultCategory, Reading, Source},
        tests::{
            custom_networking::{DISCOVERY, add_subnets, answer, findings, subnet},
            fixtures::Cluster,
        },
    };

    const CODE: &str = "IPAM558";

    /// A node in each of two zones; the tags are those of the second zone's pod subnet.
    fn two_zones(tags: &[(&str, &str)]) -> ClusterSnapshot {
        let cluster =
            Cluster::new("10.0.0.0/20", DISCOVERY).node("m5.large", 29, &[9], 4).node("m5.large", 29, &[9], 4);
        let mut snapshot = cluster.snapshot();
        snapshot.ec2.interfaces.last_good.as_mut().unwrap().value[1].subnet = "subnet-b".into();
        add_subnets(
            &mut snapshot,
            [subnet("subnet-b", "eu-central-1b", 4000, &[]), subnet("subnet-pods", "eu-central-1b", 8000, tags)],
        );
        snapshot
    }

    #[test]
    fn the_zone_that_was_forgotten_is_named() {
        let found = findings(&two_zones(&[(ROLE_TAG, "1")]), CODE);
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].message,
            "eu-central-1a has 1 node and no subnet with kubernetes.io/role/cni=1, while eu-central-1b has one"
        );
    }

    #[test]
    fn no_offer_at_all_is_no_gap() {
        assert_eq!(answer(&two_zones(&[]), CODE), RuleAnswer::Passed);
    }

    #[test]
    fn without_subnets_it_cannot_tell() {
        let mut snapshot = two_zones(&[(ROLE_TAG, "1")]);
        snapshot.ec2.subnets = Reading::missing(FaultCategory::Denied, "not allowed");
        assert_eq!(answer(&snapshot, CODE), RuleAnswer::Inconclusive { missing: vec![Source::Subnets], suspects: 0 });
    }
}
