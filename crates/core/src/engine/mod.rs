//! Evaluate: snapshot and policy in, outcome out. Infallible and deterministic; two runs give the same bytes.

mod conditions;
mod problems;
mod summary;
mod totals;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::{
    facts::{Facts, NodeFacts, SubnetFacts},
    finding::{Finding, Subject},
    outcome::{AuditOutcome, BranchSlots, CniSeen, NodeAddresses, NodeOutcome, RuleAnswer, RuleResult, SubnetOutcome},
    policy::AuditPolicy,
    rules::{RULES, Rule, RuleMeta, Violations},
    snapshot::ClusterSnapshot,
    source::Source,
};

/// One audit.
pub fn evaluate(snapshot: &ClusterSnapshot, policy: &AuditPolicy) -> AuditOutcome {
    let facts = Facts::of(snapshot, &policy.thresholds);
    let (rules, findings) = run_rules(&facts, policy);
    let problems = problems::of(&findings);
    let totals = totals::of(&facts, &problems);
    let trust = conditions::Trust::of(&facts, policy);
    let mut by_subject: BTreeMap<Subject, Vec<Finding>> = BTreeMap::new();
    for finding in findings {
        by_subject.entry(finding.subject.clone()).or_default().push(finding);
    }
    let nodes: Vec<NodeOutcome> = facts
        .nodes
        .iter()
        .map(|node| {
            node_outcome(&facts, &trust, node, of_subject(&mut by_subject, &Subject::Node(node.node.name.clone())))
        })
        .collect();
    let subnets: Vec<SubnetOutcome> = facts
        .subnets
        .iter()
        .map(|subnet| {
            subnet_outcome(&trust, subnet, of_subject(&mut by_subject, &Subject::Subnet(subnet.subnet.id.clone())))
        })
        .collect();
    AuditOutcome {
        taken_at: snapshot.taken_at,
        summary: summary::of(&facts, policy, &totals, &problems),
        conditions: conditions::of_audit(&facts, &trust, &problems, &rules),
        totals,
        sources: facts.sources.clone(),
        rules,
        problems,
        findings: by_subject.into_values().flatten().collect(),
        nodes,
        subnets,
    }
}

/// Runs every rule whose sources are there; findings come out worst first, then by code and subject.
fn run_rules(facts: &Facts<'_>, policy: &AuditPolicy) -> (Vec<RuleResult>, Vec<Finding>) {
    let mut results = Vec::with_capacity(RULES.len());
    let mut findings = Vec::new();
    for rule in RULES {
        let (answer, found) = run_rule(*rule, facts, policy);
        results.push(RuleResult { code: rule.meta().code, answer });
        findings.extend(found);
    }
    findings.sort_by(|a, b| (b.severity, a.code, &a.subject).cmp(&(a.severity, b.code, &b.subject)));
    (results, findings)
}

fn run_rule(rule: &dyn Rule, facts: &Facts<'_>, policy: &AuditPolicy) -> (RuleAnswer, Vec<Finding>) {
    let meta = rule.meta();
    if disables(policy, meta) {
        return (RuleAnswer::Disabled, Vec::new());
    }
    let missing: Vec<Source> = meta.sources.iter().copied().filter(|source| facts.is_missing(*source)).collect();
    if !missing.is_empty() {
        return (RuleAnswer::Inconclusive { missing }, Vec::new());
    }
    let mut found = Violations::new(meta);
    rule.evaluate(facts, policy, &mut found);
    let findings = found.into_findings();
    let answer = match u32::try_from(findings.len()) {
        Ok(0) => nothing_found(facts, meta),
        count => RuleAnswer::Violated { findings: count.unwrap_or(u32::MAX) },
    };
    (answer, findings)
}

/// Whether the user switched a rule off, by its code or its name.
fn disables(policy: &AuditPolicy, meta: &RuleMeta) -> bool {
    [meta.code, meta.name].iter().any(|name| policy.disabled_rules.contains(*name))
}

/// Nothing found in data that can no longer be read is no answer.
fn nothing_found(facts: &Facts<'_>, meta: &RuleMeta) -> RuleAnswer {
    let missing: Vec<Source> = meta.sources.iter().copied().filter(|source| facts.is_failing(*source)).collect();
    if missing.is_empty() { RuleAnswer::Passed } else { RuleAnswer::Inconclusive { missing } }
}

fn of_subject(by_subject: &mut BTreeMap<Subject, Vec<Finding>>, subject: &Subject) -> Vec<Finding> {
    by_subject.remove(subject).unwrap_or_default()
}

fn node_outcome(
    facts: &Facts<'_>,
    trust: &conditions::Trust,
    node: &NodeFacts<'_>,
    findings: Vec<Finding>,
) -> NodeOutcome {
    let source = node.node;
    let attached = node.interfaces.as_ref().and_then(|list| u32::try_from(list.len()).ok());
    NodeOutcome {
        name: source.name.clone(),
        uid: source.uid.clone(),
        node_group: source.node_group.clone(),
        instance_type: source.instance_type.clone(),
        zone: source.zone.clone(),
        subnet: node.home().cloned(),
        cordoned: source.cordoned,
        max_pods: source.max_pods,
        interfaces: attached,
        interface_limit: node.limits.as_ref().and_then(crate::facts::interface_limit),
        addresses: node.pool.as_ref().map(|pool| NodeAddresses {
            held: pool.held,
            used: pool.used,
            idle: pool.idle,
            own: pool.own,
            prefixes: pool.prefixes,
        }),
        pool_pods: node.pool_pods,
        waiting_pods: node.pool_pods.map(|_| u32::try_from(node.waiting.len()).unwrap_or(u32::MAX)),
        branches: node.trunk.map(|trunk| BranchSlots { used: trunk.branches, limit: trunk.limit }),
        cni: node.cni.as_ref().map(|cni| CniSeen {
            version: cni.version_text(),
            mode: cni.mode_name(node.limits.as_ref()),
            targets: cni.targets_text(),
        }),
        conditions: conditions::of_node(facts, trust, node, &findings),
        findings,
    }
}

fn subnet_outcome(trust: &conditions::Trust, facts: &SubnetFacts<'_>, findings: Vec<Finding>) -> SubnetOutcome {
    let subnet = facts.subnet;
    SubnetOutcome {
        id: subnet.id.clone(),
        zone: subnet.zone.clone(),
        cidr: subnet.cidr.map(|cidr| cidr.to_string()),
        nodes: u32::try_from(facts.nodes.len()).unwrap_or(u32::MAX),
        usable: facts.usable,
        free: subnet.available,
        free_prefixes: facts.free_prefixes,
        ledger: facts.ledger,
        new_node_takes: facts.new_node_takes,
        runway: facts.is_full().then_some("now"),
        conditions: conditions::of_subnet(trust, facts, &findings),
        findings,
    }
}
