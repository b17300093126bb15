//! IPAM101: a subnet that has not enough free addresses for one more node.

use crate::{
    facts::{Facts, SubnetFacts},
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink, subnets::words},
    source::Source,
    text,
};

rule! {
    /// The subnet has not enough free addresses for one more node or interface.
    ///
    /// ## What it means
    ///
    /// A node takes addresses in one call for a whole interface: its own and every address it asks for, all or nothing.
    /// With fewer free addresses than that, EC2 refuses the call. New nodes start and cannot give their pods addresses;
    /// nodes that are there cannot grow.
    ///
    /// ## Why it happens
    ///
    /// Addresses are reserved by nodes, not used by pods: the CNI keeps a warm pool on every node, and its default is a
    /// whole interface's worth. Large instance types hold many addresses for few pods. Other causes are load balancers,
    /// endpoints and leaked interfaces in the same subnet.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-subnets --subnet-ids SUBNET --query 'Subnets[].AvailableIpAddressCount'
    /// aws ec2 describe-network-interfaces --filters Name=subnet-id,Values=SUBNET \
    ///     --query 'NetworkInterfaces[].[Attachment.InstanceId,length(PrivateIpAddresses),length(Ipv4Prefixes||`[]`)]' --output text
    /// ```
    ///
    /// ## What to do
    ///
    /// Make nodes hold less (`WARM_IP_TARGET` with `MINIMUM_IP_TARGET`, see IPAM210), which frees addresses within
    /// minutes. If the pods themselves need the space, add a subnet in the zone, or a secondary CIDR with custom
    /// networking, or move to prefixes in a subnet with whole free blocks.
    ///
    /// ## What it costs
    ///
    /// Lower warm pools cost EC2 calls when pods start beyond them. A new subnet or CIDR costs nothing by itself, but
    /// nodes have to be placed in it.
    ///
    /// ## When it fires
    ///
    /// Fewer addresses are free than a new node of the commonest instance type in the subnet takes here at its start
    /// under the CNI's present settings (17 where that is not known). Under custom networking the nodes' subnet pays for
    /// the node's own address only, and the ENIConfig's for the rest; where subnet discovery finds another subnet with
    /// room, the nodes' own addresses are all that has to come from here. For nodes in prefix mode, what reservations
    /// keep for prefixes counts as free. A subnet that was full stays so until
    /// `spec.thresholds.subnetHysteresisPercent` sixteenths more are free.
    pub SubnetFull;
    code: "IPAM101",
    name: "subnet-full",
    severity: Critical,
    condition: AddressesAvailable,
    sources: [Nodes, Subnets, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for subnet in facts.every_subnet().filter(|subnet| subnet.is_full()) {
        found.subnet(&subnet.subnet.id, violation(facts, subnet));
    }
    if facts.every_subnet().any(SubnetFacts::is_unsure) {
        found.lacks(Source::CidrReservations);
    }
}

fn violation(facts: &Facts<'_>, subnet: &SubnetFacts<'_>) -> sink::Violation {
    let takes = text::thousands(subnet.needed());
    let needs = match (&subnet.new_node_type, subnet.demand.relieved) {
        (Some(_), true) => format!("a new {}node takes {takes} of its own here", words::node_type(subnet)),
        (Some(_), false) => format!("a new {}node takes {takes}", words::node_type(subnet)),
        (None, _) => format!("an interface with a prefix takes {takes}"),
    };
    let room = match subnet.fits() {
        0 => String::new(),
        fits => format!(", room for {} more", text::thousands(fits)),
    };
    sink::Violation {
        severity: if subnet.demand.relieved { Severity::Warning } else { Severity::Critical },
        message: format!(
            "{} has {} and {}; {needs}{room}",
            words::name(subnet),
            words::free(subnet),
            words::whole_blocks(subnet),
        ),
        remediation: words::make_room(facts, subnet),
        evidence: vec![
            sink::evidence("free", subnet.subnet.available),
            sink::evidence("usable", subnet.usable.unwrap_or_default()),
            sink::evidence("needed", subnet.needed()),
            sink::evidence("idleOnNodes", text::known(subnet.idle())),
            sink::evidence("podsWaitingInCluster", facts.waiting_pods()),
        ],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        engine,
        finding::{Severity, Subject, fingerprint},
        inventory::ReservationKind,
        memory::Memory,
        policy::AuditPolicy,
        source::{Reading, Source},
        tests::{
            fixtures::Cluster,
            subnets::{add_subnet, answers, in_prefix_mode, recount, reserve},
        },
    };

    const CODE: &str = "IPAM101";

    fn cluster(free: u32) -> Cluster {
        Cluster::new("10.0.0.0/24", &[("WARM_ENI_TARGET", "1")]).node("m5.large", 29, &[9, 9], 5).with_free(free)
    }

    #[test]
    fn a_subnet_without_room_for_a_node_is_full() {
        let seen = answers(&cluster(9).snapshot(), CODE);
        assert_eq!(
            seen.messages(),
            [
                "subnet-1 (eu-central-1a) has 9 of 251 addresses free and 13 whole /28 blocks; a new m5.large node takes 10"
            ]
        );
        assert_eq!(seen.findings[0].severity, Severity::Critical);
        assert!(answers(&cluster(10).snapshot(), CODE).passed());
    }

    #[test]
    fn a_full_subnet_has_to_recover_a_little_further() {
        let mut memory = Memory::default();
        memory.open.insert(fingerprint(CODE, &Subject::Subnet("subnet-1".into())));
        let full = |free| {
            let outcome = engine::evaluate(&cluster(free).snapshot(), &AuditPolicy::default(), &memory);
            outcome.subnets[0].findings.iter().any(|finding| finding.code == CODE)
        };
        assert_eq!((full(11), full(12)), (true, false));
    }

    #[test]
    fn what_a_reservation_keeps_for_prefixes_is_room() {
        let mut snapshot = in_prefix_mode("10.0.0.0/24", &[&["10.0.0.64/28"]]);
        reserve(&mut snapshot, "10.0.0.128/25", ReservationKind::Prefix);
        recount(&mut snapshot);
        snapshot.ec2.subnets.last_good.as_mut().unwrap().value[0].available = 5;
        assert!(answers(&snapshot, CODE).passed());
        snapshot.ec2.reservations = Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::CidrReservations], "what is kept is not known");
    }

    #[test]
    fn a_full_home_with_a_tagged_subnet_beside_it_only_needs_the_nodes_own_addresses() {
        let mut snapshot = cluster(1).snapshot();
        let tags = [("kubernetes.io/role/cni", "1")];
        add_subnet(&mut snapshot, "subnet-2", "10.0.1.0/24", "eu-central-1a", 251).tags =
            tags.map(|(key, value)| (key.into(), value.into())).into();
        assert!(answers(&snapshot, CODE).passed());
        snapshot.ec2.subnets.last_good.as_mut().unwrap().value[0].available = 0;
        let seen = answers(&snapshot, CODE);
        assert_eq!(seen.findings[0].severity, Severity::Warning);
        assert!(seen.messages()[0].ends_with("a new m5.large node takes 1 of its own here"), "{:?}", seen.messages());
    }

    #[test]
    fn without_subnets_it_cannot_tell() {
        let mut snapshot = cluster(9).snapshot();
        snapshot.ec2.subnets = Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::Subnets]);
    }
}
