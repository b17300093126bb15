//! The EC2 simulator as a program: serves the account of a seed file until it is told to stop.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Parser;
use ipam_audit_testkit::ec2::{Clock, Ec2Seed, Simulator, Throttling, World};

/// Serve an EC2 account on a local port. What it holds can be changed through the API and under /_sim/.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// YAML or JSON file that says what the account holds; an empty account without one.
    #[arg(long)]
    seed: Option<PathBuf>,
    /// Throttle with the token buckets that AWS documents.
    #[arg(long)]
    throttle: bool,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let seed = arguments.seed.as_deref().map(read_seed).transpose()?.unwrap_or_default();
    let simulator = Simulator::start_on(arguments.listen, World::load(seed)?, Clock::system())
        .with_context(|| format!("cannot listen on {}", arguments.listen))?;
    if arguments.throttle {
        simulator.throttle(Throttling::Documented);
    }
    writeln!(std::io::stdout(), "AWS_ENDPOINT_URL={}", simulator.endpoint())?;
    tokio::signal::ctrl_c().await.context("cannot wait for the signal to stop")
}

fn read_seed(path: &Path) -> anyhow::Result<Ec2Seed> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_saphyr::from_str(&text).with_context(|| format!("{} is not a seed", path.display()))
}
