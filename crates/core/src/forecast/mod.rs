//! When a subnet will have no free address, if it goes on as in the last day.
//!
//! A straight line through what EC2 counted as free, with an interval: it knows no days and weeks, and nothing of what is
//! about to start. Too short a history and a trend that does not go down have no forecast, which is neither zero nor
//! never. The three times of a forecast are in order, are at least zero, and do not depend on the size of the subnet
//! as long as the shares are the same.

mod history;
mod slope;
#[cfg(test)]
mod tests;

pub use self::history::FreeHistory;
use self::slope::Falls;

/// What takes longer than ten years is no decline but an accident of the samples.
const FARTHEST: f64 = 10.0 * 365.0 * 24.0 * 3600.0;

/// Times until no address is free, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Exhaustion {
    /// At the pace that a tenth of the slopes exceeds.
    pub soon: f64,
    /// At the median pace.
    pub median: f64,
    /// At the pace that nine tenths of the slopes exceed; none where that is no decline.
    pub late: Option<f64>,
}

impl Exhaustion {
    /// There is none left.
    const NOW: Self = Self { soon: 0.0, median: 0.0, late: Some(0.0) };

    /// Each known time with its quantile.
    pub fn by_quantile(self) -> impl Iterator<Item = (&'static str, f64)> {
        [("0.1", Some(self.soon)), ("0.5", Some(self.median)), ("0.9", self.late)]
            .into_iter()
            .filter_map(|(quantile, time)| Some((quantile, time?)))
    }
}

/// The time until none of the addresses that are free now is left.
pub fn forecast(history: &FreeHistory, free_now: u32) -> Option<Exhaustion> {
    if free_now == 0 {
        return Some(Exhaustion::NOW);
    }
    let falls = history.is_enough().then(|| Falls::of(history.samples()))?;
    let time = |tenths| {
        let fall = falls.at(tenths).filter(|fall| *fall > 0.0)?;
        Some(f64::from(free_now) / fall).filter(|time| *time < FARTHEST)
    };
    Some(Exhaustion { soon: time(9)?, median: time(5)?, late: time(1) })
}
