//! Reads bundles.
