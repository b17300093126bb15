//! The status of the audit itself: the answer, the worst, and what was read.

use std::cmp::Reverse;

use ipam_audit_core::{
    finding::Severity,
    outcome::{ConditionStatus, ConditionType, NodeOutcome, RuleAnswer, SubnetOutcome},
    rules::{self, Rule},
    source::SourceState,
    text,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;

use super::{
    Context, MAX_WORST,
    bounds::{self, MAX_PROBLEMS, clip, text as bound},
    conditions::Upsert,
    findings, render_node, render_subnet,
    trust::{Trust, seconds},
};
use crate::{
    names::ANNOTATION_REQUESTED_AT,
    v1alpha1::{
        AuditDisplay, Discovered, DiscoveredValue, IpamAudit, IpamAuditStatus, NodeIpamReportStatus, ProblemStatus,
        RulesStatus, SourceStatus, SubnetIpamReportStatus, Totals, Truncated, WorstNode, WorstSubnet,
    },
};

/// The reports of an audit as they are rendered now: the audit shows the worst of them, with their conditions. None for
/// a subject that has no report.
pub trait Reports {
    /// What the report of a node says.
    fn node(&self, node: &NodeOutcome) -> Option<NodeIpamReportStatus>;
    /// What the report of a subnet says.
    fn subnet(&self, subnet: &SubnetOutcome) -> Option<SubnetIpamReportStatus>;
}

/// The value of the annotation that asks for an audit now, if no audit has answered it.
pub fn open_request(audit: &IpamAudit) -> Option<String> {
    let value = audit.annotations().get(ANNOTATION_REQUESTED_AT).filter(|value| !value.is_empty())?;
    let value = clip(value, bound::CELL);
    let answered = audit.status.as_ref().and_then(|status| status.last_handled_request.as_ref());
    (answered != Some(&value)).then_some(value)
}

/// The condition about the conditions on nodes.
const NODE_CONDITIONS: &str = "NodeConditionsWritten";

/// What an audit's status says besides what the audit found.
#[derive(Debug, Clone, Default)]
pub struct Circumstances {
    /// The request that this audit answers, if there is one that was not answered before.
    pub request: Option<String>,
    /// Whether the condition on nodes can be written, or why not; none where it is not asked for.
    pub node_condition: Option<Result<(), String>>,
}

/// The status of an audit of this generation.
pub fn render_audit(
    ctx: &Context<'_>,
    generation: Option<i64>,
    previous: Option<&IpamAuditStatus>,
    reports: &impl Reports,
    circumstances: &Circumstances,
) -> IpamAuditStatus {
    let none = IpamAuditStatus::default();
    let before = previous.unwrap_or(&none);
    let outcome = ctx.outcome;
    let now = ctx.now();
    let (findings, cut_findings) = findings::render(ctx, &outcome.findings, &before.findings);
    let (worst_nodes, worst_subnets) = (worst_nodes(ctx, before, reports), worst_subnets(ctx, before, reports));
    let mut problems = problems(ctx);
    let mut status = IpamAuditStatus {
        observed_generation: generation,
        summary: clip(&outcome.answer.text(), bound::SUMMARY),
        conditions: conditions(ctx, &Upsert { before: &before.conditions, generation, now: &now }, circumstances),
        last_audit_time: Some(now),
        last_handled_request: circumstances.request.clone().or_else(|| before.last_handled_request.clone()),
        totals: totals(ctx),
        truncated: Truncated {
            problems: bounds::truncate(&mut problems, MAX_PROBLEMS),
            nodes: left_out(outcome.nodes.len(), worst_nodes.len()),
            subnets: left_out(outcome.subnets.len(), worst_subnets.len()),
            findings: cut_findings,
        },
        problems,
        worst_nodes,
        worst_subnets,
        findings,
        rules: rule_answers(ctx),
        discovered: discovered(ctx),
        sources: outcome.sources.iter().map(|state| source(ctx, state)).collect(),
        display: display(ctx),
    };
    bounds::fit_audit(&mut status);
    status
}

/// The status of an audit whose spec asks to stop: what was found stays, and nothing of it is fresh.
pub fn render_suspended(
    previous: Option<&IpamAuditStatus>,
    generation: Option<i64>,
    now: Timestamp,
) -> IpamAuditStatus {
    let message = "spec.suspend is true: what is shown was found before";
    halted(previous, generation, now, |upsert| {
        vec![upsert.one("Ready", ConditionStatus::Unknown, "Suspended", message)]
    })
}

/// The status of an audit that cannot go on until somebody changes something: an invalid spec, for example.
pub fn render_stalled(
    previous: Option<&IpamAuditStatus>,
    generation: Option<i64>,
    now: Timestamp,
    (reason, message): (&str, &str),
) -> IpamAuditStatus {
    halted(previous, generation, now, |upsert| {
        vec![
            upsert.one("Ready", ConditionStatus::False, reason, message),
            upsert.one("Stalled", ConditionStatus::True, reason, message),
        ]
    })
}

fn halted(
    previous: Option<&IpamAuditStatus>,
    generation: Option<i64>,
    now: Timestamp,
    said: impl FnOnce(&Upsert<'_>) -> Vec<Condition>,
) -> IpamAuditStatus {
    let mut status = previous.cloned().unwrap_or_default();
    let now = seconds(now);
    let mut conditions = said(&Upsert { before: &status.conditions, generation, now: &now });
    let stays = |old: &Condition| !["Ready", "Reconciling", "Stalled", NODE_CONDITIONS].contains(&old.type_.as_str());
    conditions.extend(status.conditions.drain(..).filter(stays));
    IpamAuditStatus { observed_generation: generation, conditions, ..status }
}

/// `Ready` and what explains it, then the engine's conditions.
fn conditions(ctx: &Context<'_>, upsert: &Upsert<'_>, circumstances: &Circumstances) -> Vec<Condition> {
    let required = || ctx.outcome.sources.iter().filter(|state| !state.source.is_optional());
    let with = |trust: Trust| -> Vec<String> {
        required().filter(|state| ctx.trust(state.source) == trust).map(|state| state.source.to_string()).collect()
    };
    let (missing, stale, pending, failing) =
        (with(Trust::Missing), with(Trust::Stale), with(Trust::Pending), with(Trust::Failing));
    let named = |sources: &[String]| text::list(sources, "and", 9);
    let (status, reason, message) = if !missing.is_empty() {
        (ConditionStatus::Unknown, "DataMissing", format!("never read: {}; DataComplete says why", named(&missing)))
    } else if !stale.is_empty() {
        (ConditionStatus::Unknown, "DataStale", format!("too old: {}; DataComplete says why", named(&stale)))
    } else if !pending.is_empty() {
        (ConditionStatus::Unknown, "NotReadYet", format!("being read for the first time: {}", named(&pending)))
    } else if failing.is_empty() {
        (ConditionStatus::True, "AuditFinished", "the last audit finished on fresh data".to_owned())
    } else {
        let what = named(&failing);
        let message = format!("the last audit finished on data that are recent enough; failing now: {what}");
        (ConditionStatus::True, "AuditFinished", message)
    };
    let mut conditions = vec![upsert.one("Ready", status, reason, &message)];
    if reason == "NotReadYet" {
        conditions.push(upsert.one("Reconciling", ConditionStatus::True, reason, &message));
    }
    conditions.extend(upsert.all(&ctx.outcome.conditions));
    conditions.extend(circumstances.node_condition.as_ref().map(|written| match written {
        Ok(()) => {
            upsert.one(NODE_CONDITIONS, ConditionStatus::True, "Written", "nodes say what the audit says of them")
        }
        Err(why) => upsert.one(NODE_CONDITIONS, ConditionStatus::False, "NotWritten", why),
    }));
    conditions
}

fn totals(ctx: &Context<'_>) -> Totals {
    let totals = &ctx.outcome.totals;
    Totals {
        nodes: totals.nodes.map(Into::into),
        pods: totals.pods.map(Into::into),
        waiting_pods: totals.waiting_pods.map(Into::into),
        subnets: totals.subnets.map(Into::into),
        interfaces: totals.interfaces.map(Into::into),
        free_addresses: totals.free_addresses.map(Into::into),
        min_free_addresses: totals.min_free_addresses.map(Into::into),
        free_prefixes: totals.free_prefixes.map(Into::into),
        idle_addresses: totals.idle_addresses.map(Into::into),
        leaked_addresses: totals.leaked_addresses.map(Into::into),
        critical: totals.critical.into(),
        warning: totals.warning.into(),
        info: totals.info.into(),
    }
}

fn problems(ctx: &Context<'_>) -> Vec<ProblemStatus> {
    let convert = |problem: &ipam_audit_core::outcome::Problem| ProblemStatus {
        code: problem.code.to_owned(),
        name: problem.name.to_owned(),
        severity: problem.severity.into(),
        group: clip(&problem.group, bound::CELL),
        count: problem.count.into(),
        message: clip(&problem.message, bound::MESSAGE),
        remediation: clip(&problem.remediation, bound::MESSAGE),
    };
    ctx.outcome.problems.iter().map(convert).collect()
}

fn rule_answers(ctx: &Context<'_>) -> RulesStatus {
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let mut status = RulesStatus {
        suspicions: count(ctx.outcome.suspects.len()),
        suppressed: count(ctx.outcome.suppressed.len()),
        ..RulesStatus::default()
    };
    for rule in &ctx.outcome.rules {
        match &rule.answer {
            RuleAnswer::Passed => status.passed += 1,
            RuleAnswer::Violated { .. } => status.violated += 1,
            RuleAnswer::Inconclusive { .. } if ctx.may_find_more(rule.code) => {
                status.inconclusive.push(rule.code.to_owned());
            }
            // A suspicion is no blindness, and is counted as such.
            RuleAnswer::Inconclusive { missing, .. } => status.not_collected += i64::from(!missing.is_empty()),
            RuleAnswer::Disabled => status.disabled.push(rule.code.to_owned()),
        }
    }
    status
}

/// Which cluster, region and VPC this is about; nothing while nothing of them is known.
fn discovered(ctx: &Context<'_>) -> Option<Discovered> {
    let value = |value: &str, from: &str| DiscoveredValue { value: value.to_owned(), from: from.to_owned() };
    let vpc_from = if ctx.place.vpc_is_stated { "spec.scope.vpcId" } else { "the interfaces of the nodes" };
    let found = Discovered {
        cluster_name: ctx.outcome.cluster.as_ref().map(|cluster| value(&cluster.name, cluster.from)),
        region: ctx.place.region.as_ref().map(|(region, from)| value(region, from)),
        vpc_id: ctx.outcome.vpc.as_ref().map(|vpc| value(vpc.as_str(), vpc_from)),
    };
    (found != Discovered::default()).then_some(found)
}

fn source(ctx: &Context<'_>, state: &SourceState) -> SourceStatus {
    SourceStatus {
        name: state.source.name().to_owned(),
        state: ctx.trust(state.source).name().to_owned(),
        as_of: state.as_of.map(seconds),
        message: state.fault.as_ref().map(|fault| clip(&fault.message, bound::MESSAGE)),
    }
}

/// The worst nodes: by their worst finding, then those with waiting pods, then those that hold most for nobody.
fn worst_nodes(ctx: &Context<'_>, before: &IpamAuditStatus, reports: &impl Reports) -> Vec<WorstNode> {
    let badness = |node: &&NodeOutcome| {
        let severity = node.findings.first().map(|finding| finding.severity);
        let idle = node.addresses.map(|addresses| addresses.idle);
        Reverse((severity, is_unhealthy(&node.conditions), node.waiting_pods, idle))
    };
    let mut nodes: Vec<&NodeOutcome> = ctx.outcome.nodes.iter().collect();
    nodes.sort_by(|a, b| badness(a).cmp(&badness(b)).then_with(|| a.name.cmp(&b.name)));
    nodes.into_iter().take(MAX_WORST).map(|node| worst_node(ctx, node, before, reports)).collect()
}

fn worst_node(ctx: &Context<'_>, node: &NodeOutcome, before: &IpamAuditStatus, reports: &impl Reports) -> WorstNode {
    let name = node.name.as_str();
    let status = reports.node(node).unwrap_or_else(|| {
        // Without a report, the audit itself remembers since when its worst nodes are as they are.
        let known = before.worst_nodes.iter().find(|worst| worst.name == name);
        let conditions = known.map(|known| known.conditions.clone()).unwrap_or_default();
        render_node(ctx, node, Some(&NodeIpamReportStatus { conditions, ..NodeIpamReportStatus::default() }))
    });
    WorstNode {
        name: name.to_owned(),
        node_group: status.node_group,
        instance_type: status.instance_type,
        zone: status.zone,
        display: status.display,
        findings: status.findings.into_iter().map(|finding| finding.code).collect(),
        conditions: status.conditions,
    }
}

/// The worst subnets: by their worst finding, then those with fewest free addresses.
fn worst_subnets(ctx: &Context<'_>, before: &IpamAuditStatus, reports: &impl Reports) -> Vec<WorstSubnet> {
    let badness = |subnet: &&SubnetOutcome| {
        let severity = subnet.findings.first().map(|finding| finding.severity);
        (Reverse((severity, is_unhealthy(&subnet.conditions))), subnet.free)
    };
    let mut subnets: Vec<&SubnetOutcome> = ctx.outcome.subnets.iter().collect();
    subnets.sort_by(|a, b| badness(a).cmp(&badness(b)).then_with(|| a.id.cmp(&b.id)));
    subnets.into_iter().take(MAX_WORST).map(|subnet| worst_subnet(ctx, subnet, before, reports)).collect()
}

fn worst_subnet(
    ctx: &Context<'_>,
    subnet: &SubnetOutcome,
    before: &IpamAuditStatus,
    reports: &impl Reports,
) -> WorstSubnet {
    let id = subnet.id.as_str();
    let status = reports.subnet(subnet).unwrap_or_else(|| {
        let known = before.worst_subnets.iter().find(|worst| worst.name == id);
        let conditions = known.map(|known| known.conditions.clone()).unwrap_or_default();
        render_subnet(ctx, subnet, Some(&SubnetIpamReportStatus { conditions, ..SubnetIpamReportStatus::default() }))
    });
    WorstSubnet {
        name: id.to_owned(),
        zone: status.zone,
        cidr: status.cidr,
        display: status.display,
        findings: status.findings.into_iter().map(|finding| finding.code).collect(),
        conditions: status.conditions,
    }
}

fn is_unhealthy(conditions: &[ipam_audit_core::outcome::Condition]) -> bool {
    let mut healthy = conditions.iter().filter(|condition| condition.kind == ConditionType::Healthy);
    healthy.any(|condition| condition.status != ConditionStatus::True)
}

fn left_out(all: usize, shown: usize) -> i64 {
    i64::try_from(all - shown).unwrap_or(i64::MAX)
}

/// The cells of `kubectl get ipamaudits`.
fn display(ctx: &Context<'_>) -> AuditDisplay {
    let totals = &ctx.outcome.totals;
    let first_sentence = ctx.outcome.answer.text().lines().next().unwrap_or_default().to_owned();
    let runs_out = ctx.outcome.subnets.iter().find_map(|subnet| subnet.runway);
    AuditDisplay {
        critical: problem_count(ctx, totals.critical, Severity::Critical),
        warning: problem_count(ctx, totals.warning, Severity::Warning),
        nodes: text::known(totals.nodes),
        subnets: text::known(totals.subnets),
        free_addresses: text::known(totals.free_addresses),
        idle_addresses: text::known(totals.idle_addresses),
        min_free: min_free(&ctx.outcome.subnets),
        free_prefixes: text::known(totals.free_prefixes),
        leaked_addresses: text::known(totals.leaked_addresses),
        runway: runs_out.unwrap_or("?").to_owned(),
        message: clip(&first_sentence, bound::CELL),
    }
}

/// How many problems: a lower bound, or nothing at all, if rules that could find more could not look.
fn problem_count(ctx: &Context<'_>, found: u32, severity: Severity) -> String {
    let silent = rules::all().map(Rule::meta).filter(|meta| ctx.may_find_more(meta.code));
    let more_possible = silent.map(|meta| meta.severity).any(|worst| worst >= severity);
    match (found, more_possible) {
        (0, true) => "?".to_owned(),
        (_, true) => format!("{}+", text::thousands(found)),
        (_, false) => text::thousands(found),
    }
}

fn min_free(subnets: &[SubnetOutcome]) -> String {
    let fewest = subnets.iter().min_by_key(|subnet| subnet.free);
    fewest.map_or_else(
        || "?".to_owned(),
        |subnet| format!("{} of {} in {}", text::thousands(subnet.free), text::known(subnet.usable), subnet.id),
    )
}
