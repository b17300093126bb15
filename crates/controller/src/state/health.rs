//! How a watch is: whether its rows are complete, until when they were current, and what is wrong.
//!
//! A fault that may pass is not shown before it has lasted for a while: an API server that restarts would otherwise
//! turn the conditions of thousands of reports over and back.

use std::time::Duration;

use ipam_audit_core::source::{FaultCategory, Observed, Reading, SourceFault};
use jiff::Timestamp;
use tokio::time::Instant;

use super::table::Changed;

/// The health of one watch.
#[derive(Debug)]
pub(crate) struct Health {
    what: &'static str,
    grace: Duration,
    /// Whether a first list was complete.
    listed: bool,
    /// Whether a list is under way.
    listing: bool,
    connected: bool,
    /// Until when the rows were current, while they are not.
    current_until: Option<Timestamp>,
    fault: Option<Trouble>,
    /// What the last interruption was, also after it has healed.
    last_fault: Option<(FaultCategory, Timestamp)>,
    /// When the last list was complete, and how many rows there were then.
    last_list: Option<(Timestamp, usize)>,
    /// Up to where the rows are current, in the API server's words.
    position: Option<Box<str>>,
    pub(crate) counts: Counts,
}

/// What a watch went through.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) interruptions: u64,
    pub(crate) lists: u64,
    pub(crate) malformed: u64,
    pub(crate) paged: bool,
}

#[derive(Debug)]
struct Trouble {
    fault: SourceFault,
    since: Instant,
    /// What was told of it, in the log and to audits.
    told: Option<SourceFault>,
}

/// Whether a fault may go away without anybody doing anything.
pub(crate) const fn may_pass(category: FaultCategory) -> bool {
    matches!(category, FaultCategory::Throttled | FaultCategory::Unreachable | FaultCategory::ServerFault)
}

impl Health {
    pub(crate) const fn new(what: &'static str, grace: Duration) -> Self {
        Self {
            what,
            grace,
            listed: false,
            listing: false,
            connected: false,
            current_until: None,
            fault: None,
            last_fault: None,
            last_list: None,
            position: None,
            counts: Counts { interruptions: 0, lists: 0, malformed: 0, paged: false },
        }
    }

    /// A list begins: what is there stays, but is of before.
    pub(crate) fn begin_list(&mut self) {
        self.freeze();
        self.listing = true;
    }

    /// A list is complete.
    pub(crate) fn end_list(&mut self, rows: usize) -> Changed {
        self.listing = false;
        self.counts.lists += 1;
        self.last_list = Some((Timestamp::now(), rows));
        let first = !std::mem::replace(&mut self.listed, true);
        if first {
            tracing::info!(watch = self.what, rows, "first list complete");
        }
        Changed::when(first)
    }

    /// The API server answered.
    pub(crate) fn connect(&mut self) -> Changed {
        self.connected = true;
        let trouble = self.fault.take();
        let told = trouble.as_ref().and_then(|trouble| trouble.told.as_ref());
        if told.is_some_and(|told| told.category != FaultCategory::Unreachable) {
            tracing::info!(watch = self.what, "healed");
        }
        Changed::when(trouble.is_some_and(|trouble| self.shows(&trouble)))
    }

    /// The watch is interrupted.
    pub(crate) fn fail(&mut self, fault: SourceFault) -> Changed {
        self.freeze();
        self.connected = false;
        self.counts.interruptions += 1;
        self.last_fault = Some((fault.category, Timestamp::now()));
        let known = self.fault.take();
        let mut trouble = Trouble {
            // After an outage a right may seem to be missing for a moment: that is another fault, and a new one.
            since: known
                .as_ref()
                .filter(|trouble| may_pass(trouble.fault.category) == may_pass(fault.category))
                .map_or_else(Instant::now, |trouble| trouble.since),
            told: known.and_then(|trouble| trouble.told),
            fault,
        };
        let changed = self.shows(&trouble) && trouble.told.as_ref() != Some(&trouble.fault);
        if changed {
            let before = trouble.told.replace(trouble.fault.clone());
            log(self.what, before.as_ref(), &trouble.fault);
        }
        self.fault = Some(trouble);
        Changed::when(changed)
    }

    /// The fault that is reported, if there is one.
    pub(crate) fn fault(&self) -> Option<&SourceFault> {
        let trouble = self.fault.as_ref().filter(|trouble| self.shows(trouble));
        trouble.map(|trouble| &trouble.fault)
    }

    /// The rows are current up to there.
    pub(crate) fn moved(&mut self, position: &str) {
        self.position = Some(position.into());
    }

    pub(crate) fn position(&self) -> Option<&str> {
        self.position.as_deref()
    }

    /// What the last interruption was and when, however well it is now.
    pub(crate) const fn last_fault(&self) -> Option<(FaultCategory, Timestamp)> {
        self.last_fault
    }

    /// When the last list was complete, and how many rows there were then.
    pub(crate) const fn last_list(&self) -> Option<(Timestamp, usize)> {
        self.last_list
    }

    /// Whether a list is under way.
    pub(crate) const fn is_listing(&self) -> bool {
        self.listing
    }

