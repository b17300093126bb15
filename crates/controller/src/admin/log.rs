//! `/log-level`: what is logged, looked at by everybody and changed from inside.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension,
    body::{Body, to_bytes},
    extract::State as Shared,
    http::StatusCode,
};

use super::{Admin, server::Peer};

/// The longest filter that is taken.
const LONGEST: usize = 1024;
/// How long a client may take to send it.
const PATIENCE: Duration = Duration::from_secs(5);

const REFUSED: &str = "the log level is changed from inside the pod only: \
    kubectl -n NAMESPACE port-forward POD 8080, then curl -X PUT -d debug http://localhost:8080/log-level\n";

/// What is logged, for who wants to change it while the process runs.
pub trait LogFilter: Send + Sync + 'static {
    /// The filter in force.
    fn current(&self) -> String;

    /// Changes it from now on; the error says how to write one.
    fn change(&self, filter: &str) -> Result<(), String>;
}

pub(super) async fn read(Shared(admin): Shared<Arc<Admin>>) -> String {
    format!("{}\n", admin.log.current())
}

pub(super) async fn change(
    Shared(admin): Shared<Arc<Admin>>,
    Extension(peer): Extension<Peer>,
    body: Body,
) -> (StatusCode, String) {
    if !peer.is_local() {
        return (StatusCode::FORBIDDEN, REFUSED.to_owned());
    }
    let filter = match tokio::time::timeout(PATIENCE, to_bytes(body, LONGEST)).await {
        Ok(Ok(bytes)) => String::from_utf8_lossy(&bytes).trim().to_owned(),
        Ok(Err(_)) => return (StatusCode::PAYLOAD_TOO_LARGE, format!("a filter has at most {LONGEST} bytes\n")),
        Err(_) => return (StatusCode::REQUEST_TIMEOUT, "the filter did not come\n".to_owned()),
    };
    let before = admin.log.current();
    match admin.log.change(&filter) {
        Ok(()) => {
            tracing::info!(before, now = filter, "what is logged has changed");
            (StatusCode::OK, format!("{filter}\n"))
        }
        Err(why) => (StatusCode::BAD_REQUEST, format!("{why}\n")),
    }
}
