//! IPAM108: a reservation for prefixes in a subnet where nobody takes prefixes.

use crate::{
    facts::{Facts, SubnetFacts},
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink, subnets::words},
    source::Source,
    text,
};

rule! {
    /// Addresses are reserved for prefixes, and no node of the subnet takes prefixes.
    ///
    /// ## What it means
    ///
    /// EC2 gives nobody a single address out of a CIDR reservation of type `prefix`. Without prefix mode these addresses
    /// lie idle, and EC2 does not count them as available.
    ///
    /// ## Why it happens
    ///
    /// Prefix mode was planned or has been switched off again, and the reservation stayed.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 get-subnet-cidr-reservations --subnet-id SUBNET
    /// kubectl get ds aws-node -n kube-system \
    ///     -o jsonpath='{.spec.template.spec.containers[0].env[?(@.name=="ENABLE_PREFIX_DELEGATION")].value}'
    /// ```
    ///
    /// ## What to do
    ///
    /// Delete the reservation, or switch to prefix mode.
    ///
    /// ## What it costs
    ///
    /// Nothing: single addresses that are in the range stay what they are.
    ///
    /// ## When it fires
    ///
    /// A reservation of type `prefix` is in the subnet, nothing in it is assigned as a prefix, and no node that takes
    /// its pods' addresses here is in prefix mode. A warning where the subnet is full or low, information elsewhere.
    pub ReservationUnused;
    code: "IPAM108",
    name: "reservation-unused",
    severity: Warning,
    condition: AddressesAvailable,
    sources: [Nodes, Subnets, NetworkInterfaces, CidrReservations],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for subnet in facts.every_subnet().filter(|subnet| !subnet.demand.prefixes && !subnet.demand.drawers.is_empty()) {
        let Some(blocks) = &subnet.blocks else { continue };
        let reservations = blocks.reservations();
        if reservations.is_empty() || reservations.iter().any(|reservation| reservation.prefixes > 0) {
            continue;
        }
        let unknown = |at: &usize| facts.nodes.get(*at).is_none_or(|node| node.cni.is_none() || node.limits.is_none());
        if subnet.demand.drawers.iter().any(unknown) {
            found.lacks(Source::AwsNode);
            continue;
        }
        let ranges: Vec<String> = reservations.iter().map(|reservation| reservation.cidr.to_string()).collect();
        found.subnet(&subnet.subnet.id, violation(subnet, &text::list(&ranges, "and", 3), blocks.untaken_kept()));
    }
}

fn violation(subnet: &SubnetFacts<'_>, ranges: &str, idle: u32) -> sink::Violation {
    let short = subnet.is_full() || subnet.is_low();
    sink::Violation {
        severity: if short { Severity::Warning } else { Severity::Info },
        message: format!(
            "{} keeps {} in {ranges} for prefixes, and no node here takes prefixes",
            words::name(subnet),
            text::count(idle, "address"),
        ),
        remediation: format!(
            "Delete the reservation with aws ec2 delete-subnet-cidr-reservation: that makes {} available; or set \
             ENABLE_PREFIX_DELEGATION=true.",
            text::count(idle, "address"),
        ),
        evidence: vec![sink::evidence("reserved", ranges), sink::evidence("idle", idle)],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        inventory::ReservationKind,
        snapshot::ClusterSnapshot,
        source::{Reading, Source},
        tests::{
            fixtures::Cluster,
            subnets::{answers, in_prefix_mode, reserve, subnets},
        },
    };

    const CODE: &str = "IPAM108";

    fn reserved() -> ClusterSnapshot {
        let mut snapshot = Cluster::new("10.0.0.0/24", &[]).node("m5.large", 29, &[9, 9], 5).snapshot();
        reserve(&mut snapshot, "10.0.0.128/25", ReservationKind::Prefix);
        snapshot
    }

    #[test]
    fn a_reservation_that_nobody_uses_is_idle_space() {
        let mut snapshot = reserved();
        let seen = answers(&snapshot, CODE);
        assert_eq!(
            seen.messages(),
            ["subnet-1 (eu-central-1a) keeps 127 addresses in 10.0.0.128/25 for prefixes, and no node here takes \
              prefixes"]
        );
        assert_eq!(seen.findings[0].severity, Severity::Info);
        subnets(&mut snapshot)[0].available = 5;
        assert_eq!(answers(&snapshot, CODE).findings[0].severity, Severity::Warning, "the subnet is full");
    }

    #[test]
    fn nodes_in_prefix_mode_use_it() {
        let mut snapshot = in_prefix_mode("10.0.0.0/24", &[&["10.0.0.16/28"]]);
        reserve(&mut snapshot, "10.0.0.128/25", ReservationKind::Prefix);
        assert!(answers(&snapshot, CODE).passed());
    }

    #[test]
    fn without_reservations_or_settings_it_cannot_tell() {
        let mut snapshot = reserved();
        snapshot.aws_node = Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::AwsNode]);
        snapshot.ec2.reservations = Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::CidrReservations]);
    }
}
