//! `ipam-audit`: arguments, wiring and exit codes. Everything it does is in the other crates.

mod args;
mod audit;
mod cleanup;
mod documents;
mod ec2;
mod run;
mod simulate;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};

/// What an operator keeps for years lies among what each audit and each answer of EC2 takes for a moment. glibc's allocator
/// leaves holes between them that it never gives back: 13 MiB at 5,000 nodes (`docs/performance.md`).
#[cfg(all(feature = "jemalloc", target_os = "linux", target_env = "gnu"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Exit status: nothing to complain about.
const OK: u8 = 0;
/// Exit status: findings at or above the gate.
const FINDINGS: u8 = 1;
/// Exit status: a wrong argument, or input that could not be used.
const USAGE: u8 = 2;
/// Exit status: no such findings, but not everything could be looked at.
const INCOMPLETE: u8 = 3;
/// Exit status: the program failed.
const FAILED: u8 = 4;

fn main() -> ExitCode {
    let args = Args::parse();
    let status = match args.command {
        Command::Run(options) => run::run(options),
        Command::Audit(options) => audit::run(&options),
        Command::Simulate(options) => simulate::run(&options),
        Command::Explain(options) => documents::explain(&options),
        Command::Cleanup(options) => cleanup::run(options),
        Command::Crd => documents::crds(),
        Command::Rbac(options) => documents::rbac(&options),
        Command::IamPolicy(options) => documents::iam_policy(&options),
    };
    match status {
        Ok(code) => ExitCode::from(code),
        // The reader of the output went away, as `head` does: nothing is wrong.
        Err(error) if is_broken_pipe(&error) => ExitCode::from(OK),
        Err(error) => {
            eprintln!("ipam-audit: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = error.chain().find_map(|cause| cause.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
    kind == Some(std::io::ErrorKind::BrokenPipe)
}
