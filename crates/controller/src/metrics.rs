//! Metrics: what happened is counted, what is is collected at the scrape from the live state, so that nothing that is
//! gone leaves a series behind. Labels come from closed sets or from what a cluster has few of: audits, subnets.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use ipam_audit_core::outcome::{AuditOutcome, SubnetOutcome};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};
use tokio::time::Instant;

/// The stages of an audit, as everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Collect,
    Evaluate,
    Render,
    Publish,
}

impl Stage {
    const fn name(self) -> &'static str {
        match self {
            Self::Collect => "collect",
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

/// What the last evaluation of an audit found, as far as metrics show it.
#[derive(Debug, Clone, Default)]
pub(crate) struct AuditFigures {
    pub(crate) findings: BTreeMap<(&'static str, &'static str), u64>,
    pub(crate) subnets: Vec<SubnetOutcome>,
    pub(crate) waiting_pods: Option<u32>,
    pub(crate) idle_addresses: Option<u32>,
}

/// The counters, and the figures of the last evaluations.
#[derive(Debug)]
pub(crate) struct Metrics {
    stages: Family<StageLabel, Histogram, fn() -> Histogram>,
    writes: Family<WriteLabels, Counter>,
    audits: Family<ResultLabel, Counter>,
    events: Family<ResultLabel, Counter>,
    figures: Mutex<BTreeMap<String, Arc<AuditFigures>>>,
}

fn stage_histogram() -> Histogram {
    Histogram::new([0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0])
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            stages: Family::new_with_constructor(stage_histogram),
            writes: Family::default(),
            audits: Family::default(),
            events: Family::default(),
            figures: Mutex::default(),
        }
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "ipam_audit_stage_duration_seconds",
            "Time that the stages of audits took",
            self.stages.clone(),
        );
        registry.register("ipam_audit_writes", "Objects written, by kind and result", self.writes.clone());
        registry.register("ipam_audit_audits", "Audits, by result", self.audits.clone());
        registry.register("ipam_audit_events", "Events about findings, by what became of them", self.events.clone());
    }

    /// Measures a stage until the timer is dropped, however the stage ends.
    pub(crate) fn time(&self, stage: Stage) -> Timer {
        Timer {
            histogram: self.stages.get_or_create(&StageLabel { stage: stage.name() }).clone(),
            started: Instant::now(),
        }
    }

    pub(crate) fn count_write(&self, kind: &'static str, result: &'static str) {
        self.writes.get_or_create(&WriteLabels { kind, result }).inc();
    }

    pub(crate) fn count_audit(&self, result: &'static str) {
        self.audits.get_or_create(&ResultLabel { result }).inc();
    }

    pub(crate) fn count_event(&self, result: &'static str) {
        self.events.get_or_create(&ResultLabel { result }).inc();
    }

    /// Keeps the figures of an evaluation for the next scrape.
    pub(crate) fn keep(&self, audit: &str, outcome: &AuditOutcome) {
        let mut figures = AuditFigures {
            subnets: outcome.subnets.clone(),
            waiting_pods: outcome.totals.waiting_pods,
            idle_addresses: outcome.totals.idle_addresses,
            ..AuditFigures::default()
        };
        let of_nodes = outcome.nodes.iter().flat_map(|node| &node.findings);
        let of_subnets = outcome.subnets.iter().flat_map(|subnet| &subnet.findings);
        for finding in outcome.findings.iter().chain(of_nodes).chain(of_subnets) {
            *figures.findings.entry((finding.code, finding.severity.name())).or_default() += 1;
        }
        self.lock().insert(audit.to_owned(), Arc::new(figures));
    }

    /// Forgets audits that are gone.
    pub(crate) fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.lock().retain(|audit, _| keep(audit));
    }

    pub(crate) fn figures(&self) -> BTreeMap<String, Arc<AuditFigures>> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<AuditFigures>>> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Measures until it is dropped.
#[must_use]
#[derive(Debug)]
pub(crate) struct Timer {
    histogram: Histogram,
    started: Instant,
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.histogram.observe(self.started.elapsed().as_secs_f64());
    }
}
