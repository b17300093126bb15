//! Where rules put what they find: it stamps the rule's identity, so that no rule can forget it.

use std::sync::Arc;

use crate::{
    facts::NodeFacts,
    finding::{Evidence, Finding, Severity, Subject},
    rules::RuleMeta,
};

/// The findings of one rule.
#[derive(Debug)]
pub struct Violations {
    meta: &'static RuleMeta,
    findings: Vec<Finding>,
}

/// What a rule says of one subject.
#[derive(Debug)]
pub(crate) struct Violation {
    /// How bad it is here; at most the rule's own severity.
    pub severity: Severity,
    /// One sentence with the number that proves it.
    pub message: String,
    /// The change that fixes it.
    pub remediation: String,
    /// The numbers.
    pub evidence: Vec<Evidence>,
}

impl Violations {
    pub(crate) fn new(meta: &'static RuleMeta) -> Self {
        Self { meta, findings: Vec::new() }
    }

    /// A finding about a node; findings of one node group are one problem.
    pub(crate) fn node(&mut self, node: &NodeFacts<'_>, violation: Violation) {
        let alone = || Arc::from(node.node.name.as_str());
        let group = node.node.node_group.clone().unwrap_or_else(alone);
        self.push(Subject::Node(node.node.name.clone()), group, violation);
    }

    /// A finding about anything else: it is its own problem.
    pub(crate) fn subject(&mut self, subject: Subject, violation: Violation) {
        let group = Arc::from(subject.name());
        self.push(subject, group, violation);
    }

    fn push(&mut self, subject: Subject, group: Arc<str>, violation: Violation) {
        let Violation { severity, message, remediation, evidence } = violation;
        let severity = severity.min(self.meta.severity);
        let (code, name) = (self.meta.code, self.meta.name);
        self.findings.push(Finding { code, name, severity, subject, group, message, remediation, evidence });
    }

    pub(crate) fn into_findings(self) -> Vec<Finding> {
        self.findings
    }
}

/// A named number as evidence.
pub(crate) fn evidence(name: &'static str, value: impl std::fmt::Display) -> Evidence {
    Evidence { name, value: value.to_string() }
}
