//! The cluster at one moment: immutable rows, sorted, each source with its age.
//!
//! Everything an audit looks at is here, and nothing else; two equal snapshots give two equal outcomes. Rows are
//! made at the edge (watch events, the EC2 reader, a bundle) and are typed from there on.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    ids::{EniId, InstanceId, InstanceType, NodeName, Zone},
    inventory::Inventory,
    source::{Reading, Source, SourceState},
};

/// All that one evaluation sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterSnapshot {
    /// When it was put together.
    pub taken_at: Timestamp,
    /// The nodes in scope, sorted by name.
    pub nodes: Reading<Vec<Arc<Node>>>,
    /// The pods, in any order; finished ones may be left out.
    pub pods: Reading<Vec<Arc<Pod>>>,
    /// The VPC CNI's DaemonSet and its running pods.
    pub aws_node: Reading<AwsNode>,
    /// CNINode objects; missing where the CRD is not installed.
    pub cni_nodes: Reading<Vec<CniNode>>,
    /// EC2's side.
    pub ec2: Inventory,
}

impl ClusterSnapshot {
    /// The state of every source, in the order of [`Source::ALL`].
    pub fn sources(&self) -> Vec<SourceState> {
        let mut states = vec![
            self.nodes.state(Source::Nodes),
            self.pods.state(Source::Pods),
            self.aws_node.state(Source::AwsNode),
            self.cni_nodes.state(Source::CniNodes),
        ];
        states.extend(self.ec2.states());
        states
    }
}

/// A node, as far as addresses depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// `metadata.uid`: events need the real one.
    pub uid: Arc<str>,
    /// The instance of its provider id.
    pub instance: Option<InstanceId>,
    /// Label `node.kubernetes.io/instance-type`.
    pub instance_type: Option<InstanceType>,
    /// Label `topology.kubernetes.io/zone`.
    pub zone: Option<Zone>,
    /// Node group or node pool, from the first label that names one.
    pub node_group: Option<Arc<str>>,
    /// `status.capacity.pods`, which ipamd reads too.
    pub max_pods: Option<u32>,
    /// Allocatable `vpc.amazonaws.com/pod-eni`; none if the resource is not published.
    pub branch_slots: Option<u32>,
    /// Whether it carries the unschedulable taint.
    pub cordoned: bool,
    /// Whether the VPC CNI manages its addresses.
    pub platform: Platform,
    /// `metadata.creationTimestamp`.
    pub created_at: Option<Timestamp>,
    /// What else on the node speaks of a trunk.
    pub trunk_hints: TrunkHints,
}

/// Who gives a node's pods their addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Platform {
    /// Linux on EC2: the VPC CNI's ipamd, on the node.
    LinuxEc2,
    /// Windows: the VPC resource controller, in the control plane.
    Windows,
    /// Fargate, hybrid or Auto Mode: not the VPC CNI's DaemonSet.
    Unmanaged,
}

/// Signals of a trunk that are read and never required.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrunkHints {
    /// The node annotation that `spec.cni.trunkEniAnnotation` names.
    pub annotation: Option<EniId>,
    /// Legacy label `vpc.amazonaws.com/has-trunk-attached`.
    pub legacy_label: Option<Arc<str>>,
}

/// A pod, as far as addresses depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// Its namespace (interned).
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// `metadata.uid`.
    pub uid: Arc<str>,
    /// The workload that made it, for example `Deployment resizer` (interned).
    pub workload: Option<Arc<str>>,
    /// Where it runs; none while unscheduled.
    pub node: Option<NodeName>,
    /// Its IPv4 address.
    pub address: Option<Ipv4Addr>,
    /// Whether it shares the node's address.
    pub host_network: bool,
    /// Whether it still is what it was scheduled as.
    pub phase: PodPhase,
    /// Whether its deletion was asked for.
    pub terminating: bool,
    /// Whether it uses a branch interface.
    pub branch: BranchUse,
    /// `metadata.creationTimestamp`.
    pub created_at: Option<Timestamp>,
    /// When kubelet last said that the CNI gave it no address.
    pub refused_at: Option<Timestamp>,
}

impl Pod {
    /// Whether it takes, or wants, an address of its node's warm pool.
    pub fn uses_pool(&self) -> bool {
        !self.host_network && self.branch == BranchUse::No && self.phase != PodPhase::Finished
    }

    /// Whether it is on a node, has no address and kubelet says that this is the CNI's refusal.
    pub fn waits_for_address(&self) -> bool {
        self.uses_pool() && self.node.is_some() && self.address.is_none() && self.refused_at.is_some()
    }
}

/// The phases that differ for addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PodPhase {
    /// Accepted, not all containers started.
    Pending,
    /// Running, or a phase that is not known.
    Running,
    /// Succeeded or failed: its address is free again.
    Finished,
}

/// How a pod uses security groups for pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BranchUse {
    /// Not at all.
    No,
    /// It asks for a branch and has none yet.
    Wanted,
    /// It has this branch interface.
    Has(EniId),
}

/// The VPC CNI as it is installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwsNode {
    /// `namespace/name` of the DaemonSet.
    pub daemon_set: Arc<str>,
    /// What its template would run.
    pub template: Arc<AwsNodeEnv>,
    /// What its running pods do run, sorted by node.
    pub pods: Vec<AwsNodePod>,
}

/// One running pod of the DaemonSet: the truth for its node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwsNodePod {
    /// Its node.
    pub node: NodeName,
    /// The effective environment of its CNI container, shared between equal pods.
    pub env: Arc<AwsNodeEnv>,
    /// Whether all its containers are ready.
    pub ready: bool,
}

/// The effective environment of the CNI container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AwsNodeEnv {
    /// The container's image, whose tag is the CNI's version.
    pub image: String,
    /// The variables after `envFrom` and `env`, the last of a name winning.
    pub values: BTreeMap<String, EnvValue>,
}

impl AwsNodeEnv {
    /// The variables whose values are known.
    pub fn known(&self) -> BTreeMap<String, String> {
        let literal = |(name, value): (&String, &EnvValue)| match value {
            EnvValue::Literal(text) => Some((name.clone(), text.clone())),
            EnvValue::Unresolved(_) => None,
        };
        self.values.iter().filter_map(literal).collect()
    }
}

/// The value of a variable, or where it would have come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnvValue {
    /// The text, exactly.
    Literal(String),
    /// A reference that could not be read, in words.
    Unresolved(String),
}

/// A CNINode: what ipamd asked the VPC resource controller for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CniNode {
    /// The node of the same name.
    pub name: NodeName,
    /// Whether it asks for a trunk.
    pub wants_trunk: bool,
}
