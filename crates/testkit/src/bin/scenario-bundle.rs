//! Writes a scenario as a bundle: `scenario-bundle NAME DIRECTORY [SECOND-DIRECTORY]`.
//!
//! A second directory gets a look at the same cluster some minutes later.

#![expect(clippy::print_stdout, reason = "its purpose is to print where the bundle is")]

use std::path::PathBuf;

use anyhow::Result;
use clap::Parser;
use ipam_audit_testkit::scenario::Scenario;
use jiff::{SignedDuration, Timestamp};

/// Write a scenario as a bundle for `ipam-audit audit --from`.
#[derive(Debug, Parser)]
struct Args {
    /// A shipped scenario, such as `incident`.
    scenario: String,
    /// Where to write it.
    directory: PathBuf,
    /// Where to write a later look at the same cluster.
    later: Option<PathBuf>,
    /// How many minutes later.
    #[arg(long, default_value_t = 11)]
    minutes: u32,
    /// The moment of the first look; a fixed one makes the same bytes every time.
    #[arg(long, default_value = "2026-11-21T12:00:00Z", value_name = "TIME")]
    at: Timestamp,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let scenario = Scenario::named(&args.scenario)?.at(args.at)?;
    scenario.write_bundle(&args.directory, args.at)?;
    println!("{}", args.directory.display());
    if let Some(later) = &args.later {
        scenario.write_bundle(later, args.at + SignedDuration::from_mins(args.minutes.into()))?;
        println!("{}", later.display());
    }
    Ok(())
}
