//! A token bucket for each action, so that an audit never uses up what the account's other callers need.
//!
//! Tokens may be owed: a call that was retried by the SDK took more than one, and the next caller waits for it.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::action::{Action, Limit};

/// The buckets of all actions.
#[derive(Debug)]
pub(crate) struct Budget {
    buckets: [Mutex<Bucket>; Action::ALL.len()],
}

impl Budget {
    pub(crate) fn full() -> Self {
        let now = Instant::now();
        Self { buckets: Action::ALL.map(|action| Mutex::new(Bucket::full(action.limit(), now))) }
    }

    /// Waits until the action may be called once more.
    pub(crate) async fn acquire(&self, action: Action) {
        let wait = self.take(action);
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// Accounts for requests that were sent without asking: the SDK's own retries.
    pub(crate) fn owe(&self, action: Action, requests: u32) {
        for _ in 0..requests {
            self.take(action);
        }
    }

    /// Whole calls that the action may make now without waiting; below zero while some are owed.
    pub(crate) fn remaining(&self, action: Action) -> i64 {
        let bucket = &self.buckets[action.index()];
        bucket.lock().unwrap_or_else(PoisonError::into_inner).remaining(Instant::now())
    }

    fn take(&self, action: Action) -> Duration {
        let bucket = &self.buckets[action.index()];
        bucket.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now())
    }
}

#[derive(Debug)]
struct Bucket {
    limit: Limit,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    fn full(limit: Limit, now: Instant) -> Self {
        Self { limit, tokens: limit.burst, filled: now }
    }

    /// The tokens that there are now.
    fn tokens(&self, now: Instant) -> f64 {
        let refill = now.saturating_duration_since(self.filled).as_secs_f64() * self.limit.per_second;
        (self.tokens + refill).min(self.limit.burst)
    }

    #[expect(clippy::cast_possible_truncation, reason = "a bucket holds tens of tokens")]
    fn remaining(&self, now: Instant) -> i64 {
        self.tokens(now).floor() as i64
    }

    /// Takes a token, possibly one that is yet to come, and says how long until it is there.
    fn take(&mut self, now: Instant) -> Duration {
        self.tokens = self.tokens(now) - 1.0;
        self.filled = now;
        Duration::from_secs_f64((-self.tokens / self.limit.per_second).max(0.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { burst: 3.0, per_second: 2.0 };

    #[test]
    fn a_burst_is_free_and_the_rest_is_paced() {
        let start = Instant::now();
        let mut bucket = Bucket::full(LIMIT, start);
        let waits = [0; 5].map(|_| bucket.take(start).as_millis());
        assert_eq!(waits, [0, 0, 0, 500, 1000]);
    }

    #[test]
    fn what_is_left_can_be_looked_at_without_taking_any() {
        let start = Instant::now();
        let mut bucket = Bucket::full(LIMIT, start);
        assert_eq!([bucket.remaining(start), bucket.remaining(start)], [3, 3]);
        for _ in 0..5 {
            bucket.take(start);
        }
        assert_eq!(bucket.remaining(start), -2, "two are owed");
        assert_eq!(bucket.remaining(start + Duration::from_secs(1)), 0);
        assert_eq!(bucket.remaining(start + Duration::from_hours(1)), 3);
    }

    #[test]
    fn tokens_come_back_with_time_but_never_beyond_the_burst() {
        let start = Instant::now();
        let mut bucket = Bucket::full(LIMIT, start);
        for _ in 0..3 {
            bucket.take(start);
        }
        let later = start + Duration::from_secs(1);
        assert_eq!([0; 3].map(|_| bucket.take(later).as_millis()), [0, 0, 500]);
        let much_later = start + Duration::from_hours(1);
        assert_eq!([0; 4].map(|_| bucket.take(much_later).as_millis()), [0, 0, 0, 500]);
    }
}
