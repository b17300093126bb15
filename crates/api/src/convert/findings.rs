//! Findings with their times.

use ipam_audit_core::finding::{self as core, Subject as CoreSubject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    Context,
    bounds::{MAX_EVIDENCE, clip, fit_findings, text},
};
use crate::v1alpha1::{Evidence, Finding, Severity, Subject};

impl From<core::Severity> for Severity {
    fn from(severity: core::Severity) -> Self {
        match severity {
            core::Severity::Info => Self::Info,
            core::Severity::Warning => Self::Warning,
            core::Severity::Critical => Self::Critical,
        }
    }
}

/// The findings of one subject, the worst first, and how many were cut.
///
/// One that was seen before keeps the time when it was first seen. One whose rule cannot look any more is kept as it
/// was and marked: missing data never resolve a finding.
pub(super) fn render(ctx: &Context<'_>, found: &[core::Finding], before: &[Finding]) -> (Vec<Finding>, i64) {
    let now = ctx.now();
    let mut findings: Vec<Finding> = found.iter().map(|found| convert(found, before, &now)).collect();
    findings.extend(held(ctx, before, &findings));
    findings.sort_by(|a, b| (b.severity, &a.code, &a.subject).cmp(&(a.severity, &b.code, &b.subject)));
    let cut = fit_findings(&mut findings);
    (findings, cut)
}

fn convert(found: &core::Finding, before: &[Finding], now: &Time) -> Finding {
    let fingerprint = found.fingerprint();
    let known = before.iter().find(|known| known.fingerprint == fingerprint);
    let evidence =
        |item: &core::Evidence| Evidence { name: item.name.to_owned(), value: clip(&item.value, text::CELL) };
    Finding {
        code: found.code.to_owned(),
        name: found.name.to_owned(),
        severity: found.severity.into(),
        subject: subject(&found.subject),
        message: clip(&found.message, text::MESSAGE),
        remediation: clip(&found.remediation, text::MESSAGE),
        evidence: found.evidence.iter().take(MAX_EVIDENCE).map(evidence).collect(),
        first_seen: known.map_or_else(|| now.clone(), |known| known.first_seen.clone()),
        last_seen: now.clone(),
        fingerprint,
        unverified: false,
    }
}

fn subject(subject: &CoreSubject) -> Subject {
    Subject { kind: subject.kind().to_owned(), name: subject.name().to_owned() }
}

/// Earlier findings that could not be checked again.
fn held(ctx: &Context<'_>, before: &[Finding], current: &[Finding]) -> Vec<Finding> {
    let silent = before.iter().filter(|known| ctx.is_inconclusive(&known.code));
    let silent = silent.filter(|known| !ctx.outcome.over.contains(&known.fingerprint));
    let silent = silent.filter(|known| current.iter().all(|current| current.fingerprint != known.fingerprint));
    silent.map(|known| Finding { unverified: true, ..known.clone() }).collect()
}

/// The worst finding's name for a column: `-` if there is none, `?` if that cannot be said.
pub(super) fn worst(findings: &[Finding], health_unknown: bool) -> String {
    match findings.first() {
        Some(finding) => finding.name.clone(),
        None if health_unknown => "?".to_owned(),
        None => "-".to_owned(),
    }
}
