//! The questions ipamd asks of its figures in each step: is the pool low, is it high, how much is missing or too much.
//!
//! Pure arithmetic on [`Stats`]. It wraps on overflow as Go's does, because a target near the largest number makes the
//! CNI do just that.

use super::{pool::Stats, rules::Rules, subnet::PREFIX};

/// Go's `DivCeil` of the datastore, overflow and all.
fn div_ceil(dividend: i64, divisor: i64) -> i64 {
    dividend.wrapping_add(divisor - 1).wrapping_div(divisor)
}

impl Rules {
    /// Growth stops at as many addresses as the node admits pods: more could never be used. It is only a stop, nothing
    /// is given back because of it.
    fn max_pods_reached(&self, stats: &Stats) -> bool {
        self.max_pods.is_some_and(|max_pods| stats.total >= max_pods)
    }

    /// Addresses (in prefix mode: prefixes) missing from the IP targets. `MINIMUM_IP_TARGET` is a floor of the total and
    /// alone leaves a warm target of zero, so that nothing beyond the floor is ever short.
    pub(super) fn short_of_ip_targets(&self, stats: &Stats) -> i64 {
        let warm = self.targets.warm_ip.wrapping_sub(stats.available()).max(0);
        let short = warm.max(self.targets.minimum_ip.wrapping_sub(stats.total));
        if self.prefixes { div_ceil(short, PREFIX) } else { short }
    }

    /// Addresses (in prefix mode: prefixes) beyond the IP targets. A prefix is only too much if no target needs it and no
    /// pod is on it.
    fn over_ip_targets(&self, stats: &Stats) -> i64 {
        if self.prefixes {
            let for_warm = div_ceil(stats.assigned.wrapping_add(self.targets.warm_ip), PREFIX);
            let for_minimum = div_ceil(self.targets.minimum_ip, PREFIX);
            let beyond_warm = stats.free_prefixes.min(stats.prefixes.wrapping_sub(for_warm)).max(0);
            beyond_warm.min(stats.prefixes.wrapping_sub(for_minimum)).max(0)
        } else {
            let beyond_warm = stats.available().wrapping_sub(self.targets.warm_ip).max(0);
            beyond_warm.min(stats.total.wrapping_sub(self.targets.minimum_ip)).max(0)
        }
    }

    /// Prefixes missing from `WARM_PREFIX_TARGET`, counted in wholly free ones.
    fn short_of_prefix_target(&self, stats: &Stats) -> i64 {
        self.targets.warm_prefix.wrapping_sub(stats.free_prefixes).max(0)
    }

    /// Whether the pool is too small. With a warm target of zero that is the case only when nothing at all is free.
    pub(super) fn pool_is_low(&self, stats: &Stats) -> bool {
        if self.max_pods_reached(stats) {
            return false;
        }
        if self.targets.ip_targets_defined() {
            return self.short_of_ip_targets(stats) > 0;
        }
        let (target, unit) = if self.prefixes {
            (self.targets.warm_prefix, PREFIX)
        } else {
            (self.targets.warm_eni, self.targets.slots_per_eni)
        };
        stats.available() < unit.wrapping_mul(target) || target == 0 && stats.available() == 0
    }

    /// Whether something can be given back. Single addresses under `WARM_ENI_TARGET` never are.
    pub(super) fn pool_is_high(&self, stats: &Stats) -> bool {
        self.surplus(stats) > 0
    }

    /// How many addresses or prefixes are too many.
    pub(super) fn surplus(&self, stats: &Stats) -> i64 {
        if self.targets.ip_targets_defined() {
            self.over_ip_targets(stats)
        } else if self.prefixes {
            stats.free_prefixes.wrapping_sub(self.targets.warm_prefix).max(0)
        } else {
            0
        }
    }

    /// What one step of growth asks for: in prefix mode at least one prefix, under `WARM_ENI_TARGET` a whole interface.
    pub(super) fn growth_wanted(&self, stats: &Stats) -> i64 {
        match (self.targets.ip_targets_defined(), self.prefixes) {
            (true, true) => self.short_of_ip_targets(stats).max(1),
            (true, false) => self.short_of_ip_targets(stats),
            (false, true) => self.short_of_prefix_target(stats).max(1),
            (false, false) => self.targets.slots_per_eni,
        }
    }

    /// Until 1.16.2 a step of growth stopped where no whole prefix was missing, so that `WARM_PREFIX_TARGET=0` never grew.
    pub(super) fn prefix_target_forbids_growth(&self, stats: &Stats) -> bool {
        !self.behaviour.grows_at_prefix_target_zero
            && self.prefixes
            && !self.targets.ip_targets_defined()
            && self.short_of_prefix_target(stats) == 0
    }

    /// Whether a whole interface's worth is free beyond the warm target, so that one might be released. Under IP targets
    /// the question is left to [`super::release`].
    pub(super) fn interface_to_spare(&self, stats: &Stats) -> bool {
        let target = if self.prefixes { self.targets.warm_prefix } else { self.targets.warm_eni };
        self.targets.ip_targets_defined()
            || stats.available() >= target.wrapping_add(1).wrapping_mul(self.addresses_per_eni())
    }

    /// An IP target in terms of addresses that whole prefixes provide.
    pub(super) fn rounded_to_prefixes(&self, target: i64) -> i64 {
        if self.prefixes { div_ceil(target, PREFIX).wrapping_mul(PREFIX) } else { target }
    }
}
