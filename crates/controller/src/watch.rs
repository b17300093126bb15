//! One watch of one kind: from the first list on it never ends, and it says at all times how it is.
//!
//! Lists are streamed, which spares the API server and this process: one object at a time is decoded. An API server
//! that refuses that, or never finishes, gets lists in pages instead. The position survives interruptions, so that a
//! lost connection costs no relist; a position that the server has forgotten does. kube's own `watcher` is not used
//! because it neither falls back nor tells when a quiet watch is well again, and because one object that it cannot
//! decode costs a whole page of a list.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::AsyncBufRead;
use ipam_audit_core::source::{FaultCategory, SourceFault};
use jiff::Timestamp;
use kube::{
    Client, Resource, ResourceExt,
    api::{ListParams, WatchParams},
    core::Request,
};
use serde::de::DeserializeOwned;
use tokio::{sync::Notify, time::Instant};

use crate::{
    backoff::{Backoff, jittered},
    call::{AWAY, CallError, READ_LIMIT, within},
    settings::Settings,
    wire::{self, Item, Line, Lines},
};

/// How long the server keeps one watch open; the client waits a little longer before it calls it dead.
const SESSION: Duration = Duration::from_secs(280);
const SESSION_MARGIN: Duration = Duration::from_secs(10);
/// How long a streamed list may pause before it is taken for one that never ends.
const STREAMED_LIST_IDLE: Duration = Duration::from_mins(1);
const PAGE: u32 = 500;
/// A watch that the server closes at once must not become a busy loop.
const SHORTEST_SESSION: Duration = Duration::from_secs(1);
/// How long nobody has to be answered before it is worth a line.
const OUTAGE: Duration = Duration::from_secs(2);
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// What a watch tells, in order.
pub(crate) enum Event<K> {
    /// A list begins.
    Begin,
    /// An object of the list under way.
    Listed(Item<K>),
    /// The list is complete.
    Complete,
    /// An object is new or has changed.
    Changed(Item<K>),
    /// An object is gone.
    Gone(Item<K>),
}

/// What becomes of a watch's events and of its health.
pub(crate) trait Sink<K>: Send + Sync {
    /// The next event, in order.
    fn event(&self, event: Event<K>);
    /// The server accepted the watch or the list.
    fn connected(&self);
    /// The watch is interrupted; it tries again by itself.
    fn failed(&self, fault: SourceFault);
    /// A line of the watch was no event.
    fn unreadable(&self, what: &'static str);
    /// From now on lists come in pages.
    fn paged(&self);
    /// Everything up to this resource version has been told.
    fn moved(&self, position: &str);
}

/// What to watch.
pub(crate) struct Watch {
    pub(crate) client: Client,
    /// The path of the resource, as in `/api/v1/pods`.
    pub(crate) path: String,
    /// The resource, as in a ClusterRole.
    pub(crate) resource: String,
    pub(crate) fields: Option<String>,
    pub(crate) labels: Option<String>,
    pub(crate) pace: Pace,
}

/// The pauses between attempts, shared so that all watches come back as soon as one of them does; and whether the API
/// server answers at all, so that it is said once and not by everybody who asks.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    min: Duration,
    max: Duration,
    healed: Arc<Notify>,
    outage: Arc<Mutex<Option<Outage>>>,
}

#[derive(Debug)]
struct Outage {
    since: Instant,
    at: Timestamp,
    told: bool,
}

