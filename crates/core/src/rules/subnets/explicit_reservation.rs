//! IPAM111: explicit reservations that keep much of a pod subnet from pods.

use crate::{
    facts::{Blocks, Facts, SubnetFacts, demand::Role},
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink, subnets::words},
    text,
};

/// A share of the subnet (percent) that is worth a word.
const SHARE: u32 = 10;

rule! {
    /// A good part of the subnet is reserved explicitly: neither nodes nor pods get addresses there.
    ///
    /// ## What it means
    ///
    /// EC2 assigns nothing by itself out of a CIDR reservation of type `explicit`; only who asks for exactly such an
    /// address gets it. The CNI never does. The subnet is smaller for the cluster than its size says.
    ///
    /// ## Why it happens
    ///
    /// Somebody keeps fixed addresses for appliances or databases, or the type was mistaken for `prefix`.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 get-subnet-cidr-reservations --subnet-id SUBNET
    /// ```
    ///
    /// ## What to do
    ///
    /// If it was meant for the CNI's prefixes, delete it and reserve the range again with type `prefix`. Else keep it, or
    /// move it to a subnet without pods.
    ///
    /// ## What it costs
    ///
    /// Nothing: addresses that are in use in the range stay.
    ///
    /// ## When it fires
    ///
    /// Explicit reservations cover more than a tenth of a subnet that nodes or pods take addresses from.
    pub ExplicitReservation;
    code: "IPAM111",
    name: "explicit-reservation",
    severity: Info,
    condition: AddressesAvailable,
    sources: [Nodes, Subnets, NetworkInterfaces, CidrReservations],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let serves = |subnet: &&SubnetFacts<'_>| subnet.has(Role::Pods) || subnet.has(Role::NodeHome);
    for subnet in facts.every_subnet().filter(serves) {
        let covered = subnet.blocks.as_ref().map_or(0, Blocks::explicit);
        let usable = subnet.usable.unwrap_or_default();
        if u64::from(covered) * 100 > u64::from(usable) * u64::from(SHARE) {
            found.subnet(&subnet.subnet.id, violation(subnet, covered, usable));
        }
    }
}

fn violation(subnet: &SubnetFacts<'_>, covered: u32, usable: u32) -> sink::Violation {
    sink::Violation {
        severity: Severity::Info,
        message: format!(
            "{} has explicit reservations over {} of its {}, {} %: nodes and pods get none of them",
            words::name(subnet),
            text::thousands(covered),
            text::count(usable, "address"),
            text::percent(covered, usable),
        ),
        remediation: "If they were meant for the CNI, reserve the same ranges with type prefix instead.".to_owned(),
        evidence: vec![
            sink::evidence("explicitlyReserved", covered),
            sink::evidence("usable", usable),
            sink::evidence("free", subnet.subnet.available),
        ],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        inventory::ReservationKind,
        snapshot::ClusterSnapshot,
        source::{Reading, Source},
        tests::{
            fixtures::Cluster,
            subnets::{answers, reserve},
        },
    };

    const CODE: &str = "IPAM111";

    fn reserved(cidr: &str) -> ClusterSnapshot {
        let mut snapshot = Cluster::new("10.0.0.0/24", &[]).node("m5.large", 29, &[9, 9], 5).snapshot();
        reserve(&mut snapshot, cidr, ReservationKind::Explicit);
        snapshot
    }

    #[test]
    fn more_than_a_tenth_is_worth_a_word() {
        assert_eq!(
            answers(&reserved("10.0.0.128/27"), CODE).messages(),
            [
                "subnet-1 (eu-central-1a) has explicit reservations over 32 of its 251 addresses, 13 %: nodes and pods get \
              none of them"
            ]
        );
        assert!(answers(&reserved("10.0.0.128/28"), CODE).passed());
    }

    #[test]
    fn without_reservations_it_cannot_tell() {
        let mut snapshot = reserved("10.0.0.128/27");
        snapshot.ec2.reservations = Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::CidrReservations]);
    }
}
