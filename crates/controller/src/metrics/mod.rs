//! Metrics: what happened is counted, what is is collected at the scrape from the live state, so that nothing that is
//! gone leaves a series behind. Labels come from closed sets or from what a cluster has few of: audits, subnets; names of
//! nodes only where somebody asked for them.

mod figures;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ipam_audit_core::outcome::AuditOutcome;
use jiff::Timestamp;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};
use tokio::time::Instant;
use tracing::Span;

pub(crate) use figures::{Addresses, AuditFigures, Figures, Holding, NodeFigures, SubnetFigures};

/// The target of the spans of audits: for traces and never for the log.
pub const SPANS: &str = "ipam_audit_trace";

/// The stages of an audit, as everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Collect,
    Snapshot,
    Evaluate,
    Render,
    Publish,
}

impl Stage {
    /// The stage as a span, under the span of its audit.
    fn span(self) -> Span {
        match self {
            Self::Collect => tracing::info_span!(target: SPANS, "collect"),
            Self::Snapshot => tracing::info_span!(target: SPANS, "snapshot"),
            Self::Evaluate => tracing::info_span!(target: SPANS, "evaluate"),
            Self::Render => tracing::info_span!(target: SPANS, "render"),
            Self::Publish => tracing::info_span!(target: SPANS, "publish"),
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Collect => "collect",
            Self::Snapshot => "snapshot",
            Self::Evaluate => "evaluate",
            Self::Render => "render",
            Self::Publish => "publish",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabel {
    stage: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    kind: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

/// The counters, and the figures of the last evaluations.
#[derive(Debug)]
pub(crate) struct Metrics {
    stages: Family<StageLabel, Histogram, fn() -> Histogram>,
    writes: Family<WriteLabels, Counter>,
    audits: Family<ResultLabel, Counter>,
    events: Family<ResultLabel, Counter>,
    durations: Histogram,
    /// Whether nodes have series of their own.
    per_node: bool,
    figures: Mutex<Figures>,
}

fn stage_histogram() -> Histogram {
    Histogram::new([0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0])
}

impl Metrics {
    pub(crate) fn new(per_node: bool) -> Self {
        Self {
            stages: Family::new_with_constructor(stage_histogram),
            writes: Family::default(),
            audits: Family::default(),
            events: Family::default(),
            durations: stage_histogram(),
            per_node,
            figures: Mutex::default(),
        }
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "ipam_audit_stage_duration_seconds",
            "Time that the stages of audits took",
            self.stages.clone(),
        );
        registry.register(
            "ipam_audit_duration_seconds",
            "Time that audits took, from collecting to the last write",
            self.durations.clone(),
        );
        registry.register(
            "ipam_audit_writes",
            "Writes to the API server, by kind of object and result",
            self.writes.clone(),
        );
        registry.register("ipam_audit_audits", "Audits, by result", self.audits.clone());
        registry.register("ipam_audit_events", "Events about findings, by what became of them", self.events.clone());
    }

    /// Measures a stage until the timer is dropped, however the stage ends; the span that is current is its parent.
    pub(crate) fn time(&self, stage: Stage) -> Timer {
        Timer {
            histogram: self.stages.get_or_create(&StageLabel { stage: stage.name() }).clone(),
            started: Instant::now(),
            _span: stage.span(),
        }
    }

    pub(crate) fn count_write(&self, kind: &'static str, result: &'static str) {
        self.writes.get_or_create(&WriteLabels { kind, result }).inc();
    }

    pub(crate) fn count_audit(&self, result: &'static str) {
        self.audits.get_or_create(&ResultLabel { result }).inc();
    }

    /// How long a finished audit took.
    pub(crate) fn took(&self, duration: Duration) {
        self.durations.observe(duration.as_secs_f64());
    }

    pub(crate) fn count_event(&self, result: &'static str) {
        self.events.get_or_create(&ResultLabel { result }).inc();
    }

    /// Keeps the figures of an evaluation for the next scrape.
    pub(crate) fn keep(&self, audit: &str, outcome: &AuditOutcome) {
        let figures = AuditFigures::of(outcome, self.per_node, Timestamp::now());
        self.lock().insert(audit.to_owned(), Arc::new(figures));
    }

    /// Forgets audits that are gone.
    pub(crate) fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.lock().retain(|audit, _| keep(audit));
    }

    /// Forgets an audit that does not run.
    pub(crate) fn forget(&self, audit: &str) {
        self.lock().remove(audit);
    }

    pub(crate) fn figures(&self) -> Figures {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Measures until it is dropped.
#[must_use]
#[derive(Debug)]
pub(crate) struct Timer {
    histogram: Histogram,
    started: Instant,
    _span: Span,
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.histogram.observe(self.started.elapsed().as_secs_f64());
    }
}
