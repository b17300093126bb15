//! The ways to the API server: four clients, since reads, the Lease, questions to nodes and writes bear delay differently.
//!
//! Reads may be repeated for a while. The Lease must not be: a renewal that is repeated for minutes outlives the lease.
//! Nor may a question to a node: one that the API server cannot reach looks like a server that asks to come back later.
//! And no byte of a write may leave this process after its claim has ended, wherever the request was held up: by a slow
//! connection, in a queue of the client, or because the process itself was stopped. So the claim is looked at where the
//! bytes are handed to the kernel: on each `write` of a connection that nothing but writes uses. What has left already is
//! bounded by the API server, which is told how long it may take.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{HeaderValue, Request, Uri, header::USER_AGENT, uri::PathAndQuery};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::{
    client::legacy::{
        Client as HttpClient,
        connect::{Connect, Connected, Connection, HttpConnector},
    },
    rt::{TokioExecutor, TokioIo},
};
use kube::{
    Client, Config,
    client::{Body, ConfigExt, retry::RetryPolicy},
};
use tokio::net::TcpStream;
use tower::{BoxError, ServiceBuilder, ServiceExt, retry::RetryLayer};

use crate::{call::WRITE_LIMIT, lease::Leadership};

/// How long a connection may take to be made.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How much of an answer a connection takes at once: a record of TLS is not larger.
const READ_BUFFER: usize = 16 * 1024;

/// The clients that need no claim.
#[derive(Clone)]
pub(crate) struct Clients {
    /// For reading.
    pub(crate) cluster: Client,
    /// For the Lease.
    pub(crate) lease: Client,
    /// For what is asked of nodes through the API server.
    pub(crate) nodes: Client,
}

impl Clients {
    pub(crate) fn new(config: &Config) -> kube::Result<Self> {
        let mut once = config.clone();
        once.default_retry = false;
        Ok(Self { cluster: for_reads(config)?, lease: for_reads(&once)?, nodes: for_reads(&once)? })
    }
}

/// What kube makes of a configuration, but with connections that keep little: each watch has one.
fn for_reads(config: &Config) -> kube::Result<Client> {
    if config.proxy_url.is_some() {
        // kube knows what to do, or how to say that it was built without.
        return Client::try_from(config.clone());
    }
    let retry = config.default_retry.then(|| RetryLayer::new(RetryPolicy::server_retry()));
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(retry)
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http(config.rustls_https_connector_with_connector(tcp(config.connect_timeout))?));
    Ok(Client::new(service, config.default_namespace.clone()))
}

fn tcp(limit: Option<Duration>) -> HttpConnector {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_connect_timeout(limit);
    connector
}

/// HTTP over a kind of connection. hyper would give a connection that brings much up to 400 KiB, and keep them.
fn http<C>(connector: C) -> HttpClient<C, Body>
where
    C: Connect + Clone,
{
    HttpClient::builder(TokioExecutor::new()).http1_read_buf_exact_size(READ_BUFFER).build(connector)
}

/// The configuration whose requests say who sends them.
pub(crate) fn signed(mut config: Config, identity: &str) -> Config {
    let agent = format!("ipam-audit/{} ({identity})", env!("CARGO_PKG_VERSION"));
    if let Ok(agent) = HeaderValue::try_from(agent) {
        config.headers.push((USER_AGENT, agent));
    }
    config
}

/// The client for writes: it sends nothing while this process does not lead, and repeats nothing.
pub(crate) fn for_writes(config: &Config, leadership: &Leadership) -> kube::Result<Client> {
    let claim = leadership.clone();
    let connector = tcp(Some(CONNECT_LIMIT)).map_response(move |stream| Guarded { stream, claim });
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let claim = leadership.clone();
    let service = ServiceBuilder::new()
        .map_request(move |request| bounded(request, claim.rest()))
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http(connector));
    Ok(Client::new(service, config.default_namespace.clone()))
}

/// Tells the API server how long it may take: a process that is stopped cannot take a request back.
fn bounded(mut request: Request<Body>, rest: Option<Duration>) -> Request<Body> {
    let limit = rest.unwrap_or_default().clamp(Duration::from_secs(1), WRITE_LIMIT);
    let uri = request.uri();
    let separator = if uri.query().is_some_and(|query| !query.is_empty()) { "&" } else { "?" };
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str).trim_end_matches('?');
    if let Ok(path) = format!("{path}{separator}timeout={}ms", limit.as_millis()).parse::<PathAndQuery>() {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.path_and_query = Some(path);
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
    }
    request
}

/// A connection that takes no byte while this process does not lead.
struct Guarded<S> {
    stream: S,
    claim: Leadership,
}

impl<S> Guarded<S> {
    fn check(&self) -> io::Result<()> {
        let refused = || io::Error::new(io::ErrorKind::PermissionDenied, "another replica leads");
        if self.claim.is_held() { Ok(()) } else { Err(refused()) }
    }
}

impl<S: Read + Unpin> Read for Guarded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: Write + Unpin> Write for Guarded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }
}

impl Connection for Guarded<TokioIo<TcpStream>> {
    fn connected(&self) -> Connected {
        self.stream.connected()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    };

    use kube::{Api, api::PostParams};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };
    use tokio_util::sync::CancellationToken;

    use super::*;

    fn request(uri: &str) -> Request<Body> {
        Request::get(uri).body(Body::empty()).unwrap()
    }

    #[test]
    fn the_api_server_is_told_how_long_a_write_may_take() {
        for (uri, rest, want) in [
            ("/api/v1/events?", Some(Duration::from_millis(3500)), "/api/v1/events?timeout=3500ms"),
            ("/apis/x?a=b&force=true", Some(Duration::MAX), "/apis/x?a=b&force=true&timeout=10000ms"),
            ("/apis/x", None, "/apis/x?timeout=1000ms"),
        ] {
            assert_eq!(bounded(request(uri), rest).uri().to_string(), want);
        }
    }

    #[test]
    fn requests_say_which_replica_sent_them() {
        let config = signed(Config::new(Uri::from_static("http://localhost")), "pod-1");
        let (name, value) = config.headers.last().unwrap();
        assert_eq!(name, USER_AGENT);
        assert!(value.to_str().unwrap().starts_with("ipam-audit/") && value.to_str().unwrap().ends_with(" (pod-1)"));
    }

    /// A server that counts what arrives and answers as little as an API server may.
    async fn server() -> (Uri, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let bytes = Arc::new(AtomicUsize::new(0));
        let seen = bytes.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let seen = seen.clone();
                tokio::spawn(async move {
                    let mut buffer = [0; 4096];
                    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                        seen.fetch_add(count, SeqCst);
                        let body = r#"{"metadata": {"name": "made"}}"#;
                        let answer = format!("HTTP/1.1 201 Created\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                        stream.write_all(answer.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        (uri, bytes)
    }

    #[tokio::test]
    async fn no_byte_leaves_without_a_claim_also_over_a_connection_that_is_open() {
        let (uri, bytes) = server().await;
        let stop = CancellationToken::new();
        let (leadership, end) = Leadership::alone(stop.clone());
        let api =
            Api::<k8s_openapi::api::core::v1::Namespace>::all(for_writes(&Config::new(uri), &leadership).unwrap());
        let namespace = k8s_openapi::api::core::v1::Namespace::default();
        api.create(&PostParams::default(), &namespace).await.unwrap();
        let before = bytes.load(SeqCst);
        assert!(before > 0);
        stop.cancel();
        end.await;
        for _ in 0..3 {
            api.create(&PostParams::default(), &namespace).await.unwrap_err();
        }
        assert_eq!(bytes.load(SeqCst), before);
    }
}
