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

#[cfg(test)]
mod tests {
    use crate::{
        engine,
        memory::Memory,
        outcome::{ConditionStatus, ConditionType, NodeCapacity, NodeOutcome},
        policy::AuditPolicy,
        snapshot::{ClusterSnapshot, Node},
        tests::{fixtures::Cluster, nodes::host_pods},
    };

    fn first(snapshot: &ClusterSnapshot) -> NodeOutcome {
        engine::evaluate(snapshot, &AuditPolicy::default(), &Memory::default()).nodes.swap_remove(0)
    }

    fn capacity(env: &[(&str, &str)], kind: &str, max_pods: u32, change: impl FnOnce(&mut Node)) -> (u32, u32, u32) {
        let cluster = Cluster::new("10.0.0.0/20", env).node(kind, max_pods, &[1], 1).tweak(change);
        let NodeCapacity { addresses, schedulable, unreachable } =
            first(&host_pods(2, cluster.snapshot())).capacity.unwrap();
        (addresses, schedulable, unreachable)
    }

    #[test]
    fn what_takes_an_interface_takes_its_addresses() {
        let same = |_: &mut Node| ();
        assert_eq!(capacity(&[], "m5.large", 29, same), (27, 27, 0));
        assert_eq!(capacity(&[("ENABLE_POD_ENI", "true")], "m5.large", 29, same), (18, 27, 9));
        assert_eq!(capacity(&[("ENABLE_POD_ENI", "true")], "t3.medium", 17, same), (15, 15, 0), "t3 has no trunk");
        assert_eq!(capacity(&[("MAX_ENI", "1")], "m5.large", 29, same), (9, 27, 18));
        let custom = &[("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true")];
        assert_eq!(capacity(custom, "m5.large", 29, same), (18, 27, 9));
        let both = &[("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true"), ("ENABLE_POD_ENI", "true")];
        assert_eq!(capacity(both, "m6g.medium", 8, same), (1, 6, 5), "only what the primary had from before");
        let prefixes = &[("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_PREFIX_TARGET", "1")];
        assert_eq!(capacity(prefixes, "m5.large", 110, same), (432, 108, 0));
    }

    #[test]
    fn the_scheduler_goes_by_what_is_allocatable() {
        let allocatable = |node: &mut Node| node.state.allocatable_pods = Some(20);
        assert_eq!(capacity(&[], "m5.large", 29, allocatable), (27, 18, 0));
    }

    #[test]
    fn where_others_attach_nothing_is_claimed() {
        let env = &[("ENABLE_IMDS_ONLY_MODE", "true")];
        let node = first(&Cluster::new("10.0.0.0/20", env).node("m5.large", 29, &[9], 9).snapshot());
        assert_eq!((node.capacity, node.findings.len()), (None, 0));
        let condition = |kind| node.conditions.iter().find(|condition| condition.kind == kind).unwrap();
        assert_eq!(condition(ConditionType::CapacityAvailable).status, ConditionStatus::Unknown);
        assert_eq!(condition(ConditionType::WarmPoolSized).reason, "LeftToOthers");
    }
}
