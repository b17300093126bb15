//! One audit: collect, evaluate, render, publish. The three middle steps get no client.
//!
//! Every change in the cluster or in EC2 asks for an audit, and so does every write to an `IpamAudit`, our own status
//! among them; an audit that would see what the one before saw ends before it begins.

mod control;
mod memory;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use ipam_audit_api::{
    convert::{Circumstances, ReadPlace, SameIgnoringTimes, open_request, render_stalled, render_suspended},
    settings::AuditSettings,
    v1alpha1::{IpamAudit, IpamAuditStatus},
};
use ipam_audit_core::{
    engine,
    memory::Memory as Looks,
    outcome::AuditOutcome,
    snapshot::ClusterSnapshot,
    source::{FaultCategory, SourceState},
};
use jiff::Timestamp;
use kube::{ResourceExt, core::ObjectMeta, runtime::controller::Action};
use tokio::time::Instant;
use tracing::{Instrument, Span, field::Empty};

use self::{
    control::Audit,
    memory::{LastRun, NOTHING_CHANGED, Published, Remembered},
};
pub(crate) use self::{
    control::run,
    memory::{AuditReport, Memory},
};
use crate::{
    crds::{CrdProblem, CrdState},
    error::Error,
    ipamd::{Scrapes, Way},
    lease::Leadership,
    metrics::{Metrics, SPANS, Stage},
    poll::{Ec2Scope, Polls, Rhythm},
    publish::{Judgement, Material, Observed, Prepared, Publication, Publisher, WriteError, prepare},
    settings::Settings,
    state::{Lens, Parts, Place, Polled, State, version},
    watch::Pace,
};

/// Nothing changed for this long: look again all the same.
const IDLE: Duration = Duration::from_mins(10);

/// How long, and how often, an audit waits for interrupted watches.
const CHANCE: Duration = Duration::from_secs(1);
const CHANCES: u32 = 5;

