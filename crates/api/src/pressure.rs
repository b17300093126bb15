//! The condition `ipam-audit.dev/IPPressure` on nodes: whether the next pod there finds an address. Pure.
//!
//! Negative polarity, as `MemoryPressure` has it. One entry a node, whoever audits it: the worst word wins. It is about
//! the next pod and not about waste: a node with addresses at the ready is under no pressure in the fullest of subnets.

use std::fmt::Write as _;

use ipam_audit_core::{
    outcome::{Condition, ConditionStatus, ConditionType, NodeOutcome},
    source::Source,
    text,
};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    convert::{Context, clip},
    names::{NODE_CONDITION, fnv1a},
};

/// Without these nobody knows whether a node has addresses.
const NEEDED: &[Source] = &[Source::Nodes, Source::Pods, Source::Subnets, Source::NetworkInterfaces];
const MESSAGE: usize = 512;
const NAMED_AUDITS: usize = 3;

/// Why the condition has its status, the worst last. A closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The next pod finds an address.
    AddressesSufficient,
    /// It would not, but as many nodes say so as `maxPercent` allows at a time.
    ShareReached,
    /// The data are missing or too old to tell.
    AuditDataStale,
    /// Every branch slot is in use and pods wait.
    BranchSlotsExhausted,
    /// The node has all addresses that its type allows, and its max-pods admits more pods.
    NodeAtAddressLimit,
    /// Nothing is at the ready, and the subnet has no whole /28 block.
    PrefixesExhausted,
    /// Nothing is at the ready, and the subnet is full.
    SubnetExhausted,
}

impl Reason {
    const ALL: [Self; 7] = [
        Self::AddressesSufficient,
        Self::ShareReached,
        Self::AuditDataStale,
        Self::BranchSlotsExhausted,
        Self::NodeAtAddressLimit,
        Self::PrefixesExhausted,
        Self::SubnetExhausted,
    ];

    /// The word in the condition.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AddressesSufficient => "AddressesSufficient",
            Self::ShareReached => "PressureShareReached",
            Self::AuditDataStale => "AuditDataStale",
            Self::BranchSlotsExhausted => "BranchSlotsExhausted",
            Self::NodeAtAddressLimit => "NodeAtAddressLimit",
            Self::PrefixesExhausted => "PrefixesExhausted",
            Self::SubnetExhausted => "SubnetExhausted",
        }
    }

    /// The reason of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }

    /// The status that goes with it.
    pub const fn status(self) -> ConditionStatus {
        match self {
            Self::AddressesSufficient | Self::ShareReached => ConditionStatus::False,
            Self::AuditDataStale => ConditionStatus::Unknown,
            _ => ConditionStatus::True,
        }
    }

    /// Whether the node is short of addresses.
    pub fn is_pressure(self) -> bool {
        self.status() == ConditionStatus::True
    }
}

/// What one audit says of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Why.
    pub reason: Reason,
    /// The numbers, without the audit and the time.
    pub message: String,
}

