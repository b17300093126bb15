//! Which settings would help, what they would free and what they cost: computed with the ipamd model, never guessed.

use std::collections::{BTreeMap, HashMap};

use crate::{
    facts::{Facts, NodeFacts, Pool},
    ids::NodeName,
    model::{Kind, Settled, Shape, WarmTargets},
    policy::{AuditPolicy, Thresholds},
    text,
};

/// Better settings for the cluster's DaemonSet, and what they would do to each node with many idle addresses.
#[derive(Debug)]
pub(crate) struct Advice {
    targets: WarmTargets,
    nodes: BTreeMap<NodeName, NodeAdvice>,
}

/// What better settings would do to one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NodeAdvice {
    /// Pod addresses that it would hold.
    pub(crate) held: u32,
    /// Pod addresses that it would give back.
    pub(crate) freed: u32,
    /// Addresses that the subnet gets back: those, and the own ones of interfaces that go.
    pub(crate) returned: u32,
    /// EC2 calls that one pod start beyond the pool costs at most.
    pub(crate) calls_per_pod: u32,
}

impl Advice {
    /// Advice for every node whose idle addresses are beyond the threshold.
    pub(crate) fn of(facts: &[NodeFacts<'_>], thresholds: &Thresholds) -> Self {
        let targets = WarmTargets::for_burst(thresholds.burst_pods);
        // Nodes of one shape settle alike, and a node group has few shapes.
        let mut settled: HashMap<Shape, Option<Settled>> = HashMap::new();
        let mut prices: HashMap<Kind, Option<u32>> = HashMap::new();
        let mut nodes = BTreeMap::new();
        for (node, pool) in facts.iter().filter_map(|node| Some((node, node.pool.as_ref()?))) {
            if pool.idle <= thresholds.idle_addresses {
                continue;
            }
            let Some(shape) = Shape::of(node) else { continue };
            let price = *prices.entry(shape.kind.clone()).or_insert_with_key(|kind| kind.calls_per_pod(targets));
            let better = *settled.entry(shape).or_insert_with_key(|shape| shape.settled_with(targets));
            if let (Some(better), Some(calls_per_pod)) = (better, price) {
                nodes.insert(node.node.name.clone(), NodeAdvice::of(pool, better, calls_per_pod));
            }
        }
        Self { targets, nodes }
    }

    /// What the settings would do to a node.
    pub(crate) fn node(&self, node: &NodeFacts<'_>) -> Option<&NodeAdvice> {
        self.nodes.get(&node.node.name)
    }

    /// The settings as a user writes them.
    pub(crate) fn settings(&self) -> String {
        self.targets.to_string()
    }
}

impl NodeAdvice {
    fn of(pool: &Pool<'_>, better: Settled, calls_per_pod: u32) -> Self {
        Self {
            held: better.held,
            freed: pool.held.saturating_sub(better.held),
            returned: (pool.held + pool.own).saturating_sub(better.subnet_addresses),
            calls_per_pod,
        }
    }
}

/// Why a node's pool does not grow, and what would make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoGrowth {
    /// The state, as the end of a sentence.
    pub(crate) state: String,
    /// What to do.
    pub(crate) remedy: String,
}

impl NoGrowth {
    fn new(state: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: state.into(), remedy: remedy.into() }
    }
}

/// The first cause that applies, from the surest to the least sure.
pub(crate) fn why_no_growth(facts: &Facts<'_>, policy: &AuditPolicy, node: &NodeFacts<'_>) -> NoGrowth {
    let targets = WarmTargets::for_burst(policy.thresholds.burst_pods);
    let Some(cni) = &node.cni else {
        return NoGrowth::new(
            "no aws-node pod is seen on the node",
            "Look at the aws-node pod of this node: without it no pod gets an address.",
        );
    };
    if settings_stop_growth(node) {
        let now = cni.targets_text();
        return NoGrowth::new(
            format!("its settings ({now}) stop the pool from growing"),
            format!("Set {targets}: the pool then follows its pods."),
        );
    }
    if node.room() == Some(0) {
        return NoGrowth::new(
            "the node is at the limit of its instance type",
            "Lower the node's max-pods to what its type can address, or use a larger type.",
        );
    }
    if node.node.cordoned {
        return NoGrowth::new(
            "the node is cordoned, and ipamd adds nothing to a cordoned node",
            "Uncordon or drain it.",
        );
    }
    match node.home().and_then(|id| facts.subnet(id)).filter(|subnet| subnet.is_full()) {
        Some(subnet) => NoGrowth::new(
            format!("{} has {}", subnet.subnet.id, text::count(subnet.subnet.available, "free address")),
            format!("Free addresses in {}: see its own finding and IPAM210.", subnet.subnet.id),
        ),
        None => NoGrowth::new(
            "its subnet has addresses",
            "The pool grows within seconds as a rule; if this lasts, look for refused EC2 calls in the log of its aws-node pod.",
        ),
    }
}

/// Whether one pod more would wait on a new node with these settings, had the subnet no end.
fn settings_stop_growth(node: &NodeFacts<'_>) -> bool {
    let pods = node.pool_pods.unwrap_or_default() + 1;
    node.room().is_some_and(|room| room > 0)
        && Kind::of(node).and_then(|kind| kind.new_node(pods)).is_some_and(|settled| settled.pending > 0)
}