/// What every audit needs.
pub(crate) struct Auditor {
    pub(crate) state: Arc<State>,
    pub(crate) polls: Arc<Polls>,
    pub(crate) scrapes: Arc<Scrapes>,
    pub(crate) leadership: Leadership,
    pub(crate) crds: CrdState,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) publisher: Publisher,
    pub(crate) pace: Pace,
    pub(crate) settings: Settings,
    pub(crate) memory: Arc<Memory>,
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
        if let Some(problem) = self.crds.problem().filter(|problem| problem.is_missing()) {
            return self.stall(&audit, "CrdMissing", problem.message().to_owned()).await;
        }
        let scope = self.wants(&audit, &settings);
        let request = self.answerable_request(&audit, &scope);
        if request.is_none()
            && let Some(pause) = self.not_due(&audit, &scope, &settings)
        {
            return Ok(Action::requeue(pause));
        }
        if self.gives_a_chance(&audit) {
            self.rests(&audit.metadata, "it waits a moment for interrupted watches", Some(CHANCE));
            return Ok(Action::requeue(CHANCE));
        }
        if let Some(why) = self.state.read(Parts::unseen_reports) {
            return self.stall(&audit, "ReportsUnseen", why).await;
        }
        let fault = self.publisher.pressures.fault();
        let node_condition = settings.node_condition.map(|_| fault.map_or(Ok(()), Err));
        let span = audit_span(&audit);
        let auditing = self.audit(audit, settings, &scope, Circumstances { request, node_condition });
        let result = Box::pin(auditing).instrument(span.clone()).await;
        if let Err(error) = &result {
            span.record("error", error.category());
        }
        result
    }

    /// What the annotation asks for, as soon as EC2 was read since it was seen.
    fn answerable_request(&self, audit: &IpamAudit, scope: &Ec2Scope) -> Option<String> {
        let wanted = open_request(audit);
        let number = self.remember(&audit.metadata, |remembered| {
            let known = remembered.request.take().filter(|(known, _)| Some(known) == wanted.as_ref());
            remembered.request = known.or_else(|| Some((wanted.clone()?, self.polls.request(scope))));
            remembered.request.as_ref().map(|(_, number)| *number)
        });
        wanted.filter(|_| number.is_some_and(|number| self.polls.has_answered(scope, number)))
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
    async fn audit(
        &self,
        audit: IpamAudit,
        settings: AuditSettings,
        scope: &Ec2Scope,
        circumstances: Circumstances,
    ) -> Result<Action, Error> {
        let started = Instant::now();
        let meta = audit.metadata.clone();
        let generation = self.state.generation();
        let (audit, settings) = (Arc::new(audit), Arc::new(settings));
        let seen = self.collect(&settings, scope);
        let snapshot = self.snapshot(&settings, seen);
        let earlier = self.earlier_looks(&audit);
        let outcome = self.evaluate(snapshot, &settings, earlier).await?;
        let place = ReadPlace { region: self.polls.region(scope), vpc_is_stated: settings.vpc.is_some() };
        let prepared = self.render(&audit, &outcome, &settings, (circumstances, place)).await?;
        let needed = prepared.writes();
        let published = match self.publish(prepared).await {
            Err(Error::Publish { source, .. }) if source.is_unknown_field() => return self.say_outdated(&audit).await,
            other => other?,
        };
        self.metrics.keep(&audit.name_any(), &outcome);
        self.metrics.count_audit("Finished");
        // A view of now that merely lacks an object which makes no sense does not grow old.
        let faulty = outcome.sources.iter().any(|state| ages(state) && state.as_of != Some(outcome.taken_at));
        // A suspicion is proven by a later look, also if nothing changes until then.
        let restless = faulty || !outcome.suspects.is_empty();
        let first = self.remember(&meta, |remembered| remembered.last.is_none());
        let took = started.elapsed();
        self.metrics.took(took);
        let done = Published {
            needed,
            written: published.written,
            deleted: published.deleted,
            events: published.events,
            milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        };
        describe(&Span::current(), &outcome, done);
        if first || needed > 0 {
            report(&audit, &outcome, done);
        }
        let pause = self.pause(restless, &settings);
        self.remember(&meta, |remembered| {
            if remembered.failure.take().is_some() {
                tracing::info!(audit = remembered.name, "healed");
            }
            remembered.written = published.audit.or_else(|| remembered.written.take());
            remembered.last = Some(LastRun { spec: meta.generation, generation, at: Instant::now(), restless });
            remembered.looks = Some(outcome.memory.clone());
            remembered.published = Some(done);
            remembered.rests(NOTHING_CHANGED, Some(pause));
        });
        Ok(Action::requeue(pause))
    }

    /// What is known of EC2 and of each node's ipamd by now; the watches have their rows in the index already.
    fn collect(&self, settings: &AuditSettings, scope: &Ec2Scope) -> Polled {
        let _timer = self.metrics.time(Stage::Collect);
        (self.polls.inventory(scope), self.scrapes.reading(settings.ipamd.as_ref().map(Way::from)))
    }

    fn snapshot(&self, settings: &AuditSettings, seen: Polled) -> ClusterSnapshot {
        let _timer = self.metrics.time(Stage::Snapshot);
        let lens = Lens {
            cni: place(settings),
            trunk_annotation: settings.cni.trunk_annotation.clone(),
            nodes: settings.nodes.clone(),
        };
        self.state.snapshot(&lens, seen, Timestamp::now())
    }

    /// Off the runtime's threads: an evaluation is a tenth of a second of pure work.
    async fn evaluate(
        &self,
        snapshot: ClusterSnapshot,
        settings: &Arc<AuditSettings>,
        earlier: Looks,
    ) -> Result<Arc<AuditOutcome>, Error> {
        let _timer = self.metrics.time(Stage::Evaluate);
        let settings = settings.clone();
        aside(move || Arc::new(engine::evaluate(&snapshot, &settings.policy, &earlier))).await
    }

    /// What earlier looks suspected and found. A process that has just taken over knows what was proven by the
    /// findings that its predecessor wrote.
    fn earlier_looks(&self, audit: &IpamAudit) -> Looks {
        let looks = self.remember(&audit.metadata, |remembered| remembered.looks.clone());
        looks.unwrap_or_else(|| {
            let name = audit.name_any();
            let of_audit = audit.status.iter().flat_map(|status| &status.findings);
            let mut open: BTreeSet<String> = of_audit.map(|finding| finding.fingerprint.clone()).collect();
            self.state.read(|parts| {
                let nodes = parts.node_reports.rows.of_audit(&name);
                let subnets = parts.subnet_reports.rows.of_audit(&name);
                let of_nodes = nodes.values().filter_map(|report| report.status()).flat_map(|status| status.findings);
                let of_subnets =
                    subnets.values().filter_map(|report| report.status()).flat_map(|status| status.findings);
                open.extend(of_nodes.chain(of_subnets).map(|finding| finding.fingerprint));
            });
            Looks { open, ..Looks::default() }
        })
    }

    async fn render(
        &self,
        audit: &Arc<IpamAudit>,
        outcome: &Arc<AuditOutcome>,
        settings: &Arc<AuditSettings>,
        (circumstances, place): (Circumstances, ReadPlace),
    ) -> Result<Prepared, Error> {
        let _timer = self.metrics.time(Stage::Render);
        let name = audit.name_any();
        let observed = self.state.read(|parts| Observed {
            nodes: parts.node_reports.rows.of_audit(&name),
            subnets: parts.subnet_reports.rows.of_audit(&name),
        });
        let (audit, outcome, settings) = (audit.clone(), outcome.clone(), settings.clone());
        let material = Material { audit, outcome, settings, observed, place };
        aside(move || prepare(material, &circumstances)).await
    }

    async fn publish(&self, prepared: Prepared) -> Result<Publication, Error> {
        let _timer = self.metrics.time(Stage::Publish);
        self.publisher.publish(prepared).await
    }

    /// Tells those who read EC2 and ipamd and the index what this audit looks at.
    fn wants(&self, audit: &IpamAudit, settings: &AuditSettings) -> Ec2Scope {
        let scope =
            Ec2Scope { aws: settings.aws.clone(), vpc: settings.vpc.as_ref().map(|vpc| vpc.as_str().to_owned()) };
        let thresholds = &settings.policy.thresholds;
        let rhythm = Rhythm {
            interval: settings.interval,
            low_percent: thresholds.subnet_free_percent,
            low_addresses: thresholds.subnet_free_addresses,
        };
        self.polls.want(&audit.name_any(), &scope, rhythm);
        self.scrapes.want(&audit.name_any(), settings.ipamd.as_ref(), &settings.nodes);
        self.state.follow(place(settings));
        scope
    }

    /// Tells the poller and the keeper of conditions that an audit stands still: nobody would see how old they get.
    fn wants_nothing(&self, audit: &str) {
        self.polls.drop_wish(audit);
        self.scrapes.drop_wish(audit);
        self.publisher.pressures.say(audit, Judgement::Unwanted);
    }

    /// How long to wait, if the audit need not run now.
    fn not_due(&self, audit: &IpamAudit, scope: &Ec2Scope, settings: &AuditSettings) -> Option<Duration> {
        let generation = self.state.generation();
        let (last, waited) =
            self.remember(&audit.metadata, |remembered| (remembered.last.clone(), remembered.wanted.elapsed()));
        let Some(last) = last else {
            let asked = self.polls.was_asked(scope) && self.scrapes.was_asked(settings.ipamd.as_ref().map(Way::from));
            let pending = !asked || self.state.read(|parts| !parts.pending().is_empty());
            let rest = self.settings.first_list_wait.saturating_sub(waited);
            let rest = (pending && !rest.is_zero()).then_some(rest);
            if rest.is_some() {
                self.rests(&audit.metadata, "it waits for the first lists and the first reading of EC2", rest);
            }
            return rest;
        };
        let changed = last.spec != audit.metadata.generation || last.generation != generation;
        let rest = self.pause(last.restless, settings).saturating_sub(last.at.elapsed());
        let rest = (!changed && !rest.is_zero()).then_some(rest);
        if rest.is_some() {
            self.rests(&audit.metadata, NOTHING_CHANGED, rest);
        }
        rest
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
    fn pause(&self, restless: bool, settings: &AuditSettings) -> Duration {
        let longest = if restless { self.settings.stale_check } else { IDLE };
        settings.heartbeat.map_or(longest, |every| every.min(longest))
    }

    /// Says, once, that the spec is of no use, on the object and in the log.
    async fn refuse(&self, meta: &ObjectMeta, before: Option<&IpamAuditStatus>, what: String) -> Result<Action, Error> {
        let name = meta.name.as_deref().unwrap_or_default();
        self.wants_nothing(name);
        self.metrics.forget(name);
        self.rests(meta, "its spec is not valid", None);
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
        self.wants_nothing(&name);
        self.metrics.forget(&name);
        self.rests(&audit.metadata, "it is suspended", None);
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

    fn rests(&self, meta: &ObjectMeta, why: &'static str, pause: Option<Duration>) {
        self.remember(meta, |remembered| remembered.rests(why, pause));
    }

    fn remember<T>(&self, meta: &ObjectMeta, change: impl FnOnce(&mut Remembered) -> T) -> T {
        self.memory.of(meta, &self.settings, change)
    }
}

/// Whether a source is as it should not stay: its age has to be told truly while it fails.
fn ages(state: &SourceState) -> bool {
    let not_installed = state.source.is_optional() && state.is_missing();
    state.fault.as_ref().is_some_and(|fault| !(not_installed && fault.category == FaultCategory::NotFound))
}

/// The span of an audit; the stages are below it.
fn audit_span(audit: &IpamAudit) -> Span {
    tracing::info_span!(
        target: SPANS,
        "audit",
        audit = audit.name_any(),
        nodes = Empty,
        subnets = Empty,
        critical = Empty,
        warning = Empty,
        needed = Empty,
        written = Empty,
        deleted = Empty,
        events = Empty,
        error = Empty,
    )
}

/// What an audit saw and did.
fn describe(span: &Span, outcome: &AuditOutcome, done: Published) {
    span.record("nodes", outcome.nodes.len());
    span.record("subnets", outcome.subnets.len());
    span.record("critical", outcome.totals.critical);
    span.record("warning", outcome.totals.warning);
    span.record("needed", done.needed);
    span.record("written", done.written);
    span.record("deleted", done.deleted);
    span.record("events", done.events);
}

/// One line for each audit that found something to write, and for the first.
fn report(audit: &IpamAudit, outcome: &AuditOutcome, done: Published) {
    tracing::info!(
        audit = audit.name_any(),
        nodes = outcome.nodes.len(),
        subnets = outcome.subnets.len(),
        critical = outcome.totals.critical,
        warning = outcome.totals.warning,
        faulty_sources = outcome.sources.iter().filter(|state| ages(state)).count(),
        needed = done.needed,
        written = done.written,
        deleted = done.deleted,
        events = done.events,
        milliseconds = done.milliseconds,
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
