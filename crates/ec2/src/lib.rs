//! EC2 as typed rows: the only crate that sees the AWS SDK.
//!
//! [`AwsInventory`] lists what an audit needs with as few calls as there are pages, inside a budget of its own per
//! action, and turns every failure into one of few categories with a sentence that says what to do. Each part of the
//! inventory fails alone, within seconds, and no type of the SDK leaves the crate. Endpoint, region, profile and
//! credentials come from the SDK's standard environment and files; nothing here overrides them.

mod action;
mod budget;
mod call;
mod convert;
mod failure;
mod intern;
mod inventory;
mod listing;
mod memory;
mod meter;
mod parts;
mod region;
mod vpc;

pub use crate::{inventory::AwsInventory, meter::ActionStats, region::RegionChoice};

/// The least policy that a complete audit needs, ready for `aws iam create-policy`.
pub const IAM_POLICY: &str = include_str!("../iam-policy.json");

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ipam_audit_core::source::Source;

    use super::*;
    use crate::action::Action;

    fn allowed() -> BTreeSet<String> {
        let policy: serde_json::Value = serde_json::from_str(IAM_POLICY).unwrap();
        let actions = policy["Statement"][0]["Action"].as_array().unwrap();
        actions.iter().map(|action| action.as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_policy_allows_what_is_called_and_nothing_else() {
        let called: BTreeSet<String> = Action::ALL.iter().map(|action| action.iam().to_owned()).collect();
        assert_eq!(allowed(), called);
        let documented: BTreeSet<String> =
            Source::ALL.iter().filter_map(|source| source.iam_action().map(str::to_owned)).collect();
        assert_eq!(allowed(), documented);
    }

    #[test]
    fn the_policy_to_deploy_is_the_policy_that_is_printed() {
        let deployed = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/iam-policy.json"));
        assert_eq!(deployed.unwrap(), IAM_POLICY);
    }
}
