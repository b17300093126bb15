//! Rules about addresses that are lost or leaked: codes 4xx.

mod branch_without_pod;
mod branch_without_trunk;
mod branches;
mod interface_leaked;
mod leak;
mod leaks_fill_subnet;
mod pod_address_elsewhere;
mod pod_address_lost;
mod pod_address_shared;
mod pods;

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
];
