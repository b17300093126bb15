//! IPAM703: a zone in which Karpenter has no subnet with room for a node.

use super::{can_tell, free, kept_is_unknown, node_class, with_free};
use crate::{
    facts::{Facts, karpenter::ClassFacts},
    finding::Severity,
    inventory::Subnet,
    policy::AuditPolicy,
    rules::{Violations, sink},
    source::Source,
    text,
};

/// Zones that a message tells about.
const ZONES: usize = 3;

rule! {
    /// Karpenter has a zone in which none of its subnets has room for another node.
    ///
    /// ## What it means
    ///
    /// Karpenter picks, per zone, the subnet with most free addresses, and launches there as long as a single one is
    /// free. It does not know what a node takes at its start. The node comes up, its CNI gets no addresses, and its pods
    /// stay in `ContainerCreating`.
    ///
    /// ## Why it happens
    ///
    /// The selector of the `EC2NodeClass` finds too few or too small subnets in the zone, or others fill them.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get ec2nodeclass NAME -o jsonpath='{range .status.subnets[*]}{.zone}{"\t"}{.id}{"\n"}{end}'
    /// aws ec2 describe-subnets --subnet-ids SUBNET --query 'Subnets[].AvailableIpAddressCount' --output text
    /// ```
    ///
    /// ## What to do
    ///
    /// Let the selector (`spec.subnetSelectorTerms`) find another subnet of the zone, free addresses in those it finds
    /// (IPAM101), or take the zone out of the NodePool's requirements until there is room.
    ///
    /// ## What it costs
    ///
    /// A new subnet costs nothing; without the zone, nodes gather in the others.
    ///
    /// ## When it fires
    ///
    /// In some zone every subnet in the status of the node class has fewer free addresses than a new node of it takes at
    /// its start: warning; in every zone: critical. Only for node classes that a NodePool uses. Where nodes take prefixes,
    /// what reservations keep for prefixes counts as free.
    pub KarpenterZoneFull;
    code: "IPAM703",
    name: "karpenter-zone-full",
    severity: Critical,
    condition: CapacityAvailable,
    sources: [Nodes],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let sources = [Source::NodeClasses, Source::NodePools, Source::Subnets, Source::NetworkInterfaces, Source::AwsNode];
    if !can_tell(facts, found, &sources) {
        return;
    }
    for class in facts.karpenter.classes.iter().filter(|class| !class.pools.is_empty()) {
        let Some(need) = class.need(facts) else { continue };
        let full = full_zones(facts, class, need);
        if full.is_empty() {
            continue;
        }
        if kept_is_unknown(facts) {
            found.lacks(Source::CidrReservations);
        } else {
            found.subject(node_class(class), violation(class, &full, need));
        }
    }
}

/// Zones, each with its subnets, in which no node fits.
fn full_zones<'a>(facts: &Facts<'_>, class: &'a ClassFacts<'_>, need: u32) -> Vec<(String, &'a [&'a Subnet])> {
    let full = class.zones.iter().filter(|(_, subnets)| subnets.iter().all(|subnet| free(facts, subnet) < need));
    full.map(|(zone, subnets)| (zone.to_string(), subnets.as_slice())).collect()
}

fn violation(class: &ClassFacts<'_>, full: &[(String, &[&Subnet])], need: u32) -> sink::Violation {
    let everywhere = full.len() == class.zones.len();
    let zones: Vec<String> = full.iter().map(|(zone, _)| zone.clone()).collect();
    let subnets = full.iter().flat_map(|(_, subnets)| subnets.iter().copied());
    let zones = text::list(&zones, "and", ZONES);
    sink::Violation {
        severity: if everywhere { Severity::Critical } else { Severity::Warning },
        message: format!(
            "EC2NodeClass {} has no subnet in {zones} with the {} that a new node takes: {}; Karpenter launches there \
             all the same",
            class.class.name,
            text::count(need, "address"),
            with_free(subnets),
        ),
        remediation: format!(
            "Let spec.subnetSelectorTerms find a subnet of {zones} with room, or free addresses in these; until then \
             keep {} out of the NodePools' requirements.",
            text::verb(u32::try_from(full.len()).unwrap_or(u32::MAX), "the zone", "the zones"),
        ),
        evidence: vec![
            sink::evidence("newNodeTakes", need),
            sink::evidence("fullZones", full.len()),
            sink::evidence("zones", class.zones.len()),
        ],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        inventory::{CidrReservation, ReservationKind},
        snapshot::ClusterSnapshot,
        source::{Reading, Source},
        tests::karpenter::{Setup, answers},
    };

    const CODE: &str = "IPAM703";

    fn setup(free: [u32; 2]) -> Setup {
        let setup = Setup::new(&[]).class("default", None).pool("general", "default", &[]).node_of("general");
        setup.subnet("default", "subnet-1", "eu-central-1a", free[0]).subnet(
            "default",
            "subnet-2",
            "eu-central-1b",
            free[1],
        )
    }

    #[test]
    fn one_zone_without_room_warns_and_all_are_critical() {
        let seen = answers(&setup([3, 500]).snapshot(), CODE);
        assert_eq!(seen.findings[0].severity, Severity::Warning);
        assert_eq!(
            seen.messages(),
            ["EC2NodeClass default has no subnet in eu-central-1a with the 10 addresses that a new node takes: \
                 subnet-1 (3 free); Karpenter launches there all the same"]
        );
        assert_eq!(answers(&setup([3, 4]).snapshot(), CODE).findings[0].severity, Severity::Critical);
    }

    #[test]
    fn another_subnet_of_the_zone_is_room_enough() {
        let setup = setup([3, 500]).subnet("default", "subnet-3", "eu-central-1a", 200);
        assert!(answers(&setup.snapshot(), CODE).passed());
    }

    #[test]
    fn what_is_kept_for_prefixes_is_room() {
        let prefixes = [("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_PREFIX_TARGET", "1")];
        let setup = |subnet: &'static str| {
            let setup = Setup::new(&prefixes).class("default", None).pool("general", "default", &[]).node_of("general");
            let setup = setup.subnet("default", "subnet-1", "eu-central-1a", 900);
            setup.subnet("default", subnet, "eu-central-1b", 3)
        };
        let kept = |snapshot: &mut ClusterSnapshot| {
            let row = CidrReservation {
                subnet: "subnet-2".into(),
                cidr: "10.0.8.0/21".parse().unwrap(),
                kind: ReservationKind::Prefix,
            };
            snapshot.ec2.reservations.last_good.as_mut().unwrap().value.push(row);
        };
        assert!(answers(&setup("subnet-2").change(kept).snapshot(), CODE).passed());
        assert_eq!(answers(&setup("subnet-3").change(kept).snapshot(), CODE).findings.len(), 1, "of another subnet");
        let unknown = |snapshot: &mut ClusterSnapshot| snapshot.ec2.reservations = Reading::default();
        assert_eq!(answers(&setup("subnet-2").change(unknown).snapshot(), CODE).missing(), [Source::CidrReservations]);
    }

    #[test]
    fn without_node_classes_it_cannot_tell_where_karpenter_made_nodes() {
        let mut snapshot = setup([3, 4]).snapshot();
        snapshot.objects = crate::snapshot::ClusterObjects::default();
        assert!(answers(&snapshot, CODE).missing().contains(&Source::NodeClasses));
    }
}
