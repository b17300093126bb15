//! Render: an outcome becomes the statuses of the audit and of its reports. The only place where core becomes API.
//!
//! Pure and deterministic: the moment is the outcome's own, and what was written before comes in as an argument. Times
//! of conditions and findings carry over from there, so that a report whose subject did not change equals its
//! predecessor ([`SameIgnoringTimes`]) and is not written again, also by a process that has just taken over.
//! What is missing now but was known before is kept and marked, never wiped and never zero.

mod audit;
mod bounds;
mod compare;
mod conditions;
mod findings;
mod node;
mod objects;
mod subnet;
#[cfg(test)]
mod tests;
mod trust;

pub use audit::{Circumstances, Reports, open_request, render_audit, render_stalled, render_suspended};
pub(crate) use bounds::clip;
pub use bounds::{MAX_STATUS_BYTES, MAX_WORST};
pub use compare::{Said, SameIgnoringTimes, digest, needs_write};
pub use node::{keep_node, render_node};
pub use objects::{node_report, owner_reference, subnet_report};
pub use subnet::{keep_subnet, render_subnet};
pub use trust::{Context, ReadPlace};
