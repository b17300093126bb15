//! Whole bundles, as files in a directory.

mod broken;
#[cfg(unix)]
mod document;
mod fixture;
mod read;
