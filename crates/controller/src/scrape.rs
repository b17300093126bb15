//! Gauges and counters of the live state, read at the moment of a scrape.

use std::{fmt, sync::Arc};

use ipam_audit_core::{outcome::SubnetOutcome, source::Source};
use jiff::Timestamp;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};

use crate::{
    crds::CrdState,
    lease::Leadership,
    metrics::{AuditFigures, Metrics},
    poll::{CallStats, Polls},
    state::{Counts, State},
};

/// Everything that a scrape looks at.
#[derive(Debug)]
pub(crate) struct LiveState {
    pub(crate) state: Arc<State>,
    pub(crate) polls: Arc<Polls>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) leadership: Leadership,
    pub(crate) crds: CrdState,
}

impl Collector for LiveState {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let mut out = Out(&mut encoder);
        out.gauge("ipam_audit_leader", "Whether this replica leads", [([], f64::from(self.leadership.is_held()))])?;
        let wrong = self.crds.problem().is_some();
        out.gauge("ipam_audit_crds_current", "Whether the CRDs are installed and current", [([], f64::from(!wrong))])?;
        self.watches(&mut out)?;
        self.sources(&mut out)?;
        self.calls(&mut out)?;
        self.audits(&mut out)
    }
}

impl LiveState {
    fn watches(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let counts: Vec<(&'static str, Counts)> =
            self.state.read(|parts| parts.healths().map(|health| (health.what(), health.counts)).collect());
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
        out.gauge("ipam_audit_source_age_seconds", "Age of the last good view of a source", ages)?;
        let faults = states
            .iter()
            .filter_map(|(source, _, fault)| Some(([("source", source.name()), ("category", (*fault)?)], 1.0)));
        out.gauge("ipam_audit_source_fault", "Sources that cannot be read now, and why", faults)
    }

    /// Each source with the moment of its last good view and its fault; the oldest where scopes differ.
    fn source_states(&self, now: Timestamp) -> Vec<(Source, Option<Timestamp>, Option<&'static str>)> {
        let of_cluster = self.state.source_states(now);
        let of_ec2 = self.polls.source_states();
        let all = of_cluster.into_iter().chain(of_ec2);
        all.map(|state| (state.source, state.as_of, state.fault.map(|fault| fault.category.name()))).collect()
    }

    fn calls(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let calls = self.polls.calls();
        let of = |figure: fn(&CallStats) -> u64| {
            calls.iter().map(move |(action, stats)| ([("action", *action)], figure(stats)))
        };
        out.counter(
            "ipam_audit_ec2_requests",
            "Requests sent to EC2, repeated ones included",
            of(|stats| stats.requests),
        )?;
        out.counter(
            "ipam_audit_ec2_throttles",
            "Requests that EC2 asked to repeat later",
            of(|stats| stats.throttles),
        )?;
        out.counter("ipam_audit_ec2_failures", "Calls to EC2 that failed in the end", of(|stats| stats.failures))
    }

    fn audits(&self, out: &mut Out<'_, '_>) -> fmt::Result {
        let audits = self.metrics.figures();
        let findings = audits.iter().flat_map(|(audit, figures)| {
            let labels = move |code, severity| [("audit", audit.as_str()), ("code", code), ("severity", severity)];
            #[expect(clippy::cast_precision_loss, reason = "findings are fewer than 2^52")]
            figures.findings.iter().map(move |((code, severity), count)| (labels(*code, *severity), *count as f64))
        });
        out.gauge("ipam_audit_findings", "Open findings", findings)?;
        let figure = |figure: fn(&AuditFigures) -> Option<u32>| {
            audits
                .iter()
                .filter_map(move |(audit, figures)| Some(([("audit", audit.as_str())], figure(figures)?.into())))
        };
        out.gauge("ipam_audit_waiting_pods", "Pods that wait for an address", figure(|figures| figures.waiting_pods))?;
        let idle = figure(|figures| figures.idle_addresses);
        out.gauge("ipam_audit_idle_addresses", "Pod addresses that nodes hold and no pod has", idle)?;
        let subnet = |figure: fn(&SubnetOutcome) -> Option<u32>| {
            audits.iter().flat_map(move |(audit, figures)| {
                figures.subnets.iter().filter_map(move |subnet| {
                    let labels =
                        [("audit", audit.as_str()), ("subnet", subnet.id.as_str()), ("zone", subnet.zone.as_str())];
                    Some((labels, figure(subnet)?.into()))
                })
            })
        };
        out.gauge(
            "ipam_audit_subnet_free_addresses",
            "Free addresses of a subnet",
            subnet(|subnet| Some(subnet.free)),
        )?;
        out.gauge(
            "ipam_audit_subnet_usable_addresses",
            "Size of a subnet less AWS' five",
            subnet(|subnet| subnet.usable),
        )?;
        let prefixes = subnet(|subnet| subnet.free_prefixes);
        out.gauge("ipam_audit_subnet_free_prefixes", "Whole free /28 blocks of a subnet", prefixes)?;
        let idle = subnet(|subnet| subnet.ledger.map(|ledger| ledger.idle()));
        out.gauge("ipam_audit_subnet_idle_addresses", "Addresses that nodes hold there and no pod has", idle)
    }
}

/// Writes whole families; one without any series is left out.
struct Out<'a, 'b>(&'a mut DescriptorEncoder<'b>);

impl Out<'_, '_> {
    fn gauge<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = ([(&'l str, &'l str); N], f64)>,
    ) -> fmt::Result {
        let series = series.into_iter().map(|(labels, value)| (labels, ConstGauge::new(value)));
        self.family(name, help, MetricType::Gauge, series)
    }

    fn counter<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        series: impl IntoIterator<Item = ([(&'l str, &'l str); N], u64)>,
    ) -> fmt::Result {
        let series = series.into_iter().map(|(labels, value)| (labels, ConstCounter::new(value)));
        self.family(name, help, MetricType::Counter, series)
    }

    fn family<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        series: impl Iterator<Item = ([(&'l str, &'l str); N], impl EncodeMetric)>,
    ) -> fmt::Result {
        let mut series = series.peekable();
        if series.peek().is_none() {
            return Ok(());
        }
        let mut family = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, metric) in series {
            metric.encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
