//! Rules about nodes and their warm pools: codes 2xx.

mod no_growth;
mod pods_waiting;
mod warm_pool_too_large;
mod warm_pool_too_small;

use super::Rule;

/// The rules of this area, sorted by code.
pub(super) const RULES: &[&dyn Rule] =
    &[&pods_waiting::PodsWaiting, &warm_pool_too_large::WarmPoolTooLarge, &warm_pool_too_small::WarmPoolTooSmall];
