//! Conditions: what the findings and the facts add up to, per node, per subnet and for the audit.
//!
//! Positive polarity. `Unknown` whenever the data for a condition are missing or stale; its message names them.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    facts::{Answer, Facts, Kind, NodeFacts, Pool, SubnetFacts},
    finding::{Finding, Severity},
    ids::SubnetId,
    outcome::{Condition, ConditionStatus, ConditionType, Problem, RuleResult},
    policy::AuditPolicy,
    rules::{self, RuleMeta},
    source::Source,
    text,
};

/// The sources that conditions may rest on, and the gate.
#[derive(Debug)]
pub(super) struct Trust {
    gate: Option<Severity>,
    unusable: BTreeSet<Source>,
}

impl Trust {
    /// A source that was never read, or whose last good view is older than the policy allows, proves nothing.
    pub(super) fn of(facts: &Facts<'_>, policy: &AuditPolicy) -> Self {
        let now = facts.snapshot.taken_at;
        let limit = jiff::SignedDuration::from_secs(i64::from(policy.thresholds.stale_seconds));
        let bad = facts.sources.iter().filter(|state| state.is_missing() || state.is_stale(now, limit));
        Self { gate: policy.gate, unusable: bad.map(|state| state.source).collect() }
    }

    /// The first of some sources that proves nothing.
    fn lacks(&self, needed: &[Source]) -> Option<Source> {
        needed.iter().copied().find(|source| self.unusable.contains(source))
    }

    fn unknown(&self, kind: ConditionType, needed: &[Source]) -> Option<Condition> {
        let source = self.lacks(needed)?;
        let message = format!("{source} is missing or too old; DataComplete of the audit says why");
        Some(Condition { kind, status: ConditionStatus::Unknown, reason: "DataMissing", message: message.into() })
    }
}

const POOL: &[Source] = &[Source::Nodes, Source::Pods, Source::NetworkInterfaces];
const WARM_POOL: &[Source] = &[Source::Nodes, Source::Pods, Source::NetworkInterfaces, Source::AwsNode];
const SUBNET: &[Source] = &[Source::Nodes, Source::Subnets, Source::NetworkInterfaces];
const EVERYTHING: &[Source] =
    &[Source::Nodes, Source::Pods, Source::AwsNode, Source::Subnets, Source::NetworkInterfaces];

fn good(kind: ConditionType, reason: &'static str, message: impl Into<Arc<str>>) -> Condition {
    Condition { kind, status: ConditionStatus::True, reason, message: message.into() }
}

fn bad(kind: ConditionType, reason: &'static str, message: impl Into<Arc<str>>) -> Condition {
    Condition { kind, status: ConditionStatus::False, reason, message: message.into() }
}

fn unknown(kind: ConditionType, message: impl Into<Arc<str>>) -> Condition {
    Condition { kind, status: ConditionStatus::Unknown, reason: "DataMissing", message: message.into() }
}

fn meta(code: &str) -> Option<&'static RuleMeta> {
    rules::by_code(code)
}

/// The worst finding whose rule turns a condition to `False`.
fn violated(kind: ConditionType, findings: &[Finding]) -> Option<Condition> {
    let of_kind = |finding: &&Finding| meta(finding.code).is_some_and(|meta| meta.condition == kind);
    let worst = findings.iter().find(of_kind)?;
    Some(bad(kind, meta(worst.code)?.reason, worst.message.clone()))
}

/// Of a node or a subnet: `False` from a warning on. The gate is about the audit as a whole.
fn healthy(trust: &Trust, needed: &[Source], findings: &[Finding]) -> Condition {
    const KIND: ConditionType = ConditionType::Healthy;
    let worst = findings.first();
    if let Some(finding) = worst.filter(|finding| finding.severity >= Severity::Warning) {
        return bad(KIND, meta(finding.code).map_or("Findings", |meta| meta.reason), finding.message.clone());
    }
    if let Some(condition) = trust.unknown(KIND, needed) {
        return condition;
    }
    match worst {
        None => good(KIND, "NoFindings", "no findings"),
        Some(finding) => {
            good(KIND, "InformationOnly", format!("the worst finding is {} ({})", finding.name, finding.severity))
        }
    }
}

/// The conditions of a node.
pub(super) fn of_node(facts: &Facts<'_>, trust: &Trust, node: &NodeFacts<'_>, findings: &[Finding]) -> Vec<Condition> {
    let mut conditions = vec![
        healthy(trust, EVERYTHING, findings),
        node_capacity(trust, node, findings),
        node_addresses(trust, node, findings),
        node_configuration(facts, trust, node, findings),
        node_warm_pool(trust, node, findings),
        node_subnet(facts, trust, node),
        node_branches(trust, node, findings),
    ];
    conditions.extend(facts.asks_ipamd().then(|| node_ipamd(facts, trust, node)));
    conditions
}

