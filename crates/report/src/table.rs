//! One audit for people: the answer, why, what to do, then what proves it. Fits its width; a cell that is not known
//! says `?`, never 0.

use ipam_audit_core::{
    finding::{Finding, Severity},
    outcome::{AuditOutcome, NodeOutcome, Problem, RuleAnswer, SubnetOutcome},
    source::Source,
    text,
};

use crate::{
    Context,
    document::parts::command,
    grid::{hanging, table},
};

/// How a table looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableStyle {
    /// Whether severities are coloured.
    pub color: bool,
    /// The width in characters.
    pub width: usize,
    /// Whether to list every node and every info.
    pub wide: bool,
}

/// Nodes and pieces of information that a table lists unless it is wide.
const FEW: usize = 10;

/// The audit as text.
pub fn table_of(outcome: &AuditOutcome, context: &Context<'_>, style: TableStyle) -> String {
    let parts = [
        Some(answer(outcome, style)),
        warnings(context, style),
        problems(outcome, style),
        suspicions(outcome, style),
        subnets(outcome, style),
        nodes(outcome, style),
        Some(footer(outcome, style)),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

/// What is wrong, why, what to do, and what was looked at.
fn answer(outcome: &AuditOutcome, style: TableStyle) -> String {
    let worst = outcome.problems.first();
    let severity = worst.map(|problem| problem.severity);
    let mark = match severity {
        Some(Severity::Critical) => "✗ ",
        Some(Severity::Warning) => "! ",
        _ if outcome.answer.state.is_none() || !crate::is_complete(outcome) => "? ",
        _ => "✓ ",
    };
    let state = outcome.answer.state.as_deref().unwrap_or("There is not enough to go by for an answer.");
    let mut out = paint(severity, mark, style) + hanging(mark, state, style.width).trim_start_matches(mark) + "\n";
    if let Some(why) = &outcome.answer.why {
        out += &hanging("  Why   ", why, style.width);
    }
    match (&outcome.answer.advice, worst) {
        (Some(advice), _) => {
            // A command is to be copied: it is never broken.
            out.extend(["  Do    ", &command(advice), "\n"]);
            let effect = format!(
                "frees {} within minutes and costs at most {} per pod start beyond the pool",
                text::count(advice.addresses, "address"),
                text::count(advice.calls_per_pod, "EC2 call"),
            );
            out += &hanging("        ", &effect, style.width);
        }
        (None, Some(problem)) if problem.severity > Severity::Info => {
            out += &hanging("  Do    ", &problem.remediation, style.width);
        }
        _ => {}
    }
    out += &hanging("  Seen  ", &seen(outcome), style.width);
    if let Some(missing) = &outcome.answer.missing {
        out += &hanging("        ", missing, style.width);
    }
    out
}

/// What was looked at.
fn seen(outcome: &AuditOutcome) -> String {
    let totals = &outcome.totals;
    let number = |count: Option<u32>, noun: &str| match count {
        Some(count) => text::count(count, noun),
        None => format!("? {}", text::plural(2, noun)),
    };
    let complete = if crate::is_complete(outcome) { "complete" } else { "not complete" };
    format!(
        "{}, {}, {}, {}; {complete}; as of {}",
        number(totals.nodes, "node"),
        number(totals.pods, "pod"),
        number(totals.subnets, "subnet"),
        number(totals.interfaces, "interface"),
        outcome.taken_at.strftime("%Y-%m-%d %H:%M:%SZ"),
    )
}

fn warnings(context: &Context<'_>, style: TableStyle) -> Option<String> {
    let lines: Vec<String> =
        context.warnings.iter().map(|warning| hanging("NOTE      ", warning, style.width)).collect();
    (!lines.is_empty()).then(|| lines.concat())
}

/// What there is to fix.
fn problems(outcome: &AuditOutcome, style: TableStyle) -> Option<String> {
    let (told, info): (Vec<_>, Vec<_>) = outcome.problems.iter().partition(|problem| problem.severity > Severity::Info);
    let most = if style.wide { usize::MAX } else { FEW };
    let width = outcome.problems.iter().map(|problem| problem.name.len()).max().unwrap_or_default();
    let mut out: String = told.iter().map(|problem| line(problem, width, style) + &remedy(problem, style)).collect();
    out.extend(info.iter().take(most).map(|problem| line(problem, width, style)));
    if let Some(more) = info.len().checked_sub(most).filter(|more| *more > 0) {
        out +=
            &hanging("          ", &format!("and {more} more for your information: `-o wide` lists them"), style.width);
    }
    (!out.is_empty()).then_some(out)
}

fn line(problem: &Problem, width: usize, style: TableStyle) -> String {
    let label = format!("{:<9} {} {:<width$}  ", problem.severity.name().to_uppercase(), problem.code, problem.name);
    let several = match problem.count {
        1 => String::new(),
        count => format!("{count} in {}, for example ", problem.group),
    };
    let whole = hanging(&label, &format!("{several}{}", problem.message), style.width);
    let severity = problem.severity.name().to_uppercase();
    paint(Some(problem.severity), &severity, style) + whole.strip_prefix(&severity).unwrap_or(&whole)
}

fn remedy(problem: &Problem, style: TableStyle) -> String {
    hanging("          → ", &problem.remediation, style.width)
}

/// What a second look has yet to prove.
fn suspicions(outcome: &AuditOutcome, style: TableStyle) -> Option<String> {
    let suspects = &outcome.suspects;
    if suspects.is_empty() {
        return None;
    }
    let most = if style.wide { usize::MAX } else { FEW };
    let line = |finding: &Finding| {
        hanging(&format!("SUSPECTED {} {}  ", finding.code, finding.name), &finding.message, style.width)
    };
    let mut out: String = suspects.iter().take(most).map(|suspect| line(&suspect.finding)).collect();
    if let Some(more) = suspects.len().checked_sub(most).filter(|more| *more > 0) {
        out += &hanging("          ", &format!("and {more} more: `-o wide` lists them"), style.width);
    }
    out += &hanging(
        "          ",
        "Reads of Kubernetes and EC2 are never of one instant: a second look some minutes later proves or drops these.",
        style.width,
    );
    Some(out)
}

fn subnets(outcome: &AuditOutcome, style: TableStyle) -> Option<String> {
    let row = |subnet: &SubnetOutcome| {
        let of =
            |pick: fn(&ipam_audit_core::outcome::SubnetLedger) -> u32| text::known(subnet.ledger.as_ref().map(pick));
        vec![
            subnet.id.to_string(),
            subnet.zone.to_string(),
            subnet.cidr.clone().unwrap_or_else(|| "?".to_owned()),
            text::known(subnet.usable),
            text::thousands(subnet.free),
            text::known(subnet.free_prefixes),
            of(|ledger| ledger.pods),
            of(ipam_audit_core::outcome::SubnetLedger::idle),
            of(|ledger| ledger.branches),
            of(|ledger| ledger.leaked),
            of(|ledger| ledger.other),
            worst(&subnet.findings, style),
        ]
    };
    let rows: Vec<Vec<String>> = outcome.subnets.iter().map(row).collect();
    let head =
        ["SUBNET", "ZONE", "CIDR", "USABLE", "FREE", "FREE-28", "PODS", "IDLE", "BRANCH", "LEAKED", "OTHER", "WORST"];
    // Where nothing is leaked and no branch is used, two columns of zeros say nothing.
    let idle = |column: usize| {
        !style.wide && matches!(head[column], "BRANCH" | "LEAKED") && rows.iter().all(|row| row[column] == "0")
    };
    let kept: Vec<usize> = (0..head.len()).filter(|column| !idle(*column)).collect();
    let head: Vec<&str> = kept.iter().map(|column| head[*column]).collect();
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| kept.iter().map(|column| row[*column].clone()).collect()).collect();
    (!rows.is_empty()).then(|| table(&head, &rows))
}

/// The nodes that matter most, or all.
fn nodes(outcome: &AuditOutcome, style: TableStyle) -> Option<String> {
    let mut nodes: Vec<&NodeOutcome> = outcome.nodes.iter().collect();
    if !style.wide {
        let severity = |node: &NodeOutcome| node.findings.first().map(|finding| finding.severity);
        let idle = |node: &NodeOutcome| node.addresses.map(|addresses| addresses.idle);
        nodes.sort_by(|a, b| (severity(b), idle(b), &a.name).cmp(&(severity(a), idle(a), &b.name)));
        nodes.truncate(FEW);
    }
    let row = |node: &&NodeOutcome| {
        let or_unknown = |name: Option<String>| name.unwrap_or_else(|| "?".to_owned());
        vec![
            short(node.name.as_str(), style),
            or_unknown(node.node_group.as_ref().map(ToString::to_string)),
            or_unknown(node.instance_type.as_ref().map(ToString::to_string)),
            format!("{}/{}", text::known(node.interfaces), text::known(node.interface_limit)),
            text::known(node.pool_pods),
            text::known(node.addresses.map(|addresses| addresses.held)),
            text::known(node.addresses.map(|addresses| addresses.idle)),
            node.branches.as_ref().map_or_else(
                || "-".to_owned(),
                |slots| format!("{}/{}", text::thousands(slots.used), text::known(slots.limit)),
            ),
            worst(&node.findings, style),
        ]
    };
    let rows: Vec<Vec<String>> = nodes.iter().map(row).collect();
    if rows.is_empty() {
        return None;
    }
    let mut out = table(&["NODE", "NODEGROUP", "TYPE", "ENIS", "PODS", "HELD", "IDLE", "BRANCH", "WORST"], &rows);
    if let Some(more) = outcome.nodes.len().checked_sub(rows.len()).filter(|more| *more > 0) {
        let more = text::thousands(u32::try_from(more).unwrap_or(u32::MAX));
        out += &hanging("", &format!("and {more} more nodes: `-o wide` lists them"), style.width);
    }
    Some(out)
}

/// A node's name without its domain, which all nodes of a cluster have in common.
fn short(name: &str, style: TableStyle) -> String {
    match name.split_once('.') {
        Some((host, _)) if !style.wide => format!("{host}…"),
        _ => name.to_owned(),
    }
}

/// The worst finding's name; `-` without one.
fn worst(findings: &[Finding], style: TableStyle) -> String {
    const CELL: usize = 22;
    let Some(finding) = findings.first() else { return "-".to_owned() };
    let name = finding.name;
    if style.wide || name.len() <= CELL { name.to_owned() } else { format!("{}…", &name[..CELL - 1]) }
}

/// What was not looked at, and where to read on.
fn footer(outcome: &AuditOutcome, style: TableStyle) -> String {
    let mut out = String::new();
    if !outcome.left_alone.is_empty() {
        let kinds: Vec<String> = outcome.left_alone.iter().map(|(why, count)| format!("{count} {why}")).collect();
        out += &hanging(
            "",
            &format!("Left alone, since the VPC CNI does not manage them: {}.", text::list(&kinds, "and", 9)),
            style.width,
        );
    }
    if !outcome.suppressed.is_empty() {
        let accepted = text::count(count_of(outcome.suppressed.len()), "finding");
        out += &hanging("", &format!("Accepted by the policy: {accepted}."), style.width);
    }
    if let Some(blind) = blind(outcome) {
        out += &hanging("", &blind, style.width);
    }
    let codes = outcome.problems.first().map_or("CODE", |problem| problem.code);
    out += &hanging("", &format!("`ipam-audit explain {codes}` says more; `-o json` has every number."), style.width);
    out
}

/// Which rules could not look, and for want of what.
fn blind(outcome: &AuditOutcome) -> Option<String> {
    let lacking = |answer: &RuleAnswer| match answer {
        RuleAnswer::Inconclusive { missing, .. } if !missing.is_empty() => Some(missing.clone()),
        _ => None,
    };
    let lacks: Vec<Vec<Source>> = outcome.rules.iter().filter_map(|rule| lacking(&rule.answer)).collect();
    let mut sources: Vec<Source> = lacks.iter().flatten().copied().collect();
    sources.sort_unstable();
    sources.dedup();
    let names: Vec<String> = sources.iter().map(|source| source.name().to_owned()).collect();
    let rules = count_of(lacks.len());
    (rules > 0).then(|| {
        format!(
            "{} could not tell for want of {}; `-o json` says which.",
            text::count(rules, "rule"),
            text::list(&names, "and", 6)
        )
    })
}

fn count_of(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Colour for severity only.
fn paint(severity: Option<Severity>, text: &str, style: TableStyle) -> String {
    let code = match severity {
        Some(Severity::Critical) => "31;1",
        Some(Severity::Warning) => "33;1",
        Some(Severity::Info) => "36",
        None => "32;1",
    };
    if style.color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}
