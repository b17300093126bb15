//! Rules about nodes and their warm pools: codes 2xx.

mod no_growth;
pub(super) mod pods_waiting;
pub(super) mod warm_pool_too_large;
pub(super) mod warm_pool_too_small;
