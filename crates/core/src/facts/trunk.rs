//! The trunk of each node: whether there is one, what it carries and how much it can.

use std::collections::BTreeMap;

use super::{NodeFacts, cni};
use crate::{ids::EniId, inventory::InterfaceKind, snapshot::ClusterSnapshot};

/// Tag on a branch: the trunk that carries it.
const TRUNK_OF_BRANCH: &str = "vpcresources.k8s.aws/trunk-eni-id";

/// A trunk and its branches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrunkFacts<'a> {
    /// The trunk interface, if EC2 shows it.
    pub interface: Option<&'a EniId>,
    /// Branches in use, those that cool down included as long as EC2 has them.
    pub branches: u32,
    /// How many its instance type carries: the published resource, else the table.
    pub limit: Option<u32>,
}

/// A trunk is proven by EC2, else by the published resource, else by pods that have branches.
pub(super) fn add<'a>(facts: &mut [NodeFacts<'a>], snapshot: &'a ClusterSnapshot) {
    let interfaces = snapshot.ec2.interfaces.value().map_or(&[][..], Vec::as_slice);
    let mut branches: BTreeMap<&str, u32> = BTreeMap::new();
    for branch in interfaces.iter().filter(|interface| interface.kind == InterfaceKind::Branch) {
        if let Some(trunk) = branch.tag(TRUNK_OF_BRANCH) {
            *branches.entry(trunk).or_default() += 1;
        }
    }
    for facts in facts {
        let attached = facts.interfaces.iter().flatten();
        let trunk = attached.copied().find(|interface| interface.kind == InterfaceKind::Trunk);
        let published = facts.node.branch_slots.filter(|slots| *slots > 0);
        let from_pods = facts.trunk.take().map_or(0, |trunk| trunk.branches);
        if trunk.is_none() && published.is_none() && from_pods == 0 {
            continue;
        }
        let from_ec2 = trunk.and_then(|trunk| branches.get(trunk.id.as_str())).copied().unwrap_or(0);
        let limit = published.or_else(|| facts.limits.as_ref().and_then(cni::branch_limit));
        facts.trunk =
            Some(TrunkFacts { interface: trunk.map(|trunk| &trunk.id), branches: from_ec2.max(from_pods), limit });
    }
}
