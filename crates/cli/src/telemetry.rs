//! Logging of the controller.

use std::io::{IsTerminal, stderr};

use anyhow::{Context, Result};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::args::LogFormat;

/// The Kubernetes client and the AWS SDK log every attempt that fails, in their own words. Ours say it once;
/// `info,kube_client=debug` shows the attempts too.
const QUIET: &str = "kube_client=off,kube_runtime=off,aws_config=off,aws_runtime=off";

/// Logs to standard error, in the chosen form; in colour to a terminal only.
pub(crate) fn init(filter: &str, format: LogFormat) -> Result<()> {
    let filter = EnvFilter::try_new(format!("{QUIET},{filter}"))
        .with_context(|| format!("`{filter}` is no log filter; write a level, or info,ipam_audit=debug"))?;
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Text => {
            let text = fmt::layer().with_writer(stderr).with_target(false).with_ansi(stderr().is_terminal());
            registry.with(text).init();
        }
        LogFormat::Json => registry.with(fmt::layer().json().with_writer(stderr)).init(),
    }
    Ok(())
}
