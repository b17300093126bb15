//! Branch interfaces and the trunks that carry them.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use crate::{
    facts::{Facts, Owner, trunk::TRUNK_OF_BRANCH},
    inventory::{Interface, InterfaceKind},
};

/// Seconds for which a branch is kept after its pod, where the ConfigMap does not say otherwise.
const COOL_DOWN: u32 = 60;

/// The branch interfaces of an owner.
pub(super) fn with_owner<'a>(facts: &Facts<'a>, wanted: Owner) -> Vec<&'a Interface> {
    let interfaces = facts.snapshot.ec2.interfaces.value().into_iter().flatten().zip(&facts.owners);
    let branches = interfaces.filter(|(row, owner)| **owner == wanted && row.kind == InterfaceKind::Branch);
    branches.map(|(row, _)| row).collect()
}

/// The trunk that a branch names.
pub(super) fn trunk_of(branch: &Interface) -> Option<&str> {
    branch.tag(TRUNK_OF_BRANCH)
}

/// Nodes (by index) by their trunks.
pub(super) fn trunks<'a>(facts: &Facts<'a>) -> BTreeMap<&'a str, usize> {
    let trunk = |(at, node): (usize, &crate::facts::NodeFacts<'a>)| {
        let trunk = node.interfaces.iter().flatten().find(|interface| interface.kind == InterfaceKind::Trunk)?;
        Some((trunk.id.as_str(), at))
    };
    facts.nodes.iter().enumerate().filter_map(trunk).collect()
}

/// How long a branch is kept after its pod.
pub(super) fn cool_down(facts: &Facts<'_>) -> SignedDuration {
    let maps = facts.snapshot.objects.config_maps.value().into_iter().flatten();
    let configured = maps.filter(|map| &*map.name == "amazon-vpc-cni").find_map(|map| map.get("branch-eni-cooldown"));
    let seconds = configured.and_then(|text| text.parse().ok()).unwrap_or(COOL_DOWN);
    SignedDuration::from_secs(i64::from(seconds))
}