/// Only where ipamd is asked. What it says is no matter of this condition: that it says something is.
fn node_ipamd(facts: &Facts<'_>, trust: &Trust, node: &NodeFacts<'_>) -> Condition {
    const KIND: ConditionType = ConditionType::IpamdReachable;
    let unsure = |reason, message: &str| Condition { reason, ..unknown(KIND, message) };
    match facts.ipamd_answer(node) {
        Answer::NotAsked => unsure("NotAskedYet", "ipamd has not been asked yet"),
        Answer::TooOld => unsure("AnswerTooOld", "ipamd answered so long ago that it proves nothing any more"),
        Answer::Answers(_) if trust.lacks(&[Source::Ipamd]).is_some() => {
            unsure("AnswerTooOld", "what ipamd said last is too old; DataComplete of the audit says why")
        }
        Answer::Answers(_) => good(KIND, "Answers", "ipamd answers when it is asked for its metrics"),
        Answer::MetricsOff => bad(KIND, "MetricsOff", "DISABLE_METRICS is on: ipamd answers nobody here"),
        Answer::NodeNotReady(fault) => unsure("NodeNotReady", &format!("{}; the node is not Ready", fault.message)),
        Answer::CannotTell(fault) => unsure(fault.category.name(), &fault.message),
        Answer::Silent(fault) => bad(KIND, fault.category.name(), fault.message.clone()),
    }
}

fn node_capacity(trust: &Trust, node: &NodeFacts<'_>, findings: &[Finding]) -> Condition {
    const KIND: ConditionType = ConditionType::CapacityAvailable;
    if let Some(condition) = violated(KIND, findings).or_else(|| trust.unknown(KIND, POOL)) {
        return condition;
    }
    let max_pods = text::known(node.max_pods());
    match node.room() {
        _ if node.ipv6 => good(KIND, "Ipv6", "its pods have IPv6 addresses, which no limit of its type makes scarce"),
        None if adopts_only(node) => {
            unknown(KIND, "the CNI takes no addresses by itself here; others decide what it has")
        }
        None => unknown(KIND, "the limits of its instance type or its max-pods are not known"),
        Some(0) => bad(KIND, "NoRoom", format!("no room for another pod; the node's max-pods is {max_pods}")),
        Some(room) => good(
            KIND,
            "RoomForPods",
            format!("room for {} more by the node's limits; its max-pods is {max_pods}", text::count(room, "pod")),
        ),
    }
}

/// Whether the CNI on a node only hands out what others attach.
fn adopts_only(node: &NodeFacts<'_>) -> bool {
    Kind::of(node).is_some_and(|kind| kind.adopts_only())
}

fn node_addresses(trust: &Trust, node: &NodeFacts<'_>, findings: &[Finding]) -> Condition {
    const KIND: ConditionType = ConditionType::AddressesReconciled;
    if let Some(condition) = violated(KIND, findings) {
        return condition;
    }
    if let Some(condition) = trust.unknown(KIND, POOL) {
        return condition;
    }
    match &node.pool {
        None => unknown(KIND, "its interfaces are not known: the node has no EC2 instance id"),
        Some(pool) if !pool.strays.is_empty() => unknown(
            KIND,
            format!(
                "{} {} on none of the node's interfaces; one reading proves nothing, the pods may be newer than it",
                text::count(strays(pool), "pod address"),
                text::verb(strays(pool), "is", "are"),
            ),
        ),
        Some(pool) => {
            let all = pool.held + pool.own;
            good(KIND, "AllAccounted", format!("{0} of {0} addresses accounted for", text::thousands(all)))
        }
    }
}

fn strays(pool: &Pool<'_>) -> u32 {
    u32::try_from(pool.strays.len()).unwrap_or(u32::MAX)
}

fn node_configuration(facts: &Facts<'_>, trust: &Trust, node: &NodeFacts<'_>, findings: &[Finding]) -> Condition {
    const KIND: ConditionType = ConditionType::ConfigurationConsistent;
    let known = hurting(KIND, findings).or_else(|| trust.unknown(KIND, &[Source::Nodes, Source::AwsNode]));
    if let Some(condition) = known {
        return condition;
    }
    match &node.cni {
        None => unknown(KIND, "no aws-node pod is seen on the node"),
        Some(_) if node.runs_template => {
            good(KIND, "Consistent", "its aws-node pod runs what the DaemonSet's template says")
        }
        Some(_) if is_rolling_out(facts) => {
            rolling_out("its aws-node pod has yet to be replaced by one of the template")
        }
        Some(_) => good(KIND, "DifferenceAccepted", "its aws-node pod differs from the template, which is accepted"),
    }
}

