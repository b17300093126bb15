//! The test control plane by hand: `controlplane build` fetches the programs, `controlplane start` runs them until Ctrl-C.

use std::io::{Write, stdout};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use ipam_audit_testkit::controlplane::{Binaries, ControlPlane, Options};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(about = "The Kubernetes control plane that the tests run on", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Find the programs, or build them once with Go (about 4 to 8 minutes), and print their folder
    Build,
    /// Start a control plane and keep it up until Ctrl-C
    Start {
        /// Also run kube-controller-manager (garbage collection, namespace deletion)
        #[arg(long)]
        controller_manager: bool,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("controlplane: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<()> {
    match command {
        Command::Build => say(&Binaries::locate()?.dir().display().to_string()),
        Command::Start { controller_manager } => {
            // Builds before anything listens for signals: until then Ctrl-C simply ends the process and its build.
            Binaries::locate()?;
            start(controller_manager).await
        }
    }
}

async fn start(controller_manager: bool) -> Result<()> {
    // Before the servers, so that a signal always finds a way to take them down in order.
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let plane = tokio::select! {
        plane = ControlPlane::start(Options { controller_manager, ..Options::default() }) => plane?,
        _ = interrupt.recv() => return Ok(()),
        _ = terminate.recv() => return Ok(()),
    };
    say(&format!("export KUBECONFIG={}", plane.kubeconfig_path().display()))?;
    say("Ready until Ctrl-C.")?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

fn say(text: &str) -> Result<()> {
    let mut out = stdout();
    writeln!(out, "{text}").context("cannot write to standard output")?;
    out.flush().context("cannot write to standard output")
}
