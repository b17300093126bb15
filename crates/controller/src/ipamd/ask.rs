//! One question: `GET /metrics`, straight or through the API server, within a time and a size.
//!
//! What goes wrong becomes a sentence that stays the same while the trouble stays the same: no ports of this side, no
//! times, no text of the other side.

use std::{fmt, io, net::Ipv4Addr, sync::Arc, time::Duration};

use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::{
    body::{Body, Bytes},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use ipam_audit_core::{
    ipamd_metrics::{IpamdText, NotIpamd},
    rights,
    snapshot::IpamdSaid,
    source::{FaultCategory, SourceFault},
};
use kube::{Client, core::Status};
use tokio::net::TcpStream;

use super::rows::Answer;
use crate::call::{AWAY, CallError};

/// ipamd's answer is a twentieth of it.
const MOST_BYTES: usize = 1024 * 1024;
/// What is looked at of a refusal.
const MOST_BYTES_OF_REFUSAL: usize = 64 * 1024;
const PATH: &str = "/metrics";
const WHO: &str = "ipam-audit";

/// Where a node's ipamd is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Door {
    /// At the node itself.
    Address(Ipv4Addr),
    /// At its aws-node pod, through the API server.
    Pod { namespace: Arc<str>, name: Arc<str> },
}

/// How to ask.
pub(super) struct Question<'a> {
    pub(super) client: &'a Client,
    pub(super) port: u16,
    pub(super) timeout: Duration,
}

/// A door with its port, as people write it.
struct At<'a>(&'a Door, u16);

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(Door::Address(address), port) => write!(f, "{address}:{port}"),
            Self(Door::Pod { namespace, name }, port) => write!(f, "port {port} of {namespace}/{name}"),
        }
    }
}

/// Why there is no answer.
enum Failure {
    /// What kind, and what to say after the place.
    Plain(FaultCategory, &'static str),
    /// The place answers with this code.
    Code(StatusCode),
    /// Something other than the place.
    Whole(SourceFault),
}

impl Question<'_> {
    /// Asks once.
    pub(super) async fn ask(&self, door: &Door) -> Answer {
        let asked = async {
            match door {
                Door::Address(address) => self.straight(*address).await,
                Door::Pod { namespace, name } => self.through(namespace, name).await,
            }
        };
        let at = At(door, self.port);
        match tokio::time::timeout(self.timeout, Box::pin(asked)).await {
            Ok(Ok(said)) => Ok(said),
            Ok(Err(failure)) => Err(failure.fault(&at)),
            Err(_) => {
                let message = format!("{at} gives no answer within {} seconds", self.timeout.as_secs());
                Err(SourceFault { category: FaultCategory::Unreachable, message })
            }
        }
    }

    async fn straight(&self, address: Ipv4Addr) -> Result<IpamdSaid, Failure> {
        let stream = TcpStream::connect((address, self.port)).await.map_err(|error| unconnected(&error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|_| broken())?;
        let host = format!("{address}:{}", self.port);
        let request = Request::get(PATH)
            .header(header::HOST, host)
            .header(header::USER_AGENT, WHO)
            .header(header::CONNECTION, "close")
            .body(Empty::<Bytes>::new());
        let request = request.map_err(|_| broken())?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(|_| broken())?;
            match response.status() {
                StatusCode::OK => read(response.into_body()).await,
                code => Err(Failure::Code(code)),
            }
        };
        // Whatever ends the connection ends the answer as well, with what was received before.
        let driven = async {
            drop(connection.await);
            std::future::pending().await
        };
        tokio::select! {
            answer = answer => answer,
            never = driven => never,
        }
    }

