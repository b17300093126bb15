//! Leadership among replicas: one Lease, one holder, and a claim that ends by itself.
//!
//! Time is measured on this process's own monotonic clock only, as client-go does: a lease of somebody else has expired
//! when it was *seen* unchanged for as long as it lasts. A claim ends earlier than the lease that it stands for, so that
//! a write that was begun under it is over before anybody else may lead. The client must not retry by itself: a renewal
//! that is repeated for minutes would outlive the lease.
//!
//! An audit holds a [`Turn`] from before it looks until after its last write. Nobody begins a new term, and nobody gives
//! the Lease back, while an audit of the term before still runs: what it saw may not be true any more.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{Api, Client, api::PostParams, core::ObjectMeta};
use tokio::{
    sync::{OwnedRwLockReadGuard, RwLock, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    call::{CallError, within},
    error::Error,
    settings::Settings,
    state::Health,
    watch::Pace,
};

/// The right to poll and to write, until it expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Grows each time that this process begins to lead.
    term: u64,
    expires: Option<Instant>,
}

impl Claim {
    fn is_current(&self) -> bool {
        self.expires.is_none_or(|expires| Instant::now() < expires)
    }
}

/// Asks at the moment of writing whether this process leads.
#[derive(Debug, Clone)]
pub(crate) struct Leadership {
    claim: watch::Receiver<Option<Claim>>,
    turns: Arc<RwLock<()>>,
}

/// Of an audit: as long as it lasts, no other term begins.
#[derive(Debug)]
pub(crate) struct Turn {
    _shared: OwnedRwLockReadGuard<()>,
}

impl Leadership {
    /// Leads until the shutdown: there is one replica and no Lease.
    pub(crate) fn alone(stop: CancellationToken) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (sender, claim) = watch::channel(Some(Claim { term: 1, expires: None }));
        let end = async move {
            stop.cancelled().await;
            sender.send_replace(None);
        };
        (Self { claim, turns: Arc::default() }, end)
    }

    /// Never leads.
    #[cfg(test)]
    pub(crate) fn never() -> Self {
        Self { claim: watch::channel(None).1, turns: Arc::default() }
    }

    /// Leads for ever.
    #[cfg(test)]
    pub(crate) fn always() -> Self {
        Self::alone(CancellationToken::new()).0
    }

    /// Whether this process leads now.
    pub(crate) fn is_held(&self) -> bool {
        self.current().is_some()
    }

    /// For how long this process leads at least; none if it does not.
    pub(crate) fn rest(&self) -> Option<Duration> {
        let claim = self.current()?;
        Some(claim.expires.map_or(Duration::MAX, |expires| expires.saturating_duration_since(Instant::now())))
    }

    /// A turn for an audit, if this process leads and is not about to end its term.
    pub(crate) fn begin(&self) -> Option<Turn> {
        let shared = self.turns.clone().try_read_owned().ok()?;
        self.is_held().then_some(Turn { _shared: shared })
    }

    /// Waits until this process leads.
    pub(crate) async fn held(&self) {
        self.term_after(0).await;
    }

    /// Waits until this process leads, in another term than the given one.
    pub(crate) async fn term_after(&self, known: u64) -> u64 {
        let mut claim = self.claim.clone();
        loop {
            claim.mark_unchanged();
            if let Some(claim) = self.current().filter(|claim| claim.term != known) {
                return claim.term;
            }
            if claim.changed().await.is_err() {
                // The elector is gone, and with it the process.
                std::future::pending::<()>().await;
            }
        }
    }

    fn current(&self) -> Option<Claim> {
        let claim = *self.claim.borrow();
        claim.filter(Claim::is_current)
    }
}

/// Keeps asking for the Lease, and gives it back at the shutdown.
pub(crate) struct Elector {
    leases: Api<Lease>,
    name: String,
    identity: String,
    duration: Duration,
    grace: Duration,
    claim: watch::Sender<Option<Claim>>,
    turns: Arc<RwLock<()>>,
    terms: u64,
    /// Somebody else's Lease as last seen, and since when it looks so.
    seen: Option<(Lease, Instant)>,
    /// What this process wrote last, and what it asked for last: the answer may have been lost.
    written: Option<LeaseSpec>,
    asked: Option<LeaseSpec>,
    health: Health,
    pace: Pace,
}

