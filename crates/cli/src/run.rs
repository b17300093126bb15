//! `ipam-audit run`: the controller, wired to a cluster and to AWS.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, Result};
use ipam_audit_controller::Settings;
use kube::Config;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{
    FAILED, OK,
    args::RunOptions,
    ec2::Aws,
    telemetry::{self, LogSwitch, Target},
};

/// How long the spans of the last audits may take to get away.
const LAST_SPANS: Duration = Duration::from_millis(500);

/// Runs until it is told to stop. It does not end for a fault that can heal.
pub(crate) fn run(options: RunOptions) -> Result<u8> {
    tls()?;
    let options = RunOptions { identity: options.identity.or_else(own_name), ..options };
    let traces = options.otlp_endpoint.as_deref().filter(|endpoint| !endpoint.is_empty());
    let traces = traces.map(|endpoint| Target::new(endpoint, options.identity.as_deref().unwrap_or_default()));
    let (log, exporter) = telemetry::init(&options.log, options.log_format, traces.transpose()?)?;
    // All rows that are kept are made by one thread: their arena has no holes. Evaluations and EC2 have threads of their own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        let stop = CancellationToken::new();
        let exporting = exporter.map(|exporter| tokio::spawn(exporter.run(stop.clone())));
        let outcome = control(options, log).await;
        stop.cancel();
        if let Some(exporting) = exporting {
            drop(tokio::time::timeout(LAST_SPANS, exporting).await);
        }
        outcome
    });
    // A name that is being looked up, or an evaluation, is not waited for.
    runtime.shutdown_background();
    outcome
}

/// The one TLS provider of the whole program; kube and the AWS SDK both find it installed.
pub(crate) fn tls() -> Result<()> {
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        anyhow::bail!("another TLS provider is already installed");
    }
    Ok(())
}

async fn control(options: RunOptions, log: Arc<LogSwitch>) -> Result<u8> {
    let config = Config::infer().await.context(
        "no cluster: neither an in-cluster ServiceAccount nor a kubeconfig was found; set KUBECONFIG or run in a pod",
    )?;
    let shutdown = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = shutdown.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        tracing::info!("told to stop: finishing what is being written");
        stop.cancel();
    });
    match ipam_audit_controller::run(config, Aws, log, settings(options), shutdown).await {
        Ok(()) => Ok(OK),
        Err(error) => {
            tracing::error!("{:#}", anyhow::Error::from(error));
            Ok(FAILED)
        }
    }
}

fn settings(options: RunOptions) -> Settings {
    let defaults = Settings::default();
    let identity = options.identity.unwrap_or_else(|| defaults.identity.clone());
    Settings {
        listen: options.listen,
        namespace: options.namespace,
        identity,
        leader_elect: options.leader_elect,
        ec2_interval: options.ec2_interval,
        discovery_interval: options.discovery_interval,
        debounce: options.debounce,
        node_metrics: options.node_metrics,
        debounce_limit: options.debounce.saturating_mul(3),
        ..defaults
    }
}

/// The host's name with this process's number: two processes on one host must not take each other for themselves.
fn own_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = Some(name.trim()).filter(|name| !name.is_empty())?;
    Some(format!("{name}-{}", std::process::id()))
}
