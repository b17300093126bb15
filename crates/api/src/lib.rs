//! The `ipam-audit.dev` API.
