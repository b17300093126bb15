//! Findings of one cause are one problem: 120 nodes of a node group with the same large pool are one thing to fix.

use std::collections::BTreeMap;

use crate::{
    finding::{Finding, Subject},
    outcome::Problem,
};

/// The problems, the worst first, then by code and group. Findings come in worst first.
pub(super) fn of(findings: &[Finding]) -> Vec<Problem> {
    let mut problems: BTreeMap<(&str, &str), Problem> = BTreeMap::new();
    for finding in findings {
        let Finding { code, name, severity, group, message, remediation, subject, home: _, evidence: _ } = finding;
        problems.entry((code, group)).and_modify(|problem| problem.count += 1).or_insert_with(|| Problem {
            code,
            name,
            severity: *severity,
            group: group.clone(),
            count: 1,
            message: match subject {
                Subject::Node(name) => format!("{name}: {message}"),
                _ => message.clone(),
            },
            remediation: remediation.clone(),
        });
    }
    let mut problems: Vec<Problem> = problems.into_values().collect();
    problems.sort_by(|a, b| (b.severity, a.code, &a.group).cmp(&(a.severity, b.code, &b.group)));
    problems
}