enum Attempt {
    Held,
    /// Somebody else's, for so long at least.
    Theirs(Duration),
}

impl Elector {
    pub(crate) fn new(client: Client, pace: Pace, settings: &Settings) -> (Self, Leadership) {
        let (sender, claim) = watch::channel(None);
        let turns = Arc::new(RwLock::new(()));
        let elector = Self {
            leases: Api::namespaced(client, &settings.namespace),
            name: settings.lease.clone(),
            identity: settings.identity.clone(),
            duration: settings.lease_duration,
            grace: settings.shutdown_grace,
            claim: sender,
            turns: turns.clone(),
            terms: 0,
            seen: None,
            written: None,
            asked: None,
            health: Health::new("lease", settings.fault_grace),
            pace,
        };
        (elector, Leadership { claim, turns })
    }

    /// Runs until the shutdown.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), Error> {
        while let Some(attempt) = stop.run_until_cancelled(self.attempt()).await {
            let pause = self.after(attempt);
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                break;
            }
        }
        self.release().await;
        Ok(())
    }

    /// How long a call may take, and how often a lease is renewed: twice before the claim ends, even if the first fails.
    fn renewal(&self) -> Duration {
        self.duration / 5
    }

    /// How often somebody else's lease is looked at, and a failed attempt repeated.
    fn look(&self) -> Duration {
        self.duration / 15
    }

    fn after(&mut self, attempt: Result<Attempt, CallError>) -> Duration {
        match attempt {
            Ok(Attempt::Held) => {
                self.answered();
                self.renewal()
            }
            Ok(Attempt::Theirs(rest)) => {
                self.answered();
                self.lose("another replica holds the lease");
                rest.min(self.look())
            }
            Err(error) => {
                if error.is_conflict() {
                    // Somebody wrote in between: what was seen is of no use.
                    self.seen = None;
                } else {
                    self.report(&error);
                }
                self.look()
            }
        }
    }

    /// One look at the Lease, and one write if it can be had.
    async fn attempt(&mut self) -> Result<Attempt, CallError> {
        let started = Instant::now();
        let limit = self.renewal();
        let lease = match within(limit, self.leases.get(&self.name)).await {
            Ok(lease) => Some(lease),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error),
        };
        if let Some(rest) = lease.as_ref().and_then(|lease| self.rest_of_theirs(lease)) {
            return Ok(Attempt::Theirs(rest));
        }
        if !lease.as_ref().is_some_and(|lease| self.is_own(lease)) {
            self.lose("the lease was somebody else's meanwhile");
            drop(self.turns.write().await);
        }
        let wish = self.wish(lease.as_ref());
        self.asked.clone_from(&wish.spec);
        let params = PostParams::default();
        let lease = match lease {
            Some(_) => within(limit, self.leases.replace(&self.name, &params, &wish)).await?,
            None => within(limit, self.leases.create(&params, &wish)).await?,
        };
        Ok(self.gain(lease, started))
    }

    /// Whether the Lease is as this process wrote it: then nobody has led in between, however long ago that was.
    fn is_own(&self, lease: &Lease) -> bool {
        self.holds(lease) && (lease.spec == self.written || lease.spec == self.asked)
    }

    fn holds(&self, lease: &Lease) -> bool {
        lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()) == Some(self.identity.as_str())
    }

    /// How long somebody else's lease lasts at least; none if it is ours, free or expired.
    ///
    /// A renewal is seen one look late at most. That is taken off, so that who was lost is followed within the time of the
    /// lease; claims end at two thirds of it.
    fn rest_of_theirs(&mut self, lease: &Lease) -> Option<Duration> {
        let spec = lease.spec.as_ref()?;
        spec.holder_identity.as_deref().filter(|holder| !holder.is_empty())?;
        // Of this name before this process asked: the lease of the container before it in the same pod. Later it is that
        // of another process that was given the same name.
        if self.is_own(lease) || (self.holds(lease) && self.asked.is_none()) {
            return None;
        }
        let since = match &self.seen {
            Some((known, since)) if known.spec == lease.spec => *since,
            _ => {
                let now = Instant::now();
                self.seen = Some((lease.clone(), now));
                now
            }
        };
        let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let lasts = seconds.map_or(self.duration, Duration::from_secs);
        let rest = lasts.saturating_sub(self.look() + since.elapsed());
        (!rest.is_zero()).then_some(rest)
    }

    /// The Lease as it is to be: ours, from now on.
    fn wish(&self, current: Option<&Lease>) -> Lease {
        // As exact as the API server keeps it, since it is compared with what comes back.
        let now = Timestamp::now();
        let now = MicroTime(Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now));
        let before = current.and_then(|lease| lease.spec.as_ref());
        let ours = current.is_some_and(|lease| self.holds(lease));
        let transitions = before.and_then(|spec| spec.lease_transitions).unwrap_or_default();
        let acquired = before.filter(|_| ours).and_then(|spec| spec.acquire_time.clone());
        let spec = LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.duration.as_secs().max(1)).ok(),
            acquire_time: acquired.or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(if ours || before.is_none() { transitions } else { transitions + 1 }),
            ..LeaseSpec::default()
        };
        Lease {
            metadata: current.map_or_else(
                || ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
                |lease| lease.metadata.clone(),
            ),
            spec: Some(spec),
        }
    }

    fn gain(&mut self, lease: Lease, started: Instant) -> Attempt {
        self.seen = None;
        self.written = lease.spec;
        let before = *self.claim.borrow();
        if !before.is_some_and(|claim| claim.is_current()) {
            // What was refused while no claim was current has to be asked for again, which is what a term is for.
            self.terms += 1;
        }
        let expires = Some(started + self.duration * 2 / 3);
        self.claim.send_replace(Some(Claim { term: self.terms, expires }));
        if before.is_none() {
            tracing::info!(lease = self.name, identity = self.identity, "leading");
        }
        Attempt::Held
    }

    fn lose(&self, why: &'static str) {
        if self.claim.send_replace(None).is_some() {
            tracing::warn!(lease = self.name, "leading no more: {why}");
        }
    }

    fn answered(&mut self) {
        let _ = self.health.connect();
        self.pace.answered();
    }

    fn report(&mut self, error: &CallError) {
        self.pace.failed(error.category());
        let _ = self.health.fail(error.fault("get, create and update", "leases.coordination.k8s.io"));
        let claim = *self.claim.borrow();
        if claim.is_some_and(|claim| !claim.is_current()) {
            self.lose("the lease could not be renewed in time");
        }
    }

    /// Gives the Lease back, so that the next replica need not wait for it to expire. Not before the last write was
    /// answered: one that is still on its way could arrive under the next leader.
    async fn release(self) {
        let leading = self.claim.send_replace(None).is_some();
        if tokio::time::timeout(self.grace / 2, self.turns.write()).await.is_err() {
            tracing::warn!(lease = self.name, "a write was not answered: the lease is not released and will expire");
            return;
        }
        match within(self.grace / 3, self.give_back()).await {
            Ok(true) => tracing::info!(lease = self.name, "lease released"),
            Err(error) if leading => {
                tracing::warn!(lease = self.name, %error, "the lease could not be released and will expire");
            }
            Ok(false) | Err(_) => {}
        }
    }

    /// Whether the Lease was ours. It is read again: a renewal may have been under way when the shutdown began.
    async fn give_back(&self) -> Result<bool, kube::Error> {
        let Some(mut lease) = self.leases.get_opt(&self.name).await? else { return Ok(false) };
        let ours = self.holds(&lease);
        let Some(spec) = lease.spec.as_mut().filter(|_| ours) else { return Ok(false) };
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        self.leases.replace(&self.name, &PostParams::default(), &lease).await.map(|_| true)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use futures::FutureExt;
    use http::Method;

    use super::*;
    use crate::tests::{Answer, Asked, client, ok, refused};

    const DURATION: Duration = Duration::from_secs(15);

    /// A Lease as an API server keeps it: every write needs the version that it is based on.
    #[derive(Clone, Default)]
    struct Server {
        lease: Arc<Mutex<Option<Lease>>>,
        away: Arc<Mutex<bool>>,
        /// So many writes happen and are not answered.
        deaf: Arc<Mutex<usize>>,
        /// Who gets no answer any more.
        lost: Arc<Mutex<Option<String>>>,
    }

    impl Server {
        fn answer(&self, asked: &Asked, from: &str) -> Answer {
            if *self.away.lock().unwrap() || self.lost.lock().unwrap().as_deref() == Some(from) {
                return Answer::Never;
            }
            let answer = self.act(asked);
            let mut deaf = self.deaf.lock().unwrap();
            if asked.method != Method::GET && *deaf > 0 {
                *deaf -= 1;
                return Answer::Never;
            }
            answer
        }

        fn act(&self, asked: &Asked) -> Answer {
            let mut lease = self.lease.lock().unwrap();
            let version = |lease: &Lease| lease.metadata.resource_version.clone().unwrap_or_default();
            match (&asked.method, lease.as_ref()) {
                (&Method::GET, Some(lease)) => ok(lease),
                (&Method::GET, None) => refused(404, "NotFound"),
                (&Method::POST, Some(_)) => refused(409, "AlreadyExists"),
                (&Method::POST | &Method::PUT, current) => {
                    let mut wish: Lease = serde_json::from_value(asked.body.clone()).unwrap();
                    let based_on = current.map(version).unwrap_or_default();
                    if version(&wish) != based_on {
                        return refused(409, "Conflict");
                    }
                    let next = based_on.parse::<u64>().unwrap_or_default() + 1;
                    wish.metadata.resource_version = Some(next.to_string());
                    *lease = Some(wish.clone());
                    ok(&wish)
                }
                _ => refused(405, "MethodNotAllowed"),
            }
        }

        fn holder(&self) -> String {
            let lease = self.lease.lock().unwrap();
            lease.as_ref().and_then(|lease| lease.spec.as_ref()?.holder_identity.clone()).unwrap_or_default()
        }

        fn lose(&self, identity: &str) {
            *self.lost.lock().unwrap() = Some(identity.to_owned());
        }

        /// Somebody else has led in between, and has released the lease since.
        fn take(&self, identity: &str) {
            let mut lease = self.lease.lock().unwrap();
            let lease = lease.as_mut().unwrap();
            lease.metadata.resource_version = Some("1000".to_owned());
            let spec = lease.spec.as_mut().unwrap();
            spec.holder_identity = Some(identity.to_owned());
            spec.lease_duration_seconds = Some(1);
        }

        fn elect(&self, identity: &str) -> (Leadership, CancellationToken) {
            let (server, name) = (self.clone(), identity.to_owned());
            let (client, _) = client(move |asked| server.answer(asked, &name));
            let settings = Settings { identity: identity.to_owned(), lease_duration: DURATION, ..Settings::default() };
            let (elector, leadership) = Elector::new(client, Pace::new(&settings), &settings);
            let stop = CancellationToken::new();
            tokio::spawn(elector.run(stop.clone()));
            (leadership, stop)
        }
    }

    async fn within_time(limit: Duration, happens: impl Future<Output = ()>) -> bool {
        tokio::time::timeout(limit, happens).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn one_leads_and_keeps_leading_while_the_other_waits() {
        let server = Server::default();
        let (first, _first) = server.elect("first");
        first.held().await;
        let (second, _second) = server.elect("second");
        assert!(!within_time(DURATION * 10, second.held()).await, "there must be one leader");
        assert!(first.is_held());
        assert_eq!(server.holder(), "first");
    }

    #[tokio::test(start_paused = true)]
    async fn a_shutdown_gives_the_lease_to_the_next_at_once() {
        let server = Server::default();
        let (first, stop) = server.elect("first");
        first.held().await;
        let (second, _second) = server.elect("second");
        tokio::time::sleep(DURATION).await;
        stop.cancel();
        assert!(within_time(DURATION / 2, second.held()).await, "released, not expired");
        assert!(!first.is_held());
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_cannot_renew_stops_leading_before_anybody_else_may_begin() {
        let server = Server::default();
        let (first, _first) = server.elect("first");
        first.held().await;
        *server.away.lock().unwrap() = true;
        let away = Instant::now();
        let rest = first.rest().unwrap();
        tokio::time::sleep(rest).await;
        assert!(away.elapsed() < DURATION, "the claim ends {:?} after the last renewal", away.elapsed());
        assert!(!first.is_held());
        *server.away.lock().unwrap() = false;
        assert!(within_time(DURATION, first.held()).await, "it asks again by itself");
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_whose_holder_is_gone_is_taken_after_it_was_seen_unchanged_for_its_length() {
        let server = Server::default();
        *server.lease.lock().unwrap() = Some(Lease {
            metadata: ObjectMeta { resource_version: Some("7".to_owned()), ..ObjectMeta::default() },
            spec: Some(LeaseSpec {
                holder_identity: Some("gone".to_owned()),
                lease_duration_seconds: Some(15),
                // The clock of whoever wrote this is an hour ahead, which must not matter.
                renew_time: Some(MicroTime(Timestamp::now() + jiff::SignedDuration::from_hours(1))),
                ..LeaseSpec::default()
            }),
        });
        let started = Instant::now();
        let (next, _next) = server.elect("next");
        assert!(within_time(DURATION, next.held()).await, "within the time of the lease");
        assert!(started.elapsed() > DURATION * 2 / 3, "while its holder may still write: {:?}", started.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_lost_is_followed_within_the_time_of_the_lease() {
        for lost_after in [100, 2_900, 3_100, 7_777] {
            let server = Server::default();
            let (first, _stop) = server.elect("first");
            first.held().await;
            let (second, _second) = server.elect("second");
            tokio::time::sleep(Duration::from_millis(lost_after)).await;
            server.lose("first");
            assert!(within_time(DURATION, second.held()).await, "lost after {lost_after} ms");
            assert!(!first.is_held(), "two lead");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_whose_answer_is_lost_is_no_loss() {
        let server = Server::default();
        let (first, _stop) = server.elect("first");
        let term = first.term_after(0).await;
        *server.deaf.lock().unwrap() = 1;
        assert!(!within_time(DURATION * 10, first.term_after(term).map(drop)).await, "it led all the time");
        assert!(first.is_held());
        assert_eq!(*server.deaf.lock().unwrap(), 0, "an answer was lost");
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_processes_with_one_name_one_leads() {
        let server = Server::default();
        let (first, _first) = server.elect("same");
        first.held().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        // The second takes the first for the container before it in its pod, once.
        let (second, _second) = server.elect("same");
        tokio::time::sleep(DURATION * 2 / 3).await;
        for _ in 0..100 {
            assert_ne!(first.is_held(), second.is_held());
            tokio::time::sleep(Duration::from_millis(777)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_comes_back_begins_no_new_term_while_an_audit_of_the_old_one_runs() {
        let server = Server::default();
        let (first, _first) = server.elect("first");
        let term = first.term_after(0).await;
        let turn = first.begin().unwrap();
        server.take("another");
        tokio::time::sleep(DURATION).await;
        assert!(!first.is_held() && first.begin().is_none());
        assert!(!within_time(DURATION * 4, first.held()).await, "what the old audit saw may be wrong by now");
        drop(turn);
        assert!(within_time(DURATION, first.held()).await);
        assert!(first.term_after(term).await > term, "audits have to run again");
    }

    #[tokio::test(start_paused = true)]
    async fn a_shutdown_releases_the_lease_after_the_last_write_or_not_at_all() {
        for finishes in [true, false] {
            let server = Server::default();
            let (first, stop) = server.elect("first");
            first.held().await;
            let turn = first.begin().unwrap();
            stop.cancel();
            tokio::time::sleep(Duration::from_millis(500)).await;
            assert!(!first.is_held(), "no new write begins");
            assert_eq!(server.holder(), "first");
            let turn = if finishes {
                drop(turn);
                None
            } else {
                Some(turn)
            };
            tokio::time::sleep(DURATION).await;
            assert_eq!(server.holder(), if finishes { "" } else { "first" });
            drop(turn);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_shutdown_in_the_middle_of_a_renewal_releases_the_lease_too() {
        let server = Server::default();
        let (first, stop) = server.elect("first");
        first.held().await;
        *server.deaf.lock().unwrap() = 1;
        while *server.deaf.lock().unwrap() > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        stop.cancel();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(server.holder(), "");
    }

    #[tokio::test(start_paused = true)]
    async fn alone_it_leads_until_the_shutdown() {
        let stop = CancellationToken::new();
        let (leadership, end) = Leadership::alone(stop.clone());
        let end = tokio::spawn(end);
        assert!(leadership.begin().is_some());
        stop.cancel();
        end.await.unwrap();
        assert!(leadership.begin().is_none());
    }
}
