//! The answer in a few sentences: what is wrong, why, what to do. Each number is computed; what is not known is left out.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    facts::{Facts, NodeFacts, Pool},
    finding::Severity,
    outcome::{Advised, Answer, Problem, Totals},
    policy::AuditPolicy,
    source::SourceState,
    text,
};

/// Zones and settings that a sentence names.
const NAMED: usize = 3;

pub(super) fn of(facts: &Facts<'_>, policy: &AuditPolicy, totals: &Totals, problems: &[Problem]) -> Answer {
    Answer {
        state: state(facts, totals, problems),
        why: why(facts, policy, totals),
        advice: what_to_do(facts, policy),
        missing: missing(facts),
    }
}

/// The worst first: full subnets and waiting pods, else the worst problem, else that all is well.
fn state(facts: &Facts<'_>, totals: &Totals, problems: &[Problem]) -> Option<String> {
    let full: Vec<_> = facts.subnets.iter().filter(|subnet| subnet.is_full()).collect();
    let waiting = totals.waiting_pods.unwrap_or_default();
    if !full.is_empty() {
        let mut zones: Vec<String> = full.iter().map(|subnet| subnet.subnet.zone.to_string()).collect();
        zones.dedup();
        let wait = match waiting {
            0 => String::new(),
            _ => format!(", and {} already {}", text::count(waiting, "pod"), text::verb(waiting, "waits", "wait")),
        };
        let number = u32::try_from(full.len()).unwrap_or(u32::MAX);
        return Some(format!(
            "{number} of {} {} {} full: the next node in {} finds no room for its pods{wait}.",
            facts.subnets.len(),
            text::plural(u32::try_from(facts.subnets.len()).unwrap_or(u32::MAX), "subnet"),
            text::verb(number, "is", "are"),
            text::list(&zones, "or", NAMED),
        ));
    }
    match problems.first() {
        Some(worst) if worst.severity > Severity::Info => Some(format!("{}: {}.", worst.name, worst.message)),
        _ => nothing_wrong(facts, totals),
    }
}

fn nothing_wrong(facts: &Facts<'_>, totals: &Totals) -> Option<String> {
    let (nodes, free) = (totals.nodes?, totals.free_addresses?);
    let subnets = u32::try_from(facts.subnets.len()).ok()?;
    if nodes == 0 {
        return Some("No node takes pod addresses by the VPC CNI: there is nothing to audit yet.".to_owned());
    }
    Some(format!(
        "{} in {} {} room: {} free.",
        text::count(nodes, "node"),
        text::count(subnets, "subnet"),
        text::verb(nodes, "has", "have"),
        text::count(free, "address"),
    ))
}

/// Who holds the idle addresses: the kind of node that holds most of them, if it is worth a sentence.
fn why(facts: &Facts<'_>, policy: &AuditPolicy, totals: &Totals) -> Option<String> {
    let idle = totals.idle_addresses.filter(|idle| *idle > policy.thresholds.idle_addresses)?;
    let mut kinds: BTreeMap<Kind, Vec<&NodeFacts<'_>>> = BTreeMap::new();
    for node in facts.nodes.iter().filter(|node| facts.advice.node(node).is_some()) {
        kinds.entry(Kind::of(node)).or_default().push(node);
    }
    let idle_of = |nodes: &[&NodeFacts<'_>]| {
        nodes.iter().filter_map(|node| node.pool.as_ref()).map(|pool| pool.idle).sum::<u32>()
    };
    let (kind, nodes) = kinds.into_iter().max_by_key(|(_, nodes)| idle_of(nodes))?;
    let number = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
    let share = match idle_of(&nodes) {
        all if all == idle => "all".to_owned(),
        part => format!("{} %", text::percent(part, idle)),
    };
    Some(format!(
        "{} {} held by nodes for pods that do not exist; {share} of them on {number} {}{}.",
        text::count(idle, "address"),
        text::verb(idle, "is", "are"),
        kind.name(number),
        each(&nodes),
    ))
}

/// What each node of a kind holds, if they are alike.
fn each(nodes: &[&NodeFacts<'_>]) -> String {
    let mut pools = nodes.iter().filter_map(|node| node.pool.as_ref());
    let Some(one) = pools.next() else { return String::new() };
    let alike = |other: &Pool<'_>| (other.held, other.own, other.used) == (one.held, one.own, one.used);
    if !pools.all(alike) {
        return String::new();
    }
    let several = nodes.len() > 1;
    format!(
        ", which {} {}{} ({} with {} interfaces' own) for {}{}",
        if several { "keep" } else { "keeps" },
        text::count(one.held, "pod address"),
        if several { " each" } else { "" },
        text::thousands(one.held + one.own),
        if several { "their" } else { "its" },
        text::count(one.used, "pod"),
        workload(nodes),
    )
}

/// The workload of those pods, if it is one.
fn workload(nodes: &[&NodeFacts<'_>]) -> String {
    let mut names: Vec<&Arc<str>> = nodes.iter().filter_map(|node| node.workload.as_ref()).collect();
    names.sort_unstable();
    names.dedup();
    match names.as_slice() {
        [one] => format!(" of {one}"),
        _ => String::new(),
    }
}

/// Nodes of one type and node group.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    instance_type: Option<String>,
    node_group: Option<Arc<str>>,
}

impl Kind {
    fn of(node: &NodeFacts<'_>) -> Self {
        let instance_type = node.node.instance_type.as_ref().map(ToString::to_string);
        Self { instance_type, node_group: node.node.node_group.clone() }
    }

    /// So many of them.
    fn name(&self, number: u32) -> String {
        let group = self.node_group.as_ref().map_or_else(String::new, |group| format!(" of node group {group}"));
        format!("{} {}{group}", self.instance_type.as_deref().unwrap_or("other"), text::plural(number, "node"))
    }
}

/// The settings that free most, if any node holds too much.
fn what_to_do(facts: &Facts<'_>, policy: &AuditPolicy) -> Option<Advised> {
    let limit = policy.thresholds.idle_addresses;
    let better = facts.nodes.iter().filter_map(|node| facts.advice.node(node)).filter(|better| better.freed > limit);
    let (freed, calls) =
        better.fold((0, 0), |(freed, calls), node| (freed + node.returned, node.calls_per_pod.max(calls)));
    (freed > 0).then(|| Advised {
        settings: facts.advice.settings().to_owned(),
        addresses: freed,
        calls_per_pod: calls,
        daemon_set: facts.snapshot.aws_node.value().map(|aws_node| aws_node.daemon_set.clone()),
    })
}

/// What could not be looked at.
fn missing(facts: &Facts<'_>) -> Option<String> {
    let required = || facts.sources.iter().filter(|state| state.fault.is_some() && !state.source.is_optional());
    let names: Vec<String> = required().map(|state| state.source.to_string()).collect();
    (!names.is_empty()).then(|| {
        let absent = required().any(SourceState::is_missing);
        let (verb, code) = if absent {
            ("could not be read", "IPAM901")
        } else {
            ("can no longer be read, their last good view is used", "IPAM902")
        };
        format!("Not everything is known: {} {verb}; {code} says why.", text::list(&names, "and", NAMED + 2))
    })
}
