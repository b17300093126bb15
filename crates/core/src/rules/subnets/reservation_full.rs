//! IPAM109: reservations for prefixes without a free block.

use crate::{
    facts::{Facts, Reservation, SubnetFacts},
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink, subnets::words},
    text,
};

rule! {
    /// The range reserved for prefixes has no free block left.
    ///
    /// ## What it means
    ///
    /// EC2 takes prefixes from reservations first and from the rest of the subnet after that. From here on new prefixes
    /// compete with single addresses, which break blocks.
    ///
    /// ## Why it happens
    ///
    /// Nodes have taken the whole range, or single addresses were in it before it was reserved: they stay, and each
    /// breaks a block.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 get-subnet-cidr-reservations --subnet-id SUBNET
    /// kubectl get ipsubnet SUBNET -o jsonpath='{.status.blocks.map}{"\n"}'
    /// ```
    ///
    /// ## What to do
    ///
    /// Reserve another free range: a reservation cannot be enlarged, and a subnet can have several. The finding prints
    /// the command for the largest one.
    ///
    /// ## What it costs
    ///
    /// A reservation is free of charge and takes the range from everybody who does not ask for prefixes.
    ///
    /// ## When it fires
    ///
    /// Nodes of the subnet are in prefix mode, it has reservations of type `prefix`, and none of them has a free block.
    /// A warning where the rest of the subnet has fewer whole blocks than a surge of new nodes takes, information
    /// elsewhere. Neither IPAM101 to IPAM104 is open for it: they say more.
    pub ReservationFull;
    code: "IPAM109",
    name: "reservation-full",
    severity: Warning,
    condition: PrefixesAvailable,
    sources: [Nodes, Subnets, NetworkInterfaces, CidrReservations],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let others_say_it = |subnet: &SubnetFacts<'_>| {
        subnet.is_full() || subnet.is_low() || subnet.lacks_blocks() || subnet.is_fragmented()
    };
    for subnet in facts.every_subnet().filter(|subnet| subnet.demand.prefixes && !others_say_it(subnet)) {
        if let Some(all) = exhausted(subnet) {
            found.subnet(&subnet.subnet.id, violation(subnet, &all));
        }
    }
}

/// The reservations of a subnet, if there are any and none has a free block.
pub(super) fn exhausted(subnet: &SubnetFacts<'_>) -> Option<Vec<Reservation>> {
    let mut all = subnet.blocks.as_ref()?.reservations();
    all.retain(|reservation| reservation.blocks > 0);
    (!all.is_empty() && all.iter().all(|reservation| reservation.free == 0)).then_some(all)
}

fn violation(subnet: &SubnetFacts<'_>, all: &[Reservation]) -> sink::Violation {
    let ranges: Vec<String> = all.iter().map(|reservation| reservation.cidr.to_string()).collect();
    let (prefixes, intruded, blocks) = all.iter().fold((0, 0, 0), |(prefixes, intruded, blocks), one| {
        (prefixes + one.prefixes, intruded + one.intruded, blocks + one.blocks)
    });
    let outside = subnet.free_prefixes.unwrap_or_default();
    let surge = subnet.surge().map_or(0, |(_, take)| take.blocks);
    let fix = words::reserve(subnet).unwrap_or_else(|| "give prefixes a subnet of their own".to_owned());
    let broken = match intruded {
        0 => String::new(),
        broken => format!(" and {} broken by single addresses", text::thousands(broken)),
    };
    sink::Violation {
        severity: if outside < surge { Severity::Warning } else { Severity::Info },
        message: format!(
            "{} has no free block in what it reserves for prefixes, {}: {} of {} are prefixes{broken}; outside it {} {} \
             free",
            words::name(subnet),
            text::list(&ranges, "and", 3),
            text::thousands(prefixes),
            text::count(blocks, "block"),
            text::count(outside, "whole /28 block"),
            text::verb(outside, "is", "are"),
        ),
        remediation: format!("Reserve another range: {fix}."),
        evidence: vec![
            sink::evidence("reservedBlocks", blocks),
            sink::evidence("prefixes", prefixes),
            sink::evidence("brokenBlocks", intruded),
            sink::evidence("freeBlocksOutside", outside),
            sink::evidence("surgeTakesBlocks", surge),
        ],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        inventory::ReservationKind,
        snapshot::ClusterSnapshot,
        source::{Reading, Source},
        tests::subnets::{add_other, answers, in_prefix_mode, reserve},
    };

    const CODE: &str = "IPAM109";

    fn reserved(second: &str) -> ClusterSnapshot {
        let mut snapshot = in_prefix_mode("10.0.0.0/24", &[&["10.0.0.32/28", second]]);
        reserve(&mut snapshot, "10.0.0.32/27", ReservationKind::Prefix);
        snapshot
    }

    #[test]
    fn a_used_up_range_is_information_while_blocks_are_left_outside() {
        let seen = answers(&reserved("10.0.0.48/28"), CODE);
        assert_eq!(
            seen.messages(),
            [
                "subnet-1 (eu-central-1a) has no free block in what it reserves for prefixes, 10.0.0.32/27: 2 of 2 blocks \
              are prefixes; outside it 12 whole /28 blocks are free"
            ]
        );
        assert_eq!(seen.findings[0].severity, Severity::Info);
        assert!(seen.findings[0].remediation.contains("--cidr 10.0.0.64/26"), "{}", seen.findings[0].remediation);
    }

    #[test]
    fn a_free_block_in_it_is_fine() {
        assert!(answers(&reserved("10.0.0.64/28"), CODE).passed());
    }

    #[test]
    fn single_addresses_in_it_are_counted() {
        let mut snapshot = reserved("10.0.0.64/28");
        add_other(&mut snapshot, "ELB app/shop/1", &["10.0.0.50"]);
        assert!(answers(&snapshot, CODE).messages()[0].contains("1 of 2 blocks are prefixes and 1 broken"));
    }

    #[test]
    fn without_reservations_it_cannot_tell() {
        let mut snapshot = reserved("10.0.0.48/28");
        snapshot.ec2.reservations = Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::CidrReservations]);
    }
}
