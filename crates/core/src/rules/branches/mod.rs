//! Rules about security groups for pods: codes 3xx.

mod limit_near;

use super::Rule;

/// The rules of this area, sorted by code.
pub(super) const RULES: &[&dyn Rule] = &[&limit_near::BranchLimitNear];
