//! Our own reports as they are in the cluster: what a publication compares with.
//!
//! They are watched and not only remembered, so that a report that somebody changes or deletes is repaired, and a
//! process that takes over writes nothing that is there already.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
    sync::Arc,
};

use ipam_audit_api::{
    v1alpha1::{NodeIpamReport, SubnetIpamReport},
    views::{Interner, Malformed},
};
use kube::{Resource, ResourceExt, core::ObjectMeta};

use super::{
    Census, Counted, Rows,
    kept::{Dictionary, Keepable, Kept},
    table::{Changed, Table},
};

/// What the index asks of a kind of report.
pub(crate) trait Report: Keepable + Clone + PartialEq + Send + Sync + 'static {
    /// The audit that it belongs to.
    fn audit(&self) -> &str;
}

/// A report, and how new it is. Equal reports are equal whenever they were written.
#[derive(Debug)]
struct Row<K> {
    audit: Arc<str>,
    report: Arc<Kept<K>>,
    version: u64,
}

impl<K: PartialEq> PartialEq for Row<K> {
    fn eq(&self, other: &Self) -> bool {
        *self.report == *other.report
    }
}

/// The reports of one kind, of all audits, by name.
#[derive(Debug)]
pub(crate) struct Reports<K> {
    table: Table<Arc<str>, Row<K>>,
    dictionary: Dictionary,
    /// The names of the audits that reports are of.
    audits: BTreeSet<Arc<str>>,
}

impl<K> Default for Reports<K> {
    fn default() -> Self {
        Self { table: Table::default(), dictionary: Dictionary::default(), audits: BTreeSet::new() }
    }
}

impl<K: Report> Rows<K> for Reports<K> {
    fn begin(&mut self) {
        self.table.begin();
    }

    fn apply(&mut self, report: &K, _: &mut Interner) -> Result<Changed, Malformed> {
        Ok(self.keep(report.clone()))
    }

    fn remove(&mut self, report: &K) -> Changed {
        self.lose(report.meta())
    }

    fn lose(&mut self, meta: &ObjectMeta) -> Changed {
        self.table.remove(&meta.name.as_deref().unwrap_or_default().into())
    }

    fn finish(&mut self) -> Changed {
        self.table.finish()
    }

    fn len(&self) -> usize {
        self.table.len()
    }
}

impl<K: Report> Counted for Reports<K> {
    fn census(&self) -> Census {
        self.table.census(|row, hasher| {
            row.version.hash(hasher);
            row.report.bytes()
        })
    }
}

impl<K: Report> Reports<K> {
    /// A report as the API server has it; also told by the publisher, so that the echo of a write is no change.
    ///
    /// An echo may come late, after another write; what is known to be older changes nothing.
    pub(crate) fn keep(&mut self, mut report: K) -> Changed {
        let name: Arc<str> = report.name_any().into();
        let version = version(&report);
        if self.table.get(&name).is_some_and(|known| known.version > version) {
            self.table.confirm(&name);
            return Changed::No;
        }
        let meta = report.meta_mut();
        meta.managed_fields = None;
        meta.resource_version = None;
        meta.generation = None;
        meta.creation_timestamp = None;
        let audit = self.audit(report.audit());
        let report = Arc::new(Kept::of(&report, &mut self.dictionary));
        self.table.apply(name, Row { audit, report, version })
    }

    fn audit(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.audits.get(name) {
            return known.clone();
        }
        let audit: Arc<str> = name.into();
        self.audits.insert(audit.clone());
        audit
    }

    /// A report that the publisher deleted.
    pub(crate) fn forget(&mut self, name: &str) {
        let _ = self.table.remove(&name.into());
    }

    /// The version of a report, if that is still the newest that is known of it.
    pub(crate) fn version_of(&self, name: &Arc<str>, report: &Arc<Kept<K>>) -> Option<u64> {
        let known = self.table.get(name)?;
        Arc::ptr_eq(&known.report, report).then_some(known.version)
    }

    /// The reports of an audit, by name.
    pub(crate) fn of_audit(&self, audit: &str) -> HashMap<Arc<str>, Arc<Kept<K>>> {
        let own = self.table.entries().filter(|(_, row)| *row.audit == *audit);
        own.map(|(name, row)| (name.clone(), row.report.clone())).collect()
    }
}

/// Resource versions are numbers that grow, in every API server there is; one that is not counts as the oldest.
pub(crate) fn version<K: Resource>(object: &K) -> u64 {
    object.meta().resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or_default()
}

impl Report for NodeIpamReport {
    fn audit(&self) -> &str {
        &self.spec.audit
    }
}

impl Report for SubnetIpamReport {
    fn audit(&self) -> &str {
        &self.spec.audit
    }
}
