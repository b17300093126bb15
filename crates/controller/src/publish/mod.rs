//! Publish: writes what was prepared, and nothing else. The only module that writes to the API server.
//!
//! Reports first, then the audit's status, then events: whoever reads the status finds the reports that it speaks of,
//! and an event is sent only after the report that remembers it was written.

mod events;
mod prepare;
mod pressure;
#[cfg(test)]
pub(crate) mod tests;
mod writer;

use std::sync::Arc;

use futures::{StreamExt, stream};
use ipam_audit_api::v1alpha1::{IpamAudit, IpamAuditStatus, NodeIpamReport, SubnetIpamReport};
use ipam_audit_core::source::FaultCategory;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{Resource, ResourceExt, api::Preconditions, core::TypeMeta};
use serde::Serialize;

pub(crate) use events::Budget;
pub(crate) use prepare::{Material, Observed, Prepared, Write, prepare};
pub(crate) use pressure::{Board, Judgement, Keeper};
pub(crate) use writer::{OurKind, WriteError, Writer};

use self::events::{Draft, Told};
use crate::{
    call::CallError,
    error::Error,
    metrics::Metrics,
    state::{Changed, Kept, Report, State},
};

/// Progress of a long publication is told each time so many objects were written.
const PROGRESS: usize = 1000;

impl OurKind for IpamAudit {
    const NAME: &'static str = "IpamAudit";
}

impl OurKind for NodeIpamReport {
    const NAME: &'static str = "NodeIpamReport";
}

impl OurKind for SubnetIpamReport {
    const NAME: &'static str = "SubnetIpamReport";
}

/// A report that the publisher writes.
pub(crate) trait Published: OurKind + Report {
    /// The object to apply before its status.
    fn without_status(&self) -> Self;
    /// Its status, as an object to apply.
    fn status_patch(&self) -> impl Serialize;
    /// The node that it is about, if it is about one.
    fn node(&self) -> Option<&str>;
    /// The version in which the API server has a report, if nothing newer is known of it.
    fn version_of(state: &State, name: &Arc<str>, report: &Arc<Kept<Self>>) -> Option<u64>;
    /// Tells the index what the API server has now.
    fn remember(self, state: &State);
    /// Tells the index that the API server has it no more.
    fn forget(state: &State, name: &str);
}

impl Published for NodeIpamReport {
    fn without_status(&self) -> Self {
        Self { status: None, ..self.clone() }
    }

    fn status_patch(&self) -> impl Serialize {
        StatusPatch::new::<Self>(self.name_any(), self.status.as_ref())
    }

    fn node(&self) -> Option<&str> {
        Some(&self.spec.node)
    }

    fn version_of(state: &State, name: &Arc<str>, report: &Arc<Kept<Self>>) -> Option<u64> {
        state.read(|parts| parts.node_reports.rows.version_of(name, report))
    }

    fn remember(self, state: &State) {
        state.with(|parts| drop_change(parts.node_reports.rows.keep(self)));
    }

    fn forget(state: &State, name: &str) {
        state.with(|parts| parts.node_reports.rows.forget(name));
    }
}

impl Published for SubnetIpamReport {
    fn without_status(&self) -> Self {
        Self { status: None, ..self.clone() }
    }

    fn status_patch(&self) -> impl Serialize {
        StatusPatch::new::<Self>(self.name_any(), self.status.as_ref())
    }

    fn node(&self) -> Option<&str> {
        None
    }

    fn version_of(state: &State, name: &Arc<str>, report: &Arc<Kept<Self>>) -> Option<u64> {
        state.read(|parts| parts.subnet_reports.rows.version_of(name, report))
    }

    fn remember(self, state: &State) {
        state.with(|parts| drop_change(parts.subnet_reports.rows.keep(self)));
    }

    fn forget(state: &State, name: &str) {
        state.with(|parts| parts.subnet_reports.rows.forget(name));
    }
}

/// A change that this process made itself is no reason for another audit.
const fn drop_change(_: Changed) {}

/// An object with nothing but its name and its status.
#[derive(Debug, Serialize)]
struct StatusPatch<'a, S> {
    #[serde(flatten)]
    types: TypeMeta,
    metadata: Name,
    status: Option<&'a S>,
}

#[derive(Debug, Serialize)]
struct Conditions<'a> {
    status: ConditionsOf<'a>,
}

