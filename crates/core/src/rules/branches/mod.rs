//! Rules about security groups for pods: codes 3xx.
//!
//! The chain of a trunk has links: the CNI's setting, the CNINode's request, the node's resource, the interface in
//! EC2, and the branches of pods. Each link that is broken is a rule of its own, with its cause. In a cluster that does
//! not use the feature every rule passes, whatever optional source is missing.

mod branch_cooldown;
mod branch_gone;
mod branch_groups_differ;
mod branch_in_public_subnet;
mod branch_not_given;
mod branch_on_other_trunk;
mod branch_request_misplaced;
mod branch_slots_differ;
mod branch_slots_lacking;
mod common;
mod group_missing;
mod limit_near;
mod max_pods_hide_branches;
mod no_grace_period;
mod pod_groups_disabled;
mod policy_not_applied;
mod policy_selects_namespace;
mod policy_selects_unserved;
mod policy_without_effect;
mod strict;
mod strict_mode_conflict;
mod strict_mode_probes;
mod too_many_groups;
mod trunk_gone;
mod trunk_hint_differs;
mod trunk_left_behind;
mod trunk_misplaced;
mod trunk_missing;
mod trunk_not_requested;
mod trunk_takes_interface;
mod trunk_unpublished;
mod trunks_unused;
mod type_without_trunk;
mod webhook_missing;

use super::Rule;

/// The rules of this area, sorted by code.
pub(super) const RULES: &[&dyn Rule] = &[
    &limit_near::BranchLimitNear,
    &pod_groups_disabled::PodGroupsDisabled,
    &trunks_unused::TrunksUnused,
    &trunk_missing::TrunkMissing,
    &trunk_not_requested::TrunkNotRequested,
    &type_without_trunk::TypeWithoutTrunk,
    &trunk_takes_interface::TrunkTakesInterface,
    &branch_slots_differ::BranchSlotsDiffer,
    &trunk_misplaced::TrunkMisplaced,
    &branch_slots_lacking::BranchSlotsLacking,
    &branch_not_given::BranchNotGiven,
    &branch_request_misplaced::BranchRequestMisplaced,
    &policy_not_applied::PolicyNotApplied,
    &branch_gone::BranchGone,
    &branch_groups_differ::BranchGroupsDiffer,
    &policy_without_effect::PolicyWithoutEffect,
    &policy_selects_namespace::PolicySelectsNamespace,
    &too_many_groups::TooManyGroups,
    &group_missing::GroupMissing,
    &policy_selects_unserved::PolicySelectsUnserved,
    &strict_mode_probes::StrictModeProbes,
    &strict_mode_conflict::StrictModeConflict,
    &branch_in_public_subnet::BranchInPublicSubnet,
    &no_grace_period::NoGracePeriod,
    &branch_cooldown::BranchCooldown,
    &max_pods_hide_branches::MaxPodsHideBranches,
    &webhook_missing::WebhookMissing,
    &trunk_hint_differs::TrunkHintDiffers,
    &branch_on_other_trunk::BranchOnOtherTrunk,
    &trunk_unpublished::TrunkUnpublished,
    &trunk_gone::TrunkGone,
    &trunk_left_behind::TrunkLeftBehind,
];

#[cfg(test)]
mod tests {
    use crate::{
        engine,
        memory::Memory,
        outcome::{AuditOutcome, ConditionStatus, ConditionType, RuleAnswer},
        policy::AuditPolicy,
        snapshot::{ClusterObjects, ClusterSnapshot},
        tests::{branches::*, fixtures::Cluster},
    };

    fn audit(snapshot: &ClusterSnapshot) -> AuditOutcome {
        engine::evaluate(snapshot, &AuditPolicy::default(), &Memory::default())
    }

    fn answers(outcome: &AuditOutcome) -> Vec<(&'static str, RuleAnswer)> {
        let own = outcome.rules.iter().filter(|rule| rule.code.starts_with("IPAM3"));
        own.map(|rule| (rule.code, rule.answer.clone())).collect()
    }

    #[test]
    fn a_sound_cluster_with_branches_has_no_finding() {
        let mut snapshot = cluster("m5.large", 3);
        for node in 0..3 {
            branch_pod(&mut snapshot, node, &format!("db-{node}"));
        }
        for (code, answer) in answers(&audit(&snapshot)) {
            assert_eq!(answer, RuleAnswer::Passed, "{code}");
        }
    }

    #[test]
    fn a_cluster_without_branches_needs_no_optional_source() {
        let mut snapshot = Cluster::new("10.0.0.0/20", &[]).node("m5.large", 29, &[9, 9], 3).snapshot();
        snapshot.objects = ClusterObjects::default();
        snapshot.cni_nodes = missing();
        for (code, answer) in answers(&audit(&snapshot)) {
            assert_eq!(answer, RuleAnswer::Passed, "{code}");
        }
    }

    #[test]
    fn the_chain_is_in_the_outcome_with_what_is_not_known_left_out() {
        let mut snapshot = cluster("m5.large", 1);
        branch_pod(&mut snapshot, 0, "db-1");
        edit_node(&mut snapshot, 0, |node| node.trunk_hints.legacy_label = Some("false".into()));
        let slots = audit(&snapshot).nodes[0].branches.clone().unwrap();
        assert_eq!((slots.used, slots.limit), (1, Some(9)));
        let chain = slots.chain.unwrap();
        assert_eq!((chain.intended, chain.requested, chain.resource), (Some(true), Some(true), Some(true)));
        assert_eq!(chain.interface, Some("eni-trunk-0".into()));
        assert_eq!((chain.annotation, chain.label.as_deref()), (None, Some("false")));
        snapshot.cni_nodes = missing();
        let chain = audit(&snapshot).nodes[0].branches.clone().unwrap().chain.unwrap();
        assert_eq!(chain.requested, None, "nobody knows");
    }

    #[test]
    fn information_leaves_the_condition_true() {
        let mut snapshot = cluster("t3.medium", 1);
        drop_interface(&mut snapshot, "eni-trunk-0");
        let outcome = audit(&snapshot);
        let conditions = &outcome.nodes[0].conditions;
        let branches = conditions.iter().find(|one| one.kind == ConditionType::BranchCapacityAvailable).unwrap();
        assert_eq!((branches.status, branches.reason), (ConditionStatus::True, "NoTrunk"));
    }
}
