//! An API server in memory, for tests that must see every request: a function from request to answer.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use http::{Method, Request, Response};
use kube::{
    Client,
    client::Body,
    core::{Status, response::StatusSummary},
};
use serde::Serialize;
use tower::service_fn;

/// A request as a test looks at it.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: serde_json::Value,
}

/// What it is answered.
pub(crate) enum Answer {
    /// A status code and a body.
    Now(u16, Vec<u8>),
    /// Nothing, for ever.
    Never,
}

/// Every request so far, in order.
pub(crate) type Log = Arc<Mutex<Vec<Asked>>>;

/// A client whose requests go to a function.
pub(crate) fn client(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> (Client, Log) {
    let log = Log::default();
    let seen = log.clone();
    let answer = Arc::new(answer);
    let service = service_fn(move |request: Request<Body>| {
        let (answer, seen) = (answer.clone(), seen.clone());
        async move {
            let asked = read(request).await;
            seen.lock().unwrap().push(asked.clone());
            let Answer::Now(code, body) = answer(&asked) else {
                return std::future::pending().await;
            };
            Ok::<_, Infallible>(Response::builder().status(code).body(Body::from(body)).unwrap())
        }
    });
    (Client::new(service, "default"), log)
}

async fn read(request: Request<Body>) -> Asked {
    let (parts, body) = request.into_parts();
    let bytes = body.collect_bytes().await.unwrap();
    Asked {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        body: serde_json::from_slice(&bytes).unwrap_or_default(),
    }
}

/// An object as the answer.
pub(crate) fn ok(object: &impl Serialize) -> Answer {
    Answer::Now(200, serde_json::to_vec(object).unwrap())
}

/// Watch events, one line each.
pub(crate) fn lines(events: &[serde_json::Value]) -> Answer {
    let lines: Vec<String> = events.iter().map(ToString::to_string).collect();
    Answer::Now(200, lines.join("\n").into_bytes())
}

/// A refusal.
pub(crate) fn refused(code: u16, reason: &str) -> Answer {
    let status = Status {
        status: Some(StatusSummary::Failure),
        ..Status::failure("refused by the test", reason).with_code(code)
    };
    Answer::Now(code, serde_json::to_vec(&status).unwrap())
}
