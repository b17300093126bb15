//! Rules about Karpenter: codes 7xx.

mod branches_off;
mod launch_failed;
mod max_pods;
mod no_subnets;
mod no_trunk;
mod outgrows_subnets;
mod pod_subnets_full;
mod public_subnets;
mod reserved_interfaces;
mod zone_full;

use ipnet::Ipv4Net;

use super::{Rule, Violations};
use crate::{
    facts::{
        Facts,
        karpenter::{ClassFacts, Feature},
    },
    finding::Subject,
    inventory::{ReservationKind, Subnet},
    source::Source,
    text,
};

/// The rules of this area, sorted by code.
pub(super) const RULES: &[&dyn Rule] = &[
    &reserved_interfaces::KarpenterReservedInterfaces,
    &max_pods::KarpenterMaxPods,
    &zone_full::KarpenterZoneFull,
    &public_subnets::KarpenterPublicSubnets,
    &launch_failed::KarpenterLaunchFailed,
    &branches_off::KarpenterBranchesOff,
    &no_trunk::KarpenterNoTrunk,
    &no_subnets::KarpenterNoSubnets,
    &pod_subnets_full::KarpenterPodSubnetsFull,
    &outgrows_subnets::KarpenterOutgrowsSubnets,
];

/// Subnets that a message names.
const NAMED: usize = 3;

/// Whether there is a Karpenter, and all that a rule needs to know of it was read. A rule says that it cannot tell only
/// where there is one.
fn can_tell(facts: &Facts<'_>, found: &mut Violations<'_>, sources: &[Source]) -> bool {
    if !facts.karpenter.is_here() {
        return false;
    }
    let mut all = true;
    for source in sources.iter().copied() {
        all &= !facts.is_missing(source);
        if facts.is_missing(source) || facts.is_failing(source) {
            found.lacks(source);
        }
    }
    all
}

/// What new nodes have for a feature; where that cannot be read the rule says so.
fn new_nodes_use(facts: &Facts<'_>, found: &mut Violations<'_>, feature: Feature) -> Option<bool> {
    let answer = facts.karpenter.new_nodes_use(feature);
    if answer.is_none() {
        found.lacks(Source::AwsNode);
    }
    answer
}

fn node_class(class: &ClassFacts<'_>) -> Subject {
    Subject::Object("EC2NodeClass", class.class.name.clone())
}

/// Whether prefixes are in use and nobody knows what reservations keep for them.
fn kept_is_unknown(facts: &Facts<'_>) -> bool {
    let prefixes = facts.karpenter.new_nodes_use(Feature::Prefixes) == Some(true);
    prefixes && facts.is_missing(Source::CidrReservations)
}

/// What a new node can take in a subnet: what EC2 calls available, and what reservations keep for its prefixes.
fn free(facts: &Facts<'_>, subnet: &Subnet) -> u32 {
    if subnet.available == 0 {
        // The node's own address never comes out of a reservation.
        return 0;
    }
    if let Some(known) = facts.subnet(&subnet.id) {
        return known.headroom();
    }
    if facts.karpenter.new_nodes_use(Feature::Prefixes) != Some(true) {
        return subnet.available;
    }
    // No node is there yet, so that nothing of the reservations is taken.
    let reservations = facts.snapshot.ec2.reservations.value().into_iter().flatten();
    let kept = reservations.filter(|one| one.subnet == subnet.id && one.kind == ReservationKind::Prefix);
    let size = |cidr: Ipv4Net| 1_u32.checked_shl(u32::from(32 - cidr.prefix_len())).unwrap_or(u32::MAX);
    kept.map(|one| size(one.cidr)).fold(subnet.available, u32::saturating_add)
}

/// Subnets with what is free in them: `subnet-1 (3 free)`.
fn with_free<'a>(subnets: impl IntoIterator<Item = &'a Subnet>) -> String {
    let said = |subnet: &Subnet| format!("{} ({} free)", subnet.id, text::thousands(subnet.available));
    let texts: Vec<String> = subnets.into_iter().map(said).collect();
    text::list(&texts, "and", NAMED)
}