#[derive(Debug, Serialize)]
struct ConditionsOf<'a> {
    conditions: &'a [Condition],
}

#[derive(Debug, Serialize)]
struct Name {
    name: String,
}

impl<'a, S> StatusPatch<'a, S> {
    fn new<K: Resource<DynamicType = ()>>(name: String, status: Option<&'a S>) -> Self {
        Self { types: TypeMeta::resource::<K>(), metadata: Name { name }, status }
    }
}

/// Writes what audits have to say.
pub(crate) struct Publisher {
    pub(crate) writer: Arc<Writer>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) state: Arc<State>,
    pub(crate) budget: Budget,
    /// What audits say of nodes, for the condition there.
    pub(crate) pressures: Arc<Board>,
    pub(crate) identity: String,
}

/// What a publication did.
#[derive(Debug, Default)]
pub(crate) struct Publication {
    pub(crate) written: usize,
    pub(crate) deleted: usize,
    pub(crate) events: usize,
    /// The audit as the API server has it now, if its status was written.
    pub(crate) audit: Option<IpamAudit>,
}

/// Failures of a publication so far; it goes on after one, and fails in the end. Only if this process leads no more, or
/// if nobody answers, it ends at once.
#[derive(Default)]
struct Failures {
    count: usize,
    first: Option<(String, CallError)>,
    deposed: bool,
    away: bool,
}

impl Failures {
    fn note(&mut self, object: &str, error: WriteError) {
        match error {
            WriteError::NotLeader => self.deposed = true,
            WriteError::Failed(error) => {
                self.count += 1;
                self.away |= error.category() == FaultCategory::Unreachable;
                self.first.get_or_insert_with(|| (object.to_owned(), error));
            }
        }
    }

    const fn are_final(&self) -> bool {
        self.deposed || self.away
    }

    fn into_result(self, total: usize) -> Result<(), Error> {
        if self.deposed {
            return Err(Error::NotLeader);
        }
        match self.first {
            Some((object, source)) => Err(Error::Publish { object, failed: self.count, total, source }),
            None => Ok(()),
        }
    }
}

impl Publisher {
    /// Writes everything. What could not be written is tried again by the next audit, which finds it missing.
    pub(crate) async fn publish(&self, prepared: Prepared) -> Result<Publication, Error> {
        let total = prepared.writes();
        let Prepared { audit, material, nodes, subnets, gone_nodes, gone_subnets, status, events, pressure } = prepared;
        let context = material.context();
        let render = material.render(&context);
        self.pressures.say(audit.name.as_deref().unwrap_or_default(), pressure);
        let mut failures = Failures::default();
        let mut published = Publication::default();
        let mut told = self.budget.gather();
        let number = subnets.len();
        let turns = subnets.into_iter().filter_map(|needed| render.subnet_write(&needed));
        self.reports((number, turns), &mut told, &mut published, &mut failures).await;
        let number = nodes.len();
        let turns = nodes.into_iter().filter_map(|needed| render.node_write(&needed));
        self.reports((number, turns), &mut told, &mut published, &mut failures).await;
        self.delete::<SubnetIpamReport>(gone_subnets, &mut published, &mut failures).await;
        self.delete::<NodeIpamReport>(gone_nodes, &mut published, &mut failures).await;
        if let Some(status) = status.filter(|_| !failures.are_final()) {
            let name = audit.name.clone().unwrap_or_default();
            match self.audit_status(&name, &status).await {
                Ok(written) => {
                    published.written += 1;
                    published.audit = Some(written);
                    told.add(events);
                }
                Err(error) => failures.note(&name, error),
            }
        }
        published.events = self.events(self.budget.admit(&audit, told)).await;
        failures.into_result(total).map(|()| published)
    }

    /// Applies the status of an audit.
    pub(crate) async fn audit_status(&self, name: &str, status: &IpamAuditStatus) -> Result<IpamAudit, WriteError> {
        let patch = StatusPatch::new::<IpamAudit>(name.to_owned(), Some(status));
        self.writer.apply_status::<IpamAudit>(&self.metrics, name, &patch).await
    }

