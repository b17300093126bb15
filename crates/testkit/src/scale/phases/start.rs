//! From the start of the operator to its first full set of reports, and the rest that follows.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;
use tokio::time::sleep;

use super::{CPU_PER_POD, MEMORY, MIB, Phases, WITHIN, decimal};
use crate::ec2::RequestLog;
use crate::scale::metrics::Metrics;
use crate::scale::rig::{AUDIT, Rig};

/// How often to look during the start: the processor time of the looks counts as the operator's.
const LOOK: Duration = Duration::from_millis(100);
/// Looks at `/readyz` for one at `/metrics`, which costs more.
const LOOKS: u32 = 10;
/// The series that say that EC2 has been read.
const EC2_READ: &str = r#"source="network-interfaces""#;
/// A change is audited within this time.
const QUIET: Duration = Duration::from_secs(2);
/// Items of EC2 that fit a page.
const PAGE: usize = 1_000;
/// Readings of EC2 are further apart than requests of one reading are, which wait for the budget of calls.
const GAP: Duration = Duration::from_secs(5);
/// The same where EC2 is read every other second.
const SHORT_GAP: Duration = Duration::from_millis(500);

impl Phases<'_> {
    /// Starts the operator and waits for its first complete evaluation and its first full set of reports.
    pub(in crate::scale) async fn start(&mut self) -> Result<()> {
        let received = self.rig.proxy.received();
        self.rig.start_operator("bench-a")?;
        self.first_evaluation(received).await?;
        let full = async |rig: &mut Rig| {
            let at_rest = rig.operator()?.admin.metrics().await?.at_rest();
            Ok((at_rest && rig.has_all_reports().await?).then_some(()))
        };
        self.rig.until("a full set of reports", WITHIN, full).await?;
        let operator = self.rig.operator()?;
        let (cpu, wall) = (operator.process.cpu_seconds()?, operator.started.elapsed());
        let peak = operator.process.peak()?;
        let objects =
            decimal(self.rig.count("nodeipamreports").await? + self.rig.count("subnetipamreports").await? + 1);
        let writes = decimal(self.rig.writes()?.reports);
        let report = &mut self.report;
        report.add("reportsCpu", "CPU to the first full set of reports", cpu, "s");
        report.add("reportsSeconds", "time to the first full set of reports", wall.as_secs_f64(), "s");
        report.promise("startPeak", "peak resident memory of the start", peak, "MiB", MEMORY);
        report.add("objects", "objects written for the first time", objects, "");
        report.add("firstWrites", "API writes for them", writes, "");
        Ok(())
    }

    async fn first_evaluation(&mut self, received: u64) -> Result<()> {
        let mut before = Metrics::default();
        let deadline = Instant::now() + WITHIN;
        let (mut look, mut ready) = (0_u32, false);
        loop {
            let operator = self.rig.operator()?;
            ready = ready || operator.admin.is_ready().await;
            look += 1;
            if ready || look.is_multiple_of(LOOKS) {
                let now = operator.admin.metrics().await.unwrap_or_default();
                let complete = ready && now.has("ipam_audit_snapshot_age_seconds", EC2_READ);
                // What took its snapshot before all was there is not complete.
                if complete && now.evaluations() > before.snapshots() {
                    break;
                }
                if !complete {
                    before = now;
                }
            }
            anyhow::ensure!(Instant::now() < deadline, "no complete evaluation within {WITHIN:?}");
            sleep(LOOK).await;
        }
        let operator = self.rig.operator()?;
        let (cpu, wall) = (operator.process.cpu_seconds()?, operator.started.elapsed().as_secs_f64());
        let pods = decimal(self.rig.contents.pods);
        let limit = (pods * CPU_PER_POD).max(1.0);
        let report = &mut self.report;
        report.promise("firstCpu", "CPU to the first complete evaluation", cpu, "s", limit.round());
        report.add("firstSeconds", "time to the first complete evaluation", wall, "s");
        if let Some(streamed) = self.streamed {
            let ratio = wall / streamed.took.as_secs_f64();
            report.promise("firstRatio", "that time against the stream of pods", ratio, "x", 1.2);
        }
        let bytes = decimal(self.rig.proxy.received() - received) / MIB;
        self.report.add("firstBytes", "bytes from the API server until then", bytes, "MiB");
        Ok(())
    }

    /// Watches the operator while nothing happens but its own readings of EC2.
    pub(in crate::scale) async fn rest(&mut self) -> Result<()> {
        self.settle().await?;
        let (writes, received) = (self.rig.writes()?, self.rig.proxy.received());
        self.rig.ec2.reset_request_log();
        let operator = self.rig.operator()?;
        let (started, cpu) = (Instant::now(), operator.process.cpu_seconds()?);
        operator.process.forget_peak()?;
        sleep(self.bench.idle).await;
        let gap = if self.bench.ec2_interval.is_some() { SHORT_GAP } else { GAP };
        let calls = async |rig: &mut Rig| Ok(calls_of_a_reading(&rig.ec2.request_log(), gap));
        let calls = self.rig.until("EC2 is read", WITHIN, calls).await?;
        let operator = self.rig.operator()?;
        let (resident, anonymous) = (operator.process.resident()?, operator.process.anonymous()?);
        let peak = operator.process.peak()?;
        let minutes = started.elapsed().as_secs_f64() / 60.0;
        let cpu = (operator.process.cpu_seconds()? - cpu) / minutes;
        let fewest = self.fewest_calls();
        let written = self.rig.writes()?.since(writes);
        let bytes = decimal(self.rig.proxy.received() - received) / MIB / minutes;
        let report = &mut self.report;
        report.promise("steady", "resident memory, steady", resident, "MiB", MEMORY);
        report.promise("steadyPeak", "its peak over readings of EC2", peak, "MiB", MEMORY);
        report.add("steadyAnonymous", "of the steady, heap and stacks", anonymous, "MiB");
        report.add("restCpu", "CPU a minute while nothing happens, EC2 included", cpu, "s");
        report.add("restBytes", "bytes from the API server a minute", bytes, "MiB");
        report.add("ec2Fewest", "fewest EC2 calls for a reading", decimal(fewest), "");
        report.promise("ec2Calls", "EC2 calls of a reading", decimal(calls), "", (decimal(fewest) * 1.1).floor());
        report.promise(
            "restWrites",
            "API writes while nothing changes",
            decimal(written.reports + written.events),
            "",
            0.0,
        );
        Ok(())
    }

    /// Waits until the operator has nothing left to write.
    pub(super) async fn settle(&mut self) -> Result<()> {
        let mut last = None;
        self.rig
            .until("nothing left to write", WITHIN, async |rig: &mut Rig| {
                let metrics = rig.operator()?.admin.metrics().await?;
                let now = (rig.writes()?, metrics.at_rest());
                sleep(QUIET).await;
                Ok((last.replace(now) == Some(now) && metrics.at_rest()).then_some(()))
            })
            .await
    }

    /// The VPC, pages of subnets, pages of interfaces.
    fn fewest_calls(&self) -> u64 {
        let seed = self.rig.scenario.to_ec2_seed();
        let pages = seed.interfaces.len().div_ceil(PAGE) + seed.subnets.len().div_ceil(PAGE) + 1;
        pages as u64
    }
}

