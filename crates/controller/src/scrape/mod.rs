//! Gauges and counters of the live state, read at the moment of a scrape.

mod audits;
mod ipamd;
mod out;
mod process;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt, sync::Arc};

use ipam_audit_core::source::Source;
use jiff::Timestamp;
use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};

use self::out::Out;
use crate::{
    crds::CrdState,
    ipamd::Scrapes,
    lease::Leadership,
    metrics::Metrics,
    poll::{CallStats, Polls},
    state::{Counts, State},
};

/// Everything that a scrape looks at.
#[derive(Debug)]
pub(crate) struct LiveState {
    pub(crate) state: Arc<State>,
    pub(crate) polls: Arc<Polls>,
    pub(crate) scrapes: Arc<Scrapes>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) leadership: Leadership,
    pub(crate) crds: CrdState,
}

impl Collector for LiveState {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let mut out = Out(&mut encoder);
        out.info("ipam_audit_build", "The version that runs", [("version", env!("CARGO_PKG_VERSION"))])?;
        let leads = self.leadership.is_held();
        out.gauge("ipam_audit_leader", "Whether this replica leads", [([], f64::from(leads))])?;
        let wrong = self.crds.problem().is_some();
        out.gauge("ipam_audit_crds_current", "Whether the CRDs are installed and current", [([], f64::from(!wrong))])?;
        self.watches(&mut out)?;
        self.sources(&mut out)?;
        self.calls(&mut out)?;
        process::write(&mut out)?;
        // What a replica found while it led is another's to say now.
        if !leads {
            return Ok(());
        }
        let figures = self.metrics.figures();
        audits::write(&mut out, &figures, &self.polls.forecasts())?;
        ipamd::write(&mut out, &figures, &self.scrapes.by_audit())
    }
}

impl LiveState {
    fn watches(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let counts = self.state.read(|parts| sums(parts.healths().map(|health| (health.what(), health.counts))));
        let of = |figure: fn(&Counts) -> u64| {
            counts.iter().map(move |(watch, counts)| ([("watch", *watch)], figure(counts)))
        };
        out.counter("ipam_audit_watch_interruptions", "Interruptions of a watch", of(|counts| counts.interruptions))?;
        out.counter("ipam_audit_watch_lists", "Complete lists of a watch", of(|counts| counts.lists))?;
        out.counter("ipam_audit_malformed_objects", "Objects left out as malformed", of(|counts| counts.malformed))?;
        let paged = counts.iter().map(|(watch, counts)| ([("watch", *watch)], f64::from(counts.paged)));
        out.gauge("ipam_audit_watch_paged", "Whether a watch reads its lists in pages", paged)
    }

    fn sources(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let now = Timestamp::now();
        let states = self.source_states(now);
        let ages = states.iter().filter_map(|(source, as_of, _)| {
            let age = now.duration_since((*as_of)?).as_secs_f64();
            Some(([("source", source.name())], age))
        });
        out.gauge("ipam_audit_snapshot_age_seconds", "Age of the last good view of a source", ages)?;
        let faults = states
            .iter()
            .filter_map(|(source, _, fault)| Some(([("source", source.name()), ("category", (*fault)?)], 1.0)));
        out.gauge("ipam_audit_source_fault", "Sources that cannot be read now, and why", faults)
    }

    /// Each source with the moment of its last good view and its fault; the oldest where scopes differ.
    fn source_states(&self, now: Timestamp) -> Vec<(Source, Option<Timestamp>, Option<&'static str>)> {
        let of_cluster = self.state.source_states(now);
        let of_ec2 = self.polls.source_states();
        let all = of_cluster.into_iter().chain(self.scrapes.source_states()).chain(of_ec2);
        all.map(|state| (state.source, state.as_of, state.fault.map(|fault| fault.category.name()))).collect()
    }

    fn calls(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let calls = self.polls.calls();
        let of = |figure: fn(&CallStats) -> u64| {
            calls.iter().map(move |(action, stats)| ([("action", *action)], figure(stats)))
        };
        let results = calls.iter().flat_map(|(action, stats)| {
            let results = [("ok", stats.answered), ("throttled", stats.throttles), ("failed", stats.errors)];
            results.map(|(result, count)| ([("action", *action), ("result", result)], count))
        });
        let help = "Requests to EC2 that were answered, repeated ones included, by how";
        out.counter("ipam_audit_ec2_requests", help, results)?;
        let help = "Requests that EC2 asked to repeat later";
        out.counter("ipam_audit_ec2_throttled", help, of(|stats| stats.throttles))?;
        out.counter("ipam_audit_ec2_failures", "Calls to EC2 that failed in the end", of(|stats| stats.failures))?;
        let intervals = self.polls.intervals();
        let intervals = intervals.iter().map(|(audit, every)| ([("audit", audit.as_str())], every.as_secs_f64()));
        let help =
            "Time between two readings of EC2 as it is now: shorter while a subnet runs low, longer after throttling";
        out.gauge("ipam_audit_ec2_poll_interval_seconds", help, intervals)?;
        let budgets = calls.iter();
        #[expect(clippy::cast_precision_loss, reason = "budgets are tens of calls")]
        let budgets = budgets.filter_map(|(action, stats)| Some(([("action", *action)], stats.budget? as f64)));
        let help = "Calls that may be made now without waiting; below zero while some are owed";
        out.gauge("ipam_audit_ec2_budget_remaining", help, budgets)
    }
}

/// The counts of watches that have the same name, together: there is one of `aws-node` pods for each `DaemonSet`.
fn sums(counts: impl Iterator<Item = (&'static str, Counts)>) -> BTreeMap<&'static str, Counts> {
    let mut sums: BTreeMap<&'static str, Counts> = BTreeMap::new();
    for (watch, Counts { interruptions, lists, malformed, paged }) in counts {
        let sum = sums.entry(watch).or_default();
        sum.interruptions += interruptions;
        sum.lists += lists;
        sum.malformed += malformed;
        sum.paged |= paged;
    }
    sums
}
