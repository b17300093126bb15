//! A pod's row.

use std::{net::Ipv4Addr, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Tags, tag};
use crate::ids::{EniId, NodeName};

/// A pod, as far as addresses depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    /// When it was bound to its node; kept only for pods that want a branch or have no address.
    pub scheduled_at: Option<Timestamp>,
    /// When its last container ended; kept only for finished pods.
    pub finished_at: Option<Timestamp>,
    /// When kubelet last said that the CNI gave it no address.
    pub refused_at: Option<Timestamp>,
    /// What it has in common with the other pods of its workload; none where the reader does not collect it.
    pub traits: Option<Arc<PodTraits>>,
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

    /// Whether a DaemonSet made it.
    pub fn is_daemon(&self) -> bool {
        self.workload.as_deref().is_some_and(|workload| workload.starts_with("DaemonSet "))
    }

    /// `namespace/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// The phases that differ for addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PodPhase {
    /// Accepted, not all containers started.
    Pending,
    /// Running, or a phase that is not known.
    Running,
    /// Succeeded or failed: its address is free again.
    Finished,
}

/// How a pod uses security groups for pods.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum BranchUse {
    /// Not at all.
    No,
    /// It asks for a branch and has none yet.
    Wanted,
    /// It has this branch interface.
    Has(EniId),
}

/// What pods of one template share: kept once for all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PodTraits {
    /// Labels, sorted by key.
    pub labels: Tags,
    /// `spec.serviceAccountName`; none means `default`.
    pub service_account: Option<Arc<str>>,
    /// Indices of the containers that ask for `vpc.amazonaws.com/pod-eni`.
    pub branch_containers: Box<[u32]>,
    /// `spec.terminationGracePeriodSeconds`.
    pub grace_seconds: Option<u32>,
    /// Whether kubelet probes it over the network (HTTP, TCP or gRPC): liveness, readiness or startup.
    pub network_probes: bool,
    /// Whether the scheduler says that no node has a branch slot left for it.
    pub lacks_branch_slot: bool,
}

impl PodTraits {
    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        tag(&self.labels, key)
    }
}
