//! However absurd the input, every status stays small, says what it left out, and is sorted.

use std::sync::Arc;

use ipam_audit_core::{
    finding::{Evidence, Finding, Severity, Subject},
    outcome::AuditOutcome,
    source::{FaultCategory, SourceFault},
};
use proptest::prelude::*;

use super::{MAX_STATUS_BYTES, Written, fixture, incident, render};

/// Texts that grow most when they are written as JSON, in many lengths.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![Just("\""), Just("\\"), Just("ä"), Just("\n"), Just("\u{1}"), Just("x"), Just("😀")];
    (piece, 0_usize..2500).prop_map(|(piece, times)| piece.repeat(times))
}

fn findings(like: &Finding, count: usize, long: &str) -> Vec<Finding> {
    let severities = [Severity::Info, Severity::Warning, Severity::Critical];
    let finding = |number: usize| Finding {
        severity: severities[number % severities.len()],
        subject: Subject::Pod(format!("{}/{number}", "n".repeat(300)).into()),
        message: long.to_owned(),
        remediation: long.to_owned(),
        evidence: (0..17).map(|_| Evidence { name: "pods", value: long.to_owned() }).collect(),
        ..like.clone()
    };
    (0..count).map(finding).collect()
}

/// An outcome in which everything that can be long is.
fn absurd(nodes: u8, count: usize, long: &str) -> AuditOutcome {
    let mut outcome = fixture::audit(&incident(nodes));
    let like = outcome.nodes[0].findings[0].clone();
    outcome.findings = findings(&like, count, long);
    for node in &mut outcome.nodes {
        node.findings = findings(&like, count, long);
        for condition in Arc::make_mut(&mut node.conditions) {
            condition.message = long.into();
        }
    }
    for subnet in &mut outcome.subnets {
        subnet.findings = findings(&like, count, long);
        subnet.conditions.iter_mut().for_each(|condition| condition.message = long.into());
    }
    outcome.conditions.iter_mut().for_each(|condition| condition.message = long.into());
    for state in &mut outcome.sources {
        state.fault = Some(SourceFault { category: FaultCategory::ServerFault, message: long.to_owned() });
    }
    let like = outcome.problems[0].clone();
    outcome.problems = (0..count)
        .map(|_| ipam_audit_core::outcome::Problem {
            group: long.into(),
            message: long.to_owned(),
            remediation: long.to_owned(),
            ..like.clone()
        })
        .collect();
    outcome
}

fn check(outcome: &AuditOutcome, count: usize) -> Result<(), TestCaseError> {
    let Written { audit, nodes, subnets } = render(outcome, None);
    let bytes = |status: &dyn erased::Json| status.bytes();
    prop_assert!(bytes(&audit) <= MAX_STATUS_BYTES, "audit: {}", bytes(&audit));
    let all = |shown: usize, cut: i64| shown + usize::try_from(cut).unwrap();
    prop_assert_eq!(all(audit.findings.len(), audit.truncated.findings), count);
    prop_assert_eq!(all(audit.problems.len(), audit.truncated.problems), count);
    prop_assert_eq!(all(audit.worst_nodes.len(), audit.truncated.nodes), outcome.nodes.len());
    for status in nodes.values() {
        prop_assert!(bytes(status) <= MAX_STATUS_BYTES, "node: {}", bytes(status));
        prop_assert_eq!(all(status.findings.len(), status.truncated_findings), count);
        prop_assert!(status.findings.is_sorted_by_key(|finding| std::cmp::Reverse(finding.severity)));
    }
    for status in subnets.values() {
        prop_assert!(bytes(status) <= MAX_STATUS_BYTES, "subnet: {}", bytes(status));
        prop_assert_eq!(all(status.findings.len(), status.truncated_findings), count);
    }
    Ok(())
}

/// The length of a status as JSON.
mod erased {
    pub(super) trait Json {
        fn bytes(&self) -> usize;
    }

    impl<T: serde::Serialize> Json for T {
        fn bytes(&self) -> usize {
            serde_json::to_vec(self).unwrap().len()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_status_stays_small(nodes in 1_u8..30, count in 1_usize..70, long in text()) {
        check(&absurd(nodes, count, &long), count)?;
    }
}

#[test]
fn thousands_of_long_findings_fit() {
    check(&absurd(1, 2000, &"\"".repeat(1200)), 2000).unwrap();
    check(&absurd(30, 60, &"\\".repeat(1100)), 60).unwrap();
}