/// Requests of the last complete reading in a log of several: they come together, with pauses between readings.
fn calls_of_a_reading(log: &RequestLog, most: Duration) -> Option<u64> {
    let mut readings: Vec<u64> = Vec::new();
    let mut last = None;
    for request in &log.requests {
        let gap =
            last.is_none_or(|last| Duration::try_from(request.at.duration_since(last)).is_ok_and(|gap| gap > most));
        if gap {
            readings.push(0);
        }
        if let Some(count) = readings.last_mut() {
            *count += 1;
        }
        last = Some(request.at);
    }
    // The last one may not be over. Among the others, the one that is like most: some things are asked for but once an hour.
    readings.pop();
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    for count in readings {
        *counts.entry(count).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, times)| *times).map(|(count, _)| count)
}

impl Rig {
    /// Whether every node has its report and the audit says that it is done.
    pub(in crate::scale) async fn has_all_reports(&self) -> Result<bool> {
        let audit = self.product("ipamaudits", AUDIT).await?;
        let is = |wanted: &str| {
            let conditions = audit["status"]["conditions"].as_array();
            let of_type = |condition: &&Value| condition["type"] == wanted;
            conditions.into_iter().flatten().find(of_type).is_some_and(|condition| condition["status"] == "True")
        };
        Ok(is("Ready") && is("DataComplete") && self.count("nodeipamreports").await? == self.contents.nodes)
    }
}
