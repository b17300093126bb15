//! What is remembered of each audit between its runs.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use ipam_audit_api::v1alpha1::IpamAudit;
use ipam_audit_core::memory::Memory as Looks;
use kube::core::ObjectMeta;
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
    /// What its last evaluation leaves to the next.
    pub(super) looks: Option<Looks>,
}

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
            looks: None,
        });
        change(remembered)
    }

    /// Forgets audits that are gone.
    pub(super) fn retain(&self, names: &BTreeSet<String>) {
        self.lock().retain(|_, remembered| names.contains(&remembered.name));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Remembered>> {
        self.audits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
