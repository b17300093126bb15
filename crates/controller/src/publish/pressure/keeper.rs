//! Keeps the condition on nodes as audits want it, within the budget of all writes.

use std::sync::Arc;

use futures::{StreamExt, stream};
use ipam_audit_api::{names::NODE_CONDITION_MANAGER, pressure};
use ipam_audit_core::source::FaultCategory;
use kube::api::{Patch, PatchParams};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    board::Board,
    plan::{Task, Tracks},
};
use crate::{
    call::CallError,
    lease::Leadership,
    metrics::Metrics,
    publish::writer::{WriteError, Writer},
    settings::Settings,
    state::State,
};

/// The one who writes the condition of all audits.
pub(crate) struct Keeper {
    pub(crate) board: Arc<Board>,
    pub(crate) state: Arc<State>,
    pub(crate) writer: Arc<Writer>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) leadership: Leadership,
    pub(crate) settings: Settings,
}

/// How a round of writes ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Round {
    /// Everything was tried; the next write is due then, if one is known to be.
    Done(Option<Instant>),
    /// The right is missing: nothing of it would succeed.
    Denied,
}

impl Keeper {
    /// Works until the shutdown, between two rounds of writes; else ends only with the index or the board. A round is a turn:
    /// the lease is not given back before it has ended.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut tracks = Tracks::new(&self.settings);
        let mut said = self.board.changes();
        let mut seen = self.state.read(|parts| parts.nodes.rows.pressure_changes());
        let Some(mut term) = stop.run_until_cancelled(self.leadership.term_after(0)).await else { return };
        loop {
            let Some(now) = stop.run_until_cancelled(self.leadership.term_after(0)).await else { return };
            if now != term {
                // Others wrote in between: what was said before is old, and every audit says it anew.
                term = now;
                tracks.clear();
                self.board.forget();
                self.state.touch();
            }
            said.mark_unchanged();
            seen.mark_unchanged();
            let round = match self.leadership.begin() {
                Some(_turn) => self.round(&mut tracks).await,
                // The term is about to end, and the next is waited for below.
                None => Round::Done(None),
            };
            let next = match round {
                Round::Done(next) => next,
                Round::Denied => {
                    let _ = stop.run_until_cancelled(tokio::time::sleep(self.settings.retry_max)).await;
                    continue;
                }
            };
            tokio::select! {
                alive = said.changed() => if alive.is_err() { return },
                alive = seen.changed() => if alive.is_err() { return },
                _ = self.leadership.term_after(term) => {}
                () = stop.cancelled() => return,
                () = until(next) => {}
            }
        }
    }

    /// Writes what is due.
    pub(super) async fn round(&self, tracks: &mut Tracks) -> Round {
        let (nodes, seen) = self.state.read(|parts| (parts.nodes.rows.names(), parts.nodes.rows.pressures().clone()));
        let presses: std::collections::HashSet<Arc<str>> = seen
            .values()
            .filter(|on_node| on_node.seen.reason.is_some_and(pressure::Reason::is_pressure))
            .map(|on_node| on_node.uid.clone())
            .collect();
        let wishes = self.board.wishes(|uid| presses.contains(uid));
        let (tasks, next) = tracks.plan(&nodes, &seen, &wishes, Instant::now());
        tracks.retain(&nodes);
        if tasks.is_empty() {
            return Round::Done(next);
        }
        let mut written = stream::iter(tasks)
            .map(|task| async {
                let result = self.write(&task).await;
                (task, result)
            })
            .buffer_unordered(self.writer.concurrency);
        let (mut count, mut failures) = (0_usize, 0_usize);
        while let Some((task, result)) = written.next().await {
            match result {
                Ok(()) => {
                    count += 1;
                    tracks.done(&task, Instant::now());
                }
                Err(WriteError::NotLeader) => return Round::Done(None),
                Err(WriteError::Failed(error)) if error.category() == FaultCategory::Denied => {
                    self.tell(Some(error.fault("patch", "nodes/status").message));
                    return Round::Denied;
                }
                Err(WriteError::Failed(error)) => {
                    failures += 1;
                    tracing::debug!(node = %task.name, %error, "the condition on a node could not be written");
                    tracks.failed(&task, Instant::now());
                }
            }
        }
        if count > 0 {
            self.tell(None);
        }
        tracing::info!(written = count, failures, "conditions on nodes");
        // What failed, or was dropped meanwhile, has its time in the next plan.
        Round::Done(Some(Instant::now()).filter(|_| failures > 0).or(next))
    }

    /// Says on the audits, and once in the log, why nothing can be written, or that it can again.
    fn tell(&self, fault: Option<String>) {
        if self.board.set_fault(fault.clone()) {
            if let Some(why) = fault {
                tracing::warn!("conditions on nodes: {why}");
            } else {
                tracing::info!("conditions on nodes: healed");
            }
            self.state.touch();
        }
    }

    async fn write(&self, task: &Task) -> Result<(), WriteError> {
        let applied = Patch::Apply(pressure::patch(&task.name, &task.uid, task.entry.as_ref()));
        let params = PatchParams::apply(NODE_CONDITION_MANAGER).force();
        let mut node = match self.writer.patch_node_status(&self.metrics, &task.name, &params, &applied).await {
            Err(WriteError::Failed(error)) if is_gone(&error) => return Ok(()),
            answer => answer?,
        };
        if task.entry.is_none() && node.pressure().is_some() {
            // Whoever wrote the whole list of conditions owns our entry, too, and applying nothing leaves it there.
            let removal = Patch::Strategic(pressure::removal());
            let params =
                PatchParams { field_manager: Some(NODE_CONDITION_MANAGER.to_owned()), ..PatchParams::default() };
            node = self.writer.patch_node_status(&self.metrics, &task.name, &params, &removal).await?;
        }
        self.state.with(|parts| parts.nodes.rows.wrote(&node));
        Ok(())
    }
}

/// A node that is gone needs nothing any more.
fn is_gone(error: &CallError) -> bool {
    error.is_not_found()
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
