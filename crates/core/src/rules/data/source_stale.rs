//! IPAM902: a source whose last good view is old.

use super::source_missing::remedy;
use crate::{
    facts::Facts,
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{Violations, sink},
    source::Source,
};

rule! {
    /// A source of data can no longer be read; the last good view is used.
    ///
    /// ## What it means
    ///
    /// The source was read before and now fails. The last good view stays in use and in the reports, with its age;
    /// beyond `spec.thresholds.staleAfter` the conditions that rest on it turn `Unknown`.
    ///
    /// ## Why it happens
    ///
    /// An outage, throttling, a right that was taken away, credentials that expired.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get ipamaudit -o jsonpath='{range .items[*].status.sources[*]}{.name}{"\t"}{.asOf}{"\t"}{.message}{"\n"}{end}'
    /// ```
    ///
    /// ## What to do
    ///
    /// The finding names the fault. Most heal by themselves; the operator keeps trying.
    ///
    /// ## What it costs
    ///
    /// Nothing.
    ///
    /// ## When it fires
    ///
    /// The newest attempt to read a required source failed and an older view exists.
    pub SourceStale;
    code: "IPAM902",
    name: "source-stale",
    severity: Warning,
    condition: DataComplete,
    sources: [],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
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
