//! Runs every rule and sorts what they say into findings, suspicions and what is accepted.

use std::collections::BTreeSet;

use crate::{
    facts::Facts,
    finding::Finding,
    memory::Memory,
    outcome::{RuleAnswer, RuleResult, Suppressed, Suspicion},
    policy::AuditPolicy,
    rules::{self, Rule, RuleMeta, Suspect, Violations},
    source::Source,
};

/// What the rules say together.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Each rule's answer, in the registry's order.
    pub(super) rules: Vec<RuleResult>,
    /// The findings, the worst first, then by code and subject.
    pub(super) findings: Vec<Finding>,
    /// Those that the policy accepts.
    pub(super) suppressed: Vec<Suppressed>,
    /// What a second look has yet to prove.
    pub(super) suspects: Vec<Suspicion>,
    /// Fingerprints of findings that are over, of rules that could not look at everything.
    pub(super) over: BTreeSet<String>,
    /// For the next evaluation.
    pub(super) memory: Memory,
}

/// Runs them.
pub(super) fn all(facts: &Facts<'_>, policy: &AuditPolicy, memory: &Memory) -> Answers {
    let mut answers = Answers::default();
    for rule in rules::all() {
        let answer = run(rule, facts, policy, memory, &mut answers);
        answers.rules.push(RuleResult { code: rule.meta().code, answer });
    }
    let by_severity =
        |a: &Finding, b: &Finding| (b.severity, a.code, &a.subject).cmp(&(a.severity, b.code, &b.subject));
    // Those of one rule are in order already, and the sort is stable.
    answers.findings.sort_by(|a, b| (b.severity, a.code).cmp(&(a.severity, b.code)));
    answers.suppressed.sort_by(|a, b| by_severity(&a.finding, &b.finding));
    answers.suspects.sort_by(|a, b| by_severity(&a.finding, &b.finding));
    answers.memory.open = answers.findings.iter().map(Finding::fingerprint).collect();
    answers
}

fn run(rule: &dyn Rule, facts: &Facts<'_>, policy: &AuditPolicy, memory: &Memory, answers: &mut Answers) -> RuleAnswer {
    let meta = rule.meta();
    if disables(policy, meta) {
        return RuleAnswer::Disabled;
    }
    let missing: Vec<Source> = meta.sources.iter().copied().filter(|source| facts.is_missing(*source)).collect();
    if !missing.is_empty() {
        return RuleAnswer::Inconclusive { missing, suspects: 0 };
    }
    let mut found = Violations::new(meta, memory);
    rule.evaluate(facts, policy, &mut found);
    if found.lacks_any() {
        answers.over.extend(found.over());
    }
    let (mut findings, suspects, lacks) = found.into_parts();
    let mut unproven = 0;
    for Suspect { identity, since, finding, proven } in suspects {
        answers.memory.suspicions.insert(identity, since);
        if proven {
            findings.push(finding);
        } else {
            unproven += 1;
            answers.suspects.push(Suspicion { since, finding });
        }
    }
    // Mostly they are in this order, and a sort that finds it so is cheaper than one of all findings.
    findings.sort_by(|a, b| a.subject.cmp(&b.subject));
    let violations = u32::try_from(findings.len()).unwrap_or(u32::MAX);
    for finding in findings {
        match policy.suppression(&finding, facts.snapshot.taken_at) {
            Some(by) => {
                answers.suppressed.push(Suppressed { finding, reason: by.reason.clone(), until: by.until });
            }
            None => answers.findings.push(finding),
        }
    }
    if violations > 0 {
        RuleAnswer::Violated { findings: violations }
    } else {
        nothing_found(facts, meta, lacks, unproven)
    }
}

/// Whether the user switched a rule off, by its code or its name.
fn disables(policy: &AuditPolicy, meta: &RuleMeta) -> bool {
    [meta.code, meta.name].iter().any(|name| policy.disabled_rules.contains(*name))
}

/// Nothing found in data that can no longer be read, or that have yet to be proven, is no answer.
fn nothing_found(facts: &Facts<'_>, meta: &RuleMeta, lacks: BTreeSet<Source>, suspects: u32) -> RuleAnswer {
    let failing = meta.sources.iter().copied().filter(|source| facts.is_failing(*source));
    let missing: BTreeSet<Source> = failing.chain(lacks).collect();
    if missing.is_empty() && suspects == 0 {
        return RuleAnswer::Passed;
    }
    RuleAnswer::Inconclusive { missing: missing.into_iter().collect(), suspects }
}
