//! IPAM102: a subnet with a small share of free addresses.

use crate::{
    facts::{Facts, SubnetFacts},
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink, subnets::words},
    source::Source,
    text,
};

rule! {
    /// The subnet has few free addresses left.
    ///
    /// ## What it means
    ///
    /// The subnet can take only a few more nodes. A rolling update, a scale-up or the loss of another zone needs them
    /// at once.
    ///
    /// ## Why it happens
    ///
    /// The same causes as of IPAM101, earlier.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-subnets --subnet-ids SUBNET --query 'Subnets[].[CidrBlock,AvailableIpAddressCount]' --output text
    /// kubectl get ipsubnet SUBNET -o wide
    /// ```
    ///
    /// ## What to do
    ///
    /// Lower what nodes hold, or add address space, before the next scale-up. The finding's text says how many nodes
    /// still fit.
    ///
    /// ## What it costs
    ///
    /// As of IPAM101; acting now instead of at IPAM101 saves an outage.
    ///
    /// ## When it fires
    ///
    /// The share of free addresses is below `spec.thresholds.subnetFreePercent` (default 10), or fewer than
    /// `subnetFreeAddresses` (16) are free; the subnet is not full; and its nodes at their limits, with a surge of new
    /// ones, could take more than is free. A subnet that was low stays so until it is `subnetHysteresisPercent` above
    /// the line.
    pub SubnetLow;
    code: "IPAM102",
    name: "subnet-low",
    severity: Warning,
    condition: AddressesAvailable,
    sources: [Nodes, Subnets, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for subnet in facts.every_subnet().filter(|subnet| subnet.is_low()) {
        found.subnet(&subnet.subnet.id, violation(facts, subnet));
    }
    if facts.every_subnet().any(SubnetFacts::is_unsure) {
        found.lacks(Source::CidrReservations);
    }
}

fn violation(facts: &Facts<'_>, subnet: &SubnetFacts<'_>) -> sink::Violation {
    let usable = subnet.usable.unwrap_or_default();
    let fits = subnet.fits();
    let blocks = match subnet.free_prefixes {
        Some(free) if subnet.demand.prefixes => format!(", {}", text::count(free, "whole /28 block")),
        _ => String::new(),
    };
    sink::Violation {
        severity: Severity::Warning,
        message: format!(
            "{} has {}, {} %{blocks}: room for {} more {}{} of {}",
            words::name(subnet),
            words::free(subnet),
            text::percent(subnet.headroom(), usable),
            text::thousands(fits),
            words::node_type(subnet),
            text::plural(fits, "node"),
            text::count(subnet.needed(), "address"),
        ),
        remediation: words::make_room(facts, subnet),
        evidence: vec![
            sink::evidence("free", subnet.subnet.available),
            sink::evidence("usable", usable),
            sink::evidence("thresholdPercent", subnet.thresholds.subnet_free_percent),
            sink::evidence("newNodesThatFit", fits),
        ],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        engine,
        finding::{Subject, fingerprint},
        memory::Memory,
        policy::{AuditPolicy, Exception, Pattern, Thresholds},
        source::{Reading, Source},
        tests::{fixtures::Cluster, subnets::answers},
    };

    const CODE: &str = "IPAM102";

    fn cluster(free: u32) -> Cluster {
        Cluster::new("10.0.0.0/24", &[("WARM_ENI_TARGET", "1")]).node("m5.large", 29, &[9, 9], 5).with_free(free)
    }

    #[test]
    fn a_small_share_of_free_addresses_is_low() {
        let seen = answers(&cluster(20).snapshot(), CODE);
        assert_eq!(
            seen.messages(),
            [
                "subnet-1 (eu-central-1a) has 20 of 251 addresses free, 8 %: room for 2 more m5.large nodes of 10 addresses"
            ]
        );
        assert!(answers(&cluster(40).snapshot(), CODE).passed());
    }

    #[test]
    fn few_addresses_that_no_node_can_ask_for_are_enough() {
        let at_limits = |free| {
            let cluster = Cluster::new("10.0.0.0/24", &[("WARM_ENI_TARGET", "1")]);
            answers(&cluster.node("t3.nano", 4, &[1, 1], 2).with_free(free).snapshot(), CODE)
        };
        assert!(at_limits(4).passed(), "a node more at its full size fits");
        assert_eq!(at_limits(3).findings.len(), 1);
    }

    #[test]
    fn a_low_subnet_has_to_recover_a_little_further() {
        let mut memory = Memory::default();
        memory.open.insert(fingerprint(CODE, &Subject::Subnet("subnet-1".into())));
        let low = |free, memory: &Memory| {
            let outcome = engine::evaluate(&cluster(free).snapshot(), &AuditPolicy::default(), memory);
            outcome.subnets[0].findings.iter().any(|finding| finding.code == CODE)
        };
        assert_eq!((low(26, &Memory::default()), low(26, &memory), low(31, &memory)), (false, true, false));
    }

    #[test]
    fn a_subnet_can_have_a_threshold_of_its_own() {
        let thresholds = Thresholds { subnet_free_percent: 5, ..Thresholds::default() };
        let exception = Exception { names: Pattern::new("subnet-*"), thresholds };
        let policy = AuditPolicy { subnets: vec![exception], ..AuditPolicy::default() };
        let outcome = engine::evaluate(&cluster(20).snapshot(), &policy, &Memory::default());
        assert!(outcome.subnets[0].findings.iter().all(|finding| finding.code != CODE));
    }

    #[test]
    fn without_interfaces_it_cannot_tell() {
        let mut snapshot = cluster(20).snapshot();
        snapshot.ec2.interfaces = Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::NetworkInterfaces]);
    }
}
