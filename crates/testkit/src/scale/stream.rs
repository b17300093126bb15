//! What the API server takes to stream all pods to a reader that throws them away: the floor of every reader's time.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures::AsyncBufReadExt;
use kube::Client;

/// A streaming list, asked for as kube's `streaming_lists` does.
const PODS: &str = "/api/v1/pods?watch=true&allowWatchBookmarks=true&sendInitialEvents=true\
    &resourceVersionMatch=NotOlderThan&resourceVersion=";
/// What the bookmark after the last of them has.
const END: &[u8] = b"k8s.io/initial-events-end";

const LONGEST_BOOKMARK: usize = 2048;

/// How much, and how long it took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Streamed {
    pub(super) bytes: u64,
    pub(super) took: Duration,
}

/// Streams all pods once.
pub(super) async fn pods(client: &Client) -> Result<Streamed> {
    let started = Instant::now();
    let request = http::Request::get(PODS).body(Vec::new())?;
    let stream = client.request_stream(request).await.context("the API server streams no pods")?;
    let mut stream = std::pin::pin!(stream);
    let (mut bytes, mut tail) = (0_u64, Vec::new());
    loop {
        let chunk = stream.fill_buf().await.context("the stream of pods broke off")?;
        let length = chunk.len();
        if length == 0 {
            bail!("the stream of pods ended before its end was told");
        }
        bytes += length as u64;
        tail.extend_from_slice(&chunk[length.saturating_sub(LONGEST_BOOKMARK)..]);
        tail.drain(..tail.len().saturating_sub(LONGEST_BOOKMARK));
        if is_end(&tail) {
            return Ok(Streamed { bytes, took: started.elapsed() });
        }
        stream.consume_unpin(length);
    }
}

/// Whether the last event is the bookmark: it is much shorter than a pod. Nothing follows until a pod changes.
fn is_end(tail: &[u8]) -> bool {
    let Some(event) = tail.strip_suffix(b"\n") else { return false };
    let Some(start) = event.iter().rposition(|byte| *byte == b'\n') else { return false };
    event[start..].windows(END.len()).any(|window| window == END)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_complete_bookmark_is_the_end() {
        let bookmark =
            br#"{"type":"BOOKMARK","object":{"metadata":{"annotations":{"k8s.io/initial-events-end":"true"}}}}"#;
        let stream = [b"{\"type\":\"ADDED\"}\n".as_slice(), bookmark, b"\n"].concat();
        assert!(is_end(&stream));
        assert!(!is_end(&stream[..stream.len() - 1]));
        assert!(!is_end(b"{\"type\":\"ADDED\"}\n{\"type\":\"ADDED\"}\n"));
    }
}
