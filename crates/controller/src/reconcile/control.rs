//! When audits run: kube's controller calls them at every change of an `IpamAudit` and at every tick of the index.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{Stream, StreamExt, stream};
use ipam_audit_api::v1alpha1::IpamAudit;
use kube::{
    Api, Client, Resource, ResourceExt,
    core::DeserializeGuard,
    runtime::{
        Controller,
        controller::{self, Action},
        reflector::Store,
        watcher,
    },
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Auditor;
use crate::{
    backoff::Backoff,
    call::CallError,
    collect::resource_name,
    error::{Error, Retry},
    state::{Health, settled},
    watch::Pace,
};

/// An audit, or why it cannot be read.
pub(super) type Audit = DeserializeGuard<IpamAudit>;

/// Audits run side by side up to this number.
const CONCURRENCY: u16 = 4;
/// kube holds back every trigger while the watch of audits pauses, so it must not pause for long.
const WATCH_PAUSE: Duration = Duration::from_secs(5);
/// How often the audits are counted, for the sake of those that are gone.
const ROLL_CALL: Duration = Duration::from_secs(2);
/// How long that watch is silent before it counts as well again.
const WATCH_SILENCE: Duration = Duration::from_secs(10);

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
    let (watched, store_of_all) = (auditor.clone(), store.clone());
    let results = controller.run(move |audit, auditor| reconcile(audit, auditor, store.clone()), error_policy, auditor);
    let mut results = std::pin::pin!(results);
    let mut roll_call = std::pin::pin!(roll_call(watched.clone(), store_of_all));
    let mut watch = AuditWatch {
        health: Health::new("ipamaudits", watched.settings.fault_grace),
        pace: watched.pace.clone(),
        failed: None,
    };
    loop {
        let result = tokio::select! {
            result = results.next() => result,
            () = &mut roll_call => None,
        };
        match result {
            None => return Ok(()),
            Some(Err(controller::Error::QueueError(error))) => watch.fail(error),
            Some(_) => watch.answer(),
        }
    }
}

/// Looks now and then which audits there are: nothing is called when one goes. Ends only with the watch of audits.
async fn roll_call(auditor: Arc<Auditor>, store: Store<Audit>) {
    if store.wait_until_ready().await.is_err() {
        return;
    }
    loop {
        let names = names(&store);
        auditor.publisher.pressures.know(&names);
        forget_others(&auditor, &names);
        tokio::time::sleep(ROLL_CALL).await;
    }
}

fn names(store: &Store<Audit>) -> BTreeSet<String> {
    store.state().iter().map(|audit| audit.name_any()).collect()
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
    let Some(_turn) = auditor.leadership.begin() else {
        // Gaining leadership is a tick.
        return Ok(Action::await_change());
    };
    forget_others(&auditor, &names(&store));
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
                let pause = remembered.backoff.pause();
                remembered.rests(error.category(), Some(pause));
                (pause, known)
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

/// Forgets what belongs to audits that are gone.
fn forget_others(auditor: &Auditor, names: &BTreeSet<String>) {
    auditor.polls.retain(names);
    auditor.scrapes.retain(names);
    auditor.metrics.retain(|audit| names.contains(audit));
    auditor.memory.retain(names);
}
