//! Who reads what the operator tells of itself: parsers that nobody here wrote, and a collector of traces.
//!
//! The parsers are those of Prometheus' and OpenTelemetry's own Python packages, pinned by hashes.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use serde_json::Value;

use crate::loopback::Loopback;
use crate::venv::Venv;

pub(crate) const VENV: Venv =
    Venv { name: "telemetry", requirements: include_str!("../../../tests/telemetry/requirements.txt") };

const READ: &str = include_str!("../../../tests/telemetry/read.py");

/// The families of a scrape: `name`, `type`, `help` and `samples`, each with `name`, `labels` and `value`. Blocks.
pub fn parse_open_metrics(text: &str) -> Result<Vec<Value>> {
    read("openmetrics", text)
}

/// The spans of what a collector received: `name`, `trace`, `id`, `parent`, `attributes`, `resource`, `failed`. Blocks.
pub fn parse_traces(request: &str) -> Result<Vec<Value>> {
    read("traces", request)
}

fn read(what: &str, text: &str) -> Result<Vec<Value>> {
    let python = VENV.programs()?.join("python");
    let mut child = Command::new(python)
        .args(["-c", READ, what])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run python")?;
    // The script reads all of it before it prints anything.
    child.stdin.take().context("python has no input")?.write_all(text.as_bytes()).context("python takes no input")?;
    let output = child.wait_with_output().context("cannot wait for python")?;
    ensure!(output.status.success(), "these are no {what}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("the script printed no JSON")
}

/// A request that a collector received.
#[derive(Debug, Clone)]
pub struct Received {
    /// Its path.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: String,
}

#[derive(Debug, Default)]
struct Inbox {
    received: Vec<Received>,
    refuses: Option<StatusCode>,
}

/// A collector of OTLP over HTTP on a loopback port; it stops when dropped.
#[derive(Debug)]
pub struct Collector {
    inbox: Arc<Mutex<Inbox>>,
    server: Loopback,
}

impl Collector {
    /// Starts it.
    pub fn start() -> Result<Self> {
        let inbox = Arc::<Mutex<Inbox>>::default();
        let router = Router::new().fallback(receive).with_state(inbox.clone());
        Ok(Self { inbox, server: Loopback::serve("otlp-collector", router)? })
    }

    /// The value for `--otlp-endpoint`.
    pub fn endpoint(&self) -> String {
        self.server.url()
    }

    /// Everything that was received and taken.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.inbox).received.clone()
    }

    /// Answers with a status from now on and takes nothing, or takes everything again.
    pub fn refuse(&self, status: Option<u16>) {
        lock(&self.inbox).refuses = status.and_then(|status| StatusCode::from_u16(status).ok());
    }
}

async fn receive(State(inbox): State<Arc<Mutex<Inbox>>>, uri: Uri, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut inbox = lock(&inbox);
    if let Some(status) = inbox.refuses {
        return status;
    }
    let body = String::from_utf8_lossy(&body).into_owned();
    inbox.received.push(Received { path: uri.path().to_owned(), headers, body });
    StatusCode::OK
}

fn lock(inbox: &Mutex<Inbox>) -> MutexGuard<'_, Inbox> {
    inbox.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parsers_take_what_is_right_and_nothing_else() {
        let right = "# HELP a_b Some.\n# TYPE a_b counter\na_b_total{x=\"1\"} 2\n# EOF\n";
        let families = parse_open_metrics(right).unwrap();
        assert_eq!((&families[0]["name"], &families[0]["samples"][0]["value"]), (&"a_b".into(), &2.0.into()));
        for wrong in [
            right.replace("# EOF\n", ""),
            right.replace("a_b_total", "a_b"),
            right.replace("# EOF", "a_b_total{x=\"1\"} 3\n# EOF"),
        ] {
            assert!(parse_open_metrics(&wrong).is_err(), "{wrong}");
        }
        let span = |more: &str| {
            let id = "0123456789abcdef";
            let span = format!(
                r#"{{"traceId":"{id}{id}","spanId":"{id}","name":"n","startTimeUnixNano":"1","endTimeUnixNano":"2"{more}}}"#
            );
            format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{span}]}}]}}]}}"#)
        };
        assert_eq!(parse_traces(&span("")).unwrap()[0]["id"], "0123456789abcdef");
        assert!(parse_traces(&span(r#","colour":1"#)).is_err());
    }
}
