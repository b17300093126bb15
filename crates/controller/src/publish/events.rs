//! Events on transitions: a finding opens, worsens, or is resolved. Never anything else.
//!
//! What was said before is read off the reports themselves, so that a process that takes over repeats nothing. Each
//! audit may send so many a minute; what goes beyond is one more event that says how many.

use std::{
    cmp::Reverse,
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use ipam_audit_api::{names::FIELD_MANAGER, transition::Transition, v1alpha1::Severity};
use jiff::Timestamp;
use k8s_openapi::{
    api::{core::v1::ObjectReference, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::core::ObjectMeta;
use tokio::time::Instant;

/// Where events about cluster-scoped objects go; those about a pod go to its namespace.
const NAMESPACE: &str = "default";
const NOTE_BYTES: usize = 1024;

/// An event that is not sent yet.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Draft {
    pub(crate) regarding: ObjectReference,
    related: Option<ObjectReference>,
    severity: Severity,
    kind: &'static str,
    reason: String,
    note: String,
}

impl Draft {
    /// The event of a transition.
    pub(crate) fn new(transition: &Transition, regarding: ObjectReference, related: Option<ObjectReference>) -> Self {
        Self {
            regarding,
            related,
            severity: transition.finding.severity,
            kind: transition.event_type(),
            reason: transition.reason(),
            note: transition.note(),
        }
    }

    /// The event that stands for those that were too many.
    fn roll_up(audit: ObjectReference, omitted: usize) -> Self {
        Self {
            regarding: audit,
            related: None,
            severity: Severity::Warning,
            kind: "Warning",
            reason: "MoreFindings".to_owned(),
            note: format!("{omitted} more findings changed in this minute; kubectl get ipnode,ipsubnet shows them all"),
        }
    }

    /// The namespace of the event: the API server wants it to be that of the object.
    pub(crate) fn namespace(&self) -> &str {
        self.regarding.namespace.as_deref().unwrap_or(NAMESPACE)
    }

    /// The object to create.
    pub(crate) fn event(&self, identity: &str, now: Timestamp, number: usize) -> Event {
        let subject = self.regarding.name.as_deref().unwrap_or_default();
        let unique = format!("{:x}.{number:x}", now.as_nanosecond());
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{}.{unique}", clip(subject, 200))),
                namespace: Some(self.namespace().to_owned()),
                ..ObjectMeta::default()
            },
            action: Some("Audit".to_owned()),
            event_time: Some(MicroTime(now)),
            note: Some(clip(&self.note, NOTE_BYTES).to_owned()),
            reason: Some(clip(&self.reason, 128).to_owned()),
            regarding: Some(self.regarding.clone()),
            related: self.related.clone(),
            reporting_controller: Some(FIELD_MANAGER.to_owned()),
            reporting_instance: Some(clip(identity, 128).to_owned()),
            type_: Some(self.kind.to_owned()),
            ..Event::default()
        }
    }
}

/// Drafts as they are gathered. No more are kept than can be sent: a first publication may have thousands.
#[derive(Debug)]
pub(crate) struct Told {
    drafts: Vec<Draft>,
    left_out: usize,
    most: usize,
}

impl Told {
    pub(crate) fn add(&mut self, drafts: Vec<Draft>) {
        self.drafts.extend(drafts);
        if self.drafts.len() > self.most.saturating_mul(4).max(64) {
            self.sort_out();
        }
    }

    fn shed(mut self) -> Self {
        self.sort_out();
        self
    }

    /// Keeps the worst. What is new comes before what is over.
    fn sort_out(&mut self) {
        self.drafts.sort_by_key(|draft| (draft.kind == "Normal", Reverse(draft.severity)));
        self.left_out += self.drafts.len().saturating_sub(self.most);
        self.drafts.truncate(self.most);
    }
}

