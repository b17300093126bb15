//! A gate between one client and the API server: its writes can be held after so many, their answers lost, or the
//! client be cut off from the API server as a lost network does it.
//!
//! Towards the client it speaks plain HTTP; everything else passes as it is: paths, tokens, user agents, watches.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use kube::Client;
use kube::config::AuthInfo;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::ControlPlane;
use super::access::config_from;

/// A running gate; closed when dropped.
pub struct Gate {
    shared: Arc<Shared>,
    address: SocketAddr,
    server: AbortHandle,
}

struct Shared {
    client: Client,
    rules: watch::Sender<Rules>,
}

#[derive(Debug, Default)]
struct Rules {
    /// Nothing passes, in either direction.
    cut: bool,
    /// So many writes may pass; all of them if it says nothing.
    writes: Option<usize>,
    /// What may not pass is refused instead of held.
    refuses: bool,
    /// Writes that wait for that.
    waiting: usize,
    /// So many writes are done and never answered.
    unanswered: usize,
}

impl Gate {
    /// Opens a gate on the runtime that calls; everything passes.
    pub async fn open(plane: &ControlPlane) -> Result<Self> {
        let mut config = config_from(&plane.kubeconfig_path()).await?;
        // Whoever asks brings a token.
        config.auth_info = AuthInfo::default();
        config.default_retry = false;
        let client = Client::try_from(config).context("cannot make a client for the gate")?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("cannot open a gate")?;
        let address = listener.local_addr().context("the gate has no address")?;
        let shared = Arc::new(Shared { client, rules: watch::Sender::default() });
        let router = Router::new().fallback(forward).with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move { axum::serve(listener, router).await }).abort_handle();
        Ok(Self { shared, address, server })
    }

    /// Where clients find the API server.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Nothing passes any more, as if the network were gone: nothing is refused, nothing is answered.
    pub fn cut(&self) {
        self.shared.rules.send_modify(|rules| rules.cut = true);
    }

    /// Everything passes again, also what was under way.
    pub fn mend(&self) {
        self.shared.rules.send_modify(|rules| *rules = Rules { waiting: rules.waiting, ..Rules::default() });
    }

    /// So many writes pass, but for those of leases; the next ones wait.
    pub fn hold_writes_after(&self, count: usize) {
        self.shared.rules.send_modify(|rules| rules.writes = Some(count));
    }

    /// Writes that wait are refused, and so are all further ones.
    pub fn refuse_writes(&self) {
        self.shared.rules.send_modify(|rules| {
            rules.writes = Some(0);
            rules.refuses = true;
        });
    }

    /// What waits comes to nothing, as the requests of a process that is no more; then everything passes again.
    pub async fn forget(&self) {
        self.shared.rules.send_modify(|rules| *rules = Rules { waiting: rules.waiting, ..Rules::default() });
        self.refuse_writes();
        let mut changes = self.shared.rules.subscribe();
        // The gate itself keeps the other end.
        changes.wait_for(|rules| rules.waiting == 0).await.ok();
        self.mend();
    }

    /// The next writes are done, and the client never hears of it.
    pub fn lose_answers(&self, count: usize) {
        self.shared.rules.send_modify(|rules| rules.unanswered = count);
    }

    /// Whether a write waits that may not pass.
    pub fn holds_a_write(&self) -> bool {
        self.shared.rules.borrow().waiting > 0
    }

    /// How many answers are still to be lost.
    pub fn answers_to_lose(&self) -> usize {
        self.shared.rules.borrow().unanswered
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A write that waits, however the wait ends.
struct Waiting<'a>(&'a watch::Sender<Rules>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|rules| rules.waiting -= 1);
    }
}

impl Shared {
    /// Waits until something may pass; whether it may in the end.
    async fn pass(&self, is_write: bool) -> bool {
        let mut changes = self.rules.subscribe();
        let mut waiting = None;
        loop {
            let (mut passes, mut refused) = (false, false);
            self.rules.send_if_modified(|rules| {
                passes = !rules.cut && (!is_write || rules.writes != Some(0));
                refused = !rules.cut && !passes && rules.refuses;
                if let Some(left) = rules.writes.as_mut().filter(|_| passes && is_write) {
                    *left -= 1;
                }
                false
            });
            if passes || refused {
                return passes;
            }
            if is_write && waiting.is_none() {
                self.rules.send_modify(|rules| rules.waiting += 1);
                waiting = Some(Waiting(&self.rules));
            }
            if changes.changed().await.is_err() {
                return false;
            }
        }
    }

    fn loses_the_answer(&self) -> bool {
        let mut lost = false;
        self.rules.send_if_modified(|rules| {
            lost = rules.unanswered > 0;
            rules.unanswered -= usize::from(lost);
            lost
        });
        lost
    }
}

async fn forward(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let is_write = is_write(request.method(), request.uri());
    if !shared.pass(is_write).await {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    match send(&shared.client, request).await {
        Ok(answer) => {
            if is_write && shared.loses_the_answer() {
                std::future::pending::<()>().await;
            }
            shared.pass(false).await;
            returned(shared, answer)
        }
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error:#}")).into_response(),
    }
}

fn is_write(method: &Method, uri: &Uri) -> bool {
    [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(method) && !uri.path().contains("/leases")
}

async fn send(client: &Client, request: Request) -> Result<axum::http::Response<kube::client::Body>> {
    let (mut parts, body) = request.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.context("the request was cut")?;
    for name in [header::HOST, header::CONTENT_LENGTH, header::CONNECTION] {
        parts.headers.remove(name);
    }
    let request = axum::http::Request::from_parts(parts, kube::client::Body::from(bytes.to_vec()));
    client.send(request).await.context("the API server does not answer the gate")
}

/// The answer, each part of it only while something may pass.
fn returned(shared: Arc<Shared>, answer: axum::http::Response<kube::client::Body>) -> Response {
    let (mut parts, body) = answer.into_parts();
    for name in [header::TRANSFER_ENCODING, header::CONNECTION] {
        parts.headers.remove(name);
    }
    let chunks = Body::new(body).into_data_stream().then(move |chunk| {
        let shared = Arc::clone(&shared);
        async move {
            shared.pass(false).await;
            chunk
        }
    });
    Response::from_parts(parts, Body::from_stream(chunks))
}
