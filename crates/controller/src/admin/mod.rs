//! The admin server: how the process is, for probes, for Prometheus and for people.
//!
//! Reading is open to everybody who reaches the port: nothing here tells what is in an object of the cluster. The one
//! thing that can be changed, what is logged, is for who is in the pod or forwards the port to it.
//!
//! Alive means that the process answers. Ready means that every watch has its first complete list and our kinds are
//! installed; until then the body names what is awaited. A later outage does not make it unready: reports stay.

mod debug;
mod log;
mod scrape;
mod server;
#[cfg(test)]
mod tests;

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::State as Shared,
    http::{Method, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::get,
};
use jiff::Timestamp;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use self::log::LogFilter;
use crate::{
    crds::CrdState,
    error::Error,
    lease::Leadership,
    poll::Polls,
    reconcile::Memory,
    settings::Settings,
    state::{Parts, State},
};

/// What there is, as `/` and a wrong path list it.
const ENDPOINTS: &str = "\
/livez        the process answers
/readyz       every watch has its first list and the CRDs are installed; else what is awaited
/metrics      OpenMetrics
/debug/state  what this process knows, as JSON: watches, EC2, leadership, audits, settings
/log-level    what is logged; PUT a filter to change it, from the pod itself or through kubectl port-forward
";

/// What the admin server looks at.
pub(crate) struct Admin {
    pub(crate) state: Arc<State>,
    pub(crate) polls: Arc<Polls>,
    pub(crate) crds: CrdState,
    pub(crate) leadership: Leadership,
    pub(crate) memory: Arc<Memory>,
    pub(crate) registry: Registry,
    pub(crate) log: Arc<dyn LogFilter>,
    pub(crate) settings: Settings,
    pub(crate) started: Timestamp,
}

/// Binds the address, so that a wrong one is an error at the start.
pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })
}

/// Serves until the shutdown. It does not fail: what is wrong with a connection is its client's affair.
pub(crate) async fn serve(listener: TcpListener, admin: Admin, stop: CancellationToken) {
    let address = listener.local_addr().map_or_else(|_| "?".to_owned(), |address| address.to_string());
    tracing::info!(address, "admin server");
    server::serve(listener, router(admin), stop).await;
}

fn router(admin: Admin) -> Router {
    Router::new()
        .route("/", get(|| async { ENDPOINTS }))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(scrape::metrics))
        .route("/debug/state", get(debug::state))
        .route("/log-level", get(log::read).put(log::change))
        .fallback(nothing_there)
        .method_not_allowed_fallback(not_allowed)
        .with_state(Arc::new(admin))
}

async fn ready(Shared(admin): Shared<Arc<Admin>>) -> Response {
    let pending = pending(&admin);
    if pending.is_empty() {
        return "ok\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for:\n- {}\n", pending.join("\n- "))).into_response()
}

fn pending(admin: &Admin) -> Vec<String> {
    let watches = admin.state.read(Parts::pending);
    let unknown = (!admin.crds.is_known()).then(|| "whether the CRDs are installed".to_owned());
    let missing = admin.crds.problem().map(|problem| problem.message().to_owned());
    watches.into_iter().chain(unknown).chain(missing).collect()
}

async fn nothing_there(uri: Uri) -> Response {
    (StatusCode::NOT_FOUND, format!("there is no {}; there are:\n\n{ENDPOINTS}", uri.path())).into_response()
}

async fn not_allowed(method: Method, uri: Uri) -> Response {
    let text = format!("{} does not take {method}; there are:\n\n{ENDPOINTS}", uri.path());
    (StatusCode::METHOD_NOT_ALLOWED, text).into_response()
}
