//! IPAM902: a source whose last good view is old.

use super::source_missing::remedy;
use crate::{
    facts::Facts,
    finding::{Severity, Subject},
    outcome::ConditionType,
    policy::AuditPolicy,
    rules::{Rule, RuleMeta, Violations, sink},
    source::Source,
};

/// A source that was read once and can no longer be.
pub(in crate::rules) struct SourceStale;

static META: RuleMeta = RuleMeta {
    code: "IPAM902",
    name: "source-stale",
    reason: "SourceStale",
    title: "A source of data can no longer be read; the last good view is used",
    severity: Severity::Warning,
    condition: ConditionType::DataComplete,
    sources: &[],
    meaning: "The source was read before and now fails. The last good view stays in use and in the reports, with its age; \
              beyond `spec.thresholds.staleAfter` the conditions that rest on it turn `Unknown`.",
    cause: "An outage, throttling, a right that was taken away, credentials that expired.",
    fix: "The finding names the fault. Most heal by themselves; the operator keeps trying.",
    fires_when: "The newest attempt to read a required source failed and an older view exists.",
};

impl Rule for SourceStale {
    fn meta(&self) -> &'static RuleMeta {
        &META
    }

    fn evaluate(&self, facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations) {
        for state in facts.sources.iter().filter(|state| !state.is_missing() && state.source != Source::CniNodes) {
            let Some(fault) = &state.fault else { continue };
            let as_of = state.as_of.map_or_else(String::new, |at| at.strftime("%Y-%m-%d %H:%M:%SZ").to_string());
            let violation = sink::Violation {
                severity: Severity::Warning,
                message: format!("{} is as of {as_of}: {}", state.source, fault.message),
                remediation: remedy(state, fault.category),
                evidence: vec![sink::evidence("category", fault.category.name()), sink::evidence("asOf", as_of)],
            };
            found.subject(Subject::Source(state.source), violation);
        }
    }
}
