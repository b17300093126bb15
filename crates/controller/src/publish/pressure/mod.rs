//! The condition `ipam-audit.dev/IPPressure` on nodes, where audits ask for it.
//!
//! Each audit pins its word on the [`Board`]; one [`Keeper`] makes one entry of them and keeps it on the nodes. It writes
//! on transitions only. What another writer drops or changes is put back, later and later if that goes on. What nobody
//! asks for any more is taken away, but never before every audit was heard, so that a start removes nothing.

mod board;
mod keeper;
mod plan;
#[cfg(test)]
mod tests;

pub(crate) use board::{Board, Judgement};
pub(crate) use keeper::Keeper;
