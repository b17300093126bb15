//! One audit: collect, evaluate, render, publish. The three middle steps get no client.
//!
//! Every change in the cluster or in EC2 asks for an audit, and so does every write to an `IpamAudit`, our own status
//! among them; an audit that would see what the one before saw ends before it begins.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{Stream, StreamExt, stream};
use ipam_audit_api::{
    convert::{Context as Rendering, SameIgnoringTimes, render_stalled, render_suspended},
    settings::AuditSettings,
    v1alpha1::{IpamAudit, IpamAuditStatus},
};
use ipam_audit_core::{
    engine,
    outcome::AuditOutcome,
    snapshot::ClusterSnapshot,
    source::{FaultCategory, SourceState},
};
use jiff::Timestamp;
use kube::{
    Api, Client, Resource, ResourceExt,
    core::{DeserializeGuard, ObjectMeta},
    runtime::{
        Controller,
        controller::{self, Action},
        reflector::Store,
        watcher,
    },
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    backoff::Backoff,
    call::CallError,
    collect::resource_name,
    crds::{CrdProblem, CrdState},
    error::{Error, Retry},
    lease::Leadership,
    metrics::{Metrics, Stage},
    poll::{Ec2Scope, Polls},
    publish::{Observed, Prepared, Publication, Publisher, WriteError, prepare},
    settings::Settings,
    state::{Health, Lens, Parts, Place, State, settled, version},
    watch::Pace,
};

type Audit = DeserializeGuard<IpamAudit>;

/// Audits run side by side up to this number.
const CONCURRENCY: u16 = 4;
/// Nothing changed for this long: look again all the same.
const IDLE: Duration = Duration::from_mins(10);

/// How long, and how often, an audit waits for interrupted watches.
const CHANCE: Duration = Duration::from_secs(1);
const CHANCES: u32 = 5;
/// kube holds back every trigger while the watch of audits pauses, so it must not pause for long.
const WATCH_PAUSE: Duration = Duration::from_secs(5);
/// How long that watch is silent before it counts as well again.
const WATCH_SILENCE: Duration = Duration::from_secs(10);

/// What every audit needs.
pub(crate) struct Auditor {
    pub(crate) state: Arc<State>,
    pub(crate) polls: Arc<Polls>,
    pub(crate) leadership: Leadership,
    pub(crate) crds: CrdState,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) publisher: Publisher,
    pub(crate) pace: Pace,
    pub(crate) settings: Settings,
    pub(crate) memory: Memory,
}

/// What is remembered of each audit between its runs, by uid; losing it costs one evaluation.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    audits: Mutex<HashMap<String, Remembered>>,
}

#[derive(Debug)]
struct Remembered {
    name: String,
    /// When this process first wanted to run it.
    wanted: Instant,
    last: Option<LastRun>,
    /// The status that this process wrote last: the store may not have its echo yet.
    written: Option<IpamAudit>,
    /// The spec that was refused last, and why.
    refused: Option<(Option<i64>, String)>,
    /// What the last run failed with, so that it is logged once.
    failure: Option<String>,
    /// How often it waited for interrupted watches to come back.
    chances: u32,
    backoff: Backoff,
}

