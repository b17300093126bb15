//! The one way to write: server-side apply under our field manager, at a bounded rate, and only while this process
//! leads.
//!
//! The client repeats nothing by itself (see `clients`). What may pass is repeated here, a few times, and each time the
//! claim is looked at anew; no attempt lasts longer than the claim. Every write may be repeated without harm: an apply
//! says the same again, a delete names the very version that it means, an event has a name of its own.

use std::{fmt::Debug, time::Duration};

use ipam_audit_api::{names::FIELD_MANAGER, views::NodeView};
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
    core::ClusterResourceScope,
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{sync::Mutex, time::Instant};

use crate::{
    backoff::Backoff,
    call::{CallError, WRITE_LIMIT, within},
    lease::Leadership,
    metrics::Metrics,
    settings::Settings,
    state::may_pass,
};

/// How often a write is tried that fails with what may pass.
const ATTEMPTS: usize = 4;
/// The pauses between: the first, and the longest, which is also the longest that an API server may ask for.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Why a write did not happen.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// Another replica leads.
    NotLeader,
    /// The API server refused, or did not answer.
    Failed(CallError),
}

/// Writes objects.
pub(crate) struct Writer {
    client: Client,
    leadership: Leadership,
    pace: Duration,
    next: Mutex<Instant>,
    pub(crate) concurrency: usize,
}

/// A kind that is cluster-scoped and known at compile time: all of ours are.
pub(crate) trait OurKind:
    Resource<DynamicType = (), Scope = ClusterResourceScope>
    + Clone
    + Debug
    + Serialize
    + DeserializeOwned
    + Send
    + Sync
    + 'static
{
    /// The label in metrics and logs.
    const NAME: &'static str;
}

impl Writer {
    pub(crate) fn new(client: Client, leadership: Leadership, settings: &Settings) -> Self {
        Self {
            client,
            leadership,
            pace: Duration::from_secs(1) / settings.writes_per_second.max(1),
            next: Mutex::new(Instant::now()),
            concurrency: settings.write_concurrency.max(1),
        }
    }

    /// Applies an object without its status.
    pub(crate) async fn apply<K: OurKind>(&self, metrics: &Metrics, name: &str, object: &K) -> Result<K, WriteError> {
        let patch = Patch::Apply(object);
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let api = Api::<K>::all(self.client.clone());
        self.write(metrics, K::NAME, || api.patch(name, &params, &patch)).await
    }

    /// Applies the status of an object, given as an object with nothing else in it.
    pub(crate) async fn apply_status<K: OurKind>(
        &self,
        metrics: &Metrics,
        name: &str,
        object: &impl Serialize,
    ) -> Result<K, WriteError> {
        let patch = Patch::Apply(StatusOf { object });
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let api = Api::<K>::all(self.client.clone());
        self.write(metrics, K::NAME, || api.patch_status(name, &params, &patch)).await
    }

    /// Merges into the status of an object what every version of its definition knows.
    pub(crate) async fn merge_status<K: OurKind>(
        &self,
        metrics: &Metrics,
        name: &str,
        patch: &(impl Serialize + Debug + Sync),
    ) -> Result<K, WriteError> {
        let patch = Patch::Merge(StatusOf { object: patch });
        let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let api = Api::<K>::all(self.client.clone());
        self.write(metrics, K::NAME, || api.patch_status(name, &params, &patch)).await
    }

    /// Changes the status of a node; what it is then.
    pub(crate) async fn patch_node_status(
        &self,
        metrics: &Metrics,
        name: &str,
        params: &PatchParams,
        patch: &Patch<serde_json::Value>,
    ) -> Result<NodeView, WriteError> {
        let api = Api::<NodeView>::all(self.client.clone());
        self.write(metrics, "Node", || api.patch_status(name, params, patch)).await
    }

    /// Deletes an object as it was seen, in that version and no later one; one that is gone already is fine.
    pub(crate) async fn delete<K: OurKind>(
        &self,
        metrics: &Metrics,
        name: &str,
        seen: Preconditions,
    ) -> Result<(), WriteError> {
        let api = Api::<K>::all(self.client.clone());
        let params = DeleteParams { preconditions: Some(seen), ..DeleteParams::default() };
        let deleting = || async { api.delete(name, &params).await.map(drop) };
        match self.write(metrics, K::NAME, deleting).await {
            Err(WriteError::Failed(error)) if error.is_not_found() => Ok(()),
            other => other,
        }
    }

    /// Creates an event. If one of its name is there already, it is this one: the answer to an earlier attempt was lost.
    pub(crate) async fn create_event(
        &self,
        metrics: &Metrics,
        namespace: &str,
        event: &k8s_openapi::api::events::v1::Event,
    ) -> Result<(), WriteError> {
        let api = Api::namespaced(self.client.clone(), namespace);
        let params = PostParams::default();
        match self.write(metrics, "Event", || api.create(&params, event)).await {
            Err(WriteError::Failed(error)) if error.is_conflict() => Ok(()),
            other => other.map(drop),
        }
    }

    /// Whether there is a node of this name, by the API server's own word and not by the index.
    pub(crate) async fn is_there(&self, node: &str) -> Result<bool, WriteError> {
        let api = Api::<Node>::all(self.client.clone());
        let named = ListParams::default().fields(&format!("metadata.name={node}"));
        let found = self.patiently(|_| {}, || api.list_metadata(&named)).await?;
        Ok(!found.items.is_empty())
    }

    async fn write<T, C>(&self, metrics: &Metrics, kind: &'static str, call: impl Fn() -> C) -> Result<T, WriteError>
    where
        C: Future<Output = Result<T, kube::Error>>,
    {
        self.patiently(|result| metrics.count_write(kind, result), call).await
    }

    /// A call in its turn, again where it failed with what may pass; each attempt is counted with its result.
    async fn patiently<T, C>(&self, count: impl Fn(&'static str), call: impl Fn() -> C) -> Result<T, WriteError>
    where
        C: Future<Output = Result<T, kube::Error>>,
    {
        let mut backoff = Backoff::new(PAUSES.0, PAUSES.1);
        let mut attempts = 0..ATTEMPTS;
        loop {
            let rest = self.turn().await?;
            let answer = within(WRITE_LIMIT.min(rest), call()).await;
            count(answer.as_ref().map_or_else(|error| error.category().name(), |_| "Written"));
            let error = match answer {
                Ok(written) => return Ok(written),
                Err(error) => error,
            };
            attempts.next();
            if !may_pass(error.category()) || attempts.is_empty() {
                return Err(WriteError::Failed(error));
            }
            self.hold(error.retry_after().unwrap_or_default().clamp(backoff.pause(), PAUSES.1)).await;
        }
    }

    /// Waits for the next slot; how long this process still leads by then, if it does.
    async fn turn(&self) -> Result<Duration, WriteError> {
        if !self.leadership.is_held() {
            return Err(WriteError::NotLeader);
        }
        let slot = {
            let mut next = self.next.lock().await;
            let slot = (*next).max(Instant::now());
            *next = slot + self.pace;
            slot
        };
        tokio::time::sleep_until(slot).await;
        self.leadership.rest().ok_or(WriteError::NotLeader)
    }

    /// Nobody writes for a while: the API server has too much to do, or is away.
    async fn hold(&self, pause: Duration) {
        let mut next = self.next.lock().await;
        *next = (*next).max(Instant::now() + pause);
    }
}

/// Keeps the bounds of kube's patches off our own signatures.
#[derive(Serialize)]
#[serde(transparent)]
struct StatusOf<'a, T> {
    object: &'a T,
}

impl<T> Debug for StatusOf<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("status")
    }
}
