//! What is derived from the rule registry for readers: the list of findings, a finding's page for the terminal and its
//! page in `docs/findings/`.
//!
//! Nothing here knows a single rule: a rule that is added to the registry has its pages.

mod markdown;
mod terminal;

pub use markdown::{finding_page, index_page};
pub use terminal::{catalogue, explain};
