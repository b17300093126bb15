//! Logging of the controller, the switch by which it changes while the process runs, and traces for who asks for them.

mod otlp;
mod spans;

use std::{
    io::{IsTerminal, stderr},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;
use ipam_audit_controller::{LogFilter, SPANS};
use tracing::{Level, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt, Targets, filter_fn},
    fmt,
    layer::SubscriberExt,
    registry::LookupSpan,
    reload,
    util::SubscriberInitExt,
};

pub(crate) use self::otlp::{Exporter, Target};
use crate::args::LogFormat;

/// The Kubernetes client and the AWS SDK log every attempt that fails, in their own words. Ours say it once;
/// `info,kube_client=debug` shows the attempts too. Spans are for traces: their counts are in the lines already.
const QUIET: &str = "ipam_audit_trace=off,kube_client=off,kube_runtime=off,aws_config=off,aws_runtime=off";

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

/// Logs to standard error, in the chosen form; in colour to a terminal only. With a target spans are gathered for it.
pub(crate) fn init(
    filter: &str,
    format: LogFormat,
    traces: Option<Target>,
) -> Result<(Arc<LogSwitch>, Option<Exporter>)> {
    let (parsed, handle) = reload::Layer::new(parse(filter).map_err(anyhow::Error::msg)?);
    let (gather, spans) = traces.is_some().then(spans::gather).unzip();
    let exporter = traces.zip(spans).map(|(target, spans)| Exporter::new(target, spans)).transpose()?;
    let of_audits = Targets::new().with_target(SPANS, LevelFilter::INFO);
    let gathering = gather.map(|gather| gather.with_filter(of_audits));
    let logged = parsed.and(filter_fn(|metadata| is_harmless(metadata.target(), *metadata.level())));
    tracing_subscriber::registry().with(lines(format).with_filter(logged)).with(gathering).init();
    Ok((Arc::new(LogSwitch { written: Mutex::new(filter.to_owned()), handle }), exporter))
}

/// Whether a line may be logged, whatever the filter says. With `trace` the AWS SDK writes down requests as they are sent, and
/// one of them consists of the token that a pod shows to STS.
fn is_harmless(target: &str, level: Level) -> bool {
    level != Level::TRACE || !target.starts_with("aws_")
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
    // The parser takes "a b" for the name of a target.
    let has_two_words = |part: &str| part.split_whitespace().nth(1).is_some();
    if filter.trim().is_empty() || filter.split(',').any(has_two_words) {
        return Err(wrong);
    }
    EnvFilter::try_new(format!("{QUIET},{filter}")).map_err(|_| wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_kept_out_of_the_log_by_name() {
        assert!(QUIET.contains(&format!("{SPANS}=off")), "{QUIET}");
    }

    #[test]
    fn requests_with_tokens_in_them_are_not_logged_at_any_level() {
        assert!(!is_harmless("aws_smithy_runtime::client::orchestrator", Level::TRACE));
        assert!(is_harmless("aws_smithy_runtime::client::orchestrator", Level::DEBUG));
        assert!(is_harmless("ipam_audit_controller::poll", Level::TRACE));
    }

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
