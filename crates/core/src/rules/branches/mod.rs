//! Rules about security groups for pods: codes 3xx.
//!
//! The chain of a trunk has links: the CNI's setting, the CNINode's request, the node's resource, the interface in
//! EC2, and the branches of pods. Each link that is broken is a rule of its own, with its cause. In a cluster that does
//! not use the feature every rule passes, whatever optional source is missing.

mod branch_on_other_trunk;
mod branch_slots_differ;
mod common;
mod limit_near;
mod pod_groups_disabled;
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
    &trunk_hint_differs::TrunkHintDiffers,
    &branch_on_other_trunk::BranchOnOtherTrunk,
    &trunk_unpublished::TrunkUnpublished,
    &trunk_gone::TrunkGone,
    &trunk_left_behind::TrunkLeftBehind,
];
