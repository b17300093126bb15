//! The admin server: `/livez`, `/readyz`, `/metrics`, and nothing else.
//!
//! Alive means that the process answers. Ready means that every watch has its first complete list and our kinds are
//! installed; until then the body names what is awaited. A later outage does not make it unready: reports stay.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::State as Shared,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    crds::CrdState,
    error::Error,
    state::{Parts, State},
};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the admin server looks at.
pub(crate) struct Admin {
    pub(crate) state: Arc<State>,
    pub(crate) crds: CrdState,
    pub(crate) registry: Registry,
}

/// Binds the address, so that a wrong one is an error at the start.
pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })
}

/// Serves until the shutdown.
pub(crate) async fn serve(listener: TcpListener, admin: Admin, stop: CancellationToken) -> Result<(), Error> {
    let address = listener.local_addr().map_or_else(|_| "?".to_owned(), |address| address.to_string());
    tracing::info!(address, "admin server");
    let router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Arc::new(admin));
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
    served.map_err(|source| Error::Serve { source })
}

async fn ready(Shared(admin): Shared<Arc<Admin>>) -> Response {
    let pending = pending(&admin);
    if pending.is_empty() {
        return "ok\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for: {}\n", pending.join(", "))).into_response()
}

fn pending(admin: &Admin) -> Vec<String> {
    let watches = admin.state.read(Parts::pending);
    let missing = admin.crds.problem().map(|problem| problem.message().to_owned());
    watches.into_iter().chain(missing).collect()
}

async fn metrics(Shared(admin): Shared<Arc<Admin>>) -> Response {
    let mut body = String::new();
    match encode(&mut body, &admin.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPEN_METRICS)], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
