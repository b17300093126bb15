//! The configuration of the VPC CNI as the CNI itself understands it.
//!
//! [`CniConfig`] is the environment of one `aws-node` container, typed: every variable is unset, set or invalid, and
//! stays so, because an invalid value is a finding although the CNI runs on with a default. What the CNI makes of it on
//! a node of a given version and type is [`Targets`] and [`SizingMode`]; what its entry point refuses is [`EntryPointRefusal`].
//! All parsing follows Go's `strconv`, not Rust's idea of a number.

mod config;
mod entrypoint;
mod parse;
mod targets;
mod variables;
mod version;

pub use config::{CniConfig, EnforcingMode, NetworkPolicyMode, Setting};
pub use entrypoint::EntryPointRefusal;
pub(crate) use parse::parse_bool;
pub use targets::{SizingMode, Targets};
pub use variables::{ALL as VARIABLES, Variable, VariableKind};
pub use version::{CniVersion, VersionError};
