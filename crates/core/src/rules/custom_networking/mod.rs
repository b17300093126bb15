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

#[cfg(test)]
mod tests {
    use super::RULES;
    use crate::{
        outcome::RuleAnswer,
        snapshot::ClusterSnapshot,
        source::{FaultCategory, Reading},
        tests::{
            custom_networking::{DISCOVERY, audit, custom, discovering, subnet},
            fixtures::now,
        },
    };

    /// The rules of this area that did not pass.
    fn not_passed(snapshot: &ClusterSnapshot) -> Vec<(&'static str, RuleAnswer)> {
        let own: Vec<&str> = RULES.iter().map(|rule| rule.meta().code).collect();
        let answers = audit(snapshot).rules.into_iter().filter(|rule| own.contains(&rule.code));
        answers.map(|rule| (rule.code, rule.answer)).filter(|(_, answer)| *answer != RuleAnswer::Passed).collect()
    }

    #[test]
    fn a_cluster_that_uses_neither_passes_without_any_optional_source() {
        let mut plain = discovering("1.23.1", DISCOVERY, [subnet("subnet-2", "eu-central-1a", 100, &[])]);
        plain.objects.eni_configs = Reading::missing(FaultCategory::NotFound, "ENIConfig is not installed");
        assert_eq!(not_passed(&plain), []);
    }

    #[test]
    fn custom_networking_as_it_should_be_passes() {
        let mut snapshot = custom(3, |_| {});
        snapshot.ec2.route_tables = Reading::fresh(Vec::new(), now());
        assert_eq!(not_passed(&snapshot), []);
    }

    #[test]
    fn a_switch_that_cannot_be_read_leaves_the_answer_open() {
        use crate::{snapshot::EnvValue, source::Source, tests::custom_networking::change_env};
        let mut snapshot = custom(1, |_| {});
        change_env(&mut snapshot, |env| {
            let unread = EnvValue::Unresolved("ConfigMap cni".into());
            env.values.insert("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG".into(), unread);
        });
        let open = RuleAnswer::Inconclusive { missing: vec![Source::AwsNode], suspects: 0 };
        let answers = not_passed(&snapshot);
        assert!(answers.len() > 20 && answers.iter().all(|(_, answer)| *answer == open), "{answers:?}");
    }
}