    async fn through(&self, namespace: &str, name: &str) -> Result<IpamdSaid, Failure> {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}:{}/proxy{PATH}", self.port);
        let request = Request::get(path).body(kube::client::Body::empty()).map_err(|_| broken())?;
        let response = match self.client.send(request).await {
            Ok(response) => response,
            Err(error) => {
                let category = CallError::from(error).category();
                return Err(Failure::Whole(SourceFault { category, message: AWAY.to_owned() }));
            }
        };
        let code = response.status();
        if code == StatusCode::OK {
            return read(response.into_body()).await;
        }
        let words = refusal(response.into_body()).await;
        match serde_json::from_slice::<Status>(&words) {
            Ok(status) => Err(of_api_server(code, &status.message, (namespace, name))),
            // The pod's own words.
            Err(_) => Err(Failure::Code(code)),
        }
    }
}

impl Failure {
    fn fault(self, at: &At<'_>) -> SourceFault {
        match self {
            Self::Plain(category, what) => SourceFault { category, message: format!("{at} {what}") },
            Self::Code(code) => {
                let category =
                    if code.is_server_error() { FaultCategory::ServerFault } else { FaultCategory::Malformed };
                SourceFault { category, message: format!("{at} answers HTTP {} to {PATH}", code.as_u16()) }
            }
            Self::Whole(fault) => fault,
        }
    }
}

fn broken() -> Failure {
    Failure::Plain(FaultCategory::Unreachable, "ends the connection without an answer")
}

fn unconnected(error: &io::Error) -> Failure {
    let what = match error.kind() {
        io::ErrorKind::ConnectionRefused => "refuses the connection: nobody listens there",
        _ => "cannot be reached",
    };
    Failure::Plain(FaultCategory::Unreachable, what)
}

/// What the API server says instead of the pod.
fn of_api_server(code: StatusCode, message: &str, (namespace, name): (&str, &str)) -> Failure {
    let whole = |category, message: String| Failure::Whole(SourceFault { category, message });
    let unreachable = |what| Failure::Plain(FaultCategory::Unreachable, what);
    match code.as_u16() {
        401 => {
            whole(FaultCategory::Credentials, "the API server does not accept the operator's credentials".to_owned())
        }
        403 => whole(
            FaultCategory::Denied,
            format!(
                "the operator's ServiceAccount may not get pods/proxy in namespace {namespace}; apply the right that `{}` \
                 prints",
                rights::command_for("get", "pods/proxy")
            ),
        ),
        404 => whole(FaultCategory::NotFound, format!("the pod {namespace}/{name} is gone")),
        429 => whole(FaultCategory::Throttled, "the API server asks to get pods/proxy later".to_owned()),
        _ if message.contains("connection refused") => {
            unreachable("refuses the API server's connection: nobody listens there")
        }
        _ if message.contains("not allowed") => unreachable("has an address that the API server does not connect to"),
        _ => unreachable("cannot be reached by the API server"),
    }
}

/// Reads an answer as it comes, of which nothing is kept but the numbers.
async fn read<B>(mut body: B) -> Result<IpamdSaid, Failure>
where
    B: Body<Data = Bytes> + Unpin,
{
    let (mut text, mut bytes) = (IpamdText::default(), 0_usize);
    while let Some(frame) = body.frame().await {
        let Ok(chunk) = frame.map_err(|_| broken())?.into_data() else { continue };
        bytes += chunk.len();
        if bytes > MOST_BYTES {
            return Err(Failure::Plain(FaultCategory::Malformed, "answers with more than 1 MiB: this is not ipamd"));
        }
        text.push(&chunk);
    }
    text.finish().map_err(|error| {
        let what = match error {
            NotIpamd::Line(line) => {
                tracing::debug!(line, "an answer of ipamd has a line that is no sample");
                "answers what is not the format of metrics"
            }
            NotIpamd::NoPool => "answers without ipamd's numbers: something else listens there",
        };
        Failure::Plain(FaultCategory::Malformed, what)
    })
}

async fn refusal<B>(mut body: B) -> Vec<u8>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut words = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(chunk) = frame.into_data() {
            words.extend_from_slice(&chunk);
        }
        if words.len() > MOST_BYTES_OF_REFUSAL {
            break;
        }
    }
    words
}
