//! Sends spans to an OpenTelemetry collector: OTLP over HTTP, in its JSON encoding.
//!
//! Five spans an audit need no library of their own: the encoding is a page, the client is the one that kube stands on.
//! Nothing of it runs unless an endpoint is named. A collector that is away costs spans and two lines in the log.

use std::{
    env,
    io::Cursor,
    sync::atomic::Ordering::Relaxed,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail, ensure};
use http::{HeaderName, HeaderValue, Request, StatusCode, Uri, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

use super::spans::{Ended, Spans, Value};

/// Spans go out together when the first of them has waited so long, or when there are so many.
const GATHER: Duration = Duration::from_secs(1);
const MOST: usize = 256;
const PATIENCE: Duration = Duration::from_secs(10);
/// Pauses before the second and the third attempt, where another may help.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];

const UNKNOWN: &str = "unknown answer";

/// Where spans go.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    uri: Uri,
    headers: Vec<(HeaderName, HeaderValue)>,
    resource: Json,
}

type Connector = hyper_rustls::HttpsConnector<HttpConnector>;

/// Sends what is gathered.
pub(crate) struct Exporter {
    target: Target,
    client: Client<Connector, Full<Cursor<Vec<u8>>>>,
    spans: Spans,
    /// Whether the collector's failure was told.
    failing: bool,
    told_dropped: u64,
}

impl Target {
    /// From an endpoint without a path, as OpenTelemetry's variables name it, and what they say beside it.
    pub(crate) fn new(endpoint: &str, identity: &str) -> Result<Self> {
        let uri = traces_of(endpoint)?;
        let set = |name| env::var(name).ok().filter(|text| !text.is_empty());
        let headers = pairs(&set("OTEL_EXPORTER_OTLP_HEADERS").unwrap_or_default(), "OTEL_EXPORTER_OTLP_HEADERS")?;
        let headers = headers.into_iter().map(|(name, value)| {
            let wrong = || format!("OTEL_EXPORTER_OTLP_HEADERS: {name} is no header with a value that can be sent");
            let mut value = HeaderValue::try_from(value).with_context(wrong)?;
            value.set_sensitive(true);
            Ok((HeaderName::try_from(name.as_str()).with_context(wrong)?, value))
        });
        let service = set("OTEL_SERVICE_NAME").unwrap_or_else(|| "ipam-audit".to_owned());
        let mut resource = vec![
            ("service.name".to_owned(), service),
            ("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("service.instance.id".to_owned(), identity.to_owned()),
        ];
        resource.extend(pairs(&set("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default(), "OTEL_RESOURCE_ATTRIBUTES")?);
        let attributes: Vec<Json> =
            resource.into_iter().map(|(key, text)| attribute(&key, &Value::Text(text))).collect();
        Ok(Self { uri, headers: headers.collect::<Result<_>>()?, resource: json!({"attributes": attributes}) })
    }
}

/// The endpoint's path for traces.
fn traces_of(endpoint: &str) -> Result<Uri> {
    let wrong = || format!("`{endpoint}` is no OTLP endpoint; write http://HOST:4318 or https://HOST");
    let uri: Uri = format!("{}/v1/traces", endpoint.trim_end_matches('/')).parse().with_context(wrong)?;
    ensure!(matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some(), wrong());
    Ok(uri)
}

/// `a=1,b=2`, as OpenTelemetry's variables have it.
fn pairs(text: &str, variable: &str) -> Result<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let Some((key, value)) = pair.split_once('=') else {
            bail!("{variable}: write key=value,key=value");
        };
        pairs.push((key.trim().to_owned(), value.trim().to_owned()));
    }
    Ok(pairs)
}

impl Exporter {
    /// An exporter; the TLS provider has to be installed.
    pub(super) fn new(target: Target, spans: Spans) -> Result<Self> {
        let connector = HttpsConnectorBuilder::new();
        let connector = connector.with_native_roots().context("the machine's certificates cannot be read")?;
        let connector = connector.https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { target, client, spans, failing: false, told_dropped: 0 })
    }

    /// Sends until the shutdown, and then what is left.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::new();
        while stop.run_until_cancelled(self.next(&mut batch)).await.is_some() {
            let sent = self.send_patiently(&batch).await;
            self.tell(sent.err().as_deref());
            batch.clear();
        }
        while let Ok(span) = self.spans.ended.try_recv() {
            batch.push(span);
        }
        if !batch.is_empty() {
            // Nobody waits long for it, and nobody is told any more.
            drop(self.send(&batch).await);
        }
    }

    /// Gathers what ends within a moment. What was gathered stays if this is given up.
    async fn next(&mut self, batch: &mut Vec<Ended>) {
        if batch.is_empty() {
            match self.spans.ended.recv().await {
                Some(span) => batch.push(span),
                None => std::future::pending().await,
            }
        }
        let more = async {
            while batch.len() < MOST
                && let Some(span) = self.spans.ended.recv().await
            {
                batch.push(span);
            }
        };
        drop(tokio::time::timeout(GATHER, more).await);
    }

    /// Sends, and again where another attempt may help.
    async fn send_patiently(&self, batch: &[Ended]) -> Result<(), String> {
        for pause in PAUSES {
            match self.send(batch).await {
                Err(Failure::Passing(_)) => tokio::time::sleep(pause).await,
                other => return other.map_err(Failure::into_text),
            }
        }
        self.send(batch).await.map_err(Failure::into_text)
    }

