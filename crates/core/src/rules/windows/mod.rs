//! Rules about Windows nodes: codes 8xx.

use super::Rule;

/// The rules of this area, sorted by code.
pub(super) const RULES: &[&dyn Rule] = &[];
