//! One watch of one kind: from the first list on it never ends, and it says at all times how it is.
//!
//! Lists are streamed, which spares the API server and this process: one object at a time is decoded. An API server
//! that refuses that, or never finishes, gets lists in pages instead. The position survives interruptions, so that a
//! lost connection costs no relist; a position that the server has forgotten does. kube's own `watcher` is not used
//! because it neither falls back nor tells when a quiet watch is well again.

use std::{fmt::Debug, pin::pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt};
use ipam_audit_core::source::SourceFault;
use kube::{
    Api, Resource, ResourceExt,
    api::{ListParams, WatchEvent, WatchParams},
    runtime::watcher::Event,
};
use serde::de::DeserializeOwned;
use tokio::{sync::Notify, time::Instant};

use crate::{
    backoff::{Backoff, jittered},
    call::{CallError, READ_LIMIT, within},
    settings::Settings,
};

/// How long the server keeps one watch open; the client waits a little longer before it calls it dead.
const SESSION: Duration = Duration::from_secs(280);
const SESSION_MARGIN: Duration = Duration::from_secs(10);
/// How long a streamed list may pause before it is taken for one that never ends.
const STREAMED_LIST_IDLE: Duration = Duration::from_secs(60);
const PAGE: u32 = 500;
/// A watch that the server closes at once must not become a busy loop.
const SHORTEST_SESSION: Duration = Duration::from_secs(1);
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// What becomes of a watch's events and of its health.
pub(crate) trait Sink<K>: Send + Sync {
    /// The next event, in order.
    fn event(&self, event: Event<K>);
    /// The server accepted the watch or the list.
    fn connected(&self);
    /// The watch is interrupted; it tries again by itself.
    fn failed(&self, fault: SourceFault);
    /// An event could not be decoded.
    fn undecodable(&self, error: &str);
    /// From now on lists come in pages.
    fn paged(&self);
}

/// What to watch.
pub(crate) struct Watch<K> {
    pub(crate) api: Api<K>,
    /// The resource, as in a ClusterRole.
    pub(crate) resource: String,
    pub(crate) fields: Option<String>,
    pub(crate) labels: Option<String>,
    pub(crate) pace: Pace,
}

/// The pauses between attempts, shared so that all watches come back as soon as one of them does.
#[derive(Clone)]
pub(crate) struct Pace {
    min: Duration,
    max: Duration,
    healed: Arc<Notify>,
}

impl Pace {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self { min: settings.retry_min, max: settings.retry_max, healed: Arc::new(Notify::new()) }
    }
}

impl Pace {
    /// Something is back: whoever pauses tries again now.
    pub(crate) fn wake(&self) {
        self.healed.notify_waiters();
    }
}

enum Interruption {
    /// The server has forgotten the position.
    Expired,
    /// The server does not stream lists.
    NotStreamed,
    Failed(SourceFault),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lists {
    Streamed,
    Paged,
}

/// Runs a watch for ever.
pub(crate) async fn run<K>(watch: Watch<K>, sink: impl Sink<K>)
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let mut session = Session { watch: &watch, sink: &sink, lists: Lists::Streamed, position: None, failing: false };
    let mut backoff = Backoff::new(watch.pace.min, watch.pace.max);
    loop {
        let started = Instant::now();
        let end = session.run().await;
        if !session.failing {
            backoff.reset();
        }
        match end {
            Ok(()) => pause_after(started).await,
            Err(Interruption::Expired) => {
                session.position = None;
                pause_after(started).await;
            }
            Err(Interruption::NotStreamed) => {
                session.lists = Lists::Paged;
                sink.paged();
            }
            Err(Interruption::Failed(fault)) => {
                session.failing = true;
                sink.failed(fault);
                let healed = watch.pace.healed.notified();
                drop(tokio::time::timeout(backoff.pause(), healed).await);
            }
        }
    }
}

async fn pause_after(started: Instant) {
    tokio::time::sleep(SHORTEST_SESSION.saturating_sub(started.elapsed())).await;
}

struct Session<'a, K, S> {
    watch: &'a Watch<K>,
    sink: &'a S,
    lists: Lists,
    /// The resource version up to which the sink is current; none before the first complete list.
    position: Option<String>,
    /// Whether the last attempt failed and no later one succeeded.
    failing: bool,
}

