//! `ipam-audit audit`: one audit, printed.

use std::{
    fs,
    io::{self, IsTerminal, Write},
    path::Path,
};

use anyhow::{Context as _, Result};
use ipam_audit_api::{settings::AuditSettings, v1alpha1::IpamAudit};
use ipam_audit_bundle::{Bundle, Clock};
use ipam_audit_core::{
    engine,
    finding::Severity,
    memory::Memory,
    outcome::AuditOutcome,
    policy::AuditPolicy,
    snapshot::{ClusterSnapshot, Tags},
};
use ipam_audit_report::{AuditDocument, Context, TableStyle, is_complete, table_of};
use kube::core::{Selector, SelectorExt};

use crate::{
    FINDINGS, INCOMPLETE, OK, USAGE,
    args::{AuditOptions, Colour, FailOn, Output},
};

/// Columns where no terminal says how wide it is.
const WIDTH: usize = 120;

/// Audits a bundle, and later looks at the same cluster, and prints what the last look shows.
pub(crate) fn run(options: &AuditOptions) -> Result<u8> {
    let (policy, nodes) = match options.policy.as_deref().map(policy).transpose() {
        Ok(settings) => settings.unwrap_or_default(),
        Err(error) => return Ok(refuse(&error)),
    };
    let mut memory = Memory::default();
    let mut last: Option<(Bundle, AuditOutcome)> = None;
    for dir in std::iter::once(&options.from).chain(&options.then) {
        let mut bundle = match ipam_audit_bundle::read(dir) {
            Ok(bundle) => bundle,
            Err(error) => return Ok(refuse(&error.into())),
        };
        if let Some((earlier, _)) = &last
            && !is_later(&bundle, earlier)
        {
            let error = anyhow::anyhow!(
                "{} was not taken later than the look before it ({} and {}); looks are given in order of time, and \
                 manifest.json can tell when each was taken",
                dir.display(),
                bundle.snapshot.taken_at,
                earlier.snapshot.taken_at,
            );
            return Ok(refuse(&error));
        }
        keep_nodes(&mut bundle.snapshot, &nodes);
        let outcome = engine::evaluate(&bundle.snapshot, &policy, &memory);
        memory.clone_from(&outcome.memory);
        last = Some((bundle, outcome));
    }
    let Some((bundle, outcome)) = last else { return Ok(USAGE) };
    print(options, &bundle, &outcome)?;
    Ok(status(&outcome, options.fail_on, &policy))
}

fn is_later(look: &Bundle, earlier: &Bundle) -> bool {
    look.snapshot.taken_at > earlier.snapshot.taken_at
}

/// Says on standard error why nothing was audited.
fn refuse(error: &anyhow::Error) -> u8 {
    eprintln!("ipam-audit: {error:#}");
    USAGE
}

/// Thresholds, exceptions and suppressions of an `IpamAudit`, and its choice of nodes.
fn policy(file: &Path) -> Result<(AuditPolicy, Selector)> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let audit: IpamAudit = serde_saphyr::from_str(&text)
        .with_context(|| format!("{} is not an IpamAudit; deploy/samples/ipamaudit.yaml is one", file.display()))?;
    let settings = AuditSettings::try_from(&audit.spec).with_context(|| file.display().to_string())?;
    Ok((settings.policy, settings.nodes))
}

/// Leaves out nodes that the audit does not choose.
fn keep_nodes(snapshot: &mut ClusterSnapshot, nodes: &Selector) {
    if nodes.selects_all() {
        return;
    }
    if let Some(observed) = &mut snapshot.nodes.last_good {
        observed.value.retain(|node| nodes.matches(&labels(&node.labels)));
    }
}

fn labels(tags: &Tags) -> std::collections::BTreeMap<String, String> {
    tags.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

/// What should be known about the input.
fn notes(bundle: &Bundle) -> Vec<String> {
    let mut notes: Vec<String> = bundle.warnings.iter().map(ToString::to_string).collect();
    notes.extend(bundle.ignored.iter().map(|ignored| format!("not used: {ignored}")));
    if bundle.clock != Clock::Manifest {
        notes.push(format!("the moment of this look is {}", bundle.clock));
    }
    notes
}

fn print(options: &AuditOptions, bundle: &Bundle, outcome: &AuditOutcome) -> Result<()> {
    let mut notes = notes(bundle);
    if !outcome.suspects.is_empty() && options.then.is_empty() {
        let from = options.from.display();
        notes.push(format!(
            "make a second bundle some minutes later and run `ipam-audit audit --from {from} --then DIR2`"
        ));
    }
    let context = Context { cluster: bundle.cluster.as_deref(), warnings: &notes };
    let text = match options.output {
        Output::Json => serde_json::to_string_pretty(&AuditDocument::of(outcome, &context))? + "\n",
        Output::Table | Output::Wide => table_of(outcome, &context, style(options)),
    };
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

fn style(options: &AuditOptions) -> TableStyle {
    let terminal = io::stdout().is_terminal();
    let width = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0)).filter(|_| terminal);
    let colour = match options.color {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto => terminal && std::env::var_os("NO_COLOR").is_none(),
    };
    TableStyle { color: colour, width: width.unwrap_or(WIDTH).max(60), wide: options.output == Output::Wide }
}

/// The exit status: findings come before what could not be looked at.
fn status(outcome: &AuditOutcome, fail_on: Option<FailOn>, policy: &AuditPolicy) -> u8 {
    let gate = match fail_on {
        None => policy.gate,
        Some(FailOn::Never) => None,
        Some(FailOn::Critical) => Some(Severity::Critical),
        Some(FailOn::Warning) => Some(Severity::Warning),
        Some(FailOn::Info) => Some(Severity::Info),
    };
    let worst = outcome.problems.first().map(|problem| problem.severity);
    if gate.is_some_and(|gate| worst.is_some_and(|worst| worst >= gate)) {
        FINDINGS
    } else if is_complete(outcome) {
        OK
    } else {
        INCOMPLETE
    }
}