impl Verdict {
    fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// Whether there is something to say: not while a source that it needs is read for the first time.
pub fn may_judge(ctx: &Context<'_>) -> bool {
    !ctx.is_pending(NEEDED)
}

/// What an audit says of a node.
pub fn judge(ctx: &Context<'_>, node: &NodeOutcome) -> Verdict {
    let unusable = ctx.unusable(NEEDED);
    if !unusable.is_empty() {
        let sources = text::list(&unusable, "and", NEEDED.len());
        return Verdict::new(Reason::AuditDataStale, format!("missing or too old: {sources}"));
    }
    let capacity = condition(node, ConditionType::CapacityAvailable);
    if capacity.is_some_and(|condition| condition.reason == "Ipv6") {
        return Verdict::new(Reason::AddressesSufficient, "its pods have IPv6 addresses");
    }
    let Some(addresses) = node.addresses else {
        return Verdict::new(Reason::AuditDataStale, "the addresses of its interfaces are not known");
    };
    short_of_addresses(node, (addresses.used, addresses.warm))
        .or_else(|| short_of_slots(node))
        .unwrap_or_else(|| Verdict::new(Reason::AddressesSufficient, at_the_ready(addresses.warm)))
}

fn condition(node: &NodeOutcome, kind: ConditionType) -> Option<&Condition> {
    node.conditions.iter().find(|condition| condition.kind == kind)
}

fn at_the_ready(warm: u32) -> String {
    format!("{} at the ready for the next pods", text::count(warm, "address"))
}

/// Whether the next pod finds none: nothing is at the ready, and nothing more can be had.
fn short_of_addresses(node: &NodeOutcome, (used, warm): (u32, u32)) -> Option<Verdict> {
    let waiting = node.waiting_pods.unwrap_or_default();
    if warm > 0 && waiting == 0 {
        return None;
    }
    let waits = match waiting {
        0 => String::new(),
        _ => format!("; {} already {}", text::count(waiting, "pod"), text::verb(waiting, "waits", "wait")),
    };
    if let Some(capacity) = node.capacity.filter(|capacity| used >= capacity.addresses) {
        // A node that is full by its max-pods gets no further pod: nobody comes who would need an address.
        return (capacity.unreachable > 0).then(|| {
            let (all, more) = (text::count(used, "address"), text::count(capacity.unreachable, "pod"));
            let message = format!("all {all} that its type allows are in use, its max-pods admits {more} more{waits}");
            Verdict::new(Reason::NodeAtAddressLimit, message)
        });
    }
    let subnet = condition(node, ConditionType::SubnetCapacityAvailable)?;
    if subnet.status != ConditionStatus::False {
        return None;
    }
    let reason = if subnet.reason == "NoFreePrefix" { Reason::PrefixesExhausted } else { Reason::SubnetExhausted };
    Some(Verdict::new(reason, format!("{}, and {}{waits}", at_the_ready(warm), subnet.message)))
}

/// The scheduler counts branch slots by itself: only pods that wait all the same are a sign that they are missed.
fn short_of_slots(node: &NodeOutcome) -> Option<Verdict> {
    let (used, limit) = node.branches.as_ref().and_then(|slots| Some((slots.used, slots.limit?)))?;
    let waits = condition(node, ConditionType::BranchCapacityAvailable)?.reason == "BranchNotGiven";
    let message =
        || format!("{} of {} in use, and pods wait for one", text::thousands(used), text::count(limit, "branch slot"));
    (limit > 0 && used >= limit && waits).then(|| Verdict::new(Reason::BranchSlotsExhausted, message()))
}

/// The message of an entry: what the worst says, who audits the node, and when that was so. It is written with a
/// transition and not again.
pub fn message(verdict: &Verdict, audits: &[&str], as_of: Timestamp) -> String {
    let names: Vec<String> = audits.iter().map(|name| (*name).to_owned()).collect();
    let at = as_of.strftime("%Y-%m-%dT%H:%M:%SZ");
    let mut message = clip(&verdict.message, MESSAGE);
    let _ = write!(message, " (IpamAudit {}, {at})", text::list(&names, "and", NAMED_AUDITS));
    message
}

/// The entry as it is on a node, in a few bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its reason; none if it is not one of ours.
    pub reason: Option<Reason>,
    /// Whether status and reason fit each other.
    pub consistent: bool,
    /// The hash of its message.
    pub message: u64,
    /// Since when it has its status.
    pub since: Option<Timestamp>,
}

/// The hash of a message, as [`Seen`] has it.
pub fn hash(message: &str) -> u64 {
    fnv1a(message.as_bytes())
}

/// An entry to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Why.
    pub reason: Reason,
    /// The whole message.
    pub message: String,
    /// Since when it has its status.
    pub since: Timestamp,
    /// When it was last judged.
    pub judged: Timestamp,
}

/// What to apply to the status of a node: our entry and nothing else, or nothing at all, which takes it away. The uid
/// keeps it off another node of the same name.
pub fn patch(name: &str, uid: &str, entry: Option<&Entry>) -> Value {
    let mut node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "uid": uid}});
    if let Some(Entry { reason, message, since, judged }) = entry {
        let time = |at: &Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        node["status"] = json!({"conditions": [{
            "type": NODE_CONDITION, "status": reason.status().name(), "reason": reason.name(), "message": message,
            "lastTransitionTime": time(since), "lastHeartbeatTime": time(judged),
        }]});
    }
    node
}

/// A strategic merge patch that takes our entry away also where another writer has come to own it, too.
pub fn removal() -> Value {
    json!({"status": {"conditions": [{"$patch": "delete", "type": NODE_CONDITION}]}})
}

/// How many of so many nodes may say that they are under pressure, at least one.
pub fn most(nodes: usize, percent: u32) -> usize {
    (nodes * usize::try_from(percent.min(100)).unwrap_or(100) / 100).max(1)
}
