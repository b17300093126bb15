//! The operator at the size that it promises to carry, measured from outside.
//!
//! A real control plane begins with thousands of nodes and pods of the size that kubelet writes ([`Snapshot`]), EC2 is the
//! simulator with the same world, and the operator is the shipped binary with its shipped rights. What is measured is
//! what anybody could: the kernel's word on memory and processor time, `/metrics`, the API server's audit log, EC2's
//! request log, and the bytes on the wire.

mod bench;
mod figures;
mod metrics;
mod phases;
mod procfs;
mod proxy;
mod rig;
mod snapshot;
mod stream;

use std::io::Write;

pub use bench::{Bench, measure};
pub use figures::{Figure, Report};
pub use rig::Rig;
pub use snapshot::{Contents, Snapshot};

/// Says what is being done; the figures alone go to standard output.
fn say(what: &str) {
    // What cannot be said is no reason to stop.
    writeln!(std::io::stderr(), "bench: {what}").ok();
}
