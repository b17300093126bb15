//! Rules about subnets and the VPC: codes 1xx.

mod full;
mod low;
mod words;

use super::Rule;

/// The rules of this area, sorted by code.
pub(super) const RULES: &[&dyn Rule] = &[&full::SubnetFull, &low::SubnetLow];
