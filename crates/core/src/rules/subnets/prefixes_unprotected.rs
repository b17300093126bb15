//! IPAM107: prefixes and other people's single addresses come from the same unreserved space.

use crate::{
    facts::{Blocks, Facts, SubnetFacts},
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink, subnets::words},
    text,
};

/// One block in so many, broken by others, is worth a word.
const SHARE: u32 = 10;

rule! {
    /// Others break blocks of the subnet, and no reservation keeps any for prefixes.
    ///
    /// ## What it means
    ///
    /// Load balancers, endpoints and other instances take single addresses anywhere in the subnet, each of which can
    /// break a block of 16 that a node could have had as a prefix. There is room today; nothing keeps it.
    ///
    /// ## Why it happens
    ///
    /// Nodes in prefix mode share their subnet with other resources, and EC2 gives these any free address.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get ipsubnet SUBNET -o jsonpath='{.status.blocks.map}{"\n"}'
    /// aws ec2 get-subnet-cidr-reservations --subnet-id SUBNET
    /// ```
    ///
    /// ## What to do
    ///
    /// Reserve the largest free range for prefixes, with the command that the finding prints, or give nodes a subnet of
    /// their own.
    ///
    /// ## What it costs
    ///
    /// A reservation is free of charge and takes the range from everybody who does not ask for prefixes; EC2 then counts
    /// it as not available.
    ///
    /// ## When it fires
    ///
    /// Nodes of the subnet are in prefix mode, no reservation of type `prefix` is in it, and others than nodes have
    /// addresses in at least one in ten of its blocks. Neither IPAM101 to IPAM104 is open for it: they say more.
    pub PrefixesUnprotected;
    code: "IPAM107",
    name: "prefixes-unprotected",
    severity: Info,
    condition: PrefixesAvailable,
    sources: [Nodes, Subnets, NetworkInterfaces, CidrReservations],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let others_say_it = |subnet: &SubnetFacts<'_>| {
        subnet.is_full() || subnet.is_low() || subnet.lacks_blocks() || subnet.is_fragmented()
    };
    for subnet in facts.every_subnet().filter(|subnet| subnet.demand.prefixes && !others_say_it(subnet)) {
        let Some(blocks) = subnet.blocks.as_ref().filter(|blocks| blocks.reservations().is_empty()) else { continue };
        if blocks.broken_by_others() > 0 && blocks.broken_by_others() * SHARE >= blocks.assignable() {
            found.subnet(&subnet.subnet.id, violation(subnet, blocks));
        }
    }
}

fn violation(subnet: &SubnetFacts<'_>, blocks: &Blocks) -> sink::Violation {
    let (broken, all) = (blocks.broken_by_others(), blocks.assignable());
    let fix = words::reserve(subnet).unwrap_or_else(|| "give nodes a subnet of their own".to_owned());
    sink::Violation {
        severity: Severity::Info,
        message: format!(
            "{} keeps no range for prefixes, and others have single addresses in {} of its {}",
            words::name(subnet),
            text::thousands(broken),
            text::count(all, "block"),
        ),
        remediation: format!("Keep what is whole for prefixes: {fix}."),
        evidence: vec![
            sink::evidence("brokenByOthers", broken),
            sink::evidence("blocks", all),
            sink::evidence("freeBlocks", text::known(subnet.free_prefixes)),
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

    const CODE: &str = "IPAM107";

    fn shared(others: u32) -> ClusterSnapshot {
        let mut snapshot = in_prefix_mode("10.0.0.0/24", &[&["10.0.0.16/28"]]);
        for block in 2..2 + others {
            add_other(&mut snapshot, "VPC Endpoint Interface vpce-1", &[&format!("10.0.0.{}", block * 16)]);
        }
        snapshot
    }

    #[test]
    fn others_in_one_block_of_ten_are_worth_a_reservation() {
        let seen = answers(&shared(2), CODE);
        assert_eq!(
            seen.messages(),
            ["subnet-1 (eu-central-1a) keeps no range for prefixes, and others have single addresses in 2 of its 14 \
              blocks"]
        );
        assert!(seen.findings[0].remediation.contains("--cidr 10.0.0.64/26"), "{}", seen.findings[0].remediation);
    }

    #[test]
    fn one_other_or_a_reservation_is_fine() {
        assert!(answers(&shared(1), CODE).passed());
        let mut snapshot = shared(2);
        reserve(&mut snapshot, "10.0.0.128/26", ReservationKind::Prefix);
        assert!(answers(&snapshot, CODE).passed());
    }

    #[test]
    fn without_reservations_it_cannot_tell() {
        let mut snapshot = shared(2);
        snapshot.ec2.reservations = Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::CidrReservations]);
    }
}