/// Whether the CNI's pods are being replaced right now.
fn is_rolling_out(facts: &Facts<'_>) -> bool {
    let settle = jiff::SignedDuration::from_secs(i64::from(facts.policy.thresholds.settle_seconds));
    let now = facts.snapshot.taken_at;
    facts.installation.as_ref().is_some_and(|installation| installation.is_rolling_out(now, settle))
}

fn rolling_out(message: impl Into<Arc<str>>) -> Condition {
    let kind = ConditionType::ConfigurationConsistent;
    Condition { kind, status: ConditionStatus::Unknown, reason: "RolloutInProgress", message: message.into() }
}

fn node_warm_pool(trust: &Trust, node: &NodeFacts<'_>, findings: &[Finding]) -> Condition {
    const KIND: ConditionType = ConditionType::WarmPoolSized;
    if let Some(condition) = violated(KIND, findings).or_else(|| trust.unknown(KIND, WARM_POOL)) {
        return condition;
    }
    match (&node.pool, &node.cni) {
        _ if node.ipv6 => good(KIND, "Ipv6", "its pods have IPv6 addresses: it has no warm pool"),
        (Some(pool), Some(_)) if adopts_only(node) => good(
            KIND,
            "LeftToOthers",
            format!("the CNI takes no addresses by itself; {} held", text::thousands(pool.held)),
        ),
        (Some(pool), Some(_)) => good(
            KIND,
            "Sized",
            format!("{} for {}", text::count(pool.held, "pod address"), text::count(pool.used, "pod")),
        ),
        (_, None) => unknown(KIND, "no aws-node pod is seen on the node"),
        (None, _) => unknown(KIND, "its interfaces are not known"),
    }
}

fn node_subnet(facts: &Facts<'_>, trust: &Trust, node: &NodeFacts<'_>) -> Condition {
    const KIND: ConditionType = ConditionType::SubnetCapacityAvailable;
    if let Some(condition) = trust.unknown(KIND, SUBNET) {
        return condition;
    }
    let Some(subnet) = subnet_for_pods(facts, node).and_then(|id| facts.subnet(id)) else {
        return unknown(KIND, "the subnet of its next interface is not known");
    };
    let free = text::count(subnet.headroom(), "free address");
    let needed = text::thousands(subnet.needed());
    let message = format!("{} has {free}; a new node there takes {needed}", subnet.subnet.id);
    if subnet.is_full() {
        bad(KIND, "SubnetFull", message)
    } else if subnet.lacks_blocks() {
        let blocks = text::count(subnet.free_prefixes.unwrap_or_default(), "whole /28 block");
        bad(KIND, "NoFreePrefix", format!("{message}, and has {blocks}"))
    } else if subnet.demand.relieved {
        good(KIND, "OtherSubnetHasRoom", format!("{message} of its own; another subnet that the CNI finds has room"))
    } else {
        good(KIND, "SubnetHasRoom", message)
    }
}

/// The subnet that has to have room for a node's next interface: its ENIConfig's, else its own.
fn subnet_for_pods<'f>(facts: &'f Facts<'_>, node: &'f NodeFacts<'_>) -> Option<&'f SubnetId> {
    let at = facts.nodes.binary_search_by(|other| other.node.name.cmp(&node.node.name)).ok()?;
    match facts.custom_networking.of_node(at) {
        Some(choice) => Some(&choice.config?.subnet),
        None => node.home(),
    }
}

/// Information does not take slots away: only findings from a warning on turn it to `False`.
fn node_branches(trust: &Trust, node: &NodeFacts<'_>, findings: &[Finding]) -> Condition {
    const KIND: ConditionType = ConditionType::BranchCapacityAvailable;
    let serious = findings.partition_point(|finding| finding.severity >= Severity::Warning);
    let serious = findings.get(..serious).unwrap_or_default();
    if let Some(condition) = violated(KIND, serious).or_else(|| trust.unknown(KIND, &[Source::Nodes, Source::Pods])) {
        return condition;
    }
    match node.trunk {
        None if !node.signals.wanted() => {
            good(KIND, "NotUsed", "the node has no trunk: security groups for pods are off here")
        }
        None if crate::facts::trunk::slots_of_type(node.limits.as_ref()) == Some(0) => {
            good(KIND, "NoTrunk", "the node's instance type cannot have a trunk")
        }
        None => Condition {
            reason: "TrunkPending",
            ..unknown(KIND, "the trunk that the node is meant to have is not seen")
        },
        Some(trunk) => match trunk.limit {
            None => unknown(KIND, "the limit of its instance type is not known"),
            Some(limit) => good(
                KIND,
                "BranchSlotsLeft",
                format!("{} of {} in use", text::thousands(trunk.branches), text::count(limit, "branch slot")),
            ),
        },
    }
}

