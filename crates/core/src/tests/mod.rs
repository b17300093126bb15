//! What unit tests of several modules share.

pub(crate) mod addresses;
pub(crate) mod branches;
pub(crate) mod configuration;
pub(crate) mod custom_networking;
pub(crate) mod fixtures;
pub(crate) mod ipamd;
pub(crate) mod karpenter;
pub(crate) mod nodes;
pub(crate) mod subnets;
pub(crate) mod windows;
