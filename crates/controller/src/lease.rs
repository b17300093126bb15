//! Leadership among replicas: one Lease, one holder, and a claim that ends by itself.
//!
//! Time is measured on this process's own monotonic clock only, as client-go does: a lease of somebody else has expired
//! when it was *seen* unchanged for as long as it lasts. A claim ends earlier than the lease that it stands for, so that
//! a write that was begun under it is over before anybody else may lead. The client must not retry by itself: a renewal
//! that is repeated for minutes would outlive the lease.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{Api, Client, api::PostParams, core::ObjectMeta};
use tokio::{sync::watch, time::Instant};
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
    expires: Option<Instant>,
}

/// Asks at the moment of writing whether this process leads.
#[derive(Debug, Clone)]
pub(crate) struct Leadership {
    claim: watch::Receiver<Option<Claim>>,
}

impl Leadership {
    /// Leads for ever: there is one replica and no Lease.
    pub(crate) fn always() -> Self {
        let (sender, claim) = watch::channel(Some(Claim { expires: None }));
        drop(sender);
        Self { claim }
    }

    /// Never leads.
    #[cfg(test)]
    pub(crate) fn never() -> Self {
        Self { claim: watch::channel(None).1 }
    }

    /// Whether this process leads now.
    pub(crate) fn is_held(&self) -> bool {
        let claim = *self.claim.borrow();
        claim.is_some_and(|claim| claim.expires.is_none_or(|expires| Instant::now() < expires))
    }

    /// How long the claim is good for if nobody renews it; none without a claim, or if it never ends.
    pub(crate) fn rest(&self) -> Option<Duration> {
        let expires = (*self.claim.borrow())?.expires?;
        Some(expires.saturating_duration_since(Instant::now())).filter(|rest| !rest.is_zero())
    }

    /// Waits until this process leads.
    pub(crate) async fn held(&self) {
        let mut claim = self.claim.clone();
        while !self.is_held() {
            if claim.changed().await.is_err() {
                // The elector is gone, and with it the process.
                std::future::pending::<()>().await;
            }
        }
    }
}

impl Leadership {
    /// Waits until this process leads no more.
    pub(crate) async fn lost(&self) {
        let mut claim = self.claim.clone();
        loop {
            let current = *claim.borrow_and_update();
            match current {
                None => return,
                // Renewed or not: it is over only if nobody renews it in time.
                Some(Claim { expires: Some(expires) }) => {
                    match tokio::time::timeout_at(expires, claim.changed()).await {
                        Ok(Ok(())) => {}
                        Ok(Err(_)) | Err(_) => return,
                    }
                }
                Some(Claim { expires: None }) => std::future::pending::<()>().await,
            }
        }
    }
}

/// Keeps asking for the Lease, and gives it back at the shutdown.
pub(crate) struct Elector {
    leases: Api<Lease>,
    name: String,
    identity: String,
    duration: Duration,
    claim: watch::Sender<Option<Claim>>,
    /// The Lease as last seen, and since when it looks so.
    seen: Option<(Lease, Instant)>,
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
        let elector = Self {
            leases: Api::namespaced(client, &settings.namespace),
            name: settings.lease.clone(),
            identity: settings.identity.clone(),
            duration: settings.lease_duration,
            claim: sender,
            seen: None,
            health: Health::new("lease", settings.fault_grace),
            pace,
        };
        (elector, Leadership { claim })
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

    fn after(&mut self, attempt: Result<Attempt, CallError>) -> Duration {
        match attempt {
            Ok(Attempt::Held) => {
                self.answered();
                self.duration / 3
            }
            Ok(Attempt::Theirs(rest)) => {
                self.answered();
                self.lose("another replica holds the lease");
                rest.clamp(self.duration / 15, self.duration / 3)
            }
            Err(error) if error.is_conflict() => {
                // Somebody wrote in between: what was seen is of no use.
                self.seen = None;
                self.duration / 15
            }
            Err(error) => {
                self.report(&error);
                self.duration / 6
            }
        }
    }

