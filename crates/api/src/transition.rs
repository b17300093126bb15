//! What changed between two lists of findings, for events.
//!
//! It follows from the reports' own state, so that a process that takes over repeats nothing. Findings of severity info
//! are no news. Write the report first and send the events then: what was sent must never be sent again.

use std::time::Duration;

use ipam_audit_core::rules;
use jiff::Timestamp;

use crate::{
    convert::clip,
    duration::spoken,
    v1alpha1::{Finding, Severity},
};

/// The most bytes of an event's note that the API server takes, and of what we send.
const NOTE: usize = 1024;

/// What happened to a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is new.
    Opened,
    /// It was there and is more severe now.
    Worsened {
        /// How bad it was.
        from: Severity,
    },
    /// It is gone, or only good to know any more.
    Resolved {
        /// How long it was there.
        after: Duration,
        /// Whether it is still listed, as info.
        still_listed: bool,
    },
}

/// A finding and what happened to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// What happened.
    pub change: Change,
    /// The finding as it is now; as it was, if it is gone.
    pub finding: Finding,
}

/// What happened between two lists of findings: first what is there, in its order, then what is gone.
pub fn transitions(previous: &[Finding], current: &[Finding], now: Timestamp) -> Vec<Transition> {
    let before = |finding: &Finding| previous.iter().find(|known| known.fingerprint == finding.fingerprint);
    let there = current.iter().filter_map(|finding| {
        let change = change(before(finding), finding, now)?;
        Some(Transition { change, finding: finding.clone() })
    });
    let gone = previous.iter().filter(|known| is_news(known.severity)).filter_map(|known| {
        let is_gone = current.iter().all(|finding| finding.fingerprint != known.fingerprint);
        is_gone.then(|| Transition { change: resolved(known, now, false), finding: known.clone() })
    });
    there.chain(gone).collect()
}

fn change(before: Option<&Finding>, now_found: &Finding, now: Timestamp) -> Option<Change> {
    let Some(before) = before else { return is_news(now_found.severity).then_some(Change::Opened) };
    match (is_news(before.severity), is_news(now_found.severity)) {
        (_, true) if now_found.severity > before.severity => Some(Change::Worsened { from: before.severity }),
        (true, false) => Some(resolved(before, now, true)),
        _ => None,
    }
}

fn resolved(finding: &Finding, now: Timestamp, still_listed: bool) -> Change {
    let age = now.duration_since(finding.first_seen.0);
    Change::Resolved { after: Duration::try_from(age).unwrap_or_default(), still_listed }
}

const fn is_news(severity: Severity) -> bool {
    !matches!(severity, Severity::Info)
}

impl Transition {
    /// The reason of its event: the finding's name in camel case, never with a number in it.
    pub fn reason(&self) -> String {
        // A report of a newer version may hold a rule that this one does not know.
        let camel = || self.finding.name.split('-').map(capitalised).collect();
        rules::find(&self.finding.code).map_or_else(camel, |meta| meta.reason.to_owned())
    }

    /// The type of its event: only what got better is normal.
    pub const fn event_type(&self) -> &'static str {
        match self.change {
            Change::Opened | Change::Worsened { .. } => "Warning",
            Change::Resolved { .. } => "Normal",
        }
    }

    /// The note of its event: the code first, then the proof and the fix.
    pub fn note(&self) -> String {
        let Finding { code, severity, message, remediation, .. } = &self.finding;
        let note = match self.change {
            Change::Opened => format!("{code}: {message}. {remediation}"),
            Change::Worsened { .. } => {
                let severity = severity_name(*severity);
                format!("{code} is {severity} now: {message}. {remediation}")
            }
            Change::Resolved { after, still_listed: false } => format!("{code} resolved after {}", spoken(after)),
            Change::Resolved { after, still_listed: true } => {
                format!("{code} is no warning any more after {}: {message}", spoken(after))
            }
        };
        clip(&note, NOTE)
    }
}

const fn severity_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::v1alpha1::Subject;

    fn now() -> Timestamp {
        "2026-11-21T12:14:00Z".parse().unwrap()
    }

    fn finding(name: &str, severity: Severity) -> Finding {
        let noon = Time("2026-11-21T12:00:00Z".parse().unwrap());
        Finding {
            code: "IPAM210".to_owned(),
            name: name.to_owned(),
            severity,
            subject: Subject { kind: "Node".to_owned(), name: "node-1".to_owned() },
            message: "holds 98 pod addresses for 1 pod".to_owned(),
            remediation: "Set WARM_IP_TARGET=3.".to_owned(),
            evidence: Vec::new(),
            first_seen: noon.clone(),
            last_seen: noon,
            fingerprint: name.to_owned(),
            unverified: false,
        }
    }

    fn happened(before: &[Finding], after: &[Finding]) -> Vec<(&'static str, String)> {
        let transitions = transitions(before, after, now());
        transitions.iter().map(|transition| (transition.event_type(), transition.note())).collect()
    }

    #[test]
    fn each_change_is_told_once() {
        use Severity::{Critical, Info, Warning};
        let one = |severity| [finding("warm-pool-too-large", severity)];
        let opened = "IPAM210: holds 98 pod addresses for 1 pod. Set WARM_IP_TARGET=3.";
        let worse = "IPAM210 is critical now: holds 98 pod addresses for 1 pod. Set WARM_IP_TARGET=3.";
        let eased = "IPAM210 is no warning any more after 14m: holds 98 pod addresses for 1 pod";
        let told = |kind, note: &str| vec![(kind, note.to_owned())];
        assert_eq!(happened(&[], &one(Warning)), told("Warning", opened));
        assert_eq!(happened(&one(Warning), &one(Critical)), told("Warning", worse));
        assert_eq!(happened(&one(Warning), &[]), told("Normal", "IPAM210 resolved after 14m"));
        assert_eq!(happened(&one(Warning), &one(Info)), told("Normal", eased));
        assert_eq!(happened(&one(Info), &one(Warning)).len(), 1);
        for (before, after) in [(Warning, Warning), (Critical, Warning), (Info, Info)] {
            assert_eq!(happened(&one(before), &one(after)), [], "{before:?} to {after:?}");
        }
        assert_eq!(happened(&[], &one(Info)), []);
        assert_eq!(happened(&one(Info), &[]), []);
    }

    #[test]
    fn the_reason_has_no_number_and_the_note_fits() {
        let mut finding = finding("warm-pool-too-large", Severity::Warning);
        finding.message = "ä".repeat(2000);
        let known = Transition { change: Change::Opened, finding: finding.clone() };
        assert_eq!(known.reason(), "WarmPoolTooLarge");
        assert!(known.note().len() <= NOTE);
        finding.code = "IPAM999".to_owned();
        assert_eq!(Transition { change: Change::Opened, finding }.reason(), "WarmPoolTooLarge");
    }
}
