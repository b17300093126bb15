//! A node's row.

use std::{net::Ipv4Addr, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Tags;
use crate::ids::{EniId, InstanceId, InstanceType, NodeName, Zone};

/// A node, as far as addresses depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    /// Its labels, sorted by key.
    pub labels: Tags,
    /// Its annotations whose values are short names, sorted by key: one of them may choose an ENIConfig.
    pub annotations: Tags,
    /// What it is doing.
    pub state: NodeState,
}

impl Node {
    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key)
    }

    /// The value of an annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(key)
    }
}

/// What a node is doing, as far as it tells. What it does not tell is not assumed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct NodeState {
    /// Condition `Ready`.
    pub ready: Option<bool>,
    /// When that condition last changed.
    pub ready_since: Option<Timestamp>,
    /// When the unschedulable taint was added.
    pub cordoned_since: Option<Timestamp>,
    /// Who drains it (`karpenter`, `cluster-autoscaler`, …), by the taint that says so. ipamd does not look at these
    /// taints.
    pub drained_by: Option<Arc<str>>,
    /// `metadata.deletionTimestamp`.
    pub deleted_at: Option<Timestamp>,
    /// `status.nodeInfo.kubeletVersion`, for example `v1.33.1-eks-1`.
    pub kubelet: Option<Arc<str>>,
    /// `status.capacity.cpu`, whole processors.
    pub cpus: Option<u32>,
    /// `status.allocatable.pods`, which the scheduler looks at.
    pub allocatable_pods: Option<u32>,
    /// Allocatable `vpc.amazonaws.com/PrivateIPv4Address`: Windows nodes only.
    pub windows_addresses: Option<u32>,
    /// Its internal IPv4 address.
    pub address: Option<Ipv4Addr>,
}

/// Who gives a node's pods their addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Platform {
    /// Linux on EC2: the VPC CNI's ipamd, on the node.
    LinuxEc2,
    /// Windows: the VPC resource controller, in the control plane.
    Windows,
    /// Fargate: one pod, one interface.
    Fargate,
    /// An EKS hybrid node: another CNI.
    Hybrid,
    /// EKS Auto Mode: EKS itself, without the DaemonSet.
    AutoMode,
    /// Of another cloud or of nobody we know.
    Foreign,
}

impl Platform {
    /// The word in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LinuxEc2 => "linux-ec2",
            Self::Windows => "windows",
            Self::Fargate => "fargate",
            Self::Hybrid => "hybrid",
            Self::AutoMode => "auto-mode",
            Self::Foreign => "foreign",
        }
    }
}

/// Signals of a trunk that are read and never required.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TrunkHints {
    /// The node annotation that `spec.cni.trunkEniAnnotation` names.
    pub annotation: Option<EniId>,
    /// Legacy label `vpc.amazonaws.com/has-trunk-attached`.
    pub legacy_label: Option<Arc<str>>,
}
