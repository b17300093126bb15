//! Rules about addresses that are lost or leaked: codes 4xx.

use super::Rule;

/// The rules of this area, sorted by code.
pub(super) const RULES: &[&dyn Rule] = &[];
