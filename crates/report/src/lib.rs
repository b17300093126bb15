//! Render for readers outside of the cluster: one outcome as a table or as a versioned JSON document, and what is derived
//! from the rule registry: the list of findings, a finding's page for the terminal and its page in `docs/findings/`.
//!
//! Pure text in and out. Nothing here knows a single rule, and nothing here judges: what is said was said by the engine.

mod document;
mod grid;
mod markdown;
mod table;
mod terminal;

use ipam_audit_core::{
    outcome::AuditOutcome,
    source::{FaultCategory, SourceState},
};

pub use document::{AuditDocument, SCHEMA};
pub use markdown::{finding_page, index_page};
pub use table::{TableStyle, table_of};
pub use terminal::{catalogue, explain};

/// What a rendering knows beside the outcome.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context<'a> {
    /// The cluster's name, if somebody told.
    pub cluster: Option<&'a str>,
    /// What in the input could not be used, or should be known about it.
    pub warnings: &'a [String],
}

/// Whether every required source was read, and none of any kind was broken.
pub fn is_complete(outcome: &AuditOutcome) -> bool {
    let absent = |state: &SourceState| {
        let category = state.fault.as_ref().map(|fault| fault.category);
        state.source.is_optional()
            && matches!(category, Some(FaultCategory::NotFound | FaultCategory::NotProvided | FaultCategory::Pending))
    };
    outcome.sources.iter().all(|state| state.fault.is_none() || absent(state))
}
