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
    /// Those that have or want a branch, finished ones included, in the snapshot's order.
    pub(crate) with_branch: Vec<&'a Pod>,
}

/// The pods of each node, one node's after the other's: only as long as nodes are looked at.
#[derive(Debug)]
pub(super) struct ByNode<'a> {
    pods: Vec<&'a Pod>,
    /// Where the pods of each node end, in the nodes' order.
    ends: Vec<usize>,
}

impl<'a> PodIndex<'a> {
    pub(super) fn of(pods: &'a Pages<Pod>, nodes: &[NodeFacts<'a>]) -> (Self, ByNode<'a>) {
        let index: NodeIndex<'_> = nodes.iter().enumerate().map(|(at, facts)| (&facts.node.name, at)).collect();
        // Names of nodes are interned: their address stands for their text.
        let mut seen: Map<usize, Option<usize>> = Map::default();
        let mut with_branch = Vec::new();
        let mut counts = vec![0; nodes.len()];
        let mut places = Vec::with_capacity(pods.len());
        for pod in pods {
            if *pod.branch() != BranchUse::No {
                with_branch.push(pod);
            }
            let at = pod.node().and_then(|node| {
                *seen.entry(node.as_str().as_ptr().addr()).or_insert_with(|| index.get(node).copied())
            });
            at.and_then(|at| counts.get_mut(at)).into_iter().for_each(|count| *count += 1);
            places.push(at.and_then(|at| u32::try_from(at).ok()));
        }
        (Self { with_branch }, ByNode::of(pods, &places, &counts))
    }
}

impl<'a> ByNode<'a> {
    /// From the node of each pod, and the number of pods of each node.
    fn of(pods: &'a Pages<Pod>, places: &[Option<u32>], counts: &[usize]) -> Self {
        let mut next = Vec::with_capacity(counts.len());
        let mut total = 0;
        for count in counts {
            next.push(total);
            total += count;
        }
        // Each place is taken by the pod that belongs there.
        let mut sorted: Vec<&Pod> = pods.iter().next().map_or_else(Vec::new, |any| vec![any; total]);
        for (pod, place) in pods.iter().zip(places) {
            let Some(next) = place.and_then(|at| next.get_mut(at as usize)) else { continue };
            sorted.get_mut(*next).into_iter().for_each(|place| *place = pod);
            *next += 1;
        }
        Self { pods: sorted, ends: next }
    }

    /// Those of each node, in the nodes' order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[&'a Pod]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| self.pods.get(start..*end).unwrap_or_default())
    }
}