    async fn send(&self, batch: &[Ended]) -> Result<(), Failure> {
        let mut request = Request::post(self.target.uri.clone()).header(CONTENT_TYPE, "application/json");
        for (name, value) in &self.target.headers {
            request = request.header(name, value);
        }
        let body = Cursor::new(encode(&self.target.resource, batch).to_string().into_bytes());
        let request = request.body(Full::new(body));
        let request = request.map_err(|error| Failure::Lasting(error.to_string()))?;
        let answer = tokio::time::timeout(PATIENCE, self.client.request(request)).await;
        let status = match answer {
            Ok(Ok(answer)) => answer.status(),
            Ok(Err(error)) if error.is_connect() => return Err(Failure::Passing("it cannot be reached".to_owned())),
            Ok(Err(_)) => return Err(Failure::Passing("it hung up".to_owned())),
            Err(_) => return Err(Failure::Passing("it does not answer".to_owned())),
        };
        let text = || format!("it answers {} {}", status.as_u16(), status.canonical_reason().unwrap_or(UNKNOWN));
        match status {
            status if status.is_success() => Ok(()),
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Err(Failure::Passing(text())),
            _ => Err(Failure::Lasting(text())),
        }
    }

    /// One line when the collector begins to fail, one when it is well again.
    fn tell(&mut self, failed: Option<&str>) {
        let dropped = self.spans.dropped.load(Relaxed);
        let collector = self.target.uri.authority().map(ToString::to_string).unwrap_or_default();
        match failed {
            Some(why) if !self.failing => {
                tracing::warn!(collector, "traces cannot be sent: {why}; audits go on without them");
            }
            None if self.failing => {
                tracing::info!(collector, dropped = dropped - self.told_dropped, "traces are sent again");
                self.told_dropped = dropped;
            }
            _ => {}
        }
        self.failing = failed.is_some();
    }
}

/// Why spans were not taken.
enum Failure {
    Passing(String),
    Lasting(String),
}

impl Failure {
    fn into_text(self) -> String {
        match self {
            Self::Passing(text) | Self::Lasting(text) => text,
        }
    }
}

/// An `ExportTraceServiceRequest`.
fn encode(resource: &Json, batch: &[Ended]) -> Json {
    let scope = json!({"name": "ipam-audit", "version": env!("CARGO_PKG_VERSION")});
    let spans: Vec<Json> = batch.iter().map(span).collect();
    json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": scope, "spans": spans}]}]})
}

fn span(ended: &Ended) -> Json {
    const INTERNAL: u8 = 1;
    const ERROR: u8 = 2;
    let mut span = json!({
        "traceId": format!("{:032x}", ended.trace),
        "spanId": format!("{:016x}", ended.id),
        "name": ended.name,
        "kind": INTERNAL,
        "startTimeUnixNano": nanoseconds(ended.began),
        "endTimeUnixNano": nanoseconds(ended.until),
        "attributes": ended.values.iter().map(|(key, value)| attribute(key, value)).collect::<Vec<_>>(),
    });
    if let Some(parent) = ended.parent {
        span["parentSpanId"] = format!("{parent:016x}").into();
    }
    let error = ended.values.iter().find(|(key, _)| *key == "error");
    if let Some((_, Value::Text(message))) = error {
        span["status"] = json!({"code": ERROR, "message": message});
    }
    span
}

/// Numbers of 64 bits are text in this encoding.
fn attribute(key: &str, value: &Value) -> Json {
    let value = match value {
        Value::Text(text) => json!({"stringValue": text}),
        Value::Number(number) => json!({"intValue": number.to_string()}),
        Value::Truth(truth) => json!({"boolValue": truth}),
    };
    json!({"key": key, "value": value})
}

fn nanoseconds(time: SystemTime) -> String {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_gets_the_path_for_traces_and_a_wrong_one_says_how_to_write_it() {
        for endpoint in ["http://collector:4318", "http://collector:4318/"] {
            assert_eq!(traces_of(endpoint).unwrap().to_string(), "http://collector:4318/v1/traces");
        }
        assert_eq!(traces_of("https://x.example/otlp").unwrap().path(), "/otlp/v1/traces");
        for wrong in ["collector:4318", "grpc://collector:4317", "", "http://"] {
            let error = traces_of(wrong).unwrap_err().to_string();
            assert!(error.contains("write http://HOST:4318"), "{wrong}: {error}");
        }
    }

    #[test]
    fn pairs_are_read_as_opentelemetry_writes_them() {
        let read = pairs("a=1, b = x=y ,", "V").unwrap();
        assert_eq!(read, [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "x=y".to_owned())]);
        assert!(pairs("a", "OTEL_RESOURCE_ATTRIBUTES").unwrap_err().to_string().contains("OTEL_RESOURCE_ATTRIBUTES"));
    }

    #[test]
    fn a_failed_audit_is_a_failed_span() {
        let ended = Ended {
            name: "audit",
            trace: 0xab,
            id: 0xcd,
            parent: None,
            began: UNIX_EPOCH + Duration::from_nanos(5),
            until: UNIX_EPOCH + Duration::from_nanos(9),
            values: vec![("nodes", Value::Number(3)), ("error", Value::Text("Publish".to_owned()))],
        };
        let span = span(&ended);
        assert_eq!(span["traceId"], "000000000000000000000000000000ab");
        assert_eq!(span["spanId"], "00000000000000cd");
        assert_eq!((&span["startTimeUnixNano"], &span["endTimeUnixNano"]), (&json!("5"), &json!("9")));
        assert_eq!(span["attributes"][0], json!({"key": "nodes", "value": {"intValue": "3"}}));
        assert_eq!(span["status"], json!({"code": 2, "message": "Publish"}));
        assert!(span.get("parentSpanId").is_none());
    }
}
