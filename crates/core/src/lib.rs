//! The pure audit engine of `IpamAudit`: where every pod address went, and which change fixes it.
//!
//! The data flow is one line: collect -> snapshot -> evaluate -> render -> publish. This crate is the three middle
//! steps. It does no IO and knows no Kubernetes client, no AWS SDK and no async runtime; whoever has data turns it
//! into the typed rows of [`snapshot`] and [`inventory`] and gets an outcome back.

pub mod batch;
pub mod cni;
pub mod engine;
pub mod facts;
pub mod finding;
pub mod forecast;
pub mod ids;
pub mod intern;
pub mod inventory;
pub mod ipamd;
pub mod ipamd_metrics;
pub mod limits;
pub mod memory;
pub mod net;
pub mod outcome;
pub mod pages;
pub mod policy;
pub mod rights;
pub mod rows;
pub mod rules;
pub mod snapshot;
pub mod source;
pub mod tags;
pub mod text;

#[cfg(test)]
mod tests;
