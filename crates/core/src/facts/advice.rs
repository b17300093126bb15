//! Which settings would help, what they would free and what they cost: computed with the ipamd model, never guessed.

use super::{
    NodeFacts, Pool,
    lookup::Map,
    model::{Kind, Settled, Shape, WarmTargets},
};
use crate::{ids::NodeName, policy::AuditPolicy};

/// Better settings for the cluster's DaemonSet, and what they would do to each node with many idle addresses.
#[derive(Debug)]
pub(crate) struct Advice {
    targets: WarmTargets,
    settings: String,
    nodes: Map<NodeName, NodeAdvice>,
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
    pub(crate) fn of(facts: &[NodeFacts<'_>], policy: &AuditPolicy) -> Self {
        // The targets are the DaemonSet's: no exception of a node group can change them.
        let targets = WarmTargets::for_burst(policy.thresholds.burst_pods);
        // Nodes of one shape settle alike, and a node group has few shapes.
        let mut settled: Map<Shape, Option<Settled>> = Map::default();
        let mut prices: Map<Kind, Option<u32>> = Map::default();
        let mut nodes = Map::default();
        for (node, pool) in facts.iter().filter_map(|node| Some((node, node.pool.as_ref()?))) {
            if pool.spare() <= policy.for_node(node.node).idle_addresses {
                continue;
            }
            let Some(shape) = Shape::of(node) else { continue };
            let price = *prices.entry(shape.kind.clone()).or_insert_with_key(|kind| kind.calls_per_pod(targets));
            let better = *settled.entry(shape).or_insert_with_key(|shape| shape.settled_with(targets));
            if let (Some(better), Some(calls_per_pod)) = (better, price) {
                nodes.insert(node.node.name.clone(), NodeAdvice::of(node, pool, better, calls_per_pod));
            }
        }
        Self { targets, settings: targets.to_string(), nodes }
    }

    /// What the settings would do to a node.
    pub(crate) fn node(&self, node: &NodeFacts<'_>) -> Option<&NodeAdvice> {
        self.nodes.get(&node.node.name)
    }

    /// Addresses that subnets get back from nodes in all, however few each of them holds too many.
    pub(crate) fn returned_by<'f, 'a: 'f>(&self, nodes: impl Iterator<Item = &'f NodeFacts<'a>>) -> u32 {
        let mut settled: Map<Shape, Option<Settled>> = Map::default();
        let returned = |node: &NodeFacts<'_>| {
            let shape = Shape::of(node)?;
            let better = *settled.entry(shape).or_insert_with_key(|shape| shape.settled_with(self.targets));
            Some(NodeAdvice::of(node, node.pool.as_ref()?, better?, 0).returned)
        };
        nodes.filter_map(returned).sum()
    }

    /// The settings as a user writes them.
    pub(crate) fn settings(&self) -> &str {
        &self.settings
    }
}

impl NodeAdvice {
    fn of(node: &NodeFacts<'_>, pool: &Pool<'_>, better: Settled, calls_per_pod: u32) -> Self {
        let own = node.interfaces.iter().flatten().filter(|interface| interface.primary.is_some()).count();
        let taken = pool.managed() + u32::try_from(own).unwrap_or(u32::MAX);
        Self {
            held: better.held,
            freed: pool.managed().saturating_sub(better.held),
            returned: taken.saturating_sub(better.subnet_addresses),
            calls_per_pod,
        }
    }
}
