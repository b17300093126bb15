//! The `ipam-audit` binary.
fn main() {}
