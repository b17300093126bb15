//! `ipam-audit cleanup`: takes away what the controller wrote.

use std::io::{self, Write};

use anyhow::{Context, Result};
use ipam_audit_controller::{Cleaned, Cleanup};
use kube::{Client, Config};

use crate::{INCOMPLETE, OK, USAGE, args::CleanupOptions, run::tls};

/// Takes everything away that it may, and says so line by line.
pub(crate) fn run(options: CleanupOptions) -> Result<u8> {
    tls()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(clean(options))
}

async fn clean(options: CleanupOptions) -> Result<u8> {
    let config = Config::infer().await.context("no cluster: set KUBECONFIG, or run in a pod with a ServiceAccount")?;
    let client = Client::try_from(config).context("the kubeconfig or the in-cluster configuration cannot be used")?;
    let CleanupOptions { dry_run, events, lease, force, namespace } = options;
    let cleaned = match (Cleanup { dry_run, force, events, lease, namespace }).run(&client).await {
        Ok(cleaned) => cleaned,
        Err(error) => {
            eprintln!("ipam-audit: {error}");
            return Ok(USAGE);
        }
    };
    let mut out = io::stdout().lock();
    for one in &cleaned {
        writeln!(out, "{one}{}", if dry_run { " (dry run)" } else { "" })?;
    }
    Ok(if cleaned.iter().all(Cleaned::is_complete) { OK } else { INCOMPLETE })
}
