//! The `ipam-audit.dev` API.

pub mod views;
