//! `make bench`: the shipped operator on a cluster of thousands of nodes, and a table of what it costs.

use std::io::{Write, stdout};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use ipam_audit_testkit::operator;
use ipam_audit_testkit::scale::{Bench, Rig, measure};
use ipam_audit_testkit::scenario::Shape;
use tokio::signal::unix::{SignalKind, signal};

/// Measure the operator on a large cluster. Exit status 1: a promise is broken.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Nodes.
    #[arg(long, env = "NODES", default_value_t = 5_000)]
    nodes: u32,
    /// Pods.
    #[arg(long, env = "PODS", default_value_t = 150_000)]
    pods: u32,
    /// Network interfaces.
    #[arg(long, env = "INTERFACES", default_value_t = 20_000)]
    interfaces: u32,
    /// The operator's binary; the one that was built with this program if not given.
    #[arg(long, value_name = "FILE")]
    operator: Option<PathBuf>,
    /// How often the operator reads EC2; its default if not given.
    #[arg(long, value_name = "DURATION")]
    ec2_interval: Option<String>,
    /// Seconds for which it is watched while nothing happens; EC2 is read once a minute.
    #[arg(long, default_value_t = 190, value_name = "SECONDS")]
    idle: u64,
    /// How many audits and pods to take the figures of changes from.
    #[arg(long, default_value_t = 10)]
    rounds: u32,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    /// Exit with 0 even where a promise is broken: for unoptimised builds.
    #[arg(long)]
    no_limits: bool,
    /// Set up the cluster only, print how to run the operator on it by hand, and stay until Ctrl-C.
    #[arg(long)]
    hold: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::from(2)
        }
    }
}

async fn run(arguments: Arguments) -> Result<bool> {
    let bench = Bench {
        shape: Shape { nodes: arguments.nodes, pods: arguments.pods, interfaces: arguments.interfaces },
        binary: arguments.operator.clone().map_or_else(operator::binary, Ok)?,
        ec2_interval: arguments.ec2_interval.clone(),
        idle: Duration::from_secs(arguments.idle),
        rounds: arguments.rounds.max(1),
    };
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    tokio::select! {
        outcome = act(&arguments, &bench) => outcome,
        _ = interrupt.recv() => Ok(true),
        _ = terminate.recv() => Ok(true),
    }
}

async fn act(arguments: &Arguments, bench: &Bench) -> Result<bool> {
    let mut out = stdout();
    if arguments.hold {
        let rig = Rig::set_up(bench.shape, &bench.binary, None).await?;
        writeln!(out, "{}\nReady until Ctrl-C.", rig.command_line())?;
        return std::future::pending().await;
    }
    let report = Box::pin(measure(bench)).await?;
    if arguments.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        write!(out, "{}", report.table())?;
    }
    Ok(arguments.no_limits || report.holds())
}
