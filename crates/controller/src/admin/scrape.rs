//! `/metrics`: encoded in pieces while the client reads, so that thousands of series never are one text in memory.

use std::{
    fmt::{self, Write},
    sync::Arc,
};

use axum::{
    body::Body,
    extract::State as Shared,
    http::header,
    response::{IntoResponse, Response},
};
use futures::stream;
use prometheus_client::encoding::text::encode;
use tokio::sync::mpsc;

use super::Admin;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PIECE: usize = 32 * 1024;
/// Pieces that wait for the client at most.
const AHEAD: usize = 2;

pub(super) async fn metrics(Shared(admin): Shared<Arc<Admin>>) -> Response {
    let (sender, pieces) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        let mut out = Pieces { text: String::new(), sender };
        if let Err(error) = encode(&mut out, &admin.registry).and_then(|()| out.send()) {
            // The answer ends in the middle, without its end mark: nobody takes a part for the whole.
            out.sender.blocking_send(Err(error)).ok();
        }
    });
    let body = stream::unfold(pieces, |mut pieces| async { pieces.recv().await.map(|piece| (piece, pieces)) });
    ([(header::CONTENT_TYPE, OPEN_METRICS)], Body::from_stream(body)).into_response()
}

/// Text that goes to the client piece by piece.
struct Pieces {
    text: String,
    sender: mpsc::Sender<Result<String, fmt::Error>>,
}

impl Pieces {
    fn send(&mut self) -> fmt::Result {
        let text = std::mem::take(&mut self.text);
        self.sender.blocking_send(Ok(text)).map_err(|_| fmt::Error)
    }
}

impl Write for Pieces {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text.push_str(text);
        if self.text.len() < PIECE { Ok(()) } else { self.send() }
    }
}
