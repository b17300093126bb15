//! Connections of the admin server: few, small and short, whoever opens them.
//!
//! The port is open to the whole cluster. A client that sends nothing, or a byte a minute, or never reads its answer,
//! costs one of a fixed number of slots for some seconds, and no more than a buffer of 8 kB.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, body::Body, http::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// How long the head of a request may take; also how long a connection may be idle.
const HEAD: Duration = Duration::from_secs(5);
const BUFFER: usize = 8 * 1024;
const HEADERS: usize = 64;
const CONNECTIONS: usize = 128;
/// After this a connection serves the request under way and is closed.
const LIFE: Duration = Duration::from_mins(5);
/// How long that request may take yet.
const LAST_REQUEST: Duration = Duration::from_secs(2);
/// After a failure to accept: too many open files, most likely.
const PAUSE: Duration = Duration::from_millis(200);

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

impl Peer {
    /// Whether it is in the same network namespace: in the pod, or forwarded to it.
    pub(super) fn is_local(self) -> bool {
        self.0.ip().to_canonical().is_loopback()
    }
}

/// Serves until the shutdown, and then what is under way.
pub(super) async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut open = JoinSet::new();
    while let Some(Some((stream, peer, slot))) = stop.run_until_cancelled(accept(&listener, &slots)).await {
        open.spawn(converse(stream, Peer(peer), router.clone(), slot, stop.clone()));
        while open.try_join_next().is_some() {}
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

/// The next connection, once there is a slot for it.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let slot = slots.clone().acquire_owned().await.ok()?;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => return Some((stream, peer, slot)),
            Err(error) => {
                tracing::debug!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, peer: Peer, router: Router, slot: OwnedSemaphorePermit, stop: CancellationToken) {
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        let answer = router.clone().oneshot(request);
        async move { Ok::<_, Infallible>(answer.await.unwrap_or_else(|never| match never {})) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD).max_buf_size(BUFFER).max_headers(HEADERS);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        // An end that is an error is the client's affair.
        ended = connection.as_mut() => drop(ended),
        () = stop.cancelled() => drop(last_request(connection).await),
        () = tokio::time::sleep(LIFE) => drop(last_request(connection).await),
    }
    drop(slot);
}

async fn last_request<S>(mut connection: std::pin::Pin<&mut http1::Connection<TokioIo<TcpStream>, S>>) -> Option<()>
where
    S: hyper::service::HttpService<Incoming, ResBody = Body>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    connection.as_mut().graceful_shutdown();
    tokio::time::timeout(LAST_REQUEST, connection).await.ok()?.ok()
}
