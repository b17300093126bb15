//! Reads the text that ipamd's `/metrics` answers with, and keeps the few numbers that an audit needs.
//!
//! Pure and streaming: chunks go in as they come, one line is held at a time, and what is left is one row of numbers,
//! however long the answer is.

mod exposition;
mod pick;
#[cfg(test)]
mod tests;

pub use pick::{IpamdText, NotIpamd};
