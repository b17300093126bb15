//! What audits say of nodes, and what that adds up to: the worst word wins, and only so many nodes may be under pressure.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ipam_audit_api::{
    convert::Context,
    pressure::{self, Reason, Verdict},
};
use ipam_audit_core::outcome::AuditOutcome;
use jiff::Timestamp;
use tokio::sync::watch;

/// What an audit has to say about the condition on nodes.
#[derive(Debug)]
pub(crate) enum Judgement {
    /// Nothing yet: its sources are being read for the first time.
    Undecided,
    /// It does not ask for it.
    Unwanted,
    /// This.
    Nodes(Judged),
}

/// What an audit says of its nodes, by uid.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(super) max_percent: u32,
    pub(super) as_of: Timestamp,
    pub(super) nodes: HashMap<Arc<str>, Verdict>,
}

impl Judgement {
    /// What an outcome says, for an audit that asks for it with this share.
    pub(crate) fn of(outcome: &AuditOutcome, context: &Context<'_>, max_percent: Option<u32>) -> Self {
        let Some(max_percent) = max_percent else { return Self::Unwanted };
        if !context.knows_nodes() || !pressure::may_judge(context) {
            return Self::Undecided;
        }
        let nodes = outcome.nodes.iter().map(|node| (node.uid.clone(), pressure::judge(context, node))).collect();
        Self::Nodes(Judged { max_percent, as_of: outcome.taken_at, nodes })
    }
}

/// What the entry of a node shall say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) reason: Reason,
    pub(super) message: String,
    pub(super) as_of: Timestamp,
}

/// What the entries of all nodes shall say, by uid.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    pub(super) nodes: HashMap<Arc<str>, Wish>,
    /// Whether every audit was heard: only then is what nobody asks for to be taken away.
    pub(super) complete: bool,
}

#[derive(Debug, Default)]
struct Words {
    /// By audit; none for one that asks for nothing.
    audits: BTreeMap<String, Option<Judged>>,
    /// Every audit there is, once that is known.
    known: Option<BTreeSet<String>>,
    fault: Option<String>,
}

/// Where audits put what they say, for the one who writes it.
#[derive(Debug)]
pub(crate) struct Board {
    words: Mutex<Words>,
    changes: watch::Sender<u64>,
}

impl Board {
    pub(crate) fn new() -> Self {
        Self { words: Mutex::default(), changes: watch::Sender::new(0) }
    }

    /// An audit was evaluated, or asks for nothing.
    pub(crate) fn say(&self, audit: &str, judgement: Judgement) {
        let judged = match judgement {
            Judgement::Undecided => return,
            Judgement::Unwanted => None,
            Judgement::Nodes(judged) => Some(judged),
        };
        let mut words = self.lock();
        let silent = judged.is_none() && words.audits.get(audit).is_some_and(Option::is_none);
        if !silent {
            words.audits.insert(audit.to_owned(), judged);
            drop(words);
            self.changed();
        }
    }

    /// These are all the audits there are.
    pub(crate) fn know(&self, names: &BTreeSet<String>) {
        let mut words = self.lock();
        if words.known.as_ref() != Some(names) {
            words.audits.retain(|audit, _| names.contains(audit));
            words.known = Some(names.clone());
            drop(words);
            self.changed();
        }
    }

    /// Another replica leads: what was said is not to be written by this one, also not when it leads again.
    pub(super) fn forget(&self) {
        self.lock().audits.clear();
    }

    /// Why the condition cannot be written.
    pub(crate) fn fault(&self) -> Option<String> {
        self.lock().fault.clone()
    }

    /// Notes why it cannot be written, or that it can; whether that is news.
    pub(super) fn set_fault(&self, fault: Option<String>) -> bool {
        let mut words = self.lock();
        let news = words.fault != fault;
        words.fault = fault;
        news
    }

    /// Wakes when something new was said.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// What entries shall say; `presses` tells whose entry says `True` now, which stays so while it may.
    pub(super) fn wishes(&self, presses: impl Fn(&str) -> bool) -> Wishes {
        let words = self.lock();
        let mut said: HashMap<&Arc<str>, Vec<(&str, &Judged, &Verdict)>> = HashMap::new();
        for (audit, judged) in words.audits.iter().filter_map(|(audit, judged)| Some((audit, judged.as_ref()?))) {
            for (uid, verdict) in &judged.nodes {
                said.entry(uid).or_default().push((audit, judged, verdict));
            }
        }
        let mut nodes: HashMap<Arc<str>, Wish> =
            said.into_iter().filter_map(|(uid, words)| Some((uid.clone(), worst(&words)?))).collect();
        let percent = words.audits.values().flatten().map(|judged| judged.max_percent).min();
        bound(&mut nodes, percent.unwrap_or(100), presses);
        let complete =
            words.known.as_ref().is_some_and(|known| known.iter().all(|name| words.audits.contains_key(name)));
        Wishes { nodes, complete }
    }

    fn changed(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }

    fn lock(&self) -> MutexGuard<'_, Words> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The worst of several words about one node, in the name of all who said something.
fn worst(words: &[(&str, &Judged, &Verdict)]) -> Option<Wish> {
    let (_, judged, verdict) = words.iter().max_by_key(|(audit, _, verdict)| (verdict.reason, Reverse(*audit)))?;
    let audits: Vec<&str> = words.iter().map(|(audit, _, _)| *audit).collect();
    let message = pressure::message(verdict, &audits, judged.as_of);
    Some(Wish { reason: verdict.reason, message, as_of: judged.as_of })
}

/// Lets only so many nodes say that they are under pressure: those that do already, then the worst.
fn bound(nodes: &mut HashMap<Arc<str>, Wish>, percent: u32, presses: impl Fn(&str) -> bool) {
    let most = pressure::most(nodes.len(), percent);
    let mut wishes: Vec<(Arc<str>, &mut Wish)> =
        nodes.iter_mut().filter(|(_, wish)| wish.reason.is_pressure()).map(|(uid, wish)| (uid.clone(), wish)).collect();
    if wishes.len() <= most {
        return;
    }
    wishes.sort_by_cached_key(|(uid, wish)| (Reverse(presses(uid)), Reverse(wish.reason), uid.clone()));
    for (_, wish) in wishes.into_iter().skip(most) {
        wish.message =
            format!("{}, but {most} nodes say so already ({percent} %): {}", wish.reason.name(), wish.message);
        wish.reason = Reason::ShareReached;
    }
}
