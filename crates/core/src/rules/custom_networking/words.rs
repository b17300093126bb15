//! What the rules about ENIConfigs and subnet tags have in common: when they can answer, and how they say it.

use jiff::SignedDuration;

use crate::{
    facts::{
        Facts, NodeFacts,
        discovery::Outlook,
        eni_config::{ChosenBy, Use},
    },
    inventory::Subnet,
    rules::{
        Violations,
        sink::{Place, Violation},
    },
    source::Source,
    text,
};

/// Names that one sentence lists.
pub(super) const NAMED: usize = 4;

/// The ENIConfigs that nodes ask for; none of them while it is not known which objects there are. What a rule cannot
/// see is noted as lacking.
pub(super) fn uses<'f, 'a>(facts: &'f Facts<'a>, found: &mut Violations<'_>) -> &'f [Use<'a>] {
    if let Some(source) = facts.unknown_of_custom_networking() {
        found.lacks(source);
    }
    let known = facts.custom_networking.configs().is_some();
    if known { facts.custom_networking.uses() } else { &[] }
}

/// Whether a source is there; noted as lacking if not.
pub(super) fn has(facts: &Facts<'_>, found: &mut Violations<'_>, source: Source) -> bool {
    let has = !facts.is_missing(source);
    if !has {
        found.lacks(source);
    }
    has
}

/// The subnet of a node's primary interface, as EC2 reports it.
pub(super) fn home<'a>(facts: &Facts<'a>, node: &NodeFacts<'a>) -> Option<&'a Subnet> {
    node.home().and_then(|id| facts.subnet_row(id))
}

/// A finding that something of EC2 is not there. An object of Kubernetes may be newer than the reading of EC2 that lacks
/// what it names: then a second reading has to agree.
pub(super) fn absent(
    facts: &Facts<'_>,
    found: &mut Violations<'_>,
    source: Source,
    place: Place,
    identity: &str,
    violation: Violation,
) {
    let objects = facts.as_of(Source::EniConfigs);
    match facts.as_of(source) {
        Some(read) if objects.is_some_and(|objects| objects > read) => {
            let apart = SignedDuration::from_secs(facts.policy.thresholds.suspicion_seconds.into());
            found.suspicion(place, identity, read, apart, violation);
        }
        _ => found.at(place, violation),
    }
}

/// What nodes choose from, kind by kind. Nodes whose settings are not known are noted as lacking.
pub(super) fn outlooks<'f, 'a>(facts: &'f Facts<'a>, found: &mut Violations<'_>) -> &'f [Outlook<'a>] {
    if facts.discovery.is_unknown() {
        found.lacks(Source::AwsNode);
    }
    facts.discovery.outlooks()
}

/// An ENIConfig in a sentence.
pub(super) fn config(name: &str) -> String {
    if name.is_empty() { "the ENIConfig with the empty name".to_owned() } else { format!("ENIConfig {name}") }
}

/// `3 nodes ask for it by their label topology.kubernetes.io/zone`.
pub(super) fn who_asks(facts: &Facts<'_>, used: &Use<'_>) -> String {
    let nodes = text::count(used.count(), "node");
    let ask = text::verb(used.count(), "asks", "ask");
    let key = used.choices(facts).next().and_then(|(node, choice)| {
        let cni = node.cni.as_ref()?;
        Some(match choice.by {
            ChosenBy::Nothing => format!(" for want of a {}", ChosenBy::Label.text(cni)),
            by => format!(" by {} {}", text::verb(used.count(), "its", "their"), by.text(cni)),
        })
    });
    format!("{nodes} {ask} for it{}", key.unwrap_or_default())
}

/// The zones of nodes, in a sentence.
pub(super) fn zones<'f, 'a: 'f>(nodes: impl Iterator<Item = &'f NodeFacts<'a>>) -> String {
    let mut zones: Vec<String> = nodes.filter_map(|node| Some(node.node.zone.as_ref()?.to_string())).collect();
    zones.sort_unstable();
    zones.dedup();
    if zones.is_empty() { "their zone".to_owned() } else { text::list(&zones, "and", NAMED) }
}

/// Whether some of the nodes still take pods: what breaks on cordoned ones hurts nobody now.
pub(super) fn take_pods<'f, 'a: 'f>(mut nodes: impl Iterator<Item = &'f NodeFacts<'a>>) -> bool {
    nodes.any(|node| !node.node.cordoned)
}

/// The VPC CNI's DaemonSet, where findings about its settings are.
pub(super) fn daemon_set(facts: &Facts<'_>) -> Option<crate::finding::Subject> {
    let aws_node = facts.snapshot.aws_node.value()?;
    Some(crate::finding::Subject::DaemonSet(aws_node.daemon_set.clone()))
}
