//! The pure audit engine.
