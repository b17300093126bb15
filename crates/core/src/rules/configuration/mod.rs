//! Rules about the VPC CNI's configuration: codes 6xx.

mod address_family_invalid;
mod aws_node_not_serving;
mod aws_node_restarts;
mod cluster_name_missing;
mod cni_too_old_for_cluster;
mod config_map_without_effect;
mod cool_down_changed;
mod debug_log_on_many_nodes;
mod downgraded_below_prefixes;
mod eni_tags_dropped;
mod environment;
mod feature_newer_than_cni;
mod known_bad;
mod known_defect;
mod leak_clean_up_off;
mod metrics_off;
mod no_interface_for_pods;
mod node_role_used;
mod other_cni;
mod partly_upgraded;
mod permissions_missing;
mod pods_without_egress;
mod policy_agent_too_old;
mod prefix_targets_missing;
mod probes_too_tight;
mod provisioning_off;
mod rollout_unfinished;
mod setting_unread;
mod start_refused;
mod target_ignored;
mod targets_beside_blocks;
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
    &cool_down_changed::CoolDownChanged,
    &feature_newer_than_cni::FeatureNewerThanCni,
    &cni_too_old_for_cluster::CniTooOldForCluster,
    &known_defect::KnownDefect,
    &downgraded_below_prefixes::DowngradedBelowPrefixes,
    &partly_upgraded::PartlyUpgraded,
    &policy_agent_too_old::PolicyAgentTooOld,
    &rollout_unfinished::RolloutUnfinished,
    &aws_node_not_serving::AwsNodeNotServing,
    &aws_node_restarts::AwsNodeRestarts,
    &permissions_missing::PermissionsMissing,
    &node_role_used::NodeRoleUsed,
    &probes_too_tight::ProbesTooTight,
    &cluster_name_missing::ClusterNameMissing,
    &leak_clean_up_off::LeakCleanUpOff,
    &provisioning_off::ProvisioningOff,
    &metrics_off::MetricsOff,
    &eni_tags_dropped::EniTagsDropped,
    &debug_log_on_many_nodes::DebugLogOnManyNodes,
    &pods_without_egress::PodsWithoutEgress,
    &other_cni::OtherCni,
    &config_map_without_effect::ConfigMapWithoutEffect,
];
