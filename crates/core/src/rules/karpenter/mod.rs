//! Rules about Karpenter: codes 7xx.

use super::Rule;

/// The rules of this area, sorted by code.
pub(super) const RULES: &[&dyn Rule] = &[];
