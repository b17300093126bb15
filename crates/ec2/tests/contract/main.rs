//! What `AwsInventory` reads, over HTTP, from two implementations of EC2: moto, which nobody here wrote, and the
//! project's simulator.
//!
//! A case builds the same small world in both through EC2's own API, reads it, and compares what came with what AWS
//! documents. Where one of them is known to differ, `differences` says so with the reason: a new difference fails, and
//! so does a listed one that is gone. What moto cannot do at all (paging, faults, budgets) runs on the simulator alone.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy takes the helpers of integration tests for shipped code"
)]

mod access;
mod check;
mod differences;
mod faults;
mod identity;
mod interfaces;
mod limits;
mod network;
mod paging;
mod partitions;
mod rig;
mod routing;
mod scope;
mod setup;
