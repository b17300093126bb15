//! The parts of a measurement. Each leaves the cluster as it found it, as far as an audit can see.

mod changes;
mod recovery;
mod start;

use std::time::Duration;

use anyhow::Result;

use super::bench::Bench;
use super::figures::Report;
use super::rig::Rig;
use super::stream::Streamed;

/// Nothing takes this long, not even on a machine that compiles at the same time.
const WITHIN: Duration = Duration::from_mins(15);
const MEMORY: f64 = 64.0;
const MIB: f64 = 1024.0 * 1024.0;
/// What the promise of processor time to the first evaluation grows with.
const CPU_PER_POD: f64 = 3.0 / 50_000.0;

/// A measurement under way.
pub(super) struct Phases<'a> {
    bench: &'a Bench,
    rig: Rig,
    report: Report,
    streamed: Option<Streamed>,
}

impl<'a> Phases<'a> {
    pub(super) fn new(bench: &'a Bench, rig: Rig) -> Self {
        Self { bench, rig, report: Report::default(), streamed: None }
    }

    /// What was measured.
    pub(super) fn report(self) -> Report {
        self.report
    }

    /// What the cluster holds.
    pub(super) fn describe(&mut self) {
        let contents = self.rig.contents;
        let seed = self.rig.scenario.to_ec2_seed();
        let addresses: usize = seed.interfaces.iter().map(crate::ec2::seed::Interface::addresses).sum();
        self.report.about = format!(
            "{} nodes, {} pods, {} interfaces with {addresses} addresses in {} subnets.",
            contents.nodes,
            contents.pods,
            seed.interfaces.len(),
            seed.subnets.len(),
        );
        super::say(&self.report.about.clone());
        let mean = |bytes: u64, count: u64| decimal(bytes) / decimal(count.max(1));
        self.report.add("nodeBytes", "JSON of a node, mean", mean(contents.node_bytes, contents.nodes), "B");
        self.report.add("podBytes", "JSON of a pod, mean", mean(contents.pod_bytes, contents.pods), "B");
    }

    /// What the API server takes, warm, to stream the pods over the operator's own way.
    pub(super) async fn stream(&mut self) -> Result<()> {
        let client = self.rig.counted_client().await?;
        super::stream::pods(&client).await?;
        let streamed = super::stream::pods(&client).await?;
        self.report.add("streamSeconds", "API server streams all pods", streamed.took.as_secs_f64(), "s");
        self.report.add("streamBytes", "bytes of that stream", decimal(streamed.bytes) / MIB, "MiB");
        self.streamed = Some(streamed);
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts and sizes are far below 2^52")]
fn decimal(count: u64) -> f64 {
    count as f64
}
