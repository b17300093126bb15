//! IPAM557: a subnet runs out beside one that a tag would open.

use std::collections::BTreeMap;

use super::words;
use crate::{
    facts::{
        Facts, SubnetFacts,
        discovery::{self, CLUSTER_PREFIX, Exclusion, Outlook, ROLE_TAG},
    },
    finding::Severity,
    ids::SubnetId,
    inventory::Subnet,
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

rule! {
    /// A subnet runs out, and a tag would open another one of its zone.
    ///
    /// ## What it means
    ///
    /// Nodes of this subnet look for others with the tag `kubernetes.io/role/cni`. None with room has it; at least one
    /// without it has free addresses.
    ///
    /// ## Why it happens
    ///
    /// Discovery is on by default and does nothing until a subnet is tagged.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-subnets --filters Name=vpc-id,Values=VPC Name=availability-zone,Values=ZONE \
    ///     --query 'Subnets[].[SubnetId,CidrBlock,AvailableIpAddressCount,Tags[?Key==`Name`].Value|[0]]' --output text
    /// ```
    ///
    /// ## What to do
    ///
    /// If pods may be in that subnet (private, routed alike, not kept for load balancers or the control plane), tag it
    /// `kubernetes.io/role/cni=1`. The CNI takes it up with the next interface, without a restart.
    ///
    /// ## What it costs
    ///
    /// Nothing in AWS. Pods get addresses of another range: check security groups, routes and firewalls for it.
    ///
    /// ## When it fires
    ///
    /// A node's own subnet is full (IPAM101) or low (IPAM102), discovery is on, no offered subnet of the zone has room for
    /// a new node's addresses, and one without the tag has: in the same VPC and zone, available, not on an Outpost, not
    /// tagged for another cluster. Information only, since nothing tells what the subnet is for.
    pub UntaggedSubnetHasRoom;
    code: "IPAM557",
    name: "untagged-subnet-has-room",
    severity: Info,
    condition: AddressesAvailable,
    sources: [Nodes, AwsNode, Subnets, NetworkInterfaces],
    check: check,
}

/// Tags of older tools that name the clusters of a subnet.
const LEGACY_PREFIX: &str = "kubernetes.io/cluster/";

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let mut by_home: BTreeMap<&SubnetId, &Outlook<'_>> = BTreeMap::new();
    for outlook in words::outlooks(facts, found).iter().filter(|outlook| outlook.regime.discovers()) {
        by_home.entry(&outlook.home.id).or_insert(outlook);
    }
    for (id, outlook) in by_home {
        let Some(home) = facts.subnet(id).filter(|home| home.is_full() || home.is_low()) else { continue };
        let needed = home.needed().max(1);
        if outlook.tried.iter().any(|subnet| subnet.id != *id && subnet.available >= needed) {
            continue;
        }
        let openable =
            outlook.excluded.iter().filter(|(_, why)| matches!(why, Exclusion::Untagged | Exclusion::EmptyTag));
        let roomiest = openable
            .map(|(subnet, _)| *subnet)
            .filter(|subnet| subnet.available >= needed && is_usable(outlook, subnet))
            .max_by_key(|subnet| subnet.available);
        if let Some(roomiest) = roomiest {
            found.subnet(id, violation(home, roomiest));
        }
    }
}

fn is_usable(outlook: &Outlook<'_>, subnet: &Subnet) -> bool {
    let named = || [CLUSTER_PREFIX, LEGACY_PREFIX].into_iter().flat_map(|prefix| discovery::clusters(subnet, prefix));
    let for_others = named().next().is_some() && !named().any(|name| outlook.cluster() == Some(name));
    &*subnet.state == "available" && !subnet.outpost && subnet.cidr.is_some() && !for_others
}

fn violation(home: &SubnetFacts<'_>, roomiest: &Subnet) -> sink::Violation {
    sink::Violation {
        severity: Severity::Info,
        message: format!(
            "{} has {} left, and {} with {} in {} is not offered",
            home.subnet.id,
            text::count(home.subnet.available, "free address"),
            roomiest.id,
            text::thousands(roomiest.available),
            roomiest.zone,
        ),
        remediation: format!(
            "Tag {} {ROLE_TAG}=1 if pods may be there: {} more for the nodes of {}.",
            roomiest.id,
            text::count(roomiest.available, "address"),
            roomiest.zone
        ),
        evidence: vec![
            sink::evidence("free", home.subnet.available),
            sink::evidence("subnet", &roomiest.id),
            sink::evidence("gained", roomiest.available),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        outcome::RuleAnswer,
        snapshot::ClusterSnapshot,
        source::{FaultCategory, Reading, Source},
        tests::custom_networking::{DISCOVERY, answer, discovering, findings, home, subnet},
    };

    const CODE: &str = "IPAM557";

    fn full(others: impl IntoIterator<Item = Subnet>) -> ClusterSnapshot {
        let mut snapshot = discovering("1.23.1", DISCOVERY, others);
        home(&mut snapshot).available = 3;
        snapshot
    }

    fn other(available: u32, tags: &[(&str, &str)]) -> Subnet {
        subnet("subnet-2", "eu-central-1a", available, tags)
    }

    #[test]
    fn the_gain_of_a_tag_is_computed() {
        let found = findings(&full([other(3900, &[])]), CODE);
        assert_eq!(
            found[0].message,
            "subnet-1 has 3 free addresses left, and subnet-2 with 3,900 in eu-central-1a is not offered"
        );
        assert_eq!(
            found[0].remediation,
            "Tag subnet-2 kubernetes.io/role/cni=1 if pods may be there: 3,900 addresses more for the nodes of \
             eu-central-1a."
        );
    }

    #[test]
    fn what_is_offered_full_or_for_others_passes() {
        for tags in [[(ROLE_TAG, "1")], [(ROLE_TAG, "0")], [("kubernetes.io/cluster/other", "shared")]] {
            assert_eq!(answer(&full([other(3900, &tags)]), CODE), RuleAnswer::Passed, "{tags:?}");
        }
        assert_eq!(answer(&full([other(2, &[])]), CODE), RuleAnswer::Passed);
        let own = [("kubernetes.io/cluster/shop", "shared")];
        assert_eq!(findings(&full([other(3900, &own)]), CODE).len(), 1);
    }

    #[test]
    fn without_subnets_it_cannot_tell() {
        let mut snapshot = full([]);
        snapshot.ec2.subnets = Reading::missing(FaultCategory::Denied, "not allowed");
        assert_eq!(answer(&snapshot, CODE), RuleAnswer::Inconclusive { missing: vec![Source::Subnets], suspects: 0 });
    }
}
