//! IPAM106: EC2's count looks low only because reservations keep addresses for prefixes.

use crate::{
    facts::{Facts, SubnetFacts},
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink, subnets::words},
    text,
};

rule! {
    /// The subnet looks nearly full and is not: its free addresses are reserved for prefixes.
    ///
    /// ## What it means
    ///
    /// `AvailableIpAddressCount` leaves out what a CIDR reservation of type `prefix` keeps. Dashboards and alerts that
    /// look at the count alone call this subnet full. Nodes in prefix mode take from the reservation first.
    ///
    /// ## Why it happens
    ///
    /// A large part of the subnet is reserved for prefixes, as is recommended.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-subnets --subnet-ids SUBNET --query 'Subnets[].AvailableIpAddressCount'
    /// aws ec2 get-subnet-cidr-reservations --subnet-id SUBNET
    /// ```
    ///
    /// ## What to do
    ///
    /// Nothing in the cluster. Let alerts use the free addresses of this audit instead of EC2's count.
    ///
    /// ## What it costs
    ///
    /// Nothing.
    ///
    /// ## When it fires
    ///
    /// Nodes of the subnet are in prefix mode, EC2's count alone is below the line of IPAM102, and with the free blocks
    /// of reservations the subnet is neither full nor low.
    pub FreeInReservations;
    code: "IPAM106",
    name: "free-in-reservations",
    severity: Info,
    condition: AddressesAvailable,
    sources: [Nodes, Subnets, NetworkInterfaces, CidrReservations],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let quiet = |subnet: &&SubnetFacts<'_>| subnet.kept() > 0 && !subnet.is_full() && !subnet.is_low();
    for subnet in facts.every_subnet().filter(quiet).filter(|subnet| looks_low(subnet)) {
        let kept = text::thousands(subnet.kept());
        let violation = sink::Violation {
            severity: Severity::Info,
            message: format!(
                "{} shows {} of {} addresses available because reservations keep {kept} more for prefixes: nothing is \
                 short",
                words::name(subnet),
                text::thousands(subnet.subnet.available),
                text::thousands(subnet.usable.unwrap_or_default()),
            ),
            remediation: format!("Nothing to do here; let alerts count the {kept} reserved addresses as free."),
            evidence: vec![
                sink::evidence("free", subnet.subnet.available),
                sink::evidence("keptForPrefixes", subnet.kept()),
                sink::evidence("freeBlocks", text::known(subnet.free_prefixes)),
            ],
        };
        found.subnet(&subnet.subnet.id, violation);
    }
}

/// By EC2's count alone.
fn looks_low(subnet: &SubnetFacts<'_>) -> bool {
    let available = subnet.subnet.available;
    let percent = u64::from(available) * 100;
    let line = u64::from(subnet.usable.unwrap_or_default()) * u64::from(subnet.thresholds.subnet_free_percent);
    percent < line || available < subnet.thresholds.subnet_free_addresses
}

#[cfg(test)]
mod tests {
    use crate::{
        inventory::ReservationKind,
        snapshot::ClusterSnapshot,
        source::{Reading, Source},
        tests::subnets::{answers, in_prefix_mode, reserve, subnets},
    };

    const CODE: &str = "IPAM106";

    fn reserved() -> ClusterSnapshot {
        let mut snapshot = in_prefix_mode("10.0.0.0/24", &[&["10.0.0.144/28"]]);
        reserve(&mut snapshot, "10.0.0.128/25", ReservationKind::Prefix);
        snapshot
    }

    #[test]
    fn a_count_that_is_low_for_a_reservation_is_explained() {
        let mut snapshot = reserved();
        subnets(&mut snapshot)[0].available = 20;
        assert_eq!(
            answers(&snapshot, CODE).messages(),
            ["subnet-1 (eu-central-1a) shows 20 of 251 addresses available because reservations keep 96 more for \
              prefixes: nothing is short"]
        );
        assert!(answers(&snapshot, "IPAM102").passed());
    }

    #[test]
    fn a_count_above_the_line_needs_no_word() {
        assert!(answers(&reserved(), CODE).passed());
    }

    #[test]
    fn without_reservations_it_cannot_tell() {
        let mut snapshot = reserved();
        snapshot.ec2.reservations = Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::CidrReservations]);
    }
}