    /// One look at the Lease, and one write if it can be had.
    async fn attempt(&mut self) -> Result<Attempt, CallError> {
        let started = Instant::now();
        let limit = self.duration / 3;
        let lease = match within(limit, self.leases.get(&self.name)).await {
            Ok(lease) => lease,
            Err(error) if error.is_not_found() => {
                let created = self.wish(None);
                let lease = within(limit, self.leases.create(&PostParams::default(), &created)).await?;
                return Ok(self.gain(lease, started));
            }
            Err(error) => return Err(error),
        };
        if let Some(rest) = self.rest_of_theirs(&lease) {
            return Ok(Attempt::Theirs(rest));
        }
        let wish = self.wish(Some(&lease));
        let lease = within(limit, self.leases.replace(&self.name, &PostParams::default(), &wish)).await?;
        Ok(self.gain(lease, started))
    }

    /// How long somebody else's lease lasts at least; none if it is ours, free or expired.
    fn rest_of_theirs(&mut self, lease: &Lease) -> Option<Duration> {
        let spec = lease.spec.as_ref()?;
        let holder = spec.holder_identity.as_deref().filter(|holder| !holder.is_empty())?;
        let since = match &self.seen {
            Some((known, since)) if known.spec == lease.spec => *since,
            _ => {
                let now = Instant::now();
                self.seen = Some((lease.clone(), now));
                now
            }
        };
        if holder == self.identity {
            return None;
        }
        let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let lasts = seconds.map_or(self.duration, Duration::from_secs);
        let rest = lasts.saturating_sub(since.elapsed());
        (!rest.is_zero()).then_some(rest)
    }

    /// The Lease as it is to be: ours, from now on.
    fn wish(&self, current: Option<&Lease>) -> Lease {
        let now = MicroTime(Timestamp::now());
        let before = current.and_then(|lease| lease.spec.as_ref());
        let ours = before.is_some_and(|spec| spec.holder_identity.as_deref() == Some(self.identity.as_str()));
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
        self.seen = Some((lease, started));
        let claim = Claim { expires: Some(started + self.duration * 2 / 3) };
        let before = self.claim.send_replace(Some(claim));
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
        let expired = self.claim.borrow().is_some_and(|claim| claim.expires.is_some_and(|at| Instant::now() >= at));
        if expired {
            self.lose("the lease could not be renewed in time");
        }
    }

    /// Gives the Lease back, so that the next replica need not wait for it to expire.
    async fn release(mut self) {
        let Some((mut lease, _)) = self.seen.take() else { return };
        let leading = self.claim.send_replace(None).is_some();
        let Some(spec) = lease.spec.as_mut().filter(|_| leading) else { return };
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        match within(self.duration / 3, self.leases.replace(&self.name, &PostParams::default(), &lease)).await {
            Ok(_) => tracing::info!(lease = self.name, "lease released"),
            Err(error) => tracing::warn!(lease = self.name, %error, "the lease could not be released and will expire"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use http::Method;

    use super::*;
    use crate::tests::{Answer, Asked, client, ok, refused};

    const DURATION: Duration = Duration::from_secs(15);

    /// A Lease as an API server keeps it: every write needs the version that it is based on.
    #[derive(Clone, Default)]
    struct Server {
        lease: Arc<Mutex<Option<Lease>>>,
        away: Arc<Mutex<bool>>,
    }

    impl Server {
        fn answer(&self, asked: &Asked) -> Answer {
            if *self.away.lock().unwrap() {
                return Answer::Never;
            }
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

        fn elect(&self, identity: &str) -> (Leadership, CancellationToken) {
            let server = self.clone();
            let (client, _) = client(move |asked| server.answer(asked));
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
        first.lost().await;
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
        assert!(within_time(DURATION * 2, next.held()).await);
        assert!(started.elapsed() >= DURATION, "taken after {:?}", started.elapsed());
    }
}
