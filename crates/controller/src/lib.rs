//! The controller: watches fill an index, every change makes a snapshot, the engine judges it, what differs is written.
//!
//! The flow is one line, here and in logs and metrics: **collect -> snapshot -> evaluate -> render -> publish**. The
//! index (`state`) is filled by watches (`collect`, `watch`), EC2 is read by `poll`, each node's ipamd by `ipamd`, one
//! audit is `reconcile`, and `publish` is the only part that writes. Only the leader (`lease`) polls and writes; every replica watches.
//! EC2 is behind [`OpenInventory`]: this crate never sees the AWS SDK.

mod admin;
mod backoff;
mod call;
mod cleanup;
mod clients;
mod collect;
mod config_maps;
mod crds;
mod discovery;
mod error;
mod ipamd;
mod lease;
mod metrics;
mod poll;
mod publish;
mod reconcile;
mod run;
mod scrape;
mod settings;
mod state;
mod tasks;
#[cfg(test)]
mod tests;
mod watch;
mod wire;

pub use admin::LogFilter;
pub use call::CallError;
pub use cleanup::{Cleaned, Cleanup, CleanupError};
pub use error::Error;
pub use metrics::SPANS;
pub use poll::{CallStats, CountCalls, Ec2Place, OpenInventory};
pub use run::run;
pub use settings::Settings;
