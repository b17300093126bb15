//! How soon EC2 is read again: more often while a subnet of the audit runs low, less often while EC2 throttles.
//!
//! Between two readings nothing is seen, and the last addresses of a subnet go within minutes. A subnet that is low and
//! stays as it is needs no hurry. It takes several calm readings to slow down again, so that the pace does not flutter.
//! EC2 that throttles is never asked more often for it, whatever the subnets are like.

use std::{collections::BTreeMap, time::Duration};

use ipam_audit_core::ids::SubnetId;

/// The shortest interval that a shortage leads to.
const SHORTEST: Duration = Duration::from_secs(10);
/// How many times as often EC2 is read in a hurry.
const HASTE: u32 = 4;
/// A subnet that would be empty within so many intervals, at the pace of the last reading, runs low whatever is left.
const HORIZON: u32 = 5;
/// So many calm readings end a hurry.
const CALM: u32 = 3;
/// So many readings without any change of what is low end it, too.
const STILL: u32 = 10;
/// How much further than its mark a subnet has to recover, in percent points and in parts of the mark.
const HYSTERESIS_PERCENT: u32 = 2;
const HYSTERESIS_PART: u32 = 4;
/// So many times the interval is the longest that throttling leads to.
const SLOWEST: u32 = 8;

/// How often the audits of a scope want it read, and from when on they want it more often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rhythm {
    /// The interval.
    pub(crate) interval: Duration,
    /// A subnet with a smaller share of free addresses is low, in percent.
    pub(crate) low_percent: u32,
    /// A subnet with fewer free addresses is low.
    pub(crate) low_addresses: u32,
}

impl Rhythm {
    /// What suits two audits: the shorter interval and the higher marks.
    pub(crate) fn with(self, other: Self) -> Self {
        Self {
            interval: self.interval.min(other.interval),
            low_percent: self.low_percent.max(other.low_percent),
            low_addresses: self.low_addresses.max(other.low_addresses),
        }
    }

    fn is_low(self, stock: &Stock, extra: bool) -> bool {
        let (percent, addresses) = if extra {
            (self.low_percent + HYSTERESIS_PERCENT, self.low_addresses + self.low_addresses / HYSTERESIS_PART)
        } else {
            (self.low_percent, self.low_addresses)
        };
        stock.free < addresses || u64::from(stock.free) * 100 < u64::from(stock.usable) * u64::from(percent)
    }
}

/// What a subnet of the audit's nodes has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stock {
    pub(crate) subnet: SubnetId,
    pub(crate) free: u32,
    pub(crate) usable: u32,
}

/// The interval of one scope.
#[derive(Debug)]
pub(crate) struct Interval {
    rhythm: Rhythm,
    /// What the deployment decides: it is not adapted.
    fixed: Option<Duration>,
    before: BTreeMap<SubnetId, u32>,
    hurried: bool,
    calm: u32,
    still: u32,
    slowness: u32,
}

impl Interval {
    pub(crate) const fn new(rhythm: Rhythm, fixed: Option<Duration>) -> Self {
        Self { rhythm, fixed, before: BTreeMap::new(), hurried: false, calm: 0, still: 0, slowness: 1 }
    }

    /// What it is without a reason to change it.
    pub(crate) const fn usual(&self) -> Duration {
        match self.fixed {
            Some(fixed) => fixed,
            None => self.rhythm.interval,
        }
    }

    /// The time until the next reading. `stocks` are those just read, none if they could not be; `since` is the time since
    /// the reading before.
    pub(crate) fn next(&mut self, stocks: Option<&[Stock]>, throttled: bool, since: Option<Duration>) -> Duration {
        if let Some(fixed) = self.fixed {
            return fixed;
        }
        self.slowness = if throttled { (self.slowness * 2).min(SLOWEST) } else { (self.slowness / 2).max(1) };
        if let Some(stocks) = stocks {
            self.look(stocks, since);
        }
        if throttled || self.slowness > 1 {
            self.hurried = false;
            return self.rhythm.interval.saturating_mul(self.slowness);
        }
        let usual = self.rhythm.interval;
        if self.hurried { (usual / HASTE).max(SHORTEST).min(usual) } else { usual }
    }

    fn look(&mut self, stocks: &[Stock], since: Option<Duration>) {
        let changed = stocks.iter().any(|stock| self.before.get(&stock.subnet) != Some(&stock.free));
        let runs_low = stocks.iter().any(|stock| self.rhythm.is_low(stock, false) || self.will_run_out(stock, since));
        let recovered = !stocks.iter().any(|stock| self.rhythm.is_low(stock, true));
        self.before = stocks.iter().map(|stock| (stock.subnet.clone(), stock.free)).collect();
        self.still = if changed { 0 } else { self.still.saturating_add(1) };
        self.calm = if recovered && !runs_low { self.calm.saturating_add(1) } else { 0 };
        self.hurried = if self.still >= STILL || self.calm >= CALM { false } else { self.hurried || runs_low };
    }

