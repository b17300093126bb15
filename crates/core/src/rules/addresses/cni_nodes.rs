//! CNINodes beside the nodes that they stand for.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::{
    facts::Facts,
    ids::NodeName,
    snapshot::{CniNode, Node},
    source::Source,
};

/// When both nodes and CNINodes were seen: the older of the two views.
pub(super) fn seen_at(facts: &Facts<'_>) -> Option<Timestamp> {
    Some(facts.as_of(Source::Nodes)?.min(facts.as_of(Source::CniNodes)?))
}

/// The time that an object gets to become what it should be.
pub(super) fn settle(facts: &Facts<'_>) -> SignedDuration {
    SignedDuration::from_secs(facts.policy.thresholds.settle_seconds.into())
}

/// Nodes of every platform by their names.
pub(super) fn nodes<'a>(facts: &Facts<'a>) -> BTreeMap<&'a NodeName, &'a Node> {
    facts.snapshot.nodes.value().into_iter().flatten().map(|node| (&node.name, node.as_ref())).collect()
}

/// All CNINodes.
pub(super) fn all<'a>(facts: &Facts<'a>) -> &'a [CniNode] {
    facts.snapshot.cni_nodes.value().map_or(&[], Vec::as_slice)
}
