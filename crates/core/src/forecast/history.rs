//! How many addresses of one subnet were free at which moment, for the last day.
//!
//! Invariants, whatever comes in: at most [`MOST`] samples, the oldest first, each at least the present spacing after the
//! one before and none more than [`WINDOW`] older than the newest. The spacing starts at [`CLOSEST`], so that an hour says
//! something, and doubles up to [`WIDEST`] each time there is no room for more. A subnet costs some 300 bytes.

use jiff::Timestamp;

/// So many samples at most: a day of them at the widest spacing.
pub(super) const MOST: usize = 36;
/// The time between two samples at first, in seconds.
pub(super) const CLOSEST: u32 = 5 * 60;
/// The time between two samples in the end.
const WIDEST: u32 = 40 * 60;
/// Older samples than this are of another day.
pub(super) const WINDOW: u32 = 24 * 60 * 60;
/// A shorter history has no trend.
pub(super) const SHORTEST: u32 = 60 * 60;
/// Nor has one of fewer samples.
pub(super) const FEWEST: usize = 6;

/// What EC2 said at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    /// Seconds since 1970, which fit until 2106.
    pub(super) at: u32,
    pub(super) free: u32,
}

/// The last day of one subnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreeHistory {
    samples: Vec<Sample>,
    spacing: u32,
}

impl Default for FreeHistory {
    fn default() -> Self {
        Self { samples: Vec::with_capacity(MOST), spacing: CLOSEST }
    }
}

impl FreeHistory {
    /// Takes in what a reading said, unless it is too soon after the one before.
    pub fn note(&mut self, at: Timestamp, free: u32) {
        let Ok(at) = u32::try_from(at.as_second()) else { return };
        if self.newest().is_some_and(|newest| newest.saturating_sub(at) >= CLOSEST) {
            // The clock was set back: times of before and after cannot be compared.
            self.samples.clear();
        }
        self.samples.retain(|sample| at.saturating_sub(sample.at) <= WINDOW);
        if self.samples.is_empty() {
            self.spacing = CLOSEST;
        }
        if !self.is_due(at) {
            return;
        }
        if self.samples.len() >= MOST {
            self.make_room();
        }
        if self.is_due(at) {
            self.samples.push(Sample { at, free });
        }
    }

    /// Whether there is enough of it to speak of a trend.
    pub(super) fn is_enough(&self) -> bool {
        let span = self.samples.first().zip(self.newest()).map(|(oldest, newest)| newest - oldest.at);
        self.samples.len() >= FEWEST && span >= Some(SHORTEST)
    }

    pub(super) fn samples(&self) -> &[Sample] {
        &self.samples
    }

    fn newest(&self) -> Option<u32> {
        self.samples.last().map(|sample| sample.at)
    }

    fn is_due(&self, at: u32) -> bool {
        self.newest().is_none_or(|newest| at.saturating_sub(newest) >= self.spacing)
    }

    /// Drops every second sample; once they are as far apart as they may be, the oldest.
    fn make_room(&mut self) {
        if self.spacing >= WIDEST {
            self.samples.remove(0);
            return;
        }
        self.spacing *= 2;
        let mut place = 0;
        self.samples.retain(|_| {
            place += 1;
            place % 2 == 0
        });
    }
}
