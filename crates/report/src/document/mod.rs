//! One audit as a document for programs: a schema of its own, versioned, so that the engine's types may change.
//!
//! Every field is always there; what is not known is `null`, never 0. Lists are sorted, the worst or the first name
//! first, so that equal audits give equal bytes. `docs/audit.schema.json` is generated from these types.

mod node;
pub(crate) mod parts;
mod subnet;

use std::collections::BTreeMap;

use ipam_audit_core::{
    outcome::{AuditOutcome, RuleAnswer},
    rules,
};
use schemars::JsonSchema;
use serde::Serialize;

use node::NodeDocument;
use parts::{
    FindingDocument, InconclusiveRule, ProblemDocument, RulesDocument, SourceDocument, SummaryDocument,
    SuppressedDocument, SuspicionDocument, TotalsDocument,
};
use subnet::SubnetDocument;

use crate::Context;

/// The version of the schema. Fields may be added within a version; nothing is renamed or removed.
pub const SCHEMA: &str = "ipam-audit.dev/audit/v1";

/// One audit.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditDocument {
    /// `ipam-audit.dev/audit/v1`.
    pub schema: &'static str,
    /// The version of ipam-audit that made it.
    pub version: &'static str,
    /// The cluster's name, if somebody told.
    pub cluster: Option<String>,
    /// The moment that the audit is about, RFC 3339.
    pub taken_at: String,
    /// Whether every required source was read and nothing of it was broken.
    pub complete: bool,
    /// The answer: what is wrong, why, what to do.
    pub summary: SummaryDocument,
    /// Sums over the cluster.
    pub totals: TotalsDocument,
    /// What was read, and how old it is.
    pub sources: Vec<SourceDocument>,
    /// What in the input could not be used.
    pub warnings: Vec<String>,
    /// Findings of one cause together, the worst first: what there is to fix.
    pub problems: Vec<ProblemDocument>,
    /// Every finding, the worst first.
    pub findings: Vec<FindingDocument>,
    /// What a later look has yet to prove.
    pub suspicions: Vec<SuspicionDocument>,
    /// Findings that the policy accepts.
    pub suppressed: Vec<SuppressedDocument>,
    /// What the rules answered.
    pub rules: RulesDocument,
    /// Every subnet in scope, sorted by id.
    pub subnets: Vec<SubnetDocument>,
    /// Every node that the VPC CNI manages, sorted by name.
    pub nodes: Vec<NodeDocument>,
    /// Nodes that it does not manage, by why: recognised, counted and left alone.
    pub left_alone: BTreeMap<String, u32>,
}

impl AuditDocument {
    /// The document of an outcome.
    pub fn of(outcome: &AuditOutcome, context: &Context<'_>) -> Self {
        let mut findings: Vec<_> = all_findings(outcome).collect();
        findings.sort_by(|a, b| (b.severity, a.code, &a.subject).cmp(&(a.severity, b.code, &b.subject)));
        Self {
            schema: SCHEMA,
            version: env!("CARGO_PKG_VERSION"),
            cluster: context.cluster.map(ToOwned::to_owned),
            taken_at: outcome.taken_at.to_string(),
            complete: crate::is_complete(outcome),
            summary: SummaryDocument::of(&outcome.answer),
            totals: TotalsDocument::of(&outcome.totals),
            sources: outcome.sources.iter().map(SourceDocument::of).collect(),
            warnings: context.warnings.to_vec(),
            problems: outcome.problems.iter().map(ProblemDocument::of).collect(),
            findings: findings.into_iter().map(FindingDocument::of).collect(),
            suspicions: outcome.suspects.iter().map(SuspicionDocument::of).collect(),
            suppressed: outcome.suppressed.iter().map(SuppressedDocument::of).collect(),
            rules: rules_of(outcome),
            subnets: outcome.subnets.iter().map(SubnetDocument::of).collect(),
            nodes: outcome.nodes.iter().map(NodeDocument::of).collect(),
            left_alone: outcome.left_alone.iter().map(|(why, count)| ((*why).to_owned(), *count)).collect(),
        }
    }
}

/// The findings of all reports.
pub(crate) fn all_findings(outcome: &AuditOutcome) -> impl Iterator<Item = &ipam_audit_core::finding::Finding> {
    let of_nodes = outcome.nodes.iter().flat_map(|node| &node.findings);
    let of_subnets = outcome.subnets.iter().flat_map(|subnet| &subnet.findings);
    outcome.findings.iter().chain(of_nodes).chain(of_subnets)
}

fn rules_of(outcome: &AuditOutcome) -> RulesDocument {
    let mut answers = RulesDocument::default();
    for rule in &outcome.rules {
        let name = rules::find(rule.code).map_or("", |meta| meta.name);
        match &rule.answer {
            RuleAnswer::Passed => answers.passed += 1,
            RuleAnswer::Violated { .. } => answers.violated += 1,
            RuleAnswer::Disabled => answers.disabled.push(rule.code.to_owned()),
            RuleAnswer::Inconclusive { missing, suspects } => {
                let missing = missing.iter().map(|source| source.name().to_owned()).collect();
                answers.inconclusive.push(InconclusiveRule::new(rule.code, name, missing, *suspects));
            }
        }
    }
    answers
}
