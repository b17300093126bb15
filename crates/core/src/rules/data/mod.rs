//! Rules about the audit's own sources: codes 9xx.

mod source_missing;
mod source_stale;

use super::Rule;

/// The rules of this area, sorted by code.
pub(super) const RULES: &[&dyn Rule] = &[&source_missing::SourceMissing, &source_stale::SourceStale];