/// The conditions of a subnet.
pub(super) fn of_subnet(trust: &Trust, subnet: &SubnetFacts<'_>, findings: &[Finding]) -> Vec<Condition> {
    vec![
        healthy(trust, SUBNET, findings),
        subnet_addresses(trust, subnet, findings),
        subnet_prefixes(trust, subnet, findings),
        subnet_reconciled(trust, subnet, findings),
    ]
}

/// Findings that are only good to know turn no condition of a subnet.
fn hurting(kind: ConditionType, findings: &[Finding]) -> Option<Condition> {
    let hurts = findings.iter().take_while(|finding| finding.severity >= Severity::Warning).count();
    violated(kind, findings.get(..hurts)?)
}

fn subnet_addresses(trust: &Trust, subnet: &SubnetFacts<'_>, findings: &[Finding]) -> Condition {
    const KIND: ConditionType = ConditionType::AddressesAvailable;
    if let Some(condition) = hurting(KIND, findings).or_else(|| trust.unknown(KIND, SUBNET)) {
        return condition;
    }
    let usable = subnet.usable.map_or_else(|| "?".to_owned(), text::thousands);
    let free = format!("{} of {usable} addresses free", text::thousands(subnet.headroom()));
    if subnet.is_unsure() {
        return unknown(KIND, format!("{free}, and what reservations keep for prefixes is not known"));
    }
    match subnet.needed() {
        0 => good(KIND, "NotAsked", format!("{free}; no node starts or grows here")),
        needed => good(KIND, "Available", format!("{free}; a new node takes {}", text::thousands(needed))),
    }
}

fn subnet_prefixes(trust: &Trust, subnet: &SubnetFacts<'_>, findings: &[Finding]) -> Condition {
    const KIND: ConditionType = ConditionType::PrefixesAvailable;
    if let Some(condition) = hurting(KIND, findings).or_else(|| trust.unknown(KIND, SUBNET)) {
        return condition;
    }
    let Some(most) = subnet.free_prefixes else {
        return unknown(KIND, "the subnet has no IPv4 range");
    };
    let least = subnet.free_prefixes_min.filter(|least| *least < most);
    let least = least.map_or_else(String::new, |least| format!(", at least {}", text::thousands(least)));
    let free = format!("at most {}{least} free", text::count(most, "whole /28 block"));
    match (subnet.demand.prefixes, most) {
        (false, _) => good(KIND, "NotUsed", format!("no node takes prefixes here; {free}")),
        (true, 0) => bad(KIND, "NoFreeBlock", "no whole /28 block is free; nodes in prefix mode get nothing here"),
        (true, _) => good(KIND, "Available", free),
    }
}

fn subnet_reconciled(trust: &Trust, subnet: &SubnetFacts<'_>, findings: &[Finding]) -> Condition {
    const KIND: ConditionType = ConditionType::AddressesReconciled;
    if let Some(condition) = violated(KIND, findings) {
        return condition;
    }
    if let Some(condition) = trust.unknown(KIND, SUBNET) {
        return condition;
    }
    match subnet.ledger.map(|ledger| ledger.unaccounted) {
        None => unknown(KIND, "pods are missing; DataComplete of the audit says why"),
        Some(0) => good(KIND, "AllAccounted", "EC2's own count and its interfaces agree"),
        Some(more @ 1..) => unknown(
            KIND,
            format!("{more} addresses are in use that no visible interface has: hidden ones, or another account's"),
        ),
        Some(less) => {
            unknown(KIND, format!("the interfaces have {} addresses more than EC2 counts; reads overlap", -less))
        }
    }
}

/// The conditions of the audit that the engine knows.
pub(super) fn of_audit(facts: &Facts<'_>, trust: &Trust, problems: &[Problem], rules: &[RuleResult]) -> Vec<Condition> {
    vec![
        audit_healthy(trust, problems),
        super::complete::condition(facts, rules),
        audit_capacity(facts, trust),
        audit_reconciled(facts, trust, problems),
        audit_configuration(facts, trust, problems),
    ]
}

