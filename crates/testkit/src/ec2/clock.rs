//! The time that token buckets and attachments go by: the machine's, or a test's own.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::ids::EPOCH;

/// A clock; clones of a manual one show the same time.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Arc<Mutex<Timestamp>>>);

impl Clock {
    /// The machine's clock.
    pub const fn system() -> Self {
        Self(None)
    }

    /// A clock that stands still until it is [advanced](Self::advance).
    pub fn manual() -> Self {
        Self(Some(Arc::new(Mutex::new(EPOCH))))
    }

    /// Moves a manual clock on; does nothing to the machine's.
    pub fn advance(&self, by: std::time::Duration) {
        if let Some(time) = &self.0 {
            let mut time = time.lock().unwrap_or_else(PoisonError::into_inner);
            let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
            *time = time.saturating_add(by).unwrap_or(Timestamp::MAX);
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        match &self.0 {
            Some(time) => *time.lock().unwrap_or_else(PoisonError::into_inner),
            None => Timestamp::now(),
        }
    }
}
