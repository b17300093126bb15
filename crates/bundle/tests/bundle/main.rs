//! Whole bundles, as files in a directory.

mod broken;
mod fixture;
mod read;
