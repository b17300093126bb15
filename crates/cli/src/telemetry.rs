//! Logging of the controller, and the switch by which it changes while the process runs.

use std::{
    io::{IsTerminal, stderr},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;
use ipam_audit_controller::LogFilter;
use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, fmt, layer::SubscriberExt, registry::LookupSpan, reload, util::SubscriberInitExt,
};

use crate::args::LogFormat;

/// The Kubernetes client and the AWS SDK log every attempt that fails, in their own words. Ours say it once;
/// `info,kube_client=debug` shows the attempts too.
const QUIET: &str = "kube_client=off,kube_runtime=off,aws_config=off,aws_runtime=off";

/// The filter in force, as it was written, and the way to another.
pub(crate) struct LogSwitch {
    written: Mutex<String>,
    handle: reload::Handle<EnvFilter, Registry>,
}

impl LogFilter for LogSwitch {
    fn current(&self) -> String {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change(&self, filter: &str) -> Result<(), String> {
        let parsed = parse(filter)?;
        self.handle.reload(parsed).map_err(|error| format!("the filter cannot be changed: {error}"))?;
        filter.clone_into(&mut self.written.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }
}

/// Logs to standard error, in the chosen form; in colour to a terminal only.
pub(crate) fn init(filter: &str, format: LogFormat) -> Result<Arc<LogSwitch>> {
    let (parsed, handle) = reload::Layer::new(parse(filter).map_err(anyhow::Error::msg)?);
    tracing_subscriber::registry().with(lines(format).with_filter(parsed)).init();
    Ok(Arc::new(LogSwitch { written: Mutex::new(filter.to_owned()), handle }))
}

fn lines<S: Subscriber + for<'a> LookupSpan<'a>>(format: LogFormat) -> Box<dyn Layer<S> + Send + Sync> {
    match format {
        LogFormat::Text => {
            fmt::layer().with_writer(stderr).with_target(false).with_ansi(stderr().is_terminal()).boxed()
        }
        LogFormat::Json => fmt::layer().json().with_writer(stderr).boxed(),
    }
}

fn parse(filter: &str) -> Result<EnvFilter, String> {
    let wrong = format!("`{filter}` is no log filter; write a level, or info,ipam_audit=debug");
    if filter.trim().is_empty() {
        return Err(wrong);
    }
    EnvFilter::try_new(format!("{QUIET},{filter}")).map_err(|_| wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_level_or_parts_with_levels() {
        for good in ["info", "debug", "info,ipam_audit_controller=debug", "off"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in ["", " ", "info,x=loud", "info,,=", "a b"] {
            let error = parse(bad).err().unwrap_or_default();
            assert!(error.contains("write a level"), "{bad}: {error}");
        }
    }
}
