//! What has to be written so that nodes say what they shall say, and when. Pure but for the clock that it is given.

use std::{collections::HashMap, sync::Arc, time::Duration};

use ipam_audit_api::pressure::{Entry, hash};
use tokio::time::Instant;

use super::board::{Wish, Wishes};
use crate::{backoff::Backoff, settings::Settings, state::OnNode};

/// Who drops our entry again and again is answered later and later, up to this.
const LONGEST: Duration = Duration::from_mins(5);
/// An entry that nobody touched for so long is at peace.
const PEACE: Duration = Duration::from_mins(10);

/// A write that is due.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) name: Arc<str>,
    pub(super) uid: Arc<str>,
    /// The entry; none to take it away.
    pub(super) entry: Option<Entry>,
}

/// What this process did to a node's entry.
#[derive(Debug)]
struct Track {
    written: Option<Entry>,
    backoff: Backoff,
    /// When what was dropped, or could not be written, is written again.
    due: Option<Instant>,
    /// When that was done last.
    repaired: Option<Instant>,
}

/// What this process did to the entries of nodes, by the node's uid.
#[derive(Debug)]
pub(super) struct Tracks {
    nodes: HashMap<Arc<str>, Track>,
    shortest: Duration,
}

impl Tracks {
    pub(super) fn new(settings: &Settings) -> Self {
        Self { nodes: HashMap::new(), shortest: settings.retry_min }
    }

    pub(super) fn clear(&mut self) {
        self.nodes.clear();
    }

    /// The writes that are due, and when the next one is. Nodes are name and uid.
    pub(super) fn plan(
        &mut self,
        nodes: &[(Arc<str>, Arc<str>)],
        seen: &HashMap<Arc<str>, OnNode>,
        wishes: &Wishes,
        now: Instant,
    ) -> (Vec<Task>, Option<Instant>) {
        let (mut tasks, mut next) = (Vec::new(), None);
        for (name, uid) in nodes {
            let on_node = seen.get(name).filter(|on_node| on_node.uid == *uid);
            let entry = match (wishes.nodes.get(uid), on_node) {
                (Some(wish), _) => match self.wanted(uid, wish, on_node, now) {
                    None => continue,
                    entry => entry,
                },
                (None, Some(_)) if wishes.complete => None,
                (None, _) => continue,
            };
            match self.nodes.get(uid).and_then(|track| track.due).filter(|due| *due > now) {
                Some(due) => next = Some(next.map_or(due, |next: Instant| next.min(due))),
                None => tasks.push(Task { name: name.clone(), uid: uid.clone(), entry }),
            }
        }
        (tasks, next)
    }

    /// The entry that a node shall have, if it has another or none.
    fn wanted(&mut self, uid: &Arc<str>, wish: &Wish, on_node: Option<&OnNode>, now: Instant) -> Option<Entry> {
        let ours = self
            .nodes
            .get_mut(uid)
            .filter(|track| track.written.as_ref().is_some_and(|written| written.reason == wish.reason));
        let says_so =
            on_node.is_some_and(|on_node| on_node.seen.consistent && on_node.seen.reason == Some(wish.reason));
        let Some((track, written)) = ours.and_then(|track| track.written.clone().map(|written| (track, written)))
        else {
            // Who said the same before is not corrected for the numbers in it.
            return (!says_so).then(|| transition(wish, on_node));
        };
        if says_so && on_node.is_some_and(|on_node| on_node.seen.message == hash(&written.message)) {
            track.due = None;
            if track.repaired.is_some_and(|at| now.duration_since(at) > PEACE) {
                track.backoff.reset();
            }
            return None;
        }
        // We wrote it, and it is not there: not at once and not all together.
        if track.due.is_none() {
            track.due = Some(now + track.backoff.pause());
        }
        Some(written)
    }

    /// A write succeeded.
    pub(super) fn done(&mut self, task: &Task, now: Instant) {
        let Some(entry) = &task.entry else {
            self.nodes.remove(&task.uid);
            return;
        };
        let track = self.track(&task.uid);
        if track.due.take().is_some() {
            track.repaired = Some(now);
        }
        track.written = Some(entry.clone());
    }

    /// A write failed.
    pub(super) fn failed(&mut self, task: &Task, now: Instant) {
        let track = self.track(&task.uid);
        track.due = Some(now + track.backoff.pause());
    }

    /// Forgets nodes that are gone.
    pub(super) fn retain(&mut self, nodes: &[(Arc<str>, Arc<str>)]) {
        if self.nodes.len() > nodes.len() {
            let there: std::collections::HashSet<&Arc<str>> = nodes.iter().map(|(_, uid)| uid).collect();
            self.nodes.retain(|uid, _| there.contains(uid));
        }
    }

    fn track(&mut self, uid: &Arc<str>) -> &mut Track {
        let shortest = self.shortest;
        self.nodes.entry(uid.clone()).or_insert_with(|| Track {
            written: None,
            backoff: Backoff::new(shortest, LONGEST),
            due: None,
            repaired: None,
        })
    }
}

/// A new entry. Only a new status has a new time.
fn transition(wish: &Wish, on_node: Option<&OnNode>) -> Entry {
    let same = on_node.filter(|on_node| {
        let reason = on_node.seen.reason.filter(|_| on_node.seen.consistent);
        reason.is_some_and(|reason| reason.status() == wish.reason.status())
    });
    Entry {
        reason: wish.reason,
        message: wish.message.clone(),
        since: same.and_then(|on_node| on_node.seen.since).unwrap_or(wish.as_of),
        judged: wish.as_of,
    }
}