/// At most so many events a minute and audit.
#[derive(Debug)]
pub(crate) struct Budget {
    per_minute: u32,
    spent: Mutex<HashMap<String, Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Budget {
    pub(crate) fn new(per_minute: u32) -> Self {
        Self { per_minute, spent: Mutex::default() }
    }

    /// Where the drafts of one publication are gathered.
    pub(crate) fn gather(&self) -> Told {
        Told { drafts: Vec::new(), left_out: 0, most: usize::try_from(self.per_minute).unwrap_or(usize::MAX) }
    }

    /// The drafts that may be sent now, the worst first, and one that stands for the rest.
    pub(crate) fn admit(&self, audit: &ObjectReference, told: Told) -> Vec<Draft> {
        let Told { mut drafts, left_out, .. } = told.shed();
        let (kept, wanted) = (drafts.len(), drafts.len() + left_out);
        let granted = self.take(audit.name.as_deref().unwrap_or_default(), kept);
        drafts.truncate(granted);
        if granted < wanted {
            drafts.push(Draft::roll_up(audit.clone(), wanted - granted));
        }
        drafts
    }

    fn take(&self, audit: &str, wanted: usize) -> usize {
        let most = f64::from(self.per_minute);
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let bucket = spent.entry(audit.to_owned()).or_insert(Bucket { tokens: most, filled: now });
        let minutes = now.duration_since(bucket.filled).div_duration_f64(Duration::from_mins(1));
        bucket.tokens = (bucket.tokens + minutes * most).min(most);
        bucket.filled = now;
        let mut granted = 0;
        while granted < wanted && bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            granted += 1;
        }
        granted
    }
}

/// The beginning of a text, of at most so many bytes and never half a character.
fn clip(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use ipam_audit_api::{
        transition::transitions,
        v1alpha1::{Finding, Subject},
    };
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn finding(fingerprint: &str, severity: Severity, message: &str) -> Finding {
        let at = Time(Timestamp::UNIX_EPOCH);
        Finding {
            code: "IPAM210".into(),
            name: "warm-pool-too-large".into(),
            severity,
            subject: Subject { kind: "Node".into(), name: "node-1".into() },
            message: message.into(),
            remediation: String::new(),
            evidence: Vec::new(),
            first_seen: at.clone(),
            last_seen: at,
            fingerprint: fingerprint.into(),
            unverified: false,
        }
    }

    fn node() -> ObjectReference {
        ObjectReference {
            kind: Some("Node".into()),
            name: Some("node-1".into()),
            uid: Some("uid-1".into()),
            ..ObjectReference::default()
        }
    }

    fn opened(severity: Severity, message: &str) -> Transition {
        transitions(&[], &[finding("a", severity, message)], Timestamp::UNIX_EPOCH).swap_remove(0)
    }

    #[test]
    fn an_event_is_about_the_real_object_and_begins_with_the_code() {
        let draft = Draft::new(&opened(Severity::Warning, "holds 98"), node(), None);
        let event = draft.event("pod-1", Timestamp::UNIX_EPOCH, 0);
        assert_eq!(event.reason.as_deref(), Some("WarmPoolTooLarge"));
        assert!(event.note.is_some_and(|note| note.starts_with("IPAM210: holds 98")));
        assert_eq!((event.type_.as_deref(), event.regarding.unwrap().uid.as_deref()), (Some("Warning"), Some("uid-1")));
    }

    #[test]
    fn a_long_note_is_cut_between_characters() {
        let draft = Draft::new(&opened(Severity::Warning, &"ä".repeat(2000)), node(), None);
        let event = draft.event("pod-1", Timestamp::UNIX_EPOCH, 0);
        assert!(event.note.is_some_and(|note| note.len() <= NOTE_BYTES && note.len() > NOTE_BYTES - 8));
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_beyond_the_budget_is_one_event_with_the_number() {
        let budget = Budget::new(3);
        let drafts = |count: usize| {
            let mut told = budget.gather();
            for _ in 1..count {
                told.add(vec![Draft::new(&opened(Severity::Warning, ""), node(), None)]);
            }
            told.add(vec![Draft::new(&opened(Severity::Critical, ""), node(), None)]);
            told
        };
        let admitted = budget.admit(&node(), drafts(10));
        assert_eq!(admitted.len(), 4);
        assert_eq!(admitted[0].severity, Severity::Critical, "the worst must not be what is left out");
        assert!(admitted[3].note.starts_with("7 more findings"), "{}", admitted[3].note);
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(budget.admit(&node(), drafts(3)).len(), 3, "a minute later there is room again");
        tokio::time::advance(Duration::from_mins(1)).await;
        let admitted = budget.admit(&node(), drafts(1000));
        assert_eq!((admitted.len(), admitted[0].severity), (4, Severity::Critical));
        assert!(admitted[3].note.starts_with("997 more findings"), "{}", admitted[3].note);
    }
}
