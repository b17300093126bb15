//! What an audit says of one node.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::Condition;
use crate::{
    finding::Finding,
    ids::{EniId, InstanceType, NodeName, SubnetId, Zone},
    snapshot::IpamdSaid,
};

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeOutcome {
    /// Its name.
    pub name: NodeName,
    /// Its uid, for events.
    pub uid: Arc<str>,
    /// Its node group.
    pub node_group: Option<Arc<str>>,
    /// Its instance type.
    pub instance_type: Option<InstanceType>,
    /// Its zone.
    pub zone: Option<Zone>,
    /// Its primary interface's subnet.
    pub subnet: Option<SubnetId>,
    /// Whether it is cordoned.
    pub cordoned: bool,
    /// `status.capacity.pods`.
    pub max_pods: Option<u32>,
    /// Pods that it admits, against addresses that it can give them; none while a limit is not known.
    pub capacity: Option<NodeCapacity>,
    /// Interfaces attached on the default card.
    pub interfaces: Option<u32>,
    /// How many its type allows there.
    pub interface_limit: Option<u32>,
    /// Where its addresses went.
    pub addresses: Option<NodeAddresses>,
    /// The same for each of its interfaces, the primary first, those that serve no pods last.
    pub by_interface: Vec<InterfaceOutcome>,
    /// Pods that use its pool.
    pub pool_pods: Option<u32>,
    /// Pods on it that wait for an address.
    pub waiting_pods: Option<u32>,
    /// Its trunk, if it has one or is meant to have one.
    pub branches: Option<Box<BranchSlots>>,
    /// The CNI on it.
    pub cni: Option<Arc<CniSeen>>,
    /// What its ipamd says of itself; none unless ipamd is asked.
    pub ipamd: Option<Box<IpamdOutcome>>,
    /// The subnets of its zone as ipamd would try them for its next interface, those that it passes over last; at most
    /// eight. Empty where it makes no interface, or where that is not known.
    pub next_subnets: Arc<[SubnetChoice]>,
    /// Its conditions, in the order of [`ConditionType`](super::ConditionType).
    pub conditions: Arc<[Condition]>,
    /// Its findings, the worst first.
    pub findings: Vec<Finding>,
}

/// One interface of a node and where its addresses went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InterfaceOutcome {
    /// Its id.
    pub id: EniId,
    /// Its subnet.
    pub subnet: SubnetId,
    /// Whether the CNI gives pods addresses of it; not so a trunk, an unmanaged or an excluded one.
    pub serves_pods: bool,
    /// Where its addresses went.
    pub addresses: NodeAddresses,
}

/// The addresses of one node or of one of its interfaces. `held = used + idle` and `idle = finished + warm + cooling + stranded`; `own` comes on
/// top.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct NodeAddresses {
    /// Addresses on its interfaces that are not the interfaces' own.
    pub held: u32,
    /// Those that a pod has.
    pub used: u32,
    /// Those that no pod has.
    pub idle: u32,
    /// The interfaces' own addresses.
    pub own: u32,
    /// /28 prefixes among the held.
    pub prefixes: u32,
    /// Those whose only claimant is a pod that has finished.
    pub finished: u32,
    /// Those that the next pod can get.
    pub warm: u32,
    /// Those that were freed so short a time ago that the CNI does not give them away yet.
    pub cooling: u32,
    /// Those that no pod can get in the CNI's present mode.
    pub stranded: u32,
}

/// A subnet of a node's zone, and whether its next interface would be in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SubnetChoice {
    /// The subnet.
    pub subnet: SubnetId,
    /// Whether the next interface would be made there.
    pub chosen: bool,
    /// Why, or why not, in a few words.
    pub why: String,
}

/// Pods that a node admits, against pods that can have an address of its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct NodeCapacity {
    /// Pods that can have an address at all, whatever its targets are.
    pub addresses: u32,
    /// Pods in need of one that max-pods admits, beside those that are there without such need.
    pub schedulable: u32,
    /// Pods that could be placed and never have one: schedulable less addresses, not below 0.
    pub unreachable: u32,
}

/// Branch slots of a trunk, or of one that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BranchSlots {
    /// Branches in use.
    pub used: u32,
    /// The type's limit; none if the type is not known.
    pub limit: Option<u32>,
    /// What speaks of the trunk.
    pub chain: Option<TrunkChain>,
}

/// From the intent to EC2: what speaks of a node's trunk. None is what its source does not tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrunkChain {
    /// Whether the node's own `aws-node` pod has `ENABLE_POD_ENI`.
    pub intended: Option<bool>,
    /// Whether the node's CNINode asks for a trunk.
    pub requested: Option<bool>,
    /// Whether the node publishes branch slots (allocatable `vpc.amazonaws.com/pod-eni`).
    pub resource: Option<bool>,
    /// The trunk that EC2 shows; none if there is none, or while the node's interfaces are not known.
    pub interface: Option<EniId>,
    /// The trunk that the node's annotation names: a hint that nothing rests on.
    pub annotation: Option<EniId>,
    /// The legacy label `vpc.amazonaws.com/has-trunk-attached`: a hint that nothing rests on.
    pub label: Option<Arc<str>>,
}

/// The CNI's configuration on a node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct CniSeen {
    /// Its version, as the image tag says it.
    pub version: String,
    /// The algorithm that sizes the pool: `eni-target`, `ip-target`, …
    pub mode: &'static str,
    /// The targets in force, for example `WARM_ENI_TARGET=1`.
    pub targets: String,
}

/// ipamd on a node, asked for its metrics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IpamdOutcome {
    /// Whether it answers; none while that is not known.
    pub reachable: Option<bool>,
    /// What it said last; none if it never did.
    pub said: Option<IpamdSaid>,
    /// When it said that.
    pub as_of: Option<Timestamp>,
}
