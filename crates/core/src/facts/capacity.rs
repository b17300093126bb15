//! Pods that a node admits, against pods that can have an address on it.
//!
//! kubelet's max-pods is one number and the CNI's reach another, and nobody compares them: what the scheduler places
//! beyond the smaller one waits for ever.

use super::NodeFacts;
use crate::{limits, outcome::NodeCapacity};

/// Host-network pods that every formula for max-pods allows for: `aws-node` and `kube-proxy`.
pub(crate) const HOST_PODS: u32 = 2;

impl NodeFacts<'_> {
    /// Pods that the scheduler places on it: kubelet's allocatable number, else its capacity.
    pub fn max_pods(&self) -> Option<u32> {
        self.node.state.allocatable_pods.or(self.node.max_pods)
    }

    /// What it admits and what it can serve; none while a limit is not known or the CNI only hands out what others attach.
    pub fn pod_capacity(&self) -> Option<NodeCapacity> {
        let schedulable = self.max_pods()?.saturating_sub(self.other_pods);
        // A node can hold more than a new one of its kind would: what it had before a switch stays.
        let used = self.pool.as_ref().map_or(0, |pool| pool.interfaces.iter().map(super::PoolInterface::used).sum());
        let addresses = self.capacity?.max(used);
        Some(NodeCapacity { addresses, schedulable, unreachable: schedulable.saturating_sub(addresses) })
    }

    /// Pool pods that still fit by max-pods and by the addresses its type can hold; none while a limit is not known.
    pub fn room(&self) -> Option<u32> {
        let used = self.pool_pods?;
        let NodeCapacity { addresses, schedulable, .. } = self.pod_capacity()?;
        Some(addresses.min(schedulable).saturating_sub(used))
    }

    /// Max-pods that matches the addresses: as many pods as can have one, and those that need none.
    pub(crate) fn fitting_max_pods(&self) -> Option<u32> {
        Some(self.pod_capacity()?.addresses + self.other_pods.max(HOST_PODS))
    }

    /// The number of pods above which EKS does not recommend to go, by the size of the node.
    pub(crate) fn recommended_ceiling(&self) -> Option<u32> {
        let cpus = self.limits.as_ref().and_then(limits::Limits::vcpus).or(self.node.state.cpus)?;
        Some(if cpus > limits::AL2_SMALL_TYPE_VCPUS { 250 } else { 110 })
    }

    /// All pods on it that have not finished; none while pods are missing.
    pub(crate) fn all_pods(&self) -> Option<u32> {
        Some(self.pool_pods? + self.other_pods)
    }
}