fn audit_healthy(trust: &Trust, problems: &[Problem]) -> Condition {
    const KIND: ConditionType = ConditionType::Healthy;
    let gated: Vec<&Problem> =
        problems.iter().filter(|problem| trust.gate.is_some_and(|gate| problem.severity >= gate)).collect();
    if let Some(worst) = gated.first() {
        let count = u32::try_from(gated.len()).unwrap_or(u32::MAX);
        let message = format!("{} at or above the gate; the worst: {}", text::count(count, "problem"), worst.message);
        return bad(KIND, meta(worst.code).map_or("FindingsAtGate", |meta| meta.reason), message);
    }
    trust.unknown(KIND, EVERYTHING).unwrap_or_else(|| match problems.len() {
        0 => good(KIND, "NoFindings", "no findings"),
        _ => good(KIND, "BelowGate", "all findings are below the gate"),
    })
}

fn audit_capacity(facts: &Facts<'_>, trust: &Trust) -> Condition {
    const KIND: ConditionType = ConditionType::CapacityAvailable;
    if let Some(condition) = trust.unknown(KIND, SUBNET) {
        return condition;
    }
    let full: Vec<String> =
        facts.subnets.iter().filter(|subnet| subnet.is_full()).map(|subnet| subnet.subnet.id.to_string()).collect();
    match (facts.subnets.len(), full.len()) {
        (0, _) => unknown(KIND, "no subnet holds an interface of a node"),
        (all, 0) => good(KIND, "SubnetsHaveRoom", format!("{all} of {all} subnets have room for another node")),
        (all, _) => bad(
            KIND,
            "SubnetFull",
            format!("{} of {all} subnets have no room for another node: {}", full.len(), text::list(&full, "and", 5)),
        ),
    }
}

/// The worst problem from a warning on whose rule turns a condition to `False`.
fn violated_by_problem(kind: ConditionType, problems: &[Problem]) -> Option<Condition> {
    let of_kind = |problem: &&Problem| meta(problem.code).is_some_and(|meta| meta.condition == kind);
    let worst = problems.iter().filter(|problem| problem.severity > Severity::Info).find(of_kind)?;
    Some(bad(kind, meta(worst.code)?.reason, worst.message.clone()))
}

fn audit_reconciled(facts: &Facts<'_>, trust: &Trust, problems: &[Problem]) -> Condition {
    const KIND: ConditionType = ConditionType::AddressesReconciled;
    if let Some(condition) = violated_by_problem(KIND, problems).or_else(|| trust.unknown(KIND, EVERYTHING)) {
        return condition;
    }
    let strays: u32 = facts.nodes.iter().filter_map(|node| node.pool.as_ref()).map(strays).sum();
    let residue: u64 =
        facts.subnets.iter().filter_map(|subnet| subnet.ledger).map(|ledger| ledger.unaccounted.unsigned_abs()).sum();
    if strays == 0 && residue == 0 {
        return good(KIND, "AllAccounted", "every address of every subnet in use is accounted for");
    }
    unknown(
        KIND,
        format!(
            "{} in subnets and {} on nodes are not accounted for yet",
            text::thousands(residue),
            text::count(strays, "pod address")
        ),
    )
}

fn audit_configuration(facts: &Facts<'_>, trust: &Trust, problems: &[Problem]) -> Condition {
    const KIND: ConditionType = ConditionType::ConfigurationConsistent;
    if let Some(condition) = violated_by_problem(KIND, problems) {
        return condition;
    }
    if let Some(condition) = trust.unknown(KIND, &[Source::Nodes, Source::AwsNode]) {
        return condition;
    }
    let all = facts.nodes.len();
    let without = facts.nodes.iter().filter(|node| node.cni.is_none()).count();
    if without > 0 {
        return unknown(KIND, format!("{without} of {all} nodes run no aws-node pod that is seen"));
    }
    let behind = facts.nodes.iter().filter(|node| !node.runs_template).count();
    match behind {
        0 => good(KIND, "Consistent", format!("{all} nodes run the same CNI settings as the DaemonSet's template")),
        _ if is_rolling_out(facts) => {
            rolling_out(format!("aws-node is being rolled out: {behind} of {all} nodes have yet to follow"))
        }
        _ => good(
            KIND,
            "DifferenceAccepted",
            format!("{behind} of {all} nodes differ from the DaemonSet's template, which is accepted"),
        ),
    }
}
