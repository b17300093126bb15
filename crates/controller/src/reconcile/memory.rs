//! What is remembered of each audit between its runs.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ipam_audit_api::v1alpha1::IpamAudit;
use ipam_audit_core::memory::Memory as Looks;
use kube::core::ObjectMeta;
use serde::Serialize;
use tokio::time::Instant;

use crate::{backoff::Backoff, settings::Settings};

/// What is remembered of each audit between its runs, by uid; losing it costs one evaluation.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    audits: Mutex<HashMap<String, Remembered>>,
}

#[derive(Debug)]
pub(super) struct Remembered {
    pub(super) name: String,
    /// When this process first wanted to run it.
    pub(super) wanted: Instant,
    pub(super) last: Option<LastRun>,
    /// The status that this process wrote last: the store may not have its echo yet.
    pub(super) written: Option<IpamAudit>,
    /// The spec that was refused last, and why.
    pub(super) refused: Option<(Option<i64>, String)>,
    /// What the last run failed with, so that it is logged once.
    pub(super) failure: Option<String>,
    /// How often it waited for interrupted watches to come back.
    pub(super) chances: u32,
    pub(super) backoff: Backoff,
    /// The request for an audit that it has not answered, and the number of the reading of EC2 that this waits for.
    pub(super) request: Option<(String, u64)>,
    /// What its last evaluation leaves to the next.
    pub(super) looks: Option<Looks>,
    /// What the last attempt came to, and when it is to be looked at again if nothing happens.
    pub(super) verdict: Option<(&'static str, Option<Instant>)>,
    /// What the last publication did.
    pub(super) published: Option<Published>,
}

/// What the last publication of an audit did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Published {
    /// Objects that had to be written or deleted.
    pub(crate) needed: usize,
    pub(crate) written: usize,
    pub(crate) deleted: usize,
    pub(crate) events: usize,
    /// How long the whole audit took.
    pub(crate) milliseconds: u64,
}

/// How an audit is, for people.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditReport {
    pub(crate) name: String,
    /// None until it ran once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_run_seconds_ago: Option<f64>,
    /// The generation of the spec that it ran with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) spec_generation: Option<i64>,
    /// The generation of the index that it ran with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) index_generation: Option<u64>,
    /// Why it does not run just now.
    pub(crate) rests_because: &'static str,
    /// When it runs again even if nothing changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) runs_again_in_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_publication: Option<Published>,
}

impl Remembered {
    /// What an attempt came to; it is looked at again after the pause, or only when something happens.
    pub(super) fn rests(&mut self, why: &'static str, pause: Option<Duration>) {
        self.verdict = Some((why, pause.map(|pause| Instant::now() + pause)));
    }

    fn report(&self, generation: u64, leads: bool) -> AuditReport {
        let (why, until) = self.verdict.unwrap_or(("it has not been tried yet", None));
        let moved = self.last.as_ref().is_some_and(|last| last.generation != generation);
        let rests_because = match why {
            _ if !leads => "another replica leads",
            NOTHING_CHANGED if moved => "changes are being gathered",
            why => why,
        };
        AuditReport {
            name: self.name.clone(),
            last_run_seconds_ago: self.last.as_ref().map(|last| last.at.elapsed().as_secs_f64()),
            spec_generation: self.last.as_ref().and_then(|last| last.spec),
            index_generation: self.last.as_ref().map(|last| last.generation),
            rests_because,
            runs_again_in_seconds: until
                .filter(|_| leads)
                .map(|until| until.saturating_duration_since(Instant::now()).as_secs_f64()),
            last_publication: self.published,
        }
    }
}

/// Why an audit rests that has seen everything.
pub(super) const NOTHING_CHANGED: &str = "nothing has changed since it ran";

#[derive(Debug, Clone)]
pub(super) struct LastRun {
    pub(super) spec: Option<i64>,
    pub(super) generation: u64,
    pub(super) at: Instant,
    /// Whether to look again soon: a source was faulty and its age has to be told truly, or a suspicion is to be proven.
    pub(super) restless: bool,
}

impl Memory {
    /// What is remembered of an audit, from its first time on.
    pub(super) fn of<T>(&self, meta: &ObjectMeta, settings: &Settings, change: impl FnOnce(&mut Remembered) -> T) -> T {
        let mut audits = self.lock();
        let uid = meta.uid.clone().unwrap_or_default();
        let remembered = audits.entry(uid).or_insert_with(|| Remembered {
            name: meta.name.clone().unwrap_or_default(),
            wanted: Instant::now(),
            last: None,
            written: None,
            refused: None,
            failure: None,
            chances: 0,
            backoff: Backoff::new(settings.retry_min, settings.retry_max),
            request: None,
            looks: None,
            verdict: None,
            published: None,
        });
        change(remembered)
    }

    /// How every audit is, by name, with the index at a generation.
    pub(crate) fn report(&self, generation: u64, leads: bool) -> Vec<AuditReport> {
        let mut reports: Vec<AuditReport> =
            self.lock().values().map(|remembered| remembered.report(generation, leads)).collect();
        reports.sort_by(|a, b| a.name.cmp(&b.name));
        reports
    }

    /// Forgets audits that are gone.
    pub(super) fn retain(&self, names: &BTreeSet<String>) {
        self.lock().retain(|_, remembered| names.contains(&remembered.name));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Remembered>> {
        self.audits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