impl<K, S> Session<'_, K, S>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    S: Sink<K>,
{
    async fn run(&mut self) -> Result<(), Interruption> {
        if self.position.is_none() && self.lists == Lists::Paged {
            self.list().await?;
        }
        let streamed = self.position.is_none();
        let params = self.params(streamed);
        let version = self.position.clone().unwrap_or_else(|| "0".to_owned());
        let start = within(READ_LIMIT, self.watch.api.watch(&params, &version)).await;
        let stream = start.map_err(|error| self.refused(&error, streamed))?;
        if streamed {
            self.sink.event(Event::Init);
        }
        self.connected();
        self.follow(stream, streamed).await
    }

    fn params(&self, streamed: bool) -> WatchParams {
        WatchParams {
            label_selector: self.watch.labels.clone(),
            field_selector: self.watch.fields.clone(),
            timeout: u32::try_from(jittered(SESSION).as_secs()).ok(),
            bookmarks: true,
            send_initial_events: streamed,
        }
    }

    /// Takes a streamed list up to its end mark, then the changes, until the server ends the session.
    async fn follow(
        &mut self,
        stream: impl Stream<Item = kube::Result<WatchEvent<K>>>,
        mut listing: bool,
    ) -> Result<(), Interruption> {
        let mut stream = pin!(stream);
        loop {
            let patience = if listing { STREAMED_LIST_IDLE } else { SESSION + SESSION_MARGIN };
            let item = match tokio::time::timeout(patience, stream.next()).await {
                Ok(Some(item)) => item,
                Err(_) if listing => return Err(Interruption::NotStreamed),
                Ok(None) | Err(_) => return Ok(()),
            };
            match item {
                Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) if listing => {
                    self.sink.event(Event::InitApply(object));
                }
                Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                    self.position = object.resource_version().or_else(|| self.position.take());
                    self.sink.event(Event::Apply(object));
                }
                Ok(WatchEvent::Deleted(object)) => {
                    if !listing {
                        self.position = object.resource_version().or_else(|| self.position.take());
                    }
                    self.sink.event(Event::Delete(object));
                }
                Ok(WatchEvent::Bookmark(bookmark)) => {
                    let ends_list = listing && bookmark.metadata.annotations.contains_key(INITIAL_EVENTS_END);
                    if ends_list {
                        listing = false;
                        self.sink.event(Event::InitDone);
                    }
                    if !listing {
                        self.position = Some(bookmark.metadata.resource_version);
                    }
                }
                Ok(WatchEvent::Error(status)) => return Err(self.refused(&kube::Error::Api(status).into(), listing)),
                Err(kube::Error::SerdeError(error)) => self.sink.undecodable(&error.to_string()),
                Err(error) => return Err(self.refused(&error.into(), listing)),
            }
        }
    }

    /// Takes a list in pages.
    async fn list(&mut self) -> Result<(), Interruption> {
        let mut params = ListParams {
            label_selector: self.watch.labels.clone(),
            field_selector: self.watch.fields.clone(),
            limit: Some(PAGE),
            ..ListParams::default()
        };
        self.sink.event(Event::Init);
        loop {
            let page = within(READ_LIMIT, self.watch.api.list(&params)).await;
            let page = page.map_err(|error| match error {
                CallError::Kube(kube::Error::Api(status)) if status.code == 410 => Interruption::Expired,
                error => Interruption::Failed(error.fault("list", &self.watch.resource)),
            })?;
            self.connected();
            page.items.into_iter().for_each(|object| self.sink.event(Event::InitApply(object)));
            params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                self.position = page.metadata.resource_version;
                self.sink.event(Event::InitDone);
                return Ok(());
            }
        }
    }

    fn refused(&self, error: &CallError, listing: bool) -> Interruption {
        match error {
            CallError::Kube(kube::Error::Api(status)) if status.code == 410 => Interruption::Expired,
            CallError::Kube(kube::Error::Api(status)) if listing && matches!(status.code, 400 | 422) => {
                Interruption::NotStreamed
            }
            error => Interruption::Failed(error.fault("watch", &self.watch.resource)),
        }
    }

    fn connected(&mut self) {
        self.sink.connected();
        if std::mem::take(&mut self.failing) {
            self.watch.pace.wake();
        }
    }
}
