//! IPAM103: a subnet with free addresses and too few whole /28 blocks for one more node in prefix mode.

use crate::{
    facts::{Blocks, Facts, SubnetFacts},
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink, subnets::words},
    text,
};

rule! {
    /// The subnet has free addresses and no whole /28 block for the next prefix.
    ///
    /// ## What it means
    ///
    /// In prefix mode a node asks for aligned blocks of 16 addresses in which nothing is taken. Without one, EC2 answers
    /// `InsufficientCidrBlocks`, however many single addresses are free. The CNI does not fall back to single addresses:
    /// it tries again every two minutes, and pods stay in `ContainerCreating`.
    ///
    /// ## Why it happens
    ///
    /// Single addresses are scattered over the subnet: those of instances, load balancers and endpoints, and of nodes
    /// that were not in prefix mode. One address breaks a block of 16.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get ipsubnet SUBNET -o jsonpath='{.status.blocks.map}{"\n"}'
    /// aws ec2 describe-network-interfaces --filters Name=subnet-id,Values=SUBNET \
    ///     --query 'NetworkInterfaces[].[PrivateIpAddresses[].PrivateIpAddress,Ipv4Prefixes[].Ipv4Prefix,Description]'
    /// aws ec2 get-subnet-cidr-reservations --subnet-id SUBNET
    /// ```
    ///
    /// ## What to do
    ///
    /// Drain the node that the finding names, if it names one: its addresses break most blocks. Else give prefixes a
    /// subnet of their own, or reserve the largest free range for them (a CIDR reservation of type `prefix`), so that no
    /// single address is taken from there again.
    ///
    /// ## What it costs
    ///
    /// A drained node's pods start elsewhere. A reservation is free of charge and takes the range from everybody who
    /// does not ask for prefixes.
    ///
    /// ## When it fires
    ///
    /// Nodes of the subnet are in prefix mode, it is not full (IPAM101), and it has fewer whole free blocks than a new
    /// node takes at its start, at least one. Blocks are counted from what is visible, so that there can be fewer still.
    pub NoFreePrefix;
    code: "IPAM103",
    name: "no-free-prefix",
    severity: Critical,
    condition: PrefixesAvailable,
    sources: [Nodes, Subnets, NetworkInterfaces, AwsNode],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for subnet in facts.every_subnet().filter(|subnet| subnet.lacks_blocks()) {
        found.subnet(&subnet.subnet.id, violation(facts, subnet));
    }
}

fn violation(facts: &Facts<'_>, subnet: &SubnetFacts<'_>) -> sink::Violation {
    let needed = subnet.demand.new_node.map_or(1, |take| take.blocks.max(1));
    let broken = subnet.blocks.as_ref().map_or(0, Blocks::broken);
    sink::Violation {
        severity: Severity::Critical,
        message: format!(
            "{} has {} and {}, of which a new {}node takes {}; single addresses break {}",
            words::name(subnet),
            words::free(subnet),
            words::whole_blocks(subnet),
            words::node_type(subnet),
            text::thousands(needed),
            text::thousands(broken),
        ),
        remediation: words::mend_blocks(facts, subnet),
        evidence: vec![
            sink::evidence("free", subnet.subnet.available),
            sink::evidence("freeBlocks", text::known(subnet.free_prefixes)),
            sink::evidence("freeBlocksAtLeast", text::known(subnet.free_prefixes_min)),
            sink::evidence("neededBlocks", needed),
            sink::evidence("brokenBlocks", broken),
            sink::evidence("drainForBlocks", words::drain(facts, subnet)),
            sink::evidence("nearlyFree", words::nearly_free_blocks(facts, subnet)),
        ],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        snapshot::ClusterSnapshot,
        source::{Reading, Source},
        tests::subnets::{add_other, answers, in_prefix_mode},
    };

    const CODE: &str = "IPAM103";

    /// One node with one prefix, and a load balancer in every other block but so many.
    fn scattered(whole: u32) -> ClusterSnapshot {
        let mut snapshot = in_prefix_mode("10.0.0.0/24", &[&["10.0.0.16/28"]]);
        for block in 2..15 - whole {
            add_other(&mut snapshot, "ELB app/shop/1", &[&format!("10.0.0.{}", block * 16 + 3)]);
        }
        snapshot
    }

    #[test]
    fn scattered_single_addresses_leave_no_block() {
        let seen = answers(&scattered(0), CODE);
        assert_eq!(
            seen.messages(),
            ["subnet-1 (eu-central-1a) has 221 of 251 addresses free and 0 whole /28 blocks, of which a new m5.large \
              node takes 1; single addresses break 13"]
        );
        assert_eq!(seen.findings[0].severity, Severity::Critical);
        let fix = &seen.findings[0].remediation;
        assert!(
            fix.starts_with("Move what breaks blocks, first 10.0.0.32/28 (1 address: ELB app/shop/1, eni-other-1)"),
            "{fix}"
        );
    }

    #[test]
    fn one_whole_block_is_enough_for_the_next_node() {
        assert!(answers(&scattered(1), CODE).passed());
    }

    #[test]
    fn without_the_cni_it_cannot_tell() {
        let mut snapshot = scattered(0);
        snapshot.aws_node = Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::AwsNode]);
    }
}
