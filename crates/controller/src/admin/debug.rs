//! `/debug/state`: what this process knows, without the contents of any object.
//!
//! Counts, ages, categories and checksums; no environments, no annotations, no addresses, no names of pods or nodes. Two
//! replicas that know the same have the same rows and checksums. What there can be many of is bounded.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::State as Shared,
    http::header,
    response::{IntoResponse, Response},
};
use ipam_audit_core::source::SourceState;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::{Admin, pending};
use crate::{
    poll::{CallStats, ScopeReport},
    reconcile::AuditReport,
    settings::Settings,
    state::{State, Watched},
};

/// Audits and EC2 scopes beyond this are counted only.
const MOST: usize = 100;

pub(super) async fn state(Shared(admin): Shared<Arc<Admin>>) -> Response {
    // Every row is looked at, some milliseconds for a large cluster.
    let made = tokio::task::spawn_blocking(move || serde_json::to_string_pretty(&Shown::of(&admin))).await;
    match made {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, "application/json")], text + "\n").into_response(),
        _ => (axum::http::StatusCode::INTERNAL_SERVER_ERROR, "the state could not be put together\n").into_response(),
    }
}

/// The whole document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    version: &'static str,
    identity: String,
    now: Timestamp,
    started_at: Timestamp,
    pending: Vec<String>,
    leadership: Leads,
    crds: Crds,
    index: Index,
    ec2: Few<Scope>,
    audits: Few<AuditReport>,
    settings: Value,
    log: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Leads {
    held: bool,
    /// How long the claim is good for if it is not renewed; none without a Lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    claim_seconds: Option<f64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Crds {
    known: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    /// How many changes there were since the start; of no meaning to another replica.
    generation: u64,
    approximate_bytes: usize,
    watches: Vec<Watch>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Watch {
    #[serde(rename = "watch")]
    what: &'static str,
    rows: usize,
    approximate_bytes: usize,
    checksum: String,
    listed: bool,
    listing: bool,
    connected: bool,
    lists_are: &'static str,
    lists: u64,
    interruptions: u64,
    malformed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_list: Option<LastList>,
    /// The fault that is reported now.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'static str>,
    /// The last interruption, however well it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_fault: Option<LastFault>,
}

#[derive(Debug, Serialize)]
struct LastList {
    at: Timestamp,
    rows: usize,
}

#[derive(Debug, Serialize)]
struct LastFault {
    at: Timestamp,
    category: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Scope {
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vpc: Option<String>,
    audits: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval_seconds: Option<u64>,
    now_every_seconds: Option<f64>,
    asked: bool,
    sources: Vec<SourceShown>,
    calls: Vec<Calls>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SourceShown {
    source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'static str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Calls {
    action: &'static str,
    requests: u64,
    answered: u64,
    throttled: u64,
    failed: u64,
    #[serde(rename = "failedCalls")]
    failures: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget_remaining: Option<i64>,
}

/// The first of many, and how many more there are.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Few<T> {
    items: Vec<T>,
    #[serde(skip_serializing_if = "is_zero")]
    left_out: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
const fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl<T> Few<T> {
    fn of(mut items: Vec<T>) -> Self {
        let left_out = items.len().saturating_sub(MOST);
        items.truncate(MOST);
        Self { items, left_out }
    }
}

impl Shown {
    fn of(admin: &Admin) -> Self {
        let now = Timestamp::now();
        let claim = admin.leadership.rest().filter(|rest| *rest < Duration::MAX);
        let scopes = admin.polls.report().into_iter().map(|scope| Scope::of(scope, now)).collect();
        Self {
            version: env!("CARGO_PKG_VERSION"),
            identity: admin.settings.identity.clone(),
            now,
            started_at: admin.started,
            pending: pending(admin),
            leadership: Leads { held: admin.leadership.is_held(), claim_seconds: claim.map(|rest| rest.as_secs_f64()) },
            crds: Crds {
                known: admin.crds.is_known(),
                problem: admin.crds.problem().map(|problem| problem.message().to_owned()),
            },
            index: Index::of(&admin.state),
            ec2: Few::of(scopes),
            audits: Few::of(admin.memory.report(admin.state.generation(), admin.leadership.is_held())),
            settings: settings(&admin.settings),
            log: admin.log.current(),
        }
    }
}

impl Index {
    fn of(state: &State) -> Self {
        let watches: Vec<Watch> = state.read(|parts| parts.watched().map(Watch::of).collect());
        let approximate_bytes = watches.iter().map(|watch| watch.approximate_bytes).sum();
        Self { generation: state.generation(), approximate_bytes, watches }
    }
}

impl Watch {
    fn of(Watched { health, census }: Watched<'_>) -> Self {
        Self {
            what: health.what(),
            rows: census.rows,
            approximate_bytes: census.bytes,
            checksum: format!("{:016x}", census.checksum),
            listed: health.is_listed(),
            listing: health.is_listing(),
            connected: health.is_connected(),
            lists_are: if health.counts.paged { "paged" } else { "streamed" },
            lists: health.counts.lists,
            interruptions: health.counts.interruptions,
            malformed: health.counts.malformed,
            position: health.position().map(str::to_owned),
            last_list: health.last_list().map(|(at, rows)| LastList { at, rows }),
            fault: health.fault().map(|fault| fault.category.name()),
            last_fault: health.last_fault().map(|(category, at)| LastFault { at, category: category.name() }),
        }
    }
}

impl Scope {
    fn of(report: ScopeReport, now: Timestamp) -> Self {
        let ScopeReport { scope, audits, interval, now_every, asked, sources, calls } = report;
        Self {
            region: scope.aws.region,
            vpc: scope.vpc,
            audits,
            interval_seconds: interval.map(|interval| interval.as_secs()),
            now_every_seconds: now_every.map(|every| every.as_secs_f64()),
            asked,
            sources: sources.into_iter().map(|state| SourceShown::of(&state, now)).collect(),
            calls: calls.into_iter().map(Calls::of).collect(),
        }
    }
}

impl SourceShown {
    fn of(state: &SourceState, now: Timestamp) -> Self {
        Self {
            source: state.source.name(),
            age_seconds: state.as_of.map(|as_of| now.duration_since(as_of).as_secs_f64()),
            fault: state.fault.as_ref().map(|fault| fault.category.name()),
        }
    }
}

impl Calls {
    const fn of(stats: CallStats) -> Self {
        let CallStats { action, requests, answered, throttles, errors, failures, budget } = stats;
        Self { action, requests, answered, throttled: throttles, failed: errors, failures, budget_remaining: budget }
    }
}

/// The settings as they are, with durations in seconds.
fn settings(settings: &Settings) -> Value {
    let mut shown = serde_json::to_value(settings).unwrap_or_default();
    for value in shown.as_object_mut().into_iter().flat_map(|fields| fields.values_mut()) {
        let part = |name| value.get(name).and_then(Value::as_u64);
        if let (Some(seconds), Some(nanoseconds)) = (part("secs"), part("nanos").and_then(|of| u32::try_from(of).ok()))
        {
            *value = Duration::new(seconds, nanoseconds).as_secs_f64().into();
        }
    }
    shown
}
