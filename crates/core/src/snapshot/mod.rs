//! The cluster at one moment: immutable rows, sorted, each source with its age.
//!
//! Everything an audit looks at is here, and nothing else; two equal snapshots give two equal outcomes. Rows are
//! made at the edge (watch events, the EC2 reader, a bundle) and are typed from there on.

mod aws_node;
mod ipamd;
mod network;
mod node;
mod objects;
mod pod;

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use aws_node::{AwsNode, AwsNodeEnv, AwsNodeManifest, AwsNodePod, EnvValue};
pub use ipamd::{IpamdActivity, IpamdNode, IpamdPool, IpamdSaid, IpamdTroubles};
pub use network::{CniNode, EniConfig, Requirement, SecurityGroupPolicy, Selector};
pub use node::{Node, NodeState, Platform, TrunkHints};
pub use objects::{
    ClusterObjects, ConfigMap, Event, NetworkPolicy, NodeClaim, NodeClass, NodePool, Service, ServiceAccount, Workload,
    is_karpenter, is_resource_controller,
};
pub use pod::{BranchUse, Pod, PodFamily, PodFields, PodName, PodPhase, PodTraits};

pub use crate::tags::Tags;
use crate::{
    inventory::Inventory,
    pages::Pages,
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
    pub pods: Reading<Pages<Pod>>,
    /// The VPC CNI's DaemonSet and its running pods.
    pub aws_node: Reading<AwsNode>,
    /// CNINode objects; missing where the CRD is not installed.
    pub cni_nodes: Reading<Vec<CniNode>>,
    /// What each node's ipamd says of itself, sorted by node; not collected unless an audit asks for it.
    pub ipamd: Reading<Vec<Arc<IpamdNode>>>,
    /// Optional objects.
    pub objects: ClusterObjects,
    /// EC2's side.
    pub ec2: Inventory,
}

impl ClusterSnapshot {
    /// The state of every source that this snapshot's reader collects, in the order of [`Source::ALL`].
    pub fn sources(&self) -> Vec<SourceState> {
        let mut states = vec![
            self.nodes.state(Source::Nodes),
            self.pods.state(Source::Pods),
            self.aws_node.state(Source::AwsNode),
            self.cni_nodes.state(Source::CniNodes),
            self.ipamd.state(Source::Ipamd),
        ];
        states.extend(self.objects.states());
        states.extend(self.ec2.states());
        states.retain(|state| !state.is_not_collected());
        states
    }
}
