//! Rules about subnets: codes 1xx.

pub(super) mod full;
pub(super) mod low;