    pub(crate) const fn is_connected(&self) -> bool {
        self.connected
    }

    pub(crate) const fn is_listed(&self) -> bool {
        self.listed
    }

    pub(crate) const fn what(&self) -> &'static str {
        self.what
    }

    /// Whether to go on waiting for the first list: nobody knows yet why it is not there.
    pub(crate) fn is_pending(&self) -> bool {
        !self.listed && self.fault().is_none_or(|fault| may_pass(fault.category))
    }

    /// Whether the last attempt failed, however short ago.
    pub(crate) const fn is_interrupted(&self) -> bool {
        self.fault.is_some()
    }

    /// When the rows were last current.
    pub(crate) fn as_of(&self, now: Timestamp) -> Option<Timestamp> {
        let current = self.connected && !self.listing;
        let until = if current { Some(now) } else { self.current_until };
        until.filter(|_| self.listed)
    }

    /// The rows with their age and fault.
    pub(crate) fn reading<T>(&self, now: Timestamp, rows: impl FnOnce() -> T) -> Reading<T> {
        let pending = || SourceFault {
            category: FaultCategory::Pending,
            message: format!("the first list of {} is not complete yet", self.what),
        };
        let last_good = self.as_of(now).map(|as_of| Observed { value: rows(), as_of });
        let fault = self.fault().cloned().or_else(|| last_good.is_none().then(pending));
        Reading { last_good, fault }
    }

    fn freeze(&mut self) {
        if self.connected && !self.listing {
            self.current_until = Some(Timestamp::now());
        }
    }

    fn shows(&self, trouble: &Trouble) -> bool {
        // A right that is missing does not come by itself, but an API server that starts denies for a moment too.
        let grace = if may_pass(trouble.fault.category) { self.grace } else { self.grace / 2 };
        trouble.since.elapsed() >= grace
    }
}

/// One line when a fault begins or changes its kind. That nobody answers is not the matter of one watch.
fn log(what: &'static str, before: Option<&SourceFault>, fault: &SourceFault) {
    let known = before.is_some_and(|before| before.category == fault.category);
    if !known && fault.category != FaultCategory::Unreachable {
        tracing::warn!(watch = what, category = fault.category.name(), "{}", fault.message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(10);

    fn fault(category: FaultCategory) -> SourceFault {
        SourceFault { category, message: category.name().to_owned() }
    }

    fn listed() -> Health {
        let mut health = Health::new("pods", GRACE);
        let _ = (health.connect(), health.end_list(3));
        health
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_interruption_is_no_news_and_a_long_one_is() {
        let mut health = listed();
        assert_eq!(health.fail(fault(FaultCategory::Unreachable)), Changed::No);
        tokio::time::advance(GRACE / 2).await;
        assert_eq!(health.connect(), Changed::No);
        assert_eq!(health.fail(fault(FaultCategory::Unreachable)), Changed::No);
        tokio::time::advance(GRACE).await;
        assert_eq!(health.fail(fault(FaultCategory::Unreachable)), Changed::Yes);
        assert_eq!(health.fail(fault(FaultCategory::Unreachable)), Changed::No, "the same again");
        assert_eq!(health.connect(), Changed::Yes);
        assert_eq!(health.fault(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_missing_right_is_news_soon_and_rows_keep_their_age() {
        let mut health = listed();
        assert_eq!(health.fail(fault(FaultCategory::Denied)), Changed::No, "an API server that starts denies as well");
        tokio::time::advance(GRACE / 2).await;
        assert_eq!(health.fail(fault(FaultCategory::Denied)), Changed::Yes);
        let later = Timestamp::now() + jiff::SignedDuration::from_hours(1);
        let reading = health.reading(later, || 3);
        assert_eq!(reading.value(), Some(&3));
        assert!(reading.as_of().is_some_and(|as_of| as_of < later), "stale rows must not look fresh");
        assert_eq!(reading.fault.map(|fault| fault.category), Some(FaultCategory::Denied));
    }

    #[tokio::test(start_paused = true)]
    async fn a_denial_right_after_an_outage_is_not_news_yet() {
        let mut health = listed();
        let _ = health.fail(fault(FaultCategory::Unreachable));
        tokio::time::advance(GRACE * 2).await;
        assert_eq!(health.fail(fault(FaultCategory::Denied)), Changed::No);
        assert_eq!(health.fault(), None);
        tokio::time::advance(GRACE).await;
        assert_eq!(health.fail(fault(FaultCategory::Denied)), Changed::Yes);
    }

    #[tokio::test(start_paused = true)]
    async fn before_the_first_list_there_is_no_view_and_the_reason_is_said() {
        let mut health = Health::new("pods", GRACE);
        health.begin_list();
        let _ = health.connect();
        let reading = health.reading(Timestamp::now(), || 0);
        assert_eq!(reading.value(), None);
        assert_eq!(reading.fault.map(|fault| fault.category), Some(FaultCategory::Pending));
        assert!(health.is_pending());
        let _ = health.fail(fault(FaultCategory::Denied));
        tokio::time::advance(GRACE / 2).await;
        assert!(!health.is_pending(), "waiting does not bring a right");
    }
}
