//! Asks each node's ipamd for its metrics, by the leader only and only while an audit's spec says so.
//!
//! Audits that ask in the same way share one task and its answers. A round over all nodes is bounded in time, in
//! requests under way and in what one answer may hold; what is kept is one row of numbers for each node. A round that
//! says the same again is no change and causes no audit.

mod ask;
mod round;
mod rows;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ipam_audit_api::settings::IpamdSettings;
use ipam_audit_core::{
    snapshot::IpamdNode,
    source::{Reading, Source, SourceState},
};
use kube::{Client, core::Selector};
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinSet},
};

use self::rows::Rows;
use crate::{
    backoff::jittered,
    lease::Leadership,
    settings::Settings,
    state::{Parts, State},
};

/// A way to ask; audits that ask in the same way share the answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Way {
    /// Through the API server, at the aws-node pod; else at the node's address.
    pub(crate) through_api_server: bool,
    pub(crate) port: u16,
}

/// How often, how patiently and of whom: what audits of one way ask for together.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Terms {
    interval: Duration,
    timeout: Duration,
    concurrency: usize,
    nodes: Vec<Selector>,
}

type Wishes = BTreeMap<String, (Way, Terms)>;

/// Who wants to know, and what is known.
#[derive(Debug)]
pub(crate) struct Scrapes {
    wishes: watch::Sender<Wishes>,
    rows: Mutex<BTreeMap<Way, Rows>>,
}

impl From<&IpamdSettings> for Way {
    fn from(settings: &IpamdSettings) -> Self {
        Self { through_api_server: settings.through_api_server, port: settings.port }
    }
}

impl Scrapes {
    pub(crate) fn new() -> Self {
        Self { wishes: watch::Sender::new(Wishes::new()), rows: Mutex::default() }
    }

    /// An audit wants these nodes asked, or none.
    pub(crate) fn want(&self, audit: &str, settings: Option<&IpamdSettings>, nodes: &Selector) {
        let Some(settings) = settings else { return self.drop_wish(audit) };
        let terms = Terms {
            interval: settings.interval,
            timeout: settings.timeout,
            concurrency: settings.concurrency,
            nodes: vec![nodes.clone()],
        };
        let wish = (Way::from(settings), terms);
        self.wishes.send_if_modified(|wishes| wishes.insert(audit.to_owned(), wish.clone()).as_ref() != Some(&wish));
    }

    /// An audit wants nothing for now.
    pub(crate) fn drop_wish(&self, audit: &str) {
        self.wishes.send_if_modified(|wishes| wishes.remove(audit).is_some());
    }

    /// Audits that are gone want nothing any more.
    pub(crate) fn retain(&self, audits: &BTreeSet<String>) {
        self.wishes.send_if_modified(|wishes| {
            let before = wishes.len();
            wishes.retain(|audit, _| audits.contains(audit));
            wishes.len() < before
        });
    }

    /// What is known by one way; not collected without one.
    pub(crate) fn reading(&self, way: Option<Way>) -> Reading<Vec<Arc<IpamdNode>>> {
        let Some(way) = way else { return Reading::not_collected() };
        self.lock().get(&way).map(Rows::reading).unwrap_or_default()
    }

    /// What the nodes have said that each audit wants asked; of other audits' nodes, too, where they share a way.
    pub(crate) fn by_audit(&self) -> BTreeMap<String, Vec<Arc<IpamdNode>>> {
        let wishes = self.wishes.borrow();
        let said = |way| self.reading(Some(way)).last_good.map(|known| known.value).unwrap_or_default();
        wishes.iter().map(|(audit, (way, _))| (audit.clone(), said(*way))).collect()
    }

    /// Whether a round by this way is complete.
    pub(crate) fn was_asked(&self, way: Option<Way>) -> bool {
        way.is_none_or(|way| self.lock().contains_key(&way))
    }

    /// The state of each way's answers.
    pub(crate) fn source_states(&self) -> Vec<SourceState> {
        self.lock().values().map(|rows| rows.reading().state(Source::Ipamd)).collect()
    }

    fn terms(&self) -> BTreeMap<Way, Terms> {
        let mut all: BTreeMap<Way, Terms> = BTreeMap::new();
        for (way, wish) in self.wishes.borrow().values() {
            let terms = all.entry(*way).or_insert_with(|| Terms { nodes: Vec::new(), ..wish.clone() });
            terms.interval = terms.interval.min(wish.interval);
            terms.timeout = terms.timeout.max(wish.timeout);
            terms.concurrency = terms.concurrency.max(wish.concurrency);
            terms.nodes.extend(wish.nodes.iter().cloned());
        }
        all
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Way, Rows>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What it takes to ask.
pub(crate) struct Asker {
    /// Must not retry by itself: the API server answers for a node that it cannot reach with a code that means "later".
    pub(crate) client: Client,
    pub(crate) scrapes: Arc<Scrapes>,
    pub(crate) state: Arc<State>,
    pub(crate) leadership: Leadership,
    pub(crate) settings: Settings,
}

/// Starts and stops a task for each way, for ever. Ends only if one of them ends, which none should.
pub(crate) async fn run(asker: Arc<Asker>) {
    let mut running = JoinSet::new();
    let mut started: BTreeMap<Way, (Terms, AbortHandle)> = BTreeMap::new();
    let mut wishes = asker.scrapes.wishes.subscribe();
    loop {
        wishes.mark_unchanged();
        let wanted = asker.scrapes.terms();
        for (_, (_, gone)) in started.extract_if(.., |way, (terms, _)| wanted.get(way) != Some(&*terms)) {
            gone.abort();
        }
        asker.scrapes.lock().retain(|way, _| wanted.contains_key(way));
        for (way, terms) in wanted {
            started.entry(way).or_insert_with(|| (terms.clone(), running.spawn(rounds(asker.clone(), way, terms))));
        }
        tokio::select! {
            wish = wishes.changed() => if wish.is_err() { return },
            Some(ended) = running.join_next() => if !ended.is_err_and(|error| error.is_cancelled()) { return },
        }
    }
}

/// One round after the other.
async fn rounds(asker: Arc<Asker>, way: Way, terms: Terms) {
    asker.first_lists().await;
    loop {
        asker.leadership.held().await;
        let due = tokio::time::Instant::now() + jittered(terms.interval);
        let (targets, answers) = round::ask_all(&asker, way, &terms).await;
        let news = asker.scrapes.lock().entry(way).or_default().merge(targets, answers);
        if news {
            asker.state.touch();
        }
        tokio::time::sleep_until(due).await;
    }
}

impl Asker {
    /// Waits for the first lists, which say whom to ask, but not for those that will not come.
    async fn first_lists(&self) {
        let mut changes = self.state.changes();
        let listed = async {
            while !self.state.read(Parts::pending).is_empty() {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        drop(tokio::time::timeout(self.settings.first_list_wait, listed).await);
    }
}

#[cfg(test)]
mod tests;
