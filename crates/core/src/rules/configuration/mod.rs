//! Rules about the VPC CNI's configuration: codes 6xx.

use super::Rule;

/// The rules of this area, sorted by code.
pub(super) const RULES: &[&dyn Rule] = &[];
