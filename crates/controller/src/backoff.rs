//! Pauses that double, with jitter, so that a fleet does not come back all at once.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// The next pause of something that keeps failing.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    pub(crate) const fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, failures: 0 }
    }

    /// The pause after one more failure.
    pub(crate) fn pause(&mut self) -> Duration {
        let full = self.min.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        self.failures = self.failures.saturating_add(1).min(30);
        jittered(full.min(self.max))
    }

    /// Starts over: it worked.
    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(self.pause())
    }
}

impl kube::runtime::utils::Backoff for Backoff {
    fn reset(&mut self) {
        self.failures = 0;
    }
}

/// Between three quarters of a duration and all of it.
pub(crate) fn jittered(full: Duration) -> Duration {
    // The keys of a `RandomState` are random per process and differ by instance: enough for jitter.
    let random = RandomState::new().hash_one(0_u8) % 1024;
    full.mul_f64(0.75 + 0.25 * f64::from(u32::try_from(random).unwrap_or_default()) / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit_and_start_over_after_success() {
        let (min, max) = (Duration::from_secs(1), Duration::from_secs(30));
        let mut backoff = Backoff::new(min, max);
        for full in [1, 2, 4, 8, 16, 30, 30] {
            let pause = backoff.pause();
            assert!(
                pause <= Duration::from_secs(full) && pause >= Duration::from_secs(full).mul_f64(0.75),
                "{pause:?}"
            );
        }
        assert_eq!(backoff.by_ref().take(100).count(), 100, "it never gives up");
        assert!(backoff.pause() <= max);
        backoff.reset();
        assert!(backoff.pause() <= min);
    }
}