    /// Whether a subnet would be empty within a few intervals if it went on as since the last reading.
    fn will_run_out(&self, stock: &Stock, since: Option<Duration>) -> bool {
        let Some((before, since)) = self.before.get(&stock.subnet).zip(since) else { return false };
        let gone = f64::from(before.saturating_sub(stock.free));
        let horizon = self.rhythm.interval.saturating_mul(HORIZON).as_secs_f64();
        gone > 0.0 && f64::from(stock.free) * since.as_secs_f64() < gone * horizon
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);
    const HURRY: Duration = Duration::from_secs(15);
    const RHYTHM: Rhythm = Rhythm { interval: MINUTE, low_percent: 10, low_addresses: 16 };

    fn stock(free: u32) -> [Stock; 1] {
        [Stock { subnet: "subnet-1".into(), free, usable: 1_000 }]
    }

    /// The intervals after readings that find so many addresses free.
    fn after(interval: &mut Interval, free: &[u32]) -> Vec<u64> {
        let mut since = None;
        let next = free.iter().map(|free| {
            let next = interval.next(Some(&stock(*free)), false, since);
            since = Some(next);
            next.as_secs()
        });
        next.collect()
    }

    #[test]
    fn a_low_subnet_is_read_more_often_until_it_has_recovered_for_a_while() {
        let mut interval = Interval::new(RHYTHM, None);
        // From 100 on it is low; from 120 on it has recovered; in between nothing changes.
        let free = [500, 500, 99, 98, 110, 119, 130, 131, 132, 133];
        assert_eq!(after(&mut interval, &free), [60, 60, 15, 15, 15, 15, 15, 15, 60, 60]);
    }

    #[test]
    fn a_subnet_that_shrinks_fast_is_not_waited_for_to_be_low() {
        let mut interval = Interval::new(RHYTHM, None);
        assert_eq!(after(&mut interval, &[900, 880, 860]), [60; 3], "it lasts for more than half an hour");
        let mut interval = Interval::new(RHYTHM, None);
        // 150 a minute: what is left goes within five minutes.
        assert_eq!(after(&mut interval, &[900, 750, 600, 600]), [60, 60, 15, 15]);
    }

    #[test]
    fn what_is_low_and_stays_as_it_is_needs_no_hurry_until_it_moves() {
        let mut interval = Interval::new(RHYTHM, None);
        let seen = after(&mut interval, &[3; 14]);
        assert_eq!(seen[..10], [15; 10]);
        assert_eq!(seen[10..], [60; 4]);
        assert_eq!(interval.next(Some(&stock(2)), false, Some(MINUTE)), HURRY);
    }

    #[test]
    fn throttling_slows_down_whatever_the_subnets_are_like_and_recovers_step_by_step() {
        let mut interval = Interval::new(RHYTHM, None);
        assert_eq!(interval.next(Some(&stock(3)), false, None), HURRY);
        let slower: Vec<u64> =
            (0..5).map(|_| interval.next(Some(&stock(2)), true, Some(MINUTE)).as_secs() / 60).collect();
        assert_eq!(slower, [2, 4, 8, 8, 8]);
        let recovering: Vec<u64> =
            (0..4).map(|free| interval.next(Some(&stock(free)), false, Some(MINUTE)).as_secs()).collect();
        assert_eq!(recovering, [240, 120, 15, 15]);
    }

    #[test]
    fn no_view_changes_nothing_and_short_intervals_are_not_shortened() {
        let mut interval = Interval::new(RHYTHM, None);
        assert_eq!(interval.next(Some(&stock(3)), false, None), HURRY);
        assert_eq!(interval.next(None, false, Some(HURRY)), HURRY);
        for (usual, hurried) in [(10, 10), (20, 10), (40, 10), (120, 30)] {
            let rhythm = Rhythm { interval: Duration::from_secs(usual), ..RHYTHM };
            let next = Interval::new(rhythm, None).next(Some(&stock(3)), false, None);
            assert_eq!(next, Duration::from_secs(hurried), "{usual}");
        }
    }

    #[test]
    fn what_the_deployment_decides_is_not_adapted() {
        let fixed = Duration::from_secs(2);
        let mut interval = Interval::new(RHYTHM, Some(fixed));
        assert_eq!(interval.next(Some(&stock(0)), false, None), fixed);
        assert_eq!(interval.next(Some(&stock(0)), true, None), fixed);
    }

    #[test]
    fn audits_that_share_a_scope_get_what_suits_each() {
        let other = Rhythm { interval: MINUTE * 5, low_percent: 20, low_addresses: 4 };
        assert_eq!(RHYTHM.with(other), Rhythm { interval: MINUTE, low_percent: 20, low_addresses: 16 });
    }
}
