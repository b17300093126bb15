//! IPAM104: a subnet whose free addresses are in blocks that single addresses break.

use crate::{
    facts::{Blocks, Facts, SubnetFacts},
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink, subnets::words},
    text,
};

rule! {
    /// Single addresses break most of the subnet's blocks, and few are left for prefixes.
    ///
    /// ## What it means
    ///
    /// Nodes in prefix mode take whole blocks of 16 addresses. Most blocks that could still be prefixes have a single
    /// address in them. What is whole is less than the nodes that are here could still ask for.
    ///
    /// ## Why it happens
    ///
    /// As of IPAM103, earlier: load balancers, endpoints, instances and nodes outside prefix mode take single addresses
    /// from the same subnet, and EC2 scatters them.
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
    /// Reserve the largest free range for prefixes now, while there is one: the finding prints the command. Then drain
    /// the node that it names, if it names one.
    ///
    /// ## What it costs
    ///
    /// A reservation is free of charge and takes the range from everybody who does not ask for prefixes.
    ///
    /// ## When it fires
    ///
    /// Nodes of the subnet are in prefix mode; at least `spec.thresholds.fragmentationPercent` (50) in a hundred of the
    /// blocks that are no prefix are broken; and fewer are whole than its nodes at their limits, with a surge of new
    /// ones, could take. Neither IPAM101, IPAM102 nor IPAM103 is open for it.
    pub SubnetFragmented;
    code: "IPAM104",
    name: "subnet-fragmented",
    severity: Warning,
    condition: PrefixesAvailable,
    sources: [Nodes, Subnets, NetworkInterfaces, AwsNode],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for subnet in facts.every_subnet().filter(|subnet| subnet.is_fragmented()) {
        found.subnet(&subnet.subnet.id, violation(facts, subnet));
    }
}

fn violation(facts: &Facts<'_>, subnet: &SubnetFacts<'_>) -> sink::Violation {
    let broken = subnet.blocks.as_ref().map_or(0, Blocks::broken);
    let whole = subnet.free_prefixes.unwrap_or_default();
    let percent = subnet.blocks.as_ref().and_then(Blocks::fragmentation_percent).unwrap_or_default();
    sink::Violation {
        severity: Severity::Warning,
        message: format!(
            "{} has {}, but single addresses break {} of the {} blocks that could still be prefixes ({percent} %)",
            words::name(subnet),
            words::free(subnet),
            text::thousands(broken),
            text::thousands(broken + whole),
        ),
        remediation: words::mend_blocks(facts, subnet),
        evidence: vec![
            sink::evidence("fragmentationPercent", percent),
            sink::evidence("freeBlocks", whole),
            sink::evidence("freeBlocksAtLeast", text::known(subnet.free_prefixes_min)),
            sink::evidence("blocksThatNodesCouldTake", text::known(subnet.ceiling.map(|most| most.blocks))),
            sink::evidence("drainForBlocks", words::drain(facts, subnet)),
            sink::evidence("nearlyFree", words::nearly_free_blocks(facts, subnet)),
        ],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        inventory::ReservationKind,
        snapshot::ClusterSnapshot,
        source::{Reading, Source},
        tests::subnets::{add_other, answers, in_prefix_mode, interfaces, recount, reserve},
    };

    const CODE: &str = "IPAM104";

    fn scattered(broken: u32) -> ClusterSnapshot {
        let mut snapshot = in_prefix_mode("10.0.0.0/24", &[&["10.0.0.16/28"]]);
        for block in 2..2 + broken {
            add_other(&mut snapshot, "ELB app/shop/1", &[&format!("10.0.0.{}", block * 16 + 3)]);
        }
        snapshot
    }

    #[test]
    fn half_of_the_blocks_broken_is_a_warning_with_the_command_that_saves_the_rest() {
        let seen = answers(&scattered(7), CODE);
        assert_eq!(
            seen.messages(),
            ["subnet-1 (eu-central-1a) has 227 of 251 addresses free, but single addresses break 7 of the 13 blocks \
              that could still be prefixes (54 %)"]
        );
        let fix = &seen.findings[0].remediation;
        assert!(fix.contains("--reservation-type prefix --cidr 10.0.0.160/27"), "{fix}");
    }

    #[test]
    fn a_node_that_breaks_blocks_alone_is_named_for_draining() {
        let mut snapshot = in_prefix_mode("10.0.0.0/24", &[&["10.0.0.16/28"], &[]]);
        let own = 2..10_u8;
        interfaces(&mut snapshot)[1].secondary = own.map(|block| [10, 0, 0, block * 16 + 3].into()).collect();
        recount(&mut snapshot);
        let seen = answers(&snapshot, CODE);
        let fix = &seen.findings[0].remediation;
        assert!(fix.starts_with("Drain and replace node-1: that makes 8 blocks whole; keep what is whole"), "{fix}");
    }

    #[test]
    fn fewer_broken_blocks_are_fine() {
        assert!(answers(&scattered(6), CODE).passed());
    }

    #[test]
    fn a_reservation_does_not_mend_it_but_the_command_avoids_it() {
        let mut snapshot = scattered(7);
        reserve(&mut snapshot, "10.0.0.192/27", ReservationKind::Prefix);
        let fix = answers(&snapshot, CODE).findings[0].remediation.clone();
        assert!(fix.contains("--cidr 10.0.0.160/27"), "{fix}");
    }

    #[test]
    fn without_interfaces_it_cannot_tell() {
        let mut snapshot = scattered(7);
        snapshot.ec2.interfaces = Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::NetworkInterfaces]);
    }
}
