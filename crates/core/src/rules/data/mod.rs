//! Rules about the audit's own sources: codes 9xx.

pub(super) mod source_missing;
pub(super) mod source_stale;
