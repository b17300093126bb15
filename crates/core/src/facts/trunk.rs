//! The trunk of each node: what speaks of one, what it carries and how much it can.
//!
//! Only EC2 proves a trunk. The other signals say who wanted one, who asked for it and who took notice, so that each
//! link that is broken has its own cause. The node's annotation and its legacy label are read and never required.

use super::{NodeFacts, cni, lookup::Map, pods::PodIndex};
use crate::{
    ids::{EniId, NodeName},
    inventory::{Interface, InterfaceKind},
    limits::{Limits, Trunking},
    outcome::{BranchSlots, TrunkChain},
    rows::Rows,
    snapshot::{BranchUse, ClusterSnapshot, CniNode, PodPhase},
};

/// Tag on a branch: the trunk that carries it.
pub(crate) const TRUNK_OF_BRANCH: &str = "vpcresources.k8s.aws/trunk-eni-id";

/// A trunk and its branches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrunkFacts<'a> {
    /// The trunk interface, if EC2 shows it.
    pub interface: Option<&'a EniId>,
    /// Branches in use, those that cool down included as long as EC2 has them.
    pub branches: u32,
    /// Those of them that no pod has any more.
    pub cooling: u32,
    /// How many its instance type carries: the published resource, else the table.
    pub limit: Option<u32>,
}

/// What speaks of a node's trunk, from the intent to EC2; none is what its source does not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TrunkSignals<'a> {
    /// Whether the node's own `aws-node` pod has `ENABLE_POD_ENI`.
    pub intended: Option<bool>,
    /// Whether the node's CNINode asks for a trunk.
    pub requested: Option<bool>,
    /// Whether the node publishes branch slots.
    pub resource: Option<bool>,
    /// Whether EC2 shows a trunk on the instance.
    pub attached: Option<bool>,
    /// That trunk.
    pub interface: Option<&'a Interface>,
    /// The node's CNINode.
    pub cni_node: Option<&'a CniNode>,
}

impl TrunkSignals<'_> {
    /// Whether somebody wants the node to have a trunk.
    pub fn wanted(&self) -> bool {
        self.intended == Some(true) || self.requested == Some(true)
    }
}

impl NodeFacts<'_> {
    /// The node's branch slots as the outcome shows them; none where nobody wants a trunk and there is none.
    pub(crate) fn branch_slots(&self) -> Option<BranchSlots> {
        let signals = &self.signals;
        let hints = &self.node.trunk_hints;
        if self.trunk.is_none() && !signals.wanted() {
            return None;
        }
        Some(BranchSlots {
            used: self.trunk.map_or(0, |trunk| trunk.branches),
            // Without a trunk the type's limit promises nothing, but 0 is certain.
            limit: self
                .trunk
                .map_or_else(|| slots_of_type(self.limits.as_ref()).filter(|slots| *slots == 0), |trunk| trunk.limit),
            chain: Some(TrunkChain {
                intended: signals.intended,
                requested: signals.requested,
                resource: signals.resource,
                interface: signals.interface.map(|trunk| trunk.id.clone()),
                annotation: hints.annotation.clone(),
                label: hints.legacy_label.clone(),
            }),
        })
    }
}

/// Adds signals and trunks. A trunk is proven by EC2, else by the published resource, else by pods that have branches.
pub(super) fn add<'a>(facts: &mut [NodeFacts<'a>], snapshot: &'a ClusterSnapshot, pods: Option<&PodIndex<'a>>) {
    let cni_nodes = snapshot.cni_nodes.value();
    let by_name: Option<Map<&NodeName, &CniNode>> =
        cni_nodes.map(|list| list.iter().map(|cni_node| (&cni_node.name, cni_node)).collect());
    let carried = branches_by_trunk(snapshot);
    let in_use = pods_with_branch(pods);
    for facts in facts {
        facts.signals = signals(facts, by_name.as_ref());
        let wanted_by_pods = facts.trunk.take().map_or(0, |trunk| trunk.branches);
        let trunk = facts.signals.interface;
        let published = facts.node.branch_slots.filter(|slots| *slots > 0);
        if trunk.is_none() && published.is_none() && wanted_by_pods == 0 {
            continue;
        }
        let seen = trunk.and_then(|trunk| carried.get(trunk.id.as_str())).copied().unwrap_or(0);
        let with_pod = in_use.get(&facts.node.name).copied().unwrap_or(0);
        let cooling = seen.saturating_sub(with_pod);
        facts.trunk = Some(TrunkFacts {
            interface: trunk.map(|trunk| &trunk.id),
            branches: seen.max(wanted_by_pods + cooling),
            cooling,
            limit: published.or_else(|| facts.limits.as_ref().and_then(cni::branch_limit)),
        });
    }
}

fn signals<'a>(facts: &NodeFacts<'a>, cni_nodes: Option<&Map<&'a NodeName, &'a CniNode>>) -> TrunkSignals<'a> {
    // A node without any interface is younger than EC2's reading, or has no instance.
    let known = facts.interfaces.as_ref().filter(|list| !list.is_empty());
    // The controller uses the type's default card, which is not the first on all types.
    let mut all = known.into_iter().flatten().chain(&facts.other_cards).copied();
    let interface = all.find(|one| one.kind == InterfaceKind::Trunk);
    let cni_node = cni_nodes.and_then(|by_name| by_name.get(&facts.node.name)).copied();
    TrunkSignals {
        intended: facts.cni.as_ref().map(|cni| cni.pod_groups()),
        requested: cni_nodes.map(|_| cni_node.is_some_and(|cni_node| cni_node.wants_trunk)),
        resource: Some(facts.node.branch_slots.is_some_and(|slots| slots > 0)),
        attached: known.map(|_| interface.is_some()),
        interface,
        cni_node,
    }
}

/// Branches that EC2 shows, by the trunk of their tag.
fn branches_by_trunk(snapshot: &ClusterSnapshot) -> Map<&str, u32> {
    let interfaces = snapshot.ec2.interfaces.value().unwrap_or(Rows::NONE);
    let mut branches: Map<&str, u32> = Map::default();
    for branch in interfaces.iter().filter(|interface| interface.kind == InterfaceKind::Branch) {
        if let Some(trunk) = branch.tag(TRUNK_OF_BRANCH) {
            *branches.entry(trunk).or_default() += 1;
        }
    }
    branches
}

/// Pods per node that run on a branch of their own.
fn pods_with_branch<'a>(pods: Option<&PodIndex<'a>>) -> Map<&'a NodeName, u32> {
    let mut counts: Map<&NodeName, u32> = Map::default();
    for pod in pods.into_iter().flat_map(|pods| &pods.with_branch) {
        if let (Some(node), BranchUse::Has(_)) = (pod.node(), pod.branch())
            && pod.phase != PodPhase::Finished
        {
            *counts.entry(node).or_default() += 1;
        }
    }
    counts
}

/// Branch slots that a type has for sure: none where nobody knows, 0 where it cannot have a trunk.
pub(crate) fn slots_of_type(limits: Option<&Limits>) -> Option<u32> {
    match limits?.trunking() {
        Trunking::Supported { branches } => Some(branches),
        Trunking::Unsupported => Some(0),
        Trunking::Unknown => None,
    }
}
