//! Rules about addresses that are lost or leaked: codes 4xx.

mod addresses_stranded;
mod branch_without_pod;
mod branch_without_trunk;
mod branches;
mod cni_node_missing;
mod cni_node_orphaned;
mod cni_node_stale;
mod cni_nodes;
mod interface_leaked;
mod interface_outlives_node;
mod leak;
mod leaks_fill_subnet;
mod pod_address_elsewhere;
mod pod_address_lost;
mod pod_address_shared;
mod pods;
mod prefixes_sparse;
mod stopped_instance_holds_addresses;
mod unused_node_holds_addresses;
mod waste;

use super::Rule;

/// The rules of this area, sorted by code.
pub(super) const RULES: &[&dyn Rule] = &[
    &pod_address_lost::PodAddressLost,
    &pod_address_elsewhere::PodAddressElsewhere,
    &pod_address_shared::PodAddressShared,
    &interface_leaked::InterfaceLeaked,
    &leaks_fill_subnet::LeaksFillSubnet,
    &branch_without_pod::BranchWithoutPod,
    &branch_without_trunk::BranchWithoutTrunk,
    &cni_node_orphaned::CniNodeOrphaned,
    &cni_node_stale::CniNodeStale,
    &cni_node_missing::CniNodeMissing,
    &unused_node_holds_addresses::UnusedNodeHoldsAddresses,
    &addresses_stranded::AddressesStranded,
    &interface_outlives_node::InterfaceOutlivesNode,
    &stopped_instance_holds_addresses::StoppedInstanceHoldsAddresses,
    &prefixes_sparse::PrefixesSparse,
];
