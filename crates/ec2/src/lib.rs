//! EC2 as typed rows: the only crate that sees the AWS SDK.
//!
//! [`AwsInventory`] lists what an audit needs with as few calls as there are pages, inside a budget of its own per
//! action, and turns every failure into one of few categories with a sentence that says what to do. Each part of the
//! inventory fails alone, within seconds, and no type of the SDK leaves the crate. Endpoint, region, profile and
//! credentials come from the SDK's standard environment and files, unless the user states them ([`Access`]).

mod access;
mod action;
mod apart;
mod budget;
mod call;
mod convert;
mod failure;
mod inventory;
mod lack;
mod listing;
mod memory;
mod meter;
mod parts;
mod region;
mod sieve;
mod vpc;

pub use crate::{
    access::{Access, Role},
    inventory::AwsInventory,
    meter::ActionStats,
    region::RegionChoice,
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ipam_audit_core::rights;

    use crate::action::Action;

    #[test]
    fn the_policy_allows_what_is_called_and_nothing_else() {
        let called: BTreeSet<&str> = Action::ALL.iter().map(|action| action.iam()).collect();
        let granted: BTreeSet<&str> = rights::EC2.iter().map(|right| right.action).collect();
        assert_eq!(granted, called);
    }
}
