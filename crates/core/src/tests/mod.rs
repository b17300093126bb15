//! What unit tests of several modules share.

pub(crate) mod fixtures;
pub(crate) mod karpenter;
