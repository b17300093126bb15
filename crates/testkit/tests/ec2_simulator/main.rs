//! The EC2 simulator from outside: seeds, listings, changes, faults, all over HTTP as a client sees them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails by panicking, in helpers too")]

mod changes;
mod faults;
mod interfaces;
mod listing;
mod seed;
mod support;
