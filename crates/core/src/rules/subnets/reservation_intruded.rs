//! IPAM110: single addresses inside a range that is reserved for prefixes.

use super::reservation_full::exhausted;
use crate::{
    facts::{Facts, Reservation, SubnetFacts},
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink, subnets::words},
    text,
};

rule! {
    /// Single addresses are inside the range that is reserved for prefixes.
    ///
    /// ## What it means
    ///
    /// Each of them breaks a block of 16 of the reservation: fewer prefixes fit into it than its size says.
    ///
    /// ## Why it happens
    ///
    /// They were there before the range was reserved, or somebody asked for exactly these addresses. A reservation moves
    /// nobody.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 get-subnet-cidr-reservations --subnet-id SUBNET
    /// aws ec2 describe-network-interfaces --filters Name=subnet-id,Values=SUBNET \
    ///     --query 'NetworkInterfaces[].[NetworkInterfaceId,Description,PrivateIpAddresses[].PrivateIpAddress]'
    /// ```
    ///
    /// ## What to do
    ///
    /// Nothing while the reservation has free blocks. To win the broken ones back, replace the nodes or resources that
    /// have these addresses: what replaces them gets addresses elsewhere.
    ///
    /// ## What it costs
    ///
    /// A replaced node's pods start elsewhere; a replaced load balancer or endpoint changes its address.
    ///
    /// ## When it fires
    ///
    /// Nodes of the subnet are in prefix mode, and a reservation of type `prefix` contains single addresses of
    /// interfaces. Where no block of it is free, IPAM109 says so instead.
    pub ReservationIntruded;
    code: "IPAM110",
    name: "reservation-intruded",
    severity: Info,
    condition: PrefixesAvailable,
    sources: [Nodes, Subnets, NetworkInterfaces, CidrReservations],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for subnet in facts.every_subnet().filter(|subnet| subnet.demand.prefixes && exhausted(subnet).is_none()) {
        let all = subnet.blocks.as_ref().map(crate::facts::Blocks::reservations).unwrap_or_default();
        if let Some(worst) = all.iter().filter(|one| one.intruded > 0).max_by_key(|one| one.intruded) {
            found.subnet(&subnet.subnet.id, violation(facts, subnet, worst));
        }
    }
}

fn violation(facts: &Facts<'_>, subnet: &SubnetFacts<'_>, worst: &Reservation) -> sink::Violation {
    let Reservation { cidr, blocks, free, prefixes: _, intruded, intruders } = worst;
    let nearly = words::nearly_free(facts, subnet, *cidr);
    let who =
        if nearly.is_empty() { "those who have them".to_owned() } else { format!("who has them, first {nearly}") };
    sink::Violation {
        severity: Severity::Info,
        message: format!(
            "{} has {} inside {cidr}, which is reserved for prefixes: {} broken, {} free of {}",
            words::name(subnet),
            text::count(*intruders, "single address"),
            text::count(*intruded, "block"),
            text::thousands(*free),
            text::thousands(*blocks),
        ),
        remediation: format!(
            "Replace {who}, if the broken blocks are needed: the replacement gets addresses elsewhere."
        ),
        evidence: vec![
            sink::evidence("reserved", cidr),
            sink::evidence("singleAddresses", intruders),
            sink::evidence("brokenBlocks", intruded),
            sink::evidence("freeBlocks", free),
        ],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        inventory::ReservationKind,
        snapshot::ClusterSnapshot,
        source::{Reading, Source},
        tests::subnets::{add_other, answers, in_prefix_mode, reserve},
    };

    const CODE: &str = "IPAM110";

    fn with_other(address: &str) -> ClusterSnapshot {
        let mut snapshot = in_prefix_mode("10.0.0.0/24", &[&["10.0.0.144/28"]]);
        add_other(&mut snapshot, "RDSNetworkInterface", &[address]);
        reserve(&mut snapshot, "10.0.0.128/26", ReservationKind::Prefix);
        snapshot
    }

    #[test]
    fn an_address_that_was_there_first_is_told_with_its_owner() {
        let seen = answers(&with_other("10.0.0.163"), CODE);
        assert_eq!(
            seen.messages(),
            ["subnet-1 (eu-central-1a) has 1 single address inside 10.0.0.128/26, which is reserved for prefixes: 1 \
              block broken, 2 free of 4"]
        );
        let fix = &seen.findings[0].remediation;
        assert!(fix.contains("10.0.0.160/28 (1 address: RDSNetworkInterface, eni-other-1)"), "{fix}");
    }

    #[test]
    fn an_address_outside_is_none() {
        assert!(answers(&with_other("10.0.0.63"), CODE).passed());
    }

    #[test]
    fn without_reservations_it_cannot_tell() {
        let mut snapshot = with_other("10.0.0.163");
        snapshot.ec2.reservations = Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::CidrReservations]);
    }
}
