//! Rules about custom networking (50x to 54x) and subnet discovery (55x): codes 5xx.

use super::Rule;

/// The rules of this area, sorted by code.
pub(super) const RULES: &[&dyn Rule] = &[];