    /// Merges the conditions alone into the status of an audit: all that an older definition is sure to know.
    pub(crate) async fn audit_conditions(&self, name: &str, status: &IpamAuditStatus) -> Result<(), WriteError> {
        let known = Conditions { status: ConditionsOf { conditions: &status.conditions } };
        self.writer.merge_status::<IpamAudit>(&self.metrics, name, &known).await.map(drop)
    }

    /// Writes reports as their turns come.
    async fn reports<K: Published>(
        &self,
        (total, turns): (usize, impl Iterator<Item = Write<K>>),
        told: &mut Told,
        published: &mut Publication,
        failures: &mut Failures,
    ) {
        if failures.are_final() {
            return;
        }
        let mut done = stream::iter(turns)
            .map(|mut write| async {
                let (name, events) = (write.report.name_any(), std::mem::take(&mut write.events));
                (name, events, self.report(write).await)
            })
            .buffer_unordered(self.writer.concurrency);
        let mut finished = 0;
        while let Some((name, events, result)) = done.next().await {
            finished += 1;
            match result {
                Ok(()) => {
                    published.written += 1;
                    told.add(events);
                }
                Err(error) => failures.note(&name, error),
            }
            if finished % PROGRESS == 0 {
                tracing::info!(kind = K::NAME, finished, total, "writing reports");
            }
            if failures.are_final() {
                break;
            }
        }
    }

    async fn report<K: Published>(&self, write: Write<K>) -> Result<(), WriteError> {
        let Write { report, object, .. } = write;
        let name = report.name_any();
        if object {
            self.writer.apply(&self.metrics, &name, &report.without_status()).await?;
        }
        let written = self.writer.apply_status::<K>(&self.metrics, &name, &report.status_patch()).await?;
        written.remember(&self.state);
        Ok(())
    }

    /// Deletes reports as they were when it was found that nothing is to be said in them. One that somebody has written
    /// since is left alone: that is a change, and the next audit judges it.
    async fn delete<K: Published>(
        &self,
        gone: Vec<(Arc<str>, Arc<Kept<K>>)>,
        published: &mut Publication,
        failures: &mut Failures,
    ) {
        if failures.are_final() {
            return;
        }
        let mut done = stream::iter(gone)
            .map(|(name, report)| async move {
                let deleted = self.delete_one(&name, &report).await;
                (name, deleted)
            })
            .buffer_unordered(self.writer.concurrency);
        while let Some((name, result)) = done.next().await {
            match result {
                Ok(true) => {
                    published.deleted += 1;
                    K::forget(&self.state, &name);
                }
                Ok(false) => {}
                Err(error) => failures.note(&name, error),
            }
            if failures.are_final() {
                break;
            }
        }
    }

    /// Whether it could be deleted and was. A watch that hangs without a word makes the index miss a node: whether one is
    /// really gone is asked once more, where it costs nothing.
    async fn delete_one<K: Published>(&self, name: &Arc<str>, kept: &Arc<Kept<K>>) -> Result<bool, WriteError> {
        let Some(report) = kept.report() else { return Ok(false) };
        let missed = report.node().filter(|node| !self.state.read(|parts| parts.nodes.rows.knows(node)));
        if let Some(node) = missed
            && self.writer.is_there(node).await?
        {
            tracing::warn!(node, "the watch of nodes is behind: the node is there, and so its report stays");
            return Ok(false);
        }
        let Some(version) = K::version_of(&self.state, name, kept) else { return Ok(false) };
        let seen = Preconditions { uid: report.uid(), resource_version: Some(version.to_string()) };
        self.writer.delete::<K>(&self.metrics, name, seen).await.map(|()| true)
    }

    /// Sends events. One that cannot be sent is a warning: the report says the same.
    async fn events(&self, drafts: Vec<Draft>) -> usize {
        let mut sent = 0;
        for (number, draft) in drafts.iter().enumerate() {
            let event = draft.event(&self.identity, Timestamp::now(), number);
            match self.writer.create_event(&self.metrics, draft.namespace(), &event).await {
                Ok(()) => {
                    sent += 1;
                    self.metrics.count_event("sent");
                }
                Err(WriteError::NotLeader) => break,
                Err(WriteError::Failed(error)) => {
                    self.metrics.count_event("failed");
                    tracing::warn!(%error, regarding = draft.regarding.name, "an event could not be sent");
                    if error.category() == FaultCategory::Unreachable {
                        break;
                    }
                }
            }
        }
        sent
    }
}