impl Pace {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            min: settings.retry_min,
            max: settings.retry_max,
            healed: Arc::new(Notify::new()),
            outage: Arc::default(),
        }
    }

    /// Something is back: whoever pauses tries again now.
    pub(crate) fn wake(&self) {
        self.healed.notify_waiters();
    }

    /// An attempt failed.
    pub(crate) fn failed(&self, category: FaultCategory) {
        if category != FaultCategory::Unreachable {
            return;
        }
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        let outage = outage.get_or_insert_with(|| Outage { since: Instant::now(), at: Timestamp::now(), told: false });
        if !outage.told && outage.since.elapsed() >= OUTAGE {
            outage.told = true;
            let since = outage.at.strftime("%H:%M:%S").to_string();
            tracing::warn!(since, "{AWAY}; reports stay as they are, trying again");
        }
    }

    /// The API server answered.
    pub(crate) fn answered(&self) {
        let outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(outage) = outage.filter(|outage| outage.told) {
            tracing::info!(seconds = outage.since.elapsed().as_secs(), "the API server answers again");
        }
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
pub(crate) async fn run<K>(watch: Watch, sink: impl Sink<K>)
where
    K: Resource + DeserializeOwned + Send + 'static,
{
    let mut session = Session {
        watch: &watch,
        sink: &sink,
        lists: Lists::Streamed,
        position: None,
        failing: false,
        kind: std::marker::PhantomData,
    };
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
                watch.pace.failed(fault.category);
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
    watch: &'a Watch,
    sink: &'a S,
    lists: Lists,
    /// The resource version up to which the sink is current; none before the first complete list.
    position: Option<String>,
    /// Whether the last attempt failed and no later one succeeded.
    failing: bool,
    kind: std::marker::PhantomData<fn() -> K>,
}

impl<K, S> Session<'_, K, S>
where
    K: Resource + DeserializeOwned + Send + 'static,
    S: Sink<K>,
{
    async fn run(&mut self) -> Result<(), Interruption> {
        if self.position.is_none() && self.lists == Lists::Paged {
            self.list().await?;
        }
        let streamed = self.position.is_none();
        let version = self.position.clone().unwrap_or_else(|| "0".to_owned());
        let start = async {
            let request = Request::new(self.watch.path.as_str()).watch(&self.params(streamed), &version);
            wire::watch(&self.watch.client, request.map_err(kube::Error::BuildRequest)?).await
        };
        let lines = within(READ_LIMIT, start).await.map_err(|error| self.refused(&error, streamed))?;
        if streamed {
            self.sink.event(Event::Begin);
        }
        self.connected();
        self.follow(lines, streamed).await
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
        mut lines: Lines<impl AsyncBufRead + Unpin>,
        mut listing: bool,
    ) -> Result<(), Interruption> {
        loop {
            let patience = if listing { STREAMED_LIST_IDLE } else { SESSION + SESSION_MARGIN };
            let line = match tokio::time::timeout(patience, lines.next()).await {
                Ok(Ok(Some(line))) => line,
                Ok(Err(error)) => return Err(self.refused(&error.into(), listing)),
                Err(_) if listing => return Err(Interruption::NotStreamed),
                Ok(Ok(None)) | Err(_) => return Ok(()),
            };
            match line {
                Line::Changed(item) if listing => self.sink.event(Event::Listed(item)),
                Line::Changed(item) => {
                    let version = version_of(&item);
                    self.sink.event(Event::Changed(item));
                    self.moved(version);
                }
                Line::Deleted(item) => {
                    let version = version_of(&item).filter(|_| !listing);
                    self.sink.event(Event::Gone(item));
                    self.moved(version);
                }
                Line::Bookmark { version, annotations } => {
                    if listing && annotations.contains_key(INITIAL_EVENTS_END) {
                        listing = false;
                        self.sink.event(Event::Complete);
                    }
                    if !listing {
                        self.moved(Some(version));
                    }
                }
                Line::Failed(status) => return Err(self.refused(&kube::Error::Api(status).into(), listing)),
                Line::Unreadable(what) => self.sink.unreadable(what),
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
        self.sink.event(Event::Begin);
        loop {
            let page = async {
                let request = Request::new(self.watch.path.as_str()).list(&params);
                wire::page(&self.watch.client, request.map_err(kube::Error::BuildRequest)?).await
            };
            let page = within(READ_LIMIT, page).await.map_err(|error| match error {
                CallError::Kube(kube::Error::Api(status)) if status.code == 410 => Interruption::Expired,
                error => Interruption::Failed(error.fault("list", &self.watch.resource)),
            })?;
            self.connected();
            page.items.into_iter().for_each(|item| self.sink.event(Event::Listed(item)));
            params.continue_token = page.next;
            if params.continue_token.is_none() {
                self.sink.event(Event::Complete);
                self.moved(page.version);
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

    /// The sink is current up to there; where an object does not say, it stays where it was.
    fn moved(&mut self, version: Option<String>) {
        if let Some(version) = version {
            self.sink.moved(&version);
            self.position = Some(version);
        }
    }

    fn connected(&mut self) {
        self.sink.connected();
        self.watch.pace.answered();
        if std::mem::take(&mut self.failing) {
            self.watch.pace.wake();
        }
    }
}

/// An object has a version also when it does not fit its view.
fn version_of<K: Resource>(item: &Item<K>) -> Option<String> {
    match item {
        Ok(object) => object.resource_version(),
        Err(unfit) => unfit.meta.resource_version.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use ipam_audit_api::views::PodView;
    use serde_json::{Value, json};

    use super::*;
    use crate::tests::{Answer, Asked, client, lines, ok, refused};

    /// Writes down what it is told, one word each.
    #[derive(Clone, Default)]
    struct Diary {
        words: Arc<Mutex<Vec<String>>>,
        position: Arc<Mutex<String>>,
    }

    impl Diary {
        fn note(&self, word: String) {
            self.words.lock().unwrap().push(word);
        }

        fn words(&self) -> Vec<String> {
            self.words.lock().unwrap().clone()
        }
    }

    impl Sink<PodView> for Diary {
        fn event(&self, event: Event<PodView>) {
            let name = |item: Item<PodView>| match item {
                Ok(object) => object.name_any(),
                Err(unfit) => format!("{}?", unfit.object()),
            };
            self.note(match event {
                Event::Begin => "begin".to_owned(),
                Event::Listed(item) => format!("listed {}", name(item)),
                Event::Complete => "complete".to_owned(),
                Event::Changed(item) => format!("changed {}", name(item)),
                Event::Gone(item) => format!("gone {}", name(item)),
            });
        }

        fn connected(&self) {
            self.note("connected".to_owned());
        }

        fn failed(&self, fault: SourceFault) {
            self.note(format!("failed {}", fault.category.name()));
        }

        fn unreadable(&self, _: &'static str) {
            self.note("unreadable".to_owned());
        }

        fn paged(&self) {
            self.note("paged".to_owned());
        }

        fn moved(&self, position: &str) {
            *self.position.lock().unwrap() = position.to_owned();
        }
    }

    fn pod(name: &str, version: &str) -> Value {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "uid": name, "resourceVersion": version}})
    }

    #[expect(clippy::needless_pass_by_value, reason = "literals read better")]
    fn event(kind: &str, object: Value) -> Value {
        json!({"type": kind, "object": object})
    }

    fn bookmark(version: &str, ends_list: bool) -> Value {
        let annotations = if ends_list { json!({INITIAL_EVENTS_END: "true"}) } else { json!({}) };
        event(
            "BOOKMARK",
            json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"resourceVersion": version, "annotations": annotations}}),
        )
    }

    /// Watches until so many words were written down; time passes by itself.
    async fn watch_until(count: usize, answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Vec<String> {
        let diary = Diary::default();
        let (client, _) = client(answer);
        let watch = Watch {
            client,
            path: "/api/v1/pods".to_owned(),
            resource: "pods".to_owned(),
            fields: None,
            labels: None,
            pace: Pace::new(&Settings::default()),
        };
        let enough = async {
            while diary.words().len() < count {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            () = run(watch, diary.clone()) => {}
            () = enough => {}
            () = tokio::time::sleep(Duration::from_mins(10)) => {}
        }
        diary.words().into_iter().take(count).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_streamed_list_is_followed_from_its_end_without_another_list() {
        let asked = AtomicUsize::new(0);
        let words = watch_until(7, move |request| match asked.fetch_add(1, SeqCst) {
            0 => {
                assert!(request.query.contains("sendInitialEvents=true"), "{}", request.query);
                lines(&[
                    event("ADDED", pod("a", "5")),
                    bookmark("7", true),
                    event("MODIFIED", pod("a", "8")),
                    event("DELETED", pod("a", "9")),
                ])
            }
            1 => {
                assert!(request.query.contains("resourceVersion=9"), "{}", request.query);
                assert!(!request.query.contains("sendInitialEvents"), "{}", request.query);
                lines(&[])
            }
            _ => Answer::Never,
        });
        let want = ["begin", "connected", "listed a", "complete", "changed a", "gone a", "connected"];
        assert_eq!(words.await, want);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_stream_is_listed_in_pages() {
        let words = watch_until(8, |request| {
            if request.query.contains("sendInitialEvents") {
                return refused(422, "Invalid");
            }
            let list = |name: &str, next: &str| {
                ok(&json!({"apiVersion": "v1", "kind": "PodList", "items": [pod(name, "5")],
                    "metadata": {"resourceVersion": "6", "continue": next}}))
            };
            match (request.query.contains("watch="), request.query.contains("continue=")) {
                (false, false) => list("a", "more"),
                (false, true) => list("b", ""),
                (true, _) => lines(&[event("ADDED", pod("c", "7"))]),
            }
        });
        let want = ["paged", "begin", "connected", "listed a", "connected", "listed b", "complete", "connected"];
        assert_eq!(words.await, want);
    }

    #[tokio::test(start_paused = true)]
    async fn a_forgotten_position_begins_again_and_a_lost_connection_does_not() {
        let asked = AtomicUsize::new(0);
        let words = watch_until(7, move |_| match asked.fetch_add(1, SeqCst) {
            0 => lines(&[bookmark("7", true)]),
            1 => refused(500, "InternalError"),
            2 => lines(&[event("ERROR", json!({"kind": "Status", "code": 410, "reason": "Expired"}))]),
            _ => lines(&[bookmark("9", true)]),
        });
        let want = ["begin", "connected", "complete", "failed ServerFault", "connected", "begin", "connected"];
        assert_eq!(words.await, want);
    }

    #[tokio::test(start_paused = true)]
    async fn a_missing_right_is_told_and_waited_out() {
        let asked = AtomicUsize::new(0);
        let words = watch_until(5, move |_| match asked.fetch_add(1, SeqCst) {
            0 | 1 => refused(403, "Forbidden"),
            _ => lines(&[bookmark("7", true)]),
        });
        let denied = format!("failed {}", FaultCategory::Denied.name());
        assert_eq!(words.await, [denied.as_str(), &denied, "begin", "connected", "complete"]);
    }

    /// A pod whose address is no text.
    fn odd(name: &str, version: &str) -> Value {
        let mut odd = pod(name, version);
        odd["status"] = json!({"podIP": 7});
        odd
    }

    #[tokio::test(start_paused = true)]
    async fn one_object_that_does_not_fit_spoils_no_other_in_a_stream_and_moves_the_position() {
        let asked = AtomicUsize::new(0);
        let words = watch_until(9, move |request| {
            if asked.fetch_add(1, SeqCst) > 0 {
                assert!(request.query.contains("resourceVersion=9"), "{}", request.query);
                return lines(&[]);
            }
            lines(&[
                event("ADDED", odd("a", "5")),
                event("ADDED", pod("b", "6")),
                event("NEWS", json!({})),
                bookmark("7", true),
                event("MODIFIED", odd("b", "8")),
                event("DELETED", odd("a", "9")),
            ])
        });
        let want = [
            "begin",
            "connected",
            "listed a?",
            "listed b",
            "unreadable",
            "complete",
            "changed b?",
            "gone a?",
            "connected",
        ];
        assert_eq!(words.await, want);
    }

    #[tokio::test(start_paused = true)]
    async fn one_object_that_does_not_fit_spoils_no_other_of_its_page() {
        let words = watch_until(6, |request| {
            if request.query.contains("sendInitialEvents") {
                return refused(422, "Invalid");
            }
            ok(&json!({"apiVersion": "v1", "kind": "PodList", "metadata": {"resourceVersion": "6"},
                "items": [pod("a", "1"), odd("b", "2"), pod("c", "3")]}))
        });
        assert_eq!(words.await, ["paged", "begin", "connected", "listed a", "listed b?", "listed c"]);
    }
}
