//! Rules about custom networking (50x to 54x) and subnet discovery (55x): codes 5xx.

mod cluster_name_unset;
mod config_groups_missing;
mod config_in_node_subnet;
mod config_missing;
mod config_subnet_excluded;
mod config_subnet_missing;
mod config_unused;
mod config_without_groups;
mod config_zone_mismatch;
mod configs_unheeded;
mod default_config_with_groups;
mod discovery_off;
mod excluded_interfaces;
mod no_subnet_left;
mod opt_out_unheeded;
mod resource_controller_differs;
mod routes_missing;
mod tag_stale;
mod tag_value_odd;
mod tags_unheeded;
mod two_configs_named;
mod untagged_room;
mod windows_nodes;
mod words;
mod wrong_subnet;
mod zone_label_deprecated;
mod zone_not_offered;

use super::Rule;

/// The rules of this area, sorted by code.
pub(super) const RULES: &[&dyn Rule] = &[
    &config_missing::EniConfigMissing,
    &config_subnet_missing::EniConfigSubnetMissing,
    &config_zone_mismatch::EniConfigZoneMismatch,
    &config_groups_missing::EniConfigGroupsMissing,
    &config_without_groups::EniConfigWithoutGroups,
    &configs_unheeded::EniConfigsUnheeded,
    &two_configs_named::TwoEniConfigsNamed,
    &config_subnet_excluded::EniConfigSubnetExcluded,
    &zone_label_deprecated::ZoneLabelDeprecated,
    &wrong_subnet::PodsInWrongSubnet,
    &default_config_with_groups::DefaultEniConfigWithGroups,
    &resource_controller_differs::EniConfigOfBranchesDiffers,
    &config_in_node_subnet::EniConfigInNodeSubnet,
    &tags_unheeded::SubnetTagsUnheeded,
    &routes_missing::PodSubnetRoutesMissing,
    &config_unused::EniConfigUnused,
    &windows_nodes::WindowsWithCustomNetworking,
    &tag_value_odd::SubnetTagValueOdd,
    &opt_out_unheeded::SubnetOptOutUnheeded,
    &no_subnet_left::NoSubnetLeftToChoose,
    &tag_stale::SubnetTagStale,
    &excluded_interfaces::InterfacesInExcludedSubnet,
    &cluster_name_unset::ClusterNameUnsetForTags,
    &discovery_off::SubnetDiscoveryOff,
    &untagged_room::UntaggedSubnetHasRoom,
    &zone_not_offered::ZoneNotOffered,
];
