//! The order of measuring, and how long each part may take.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use super::figures::Report;
use super::phases::Phases;
use super::rig::Rig;
use crate::scenario::Shape;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Bench {
    /// The size of the cluster.
    pub shape: Shape,
    /// The operator's binary.
    pub binary: PathBuf,
    /// How often EC2 is read, if not as often as it is by default.
    pub ec2_interval: Option<String>,
    /// How long the operator is watched while nothing happens.
    pub idle: Duration,
    /// How often something is repeated whose single time says little.
    pub rounds: u32,
}

/// Runs the operator through its life and measures: start, rest, changes, relist, failover.
pub async fn measure(bench: &Bench) -> Result<Report> {
    let rig = Rig::set_up(bench.shape, &bench.binary, bench.ec2_interval.clone()).await?;
    let mut phases = Phases::new(bench, rig);
    phases.describe();
    super::say("streaming all pods to a reader that throws them away");
    phases.stream().await?;
    super::say("starting the operator");
    phases.start().await?;
    super::say("watching it while nothing happens");
    phases.rest().await?;
    super::say("an audit that is called for while nothing changed");
    phases.unchanged().await?;
    super::say("audits in which nothing differs");
    phases.idle_audits().await?;
    super::say("pods that start");
    phases.changes().await?;
    super::say("restarting the API server, so that everything is listed again");
    phases.relist().await?;
    super::say("another operator takes over");
    phases.failover().await?;
    Ok(phases.report())
}
