//! Rules about the VPC CNI's configuration: codes 6xx.

mod address_family_invalid;
mod cni_too_old_for_cluster;
mod cool_down_changed;
mod downgraded_below_prefixes;
mod environment;
mod feature_newer_than_cni;
mod known_bad;
mod known_defect;
mod no_interface_for_pods;
mod partly_upgraded;
mod policy_agent_too_old;
mod prefix_targets_missing;
mod setting_unread;
mod start_refused;
mod target_ignored;
mod targets_beside_blocks;
mod trunk_slot_wasted;
mod value_not_understood;
mod variable_misspelled;
mod warm_interfaces_beyond_type;
mod warm_prefix_target_zero;
mod warm_target_without_minimum;

use super::Rule;

/// The rules of this area, sorted by code.
pub(super) const RULES: &[&dyn Rule] = &[
    &address_family_invalid::AddressFamilyInvalid,
    &prefix_targets_missing::PrefixTargetsMissing,
    &start_refused::StartRefused,
    &no_interface_for_pods::NoInterfaceForPods,
    &variable_misspelled::VariableMisspelled,
    &value_not_understood::ValueNotUnderstood,
    &setting_unread::SettingUnread,
    &target_ignored::TargetIgnored,
    &warm_prefix_target_zero::WarmPrefixTargetZero,
    &warm_interfaces_beyond_type::WarmInterfacesBeyondType,
    &warm_target_without_minimum::WarmTargetWithoutMinimum,
    &targets_beside_blocks::TargetsBesideBlocks,
    &trunk_slot_wasted::TrunkSlotWasted,
    &cool_down_changed::CoolDownChanged,
    &feature_newer_than_cni::FeatureNewerThanCni,
    &cni_too_old_for_cluster::CniTooOldForCluster,
    &known_defect::KnownDefect,
    &downgraded_below_prefixes::DowngradedBelowPrefixes,
    &partly_upgraded::PartlyUpgraded,
    &policy_agent_too_old::PolicyAgentTooOld,
];
