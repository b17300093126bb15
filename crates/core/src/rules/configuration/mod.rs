//! Rules about the VPC CNI's configuration: codes 6xx.

mod address_family_invalid;
mod environment;
mod no_interface_for_pods;
mod prefix_targets_missing;
mod start_refused;
mod variable_misspelled;

use super::Rule;

/// The rules of this area, sorted by code.
pub(super) const RULES: &[&dyn Rule] = &[
    &address_family_invalid::AddressFamilyInvalid,
    &prefix_targets_missing::PrefixTargetsMissing,
    &start_refused::StartRefused,
    &no_interface_for_pods::NoInterfaceForPods,
    &variable_misspelled::VariableMisspelled,
];
