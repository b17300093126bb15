//! The cluster's pods, looked at once: those of each node, and those that have to do with branch interfaces.
//!
//! There are thirty times as many pods as nodes, and each look at all of them costs as much as most rules do for
//! everything else.

use super::{NodeFacts, NodeIndex, lookup::Map};
use crate::{
    pages::Pages,
    snapshot::{BranchUse, Pod},
};

/// Pods by what looks for them.
#[derive(Debug)]
pub(crate) struct PodIndex<'a> {
    /// Those of each node, in the nodes' order.
    pub(super) by_node: Vec<Vec<&'a Pod>>,
    /// Those that have or want a branch, finished ones included, in the snapshot's order.
    pub(crate) with_branch: Vec<&'a Pod>,
}

impl<'a> PodIndex<'a> {
    pub(super) fn of(pods: &'a Pages<Pod>, nodes: &[NodeFacts<'a>]) -> Self {
        let index: NodeIndex<'_> = nodes.iter().enumerate().map(|(at, facts)| (&facts.node.name, at)).collect();
        // Names of nodes are interned: their address stands for their text.
        let mut seen: Map<usize, Option<usize>> = Map::default();
        // Room for a third more than the mean: most lists then never move.
        let mean = pods.len() / nodes.len().max(1);
        let mut by_node: Vec<Vec<&Pod>> = nodes.iter().map(|_| Vec::with_capacity(mean + mean / 3)).collect();
        let mut with_branch = Vec::new();
        for pod in pods {
            if *pod.branch() != BranchUse::No {
                with_branch.push(pod);
            }
            let Some(node) = pod.node() else { continue };
            let at = *seen.entry(node.as_str().as_ptr().addr()).or_insert_with(|| index.get(node).copied());
            if let Some(list) = at.and_then(|at| by_node.get_mut(at)) {
                list.push(pod);
            }
        }
        Self { by_node, with_branch }
    }
}
