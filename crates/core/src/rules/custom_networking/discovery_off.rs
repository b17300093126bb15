//! IPAM556: a subnet runs out beside offered ones, because discovery is off.

use std::collections::BTreeMap;

use super::words;
use crate::{
    facts::{
        Facts,
        discovery::{self, Outlook, Regime},
    },
    finding::Severity,
    ids::SubnetId,
    inventory::Subnet,
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

rule! {
    /// A subnet runs out while an offered one has room, because subnet discovery is off.
    ///
    /// ## What it means
    ///
    /// Another subnet of the zone has the tag `kubernetes.io/role/cni` and free addresses. The nodes never look at it.
    ///
    /// ## Why it happens
    ///
    /// `ENABLE_SUBNET_DISCOVERY` is `false`, or the CNI is older than 1.18.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl set env ds/aws-node -n kube-system --list | grep SUBNET_DISCOVERY
    /// aws ec2 describe-subnets --filters Name=tag-key,Values=kubernetes.io/role/cni \
    ///     --query 'Subnets[].[SubnetId,AvailabilityZone,AvailableIpAddressCount]' --output text
    /// ```
    ///
    /// ## What to do
    ///
    /// Set `ENABLE_SUBNET_DISCOVERY=true`, or update the CNI. Interfaces that nodes make from then on are in the subnet of
    /// the zone with most free addresses; those that exist stay, and are filled from their own subnet first.
    ///
    /// ## What it costs
    ///
    /// `ec2:DescribeSubnets` for the CNI's role, and pods in another range: check security groups and routes for it.
    ///
    /// ## When it fires
    ///
    /// A node's own subnet is full (IPAM101: a warning here) or low (IPAM102: information), its CNI looks at no other, and
    /// a subnet of the zone that is offered by tag, not for other clusters only, has room for a new node's addresses.
    pub SubnetDiscoveryOff;
    code: "IPAM556",
    name: "subnet-discovery-off",
    severity: Warning,
    condition: AddressesAvailable,
    sources: [Nodes, AwsNode, Subnets, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let mut by_home: BTreeMap<&SubnetId, &Outlook<'_>> = BTreeMap::new();
    for outlook in words::outlooks(facts, found).iter().filter(|outlook| !outlook.regime.discovers()) {
        by_home.entry(&outlook.home.id).or_insert(outlook);
    }
    for (id, outlook) in by_home {
        let Some(home) = facts.subnet(id).filter(|home| home.is_full() || home.is_low()) else { continue };
        let roomy = |subnet: &&Subnet| {
            subnet.id != *id && discovery::is_offered(&outlook.cni, subnet) && subnet.available >= home.needed().max(1)
        };
        let offered: Vec<&Subnet> = outlook.zone().filter(roomy).collect();
        let Some(roomiest) = offered.iter().max_by_key(|subnet| subnet.available) else { continue };
        let gained: u32 = offered.iter().map(|subnet| subnet.available).sum();
        let why = match outlook.regime {
            Regime::TooOld => format!("CNI {} has no subnet discovery", outlook.cni.version_text()),
            _ => "subnet discovery is off".to_owned(),
        };
        let violation = sink::Violation {
            severity: if home.is_full() { Severity::Warning } else { Severity::Info },
            message: format!(
                "{id} has {} left, and {} offered in {} {} not looked at since {why}",
                text::count(home.subnet.available, "free address"),
                text::count(gained, "free address"),
                home.subnet.zone,
                text::verb(gained, "is", "are"),
            ),
            remediation: match outlook.regime {
                Regime::TooOld => {
                    format!("Update the CNI to 1.22.1 or newer: new interfaces are then in {}.", roomiest.id)
                }
                _ => format!("Set ENABLE_SUBNET_DISCOVERY=true: new interfaces are then in {}.", roomiest.id),
            },
            evidence: vec![
                sink::evidence("free", home.subnet.available),
                sink::evidence("offered", gained),
                sink::evidence("roomiestSubnet", &roomiest.id),
            ],
        };
        found.subnet(id, violation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        facts::discovery::ROLE_TAG,
        outcome::RuleAnswer,
        snapshot::ClusterSnapshot,
        source::{FaultCategory, Reading, Source},
        tests::custom_networking::{DISCOVERY, answer, discovering, findings, home, set, subnet},
    };

    const CODE: &str = "IPAM556";

    fn full(version: &str, discovery: &str, tag: &str) -> ClusterSnapshot {
        let other = subnet("subnet-2", "eu-central-1a", 3900, &[(ROLE_TAG, tag)]);
        let mut snapshot = discovering(version, DISCOVERY, [other]);
        set(&mut snapshot, "ENABLE_SUBNET_DISCOVERY", discovery);
        home(&mut snapshot).available = 3;
        snapshot
    }

    #[test]
    fn space_that_is_offered_and_not_looked_at_is_counted() {
        let found = findings(&full("1.23.1", "false", "1"), CODE);
        assert_eq!(
            found[0].message,
            "subnet-1 has 3 free addresses left, and 3,900 free addresses offered in eu-central-1a are not looked at since \
             subnet discovery is off"
        );
        assert_eq!(found[0].severity, Severity::Warning);
        let old = findings(&full("1.17.1", "true", "1"), CODE);
        assert!(old[0].message.ends_with("since CNI 1.17.1 has no subnet discovery"), "{}", old[0].message);
    }

    #[test]
    fn discovery_uses_it_and_an_opt_out_or_a_roomy_home_passes() {
        assert_eq!(answer(&full("1.23.1", "true", "1"), CODE), RuleAnswer::Passed);
        assert_eq!(answer(&full("1.23.1", "false", "0"), CODE), RuleAnswer::Passed);
        let mut roomy = full("1.23.1", "false", "1");
        home(&mut roomy).available = 3000;
        assert_eq!(answer(&roomy, CODE), RuleAnswer::Passed);
    }

    #[test]
    fn without_subnets_it_cannot_tell() {
        let mut snapshot = full("1.23.1", "false", "1");
        snapshot.ec2.subnets = Reading::missing(FaultCategory::Denied, "not allowed");
        assert_eq!(answer(&snapshot, CODE), RuleAnswer::Inconclusive { missing: vec![Source::Subnets], suspects: 0 });
    }
}
