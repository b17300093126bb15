//! Conditions with their times.

use ipam_audit_core::{
    outcome::{Condition as Said, ConditionStatus},
    source::Source,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::bounds::{clip, text};

/// The word in `metav1.Condition`.
pub(super) const fn status_name(status: ConditionStatus) -> &'static str {
    match status {
        ConditionStatus::True => "True",
        ConditionStatus::False => "False",
        ConditionStatus::Unknown => "Unknown",
    }
}

/// Turns what is said into conditions; one whose status did not change keeps its time.
pub(super) struct Upsert<'a> {
    pub(super) before: &'a [Condition],
    pub(super) generation: Option<i64>,
    pub(super) now: &'a Time,
}

impl Upsert<'_> {
    pub(super) fn all(&self, said: &[Said]) -> Vec<Condition> {
        said.iter().map(|said| self.one(said.kind.name(), said.status, said.reason, &said.message)).collect()
    }

    pub(super) fn one(&self, kind: &str, status: ConditionStatus, reason: &str, message: &str) -> Condition {
        let status = status_name(status);
        let unchanged = find(self.before, kind).filter(|before| before.status == status);
        Condition {
            last_transition_time: unchanged
                .map_or_else(|| self.now.clone(), |before| before.last_transition_time.clone()),
            message: clip(message, text::MESSAGE),
            observed_generation: self.generation,
            reason: reason.to_owned(),
            status: status.to_owned(),
            type_: kind.to_owned(),
        }
    }

    /// What was said before, of which nothing can be said any more.
    pub(super) fn unknown(&self, lost: Source) -> Vec<Condition> {
        let message = format!("{lost} is missing or too old; DataComplete of the audit says why");
        let kinds = self.before.iter().map(|before| before.type_.as_str());
        kinds.map(|kind| self.one(kind, ConditionStatus::Unknown, "DataMissing", &message)).collect()
    }
}

/// The condition of a type.
pub(super) fn find<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Whether nothing is known about a condition.
pub(super) fn is_unknown(conditions: &[Condition], kind: &str) -> bool {
    find(conditions, kind).is_none_or(|condition| condition.status == status_name(ConditionStatus::Unknown))
}