#[derive(Debug, Clone)]
struct LastRun {
    spec: Option<i64>,
    generation: u64,
    at: Instant,
    /// Whether a source was faulty: ages have to be told truly.
    faulty: bool,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Remembered>> {
        self.audits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs audits until the shutdown.
pub(crate) async fn run(client: Client, auditor: Arc<Auditor>, stop: CancellationToken) -> Result<(), Error> {
    if stop.run_until_cancelled(auditor.crds.installed()).await.is_none() {
        return Ok(());
    }
    let config = controller::Config::default().concurrency(CONCURRENCY);
    let controller = Controller::new(Api::<Audit>::all(client), watcher::Config::default())
        .with_config(config)
        .trigger_backoff(Backoff::new(auditor.settings.retry_min, auditor.settings.retry_max.min(WATCH_PAUSE)))
        .reconcile_all_on(ticks(&auditor))
        .graceful_shutdown_on(stop.cancelled_owned());
    let store = controller.store();
    let watched = auditor.clone();
    let results = controller.run(move |audit, auditor| reconcile(audit, auditor, store.clone()), error_policy, auditor);
    let mut results = std::pin::pin!(results);
    let mut watch = AuditWatch {
        health: Health::new("ipamaudits", watched.settings.fault_grace),
        pace: watched.pace.clone(),
        failed: None,
    };
    while let Some(result) = results.next().await {
        match result {
            Err(controller::Error::QueueError(error)) => watch.fail(error),
            _ => watch.answer(),
        }
    }
    Ok(())
}

/// How the watch of audits is, which kube runs.
struct AuditWatch {
    health: Health,
    pace: Pace,
    failed: Option<Instant>,
}

impl AuditWatch {
    fn fail(&mut self, error: watcher::Error) {
        let error = match error {
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => error,
            watcher::Error::WatchError(status) => kube::Error::Api(status),
            watcher::Error::NoResourceVersion => return,
        };
        // A position that is too old is what a watch meets now and then; kube lists again.
        if matches!(&error, kube::Error::Api(status) if status.code == 410) {
            return;
        }
        self.failed = Some(Instant::now());
        let fault = CallError::from(error).fault("watch", &resource_name::<IpamAudit>());
        self.pace.failed(fault.category);
        let _ = self.health.fail(fault);
    }

    /// An audit ran. Changes elsewhere run audits too while the watch fails: only its longer silence is a sign of health.
    fn answer(&mut self) {
        if self.failed.is_some_and(|since| since.elapsed() > WATCH_SILENCE) {
            self.failed = None;
            let _ = self.health.connect();
        }
    }
}

/// One tick for each time that something changed and it then was quiet for a moment.
fn ticks(auditor: &Auditor) -> impl Stream<Item = ()> + Send + use<> {
    let (quiet, limit) = (auditor.settings.debounce, auditor.settings.debounce_limit);
    stream::unfold(auditor.state.changes(), move |mut changes| async move {
        settled(&mut changes, quiet, limit).await.then_some(((), changes))
    })
}

async fn reconcile(audit: Arc<Audit>, auditor: Arc<Auditor>, store: Store<Audit>) -> Result<Action, Error> {
    if !auditor.leadership.is_held() {
        // Gaining leadership is a tick.
        return Ok(Action::await_change());
    }
    auditor.forget_others(&store);
    let result = Box::pin(auditor.reconcile(&audit)).await;
    match &result {
        Ok(_) => auditor.remember(audit.meta(), |remembered| remembered.backoff.reset()),
        Err(error) => auditor.metrics.count_audit(error.category()),
    }
    result
}

#[expect(clippy::needless_pass_by_value, reason = "the signature that kube asks for")]
fn error_policy(audit: Arc<Audit>, error: &Error, auditor: Arc<Auditor>) -> Action {
    match error.retry() {
        Retry::AwaitChange => Action::await_change(),
        Retry::Backoff => {
            let chain = chain(error);
            let (pause, known) = auditor.remember(audit.meta(), |remembered| {
                remembered.last = None;
                let known = remembered.failure.replace(chain.clone()) == Some(chain.clone());
                (remembered.backoff.pause(), known)
            });
            if !known {
                tracing::warn!(
                    audit = audit.name_any(),
                    category = error.category(),
                    "audit failed, trying again: {chain}"
                );
            }
            Action::requeue(pause)
        }
    }
}

fn chain(error: &Error) -> String {
    use std::error::Error as _;
    let cause = error.source().map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}

impl Auditor {
    async fn reconcile(&self, audit: &Audit) -> Result<Action, Error> {
        let audit = match &audit.0 {
            Ok(audit) => self.newest(audit),
            Err(invalid) => {
                return self.refuse(&invalid.metadata, None, format!("it cannot be read: {}", invalid.error)).await;
            }
        };
        let settings = match AuditSettings::try_from(&audit.spec) {
            Ok(settings) => settings,
            Err(error) => return self.refuse(&audit.metadata, audit.status.as_ref(), error.to_string()).await,
        };
        if settings.suspend {
            return self.suspend(&audit).await;
        }
        let scope = self.wants(&audit, &settings);
        if let Some(pause) = self.not_due(&audit, &scope, &settings) {
            return Ok(Action::requeue(pause));
        }
        if let Some(problem) = self.crds.problem().filter(|problem| problem.is_missing()) {
            return self.stall(&audit, "CrdMissing", problem.message().to_owned()).await;
        }
        if self.gives_a_chance(&audit) {
            return Ok(Action::requeue(CHANCE));
        }
        if let Some(why) = self.state.read(Parts::unseen_reports) {
            return self.stall(&audit, "ReportsUnseen", why).await;
        }
        Box::pin(self.audit(audit, settings, &scope)).await
    }

    /// The audit with its newest status: the store's, or what this process wrote if that is newer.
    fn newest(&self, audit: &IpamAudit) -> IpamAudit {
        let written = self.remember(&audit.metadata, |remembered| remembered.written.clone());
        let status = match written {
            Some(written) if version(&written) > version(audit) => written.status,
            _ => audit.status.clone(),
        };
        IpamAudit { status, ..audit.clone() }
    }

    /// The pipeline.
    async fn audit(&self, audit: IpamAudit, settings: AuditSettings, scope: &Ec2Scope) -> Result<Action, Error> {
        let started = Instant::now();
        let meta = audit.metadata.clone();
        let generation = self.state.generation();
        let (audit, settings) = (Arc::new(audit), Arc::new(settings));
        let snapshot = self.collect(&settings, scope);
        let outcome = self.evaluate(snapshot, &settings).await?;
        let prepared = self.render(&audit, &outcome, &settings).await?;
        let needed = prepared.writes();
        let published = match self.publish(prepared).await {
            Err(Error::Publish { source, .. }) if source.is_unknown_field() => return self.say_outdated(&audit).await,
            other => other?,
        };
        self.metrics.keep(&audit.name_any(), &outcome);
        self.metrics.count_audit("Finished");
        let faulty = outcome.sources.iter().filter(|state| ages(state)).count();
        let first = self.remember(&meta, |remembered| remembered.last.is_none());
        if first || needed > 0 {
            report(&audit, &outcome, (needed, &published), started.elapsed());
        }
        self.remember(&meta, |remembered| {
            if remembered.failure.take().is_some() {
                tracing::info!(audit = remembered.name, "healed");
            }
            remembered.written = published.audit.or_else(|| remembered.written.take());
            remembered.last =
                Some(LastRun { spec: meta.generation, generation, at: Instant::now(), faulty: faulty > 0 });
        });
        Ok(Action::requeue(self.pause(faulty > 0, &settings)))
    }

    fn collect(&self, settings: &AuditSettings, scope: &Ec2Scope) -> ClusterSnapshot {
        let _timer = self.metrics.time(Stage::Collect);
        let lens = Lens {
            cni: place(settings),
            trunk_annotation: settings.cni.trunk_annotation.clone(),
            nodes: settings.nodes.clone(),
        };
        self.state.snapshot(&lens, self.polls.view(scope).inventory, Timestamp::now())
    }

    /// Off the runtime's threads: an evaluation is a tenth of a second of pure work.
    async fn evaluate(
        &self,
        snapshot: ClusterSnapshot,
        settings: &Arc<AuditSettings>,
    ) -> Result<Arc<AuditOutcome>, Error> {
        let _timer = self.metrics.time(Stage::Evaluate);
        let settings = settings.clone();
        aside(move || Arc::new(engine::evaluate(&snapshot, &settings.policy))).await
    }

    async fn render(
        &self,
        audit: &Arc<IpamAudit>,
        outcome: &Arc<AuditOutcome>,
        settings: &Arc<AuditSettings>,
    ) -> Result<Prepared, Error> {
        let _timer = self.metrics.time(Stage::Render);
        let name = audit.name_any();
        let observed = self.state.read(|parts| Observed {
            nodes: parts.node_reports.rows.of_audit(&name),
            subnets: parts.subnet_reports.rows.of_audit(&name),
        });
        let (audit, outcome, settings) = (audit.clone(), outcome.clone(), settings.clone());
        aside(move || {
            let rendering = Rendering::new(&outcome, &settings.policy);
            prepare(&audit, &outcome, &rendering, &observed, &settings)
        })
        .await
    }

    async fn publish(&self, prepared: Prepared) -> Result<Publication, Error> {
        let _timer = self.metrics.time(Stage::Publish);
        self.publisher.publish(prepared).await
    }

    /// Tells the poller and the index what this audit looks at.
    fn wants(&self, audit: &IpamAudit, settings: &AuditSettings) -> Ec2Scope {
        let scope =
            Ec2Scope { region: settings.region.clone(), vpc: settings.vpc.as_ref().map(|vpc| vpc.as_str().to_owned()) };
        self.polls.want(&audit.name_any(), &scope, settings.interval);
        self.state.follow(place(settings));
        scope
    }

    /// How long to wait, if the audit need not run now.
    fn not_due(&self, audit: &IpamAudit, scope: &Ec2Scope, settings: &AuditSettings) -> Option<Duration> {
        let generation = self.state.generation();
        let (last, waited) =
            self.remember(&audit.metadata, |remembered| (remembered.last.clone(), remembered.wanted.elapsed()));
        let Some(last) = last else {
            let pending = !self.polls.view(scope).asked || self.state.read(|parts| !parts.pending().is_empty());
            let rest = self.settings.first_list_wait.saturating_sub(waited);
            return (pending && !rest.is_zero()).then_some(rest);
        };
        let changed = last.spec != audit.metadata.generation || last.generation != generation;
        let rest = self.pause(last.faulty, settings).saturating_sub(last.at.elapsed());
        (!changed && !rest.is_zero()).then_some(rest)
    }

    /// Whether to wait a moment for watches that are interrupted. Where an audit can write, the API server answers
    /// again; watches that still pause are woken and are back before their reports turn over.
    fn gives_a_chance(&self, audit: &IpamAudit) -> bool {
        let interrupted = self.state.read(Parts::is_interrupted);
        let waits = self.remember(&audit.metadata, |remembered| {
            remembered.chances = if interrupted { remembered.chances.saturating_add(1) } else { 0 };
            (1..=CHANCES).contains(&remembered.chances)
        });
        if waits {
            self.pace.wake();
        }
        waits
    }

    /// How long an audit may rest while nothing changes.
    fn pause(&self, faulty: bool, settings: &AuditSettings) -> Duration {
        let longest = if faulty { self.settings.stale_check } else { IDLE };
        settings.heartbeat.map_or(longest, |every| every.min(longest))
    }

    /// Says, once, that the spec is of no use, on the object and in the log.
    async fn refuse(&self, meta: &ObjectMeta, before: Option<&IpamAuditStatus>, what: String) -> Result<Action, Error> {
        let name = meta.name.as_deref().unwrap_or_default();
        self.polls.drop_wish(name);
        let refusal = Some((meta.generation, what.clone()));
        if self.remember(meta, |remembered| remembered.refused != refusal) {
            let status = render_stalled(before, meta.generation, Timestamp::now(), ("InvalidSpec", &what));
            self.write_status(meta, before, &status).await?;
            tracing::warn!(audit = name, "the spec is not valid: {what}");
            self.remember(meta, |remembered| remembered.refused = refusal);
        }
        Err(Error::InvalidSpec { what })
    }

    async fn suspend(&self, audit: &IpamAudit) -> Result<Action, Error> {
        let name = audit.name_any();
        self.polls.drop_wish(&name);
        let before = audit.status.as_ref();
        let status = render_suspended(before, audit.metadata.generation, Timestamp::now());
        self.write_status(&audit.metadata, before, &status).await?;
        self.remember(&audit.metadata, |remembered| remembered.last = None);
        Ok(Action::await_change())
    }

    /// Says on the object why it cannot be audited, and tries again later.
    async fn stall(&self, audit: &IpamAudit, reason: &'static str, why: String) -> Result<Action, Error> {
        let before = audit.status.as_ref();
        let status = render_stalled(before, audit.metadata.generation, Timestamp::now(), (reason, &why));
        self.write_status(&audit.metadata, before, &status).await?;
        Err(Error::Stalled { reason, why })
    }

    async fn write_status(
        &self,
        meta: &ObjectMeta,
        before: Option<&IpamAuditStatus>,
        status: &IpamAuditStatus,
    ) -> Result<(), Error> {
        if before.is_some_and(|before| before.same_ignoring_times(status)) {
            return Ok(());
        }
        let name = meta.name.as_deref().unwrap_or_default();
        match self.publisher.audit_status(name, status).await {
            Ok(written) => {
                self.remember(meta, |remembered| remembered.written = Some(written));
                Ok(())
            }
            Err(WriteError::NotLeader) => Err(Error::NotLeader),
            Err(WriteError::Failed(source)) => {
                Err(Error::Publish { object: name.to_owned(), failed: 1, total: 1, source })
            }
        }
    }

    /// The cluster's definitions of our kinds are older than this version: says so with what they do know.
    async fn say_outdated(&self, audit: &IpamAudit) -> Result<Action, Error> {
        let name = audit.name_any();
        let known = self.crds.problem();
        let message = known.as_deref().map_or_else(CrdProblem::advice, |problem| problem.message().to_owned());
        let before = audit.status.as_ref();
        let stalled = ("CrdOutdated", message.as_str());
        let status = render_stalled(before, audit.metadata.generation, Timestamp::now(), stalled);
        if before.is_none_or(|before| !before.same_ignoring_times(&status))
            && let Err(WriteError::Failed(error)) = self.publisher.audit_conditions(&name, &status).await
        {
            tracing::warn!(audit = name, %error, "cannot even write conditions");
        }
        Err(Error::CrdOutdated { message })
    }

    /// Forgets what belongs to audits that are gone.
    fn forget_others(&self, store: &Store<Audit>) {
        let names: BTreeSet<String> = store.state().iter().map(|audit| audit.name_any()).collect();
        self.polls.retain(&names);
        self.metrics.retain(|audit| names.contains(audit));
        self.memory.lock().retain(|_, remembered| names.contains(&remembered.name));
    }

    fn remember<T>(&self, meta: &ObjectMeta, change: impl FnOnce(&mut Remembered) -> T) -> T {
        let mut audits = self.memory.lock();
        let uid = meta.uid.clone().unwrap_or_default();
        let remembered = audits.entry(uid).or_insert_with(|| Remembered {
            name: meta.name.clone().unwrap_or_default(),
            wanted: Instant::now(),
            last: None,
            written: None,
            refused: None,
            failure: None,
            chances: 0,
            backoff: Backoff::new(self.settings.retry_min, self.settings.retry_max),
        });
        change(remembered)
    }
}

/// Whether a source is as it should not stay: its age has to be told truly while it fails.
fn ages(state: &SourceState) -> bool {
    let not_installed = state.source.is_optional() && state.is_missing();
    state.fault.as_ref().is_some_and(|fault| !(not_installed && fault.category == FaultCategory::NotFound))
}

/// One line for each audit that found something to write, and for the first.
fn report(audit: &IpamAudit, outcome: &AuditOutcome, (needed, published): (usize, &Publication), took: Duration) {
    tracing::info!(
        audit = audit.name_any(),
        nodes = outcome.nodes.len(),
        subnets = outcome.subnets.len(),
        critical = outcome.totals.critical,
        warning = outcome.totals.warning,
        faulty_sources = outcome.sources.iter().filter(|state| ages(state)).count(),
        needed,
        written = published.written,
        deleted = published.deleted,
        events = published.events,
        milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "audited"
    );
}

/// Runs pure work on the blocking pool.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Evaluate)
}

fn place(settings: &AuditSettings) -> Place {
    Place { namespace: settings.cni.namespace.as_str().into(), name: settings.cni.daemon_set.as_str().into() }
}
