//! Whole bundles, as files in a directory.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod broken;
#[cfg(unix)]
mod document;
mod fixture;
mod read;
