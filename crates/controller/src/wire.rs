//! What the API server answers to reads, object by object: one that does not fit its kind's view spoils no other.
//!
//! kube's own calls decode a list as a whole, tell nothing of an object that a watch could not decode, and log what they
//! could not decode as it came. An object may hold what is secret, so here nothing of it is kept but its name.

use std::{borrow::Cow, io};

use futures::{AsyncBufRead, AsyncBufReadExt};
use http::{HeaderValue, Request, header::ACCEPT_ENCODING};
use ipam_audit_api::views::{Unfit, decode};
use kube::{
    Client, Error,
    core::{Status, WatchEvent},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

/// A buffer that one large object has made larger than this is given back.
const BUFFER: usize = 1 << 20;

/// An object, or why it is none.
pub(crate) type Item<K> = Result<K, Unfit>;

/// One line of a watch.
pub(crate) enum Line<K> {
    /// The object is new or has changed.
    Changed(Item<K>),
    /// The object is gone.
    Deleted(Item<K>),
    /// How far the watch has come, and whether that is the end of a streamed list.
    Bookmark { version: String, annotations: std::collections::BTreeMap<String, String> },
    /// The server ends the watch.
    Failed(Box<Status>),
    /// No event at all.
    Unreadable(&'static str),
}

/// The lines of a watch.
pub(crate) struct Lines<R> {
    body: R,
    buffer: Vec<u8>,
}

/// Begins a watch.
pub(crate) async fn watch(
    client: &Client,
    mut request: Request<Vec<u8>>,
) -> kube::Result<Lines<impl AsyncBufRead + Unpin + use<>>> {
    // A watch that is compressed event by event cannot be decompressed by the client.
    request.headers_mut().entry(ACCEPT_ENCODING).or_insert(HeaderValue::from_static("identity"));
    let body = client.request_stream(request).await?;
    Ok(Lines { body: Box::pin(body), buffer: Vec::new() })
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    /// The next line; none when the server has ended the watch or the connection was cut.
    pub(crate) async fn next<K: DeserializeOwned>(&mut self) -> kube::Result<Option<Line<K>>> {
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER);
        match self.body.read_until(b'\n', &mut self.buffer).await {
            Ok(0) => Ok(None),
            Ok(_) => Ok(line(&self.buffer)),
            Err(error) if is_cut(&error) => Ok(None),
            Err(error) => Err(Error::ReadEvents(error)),
        }
    }
}

/// Whether the connection ended where it should have gone on: a watch is resumed after that, nothing is wrong with it.
fn is_cut(error: &io::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof) {
            return true;
        }
        cause = error.source();
    }
    error.to_string().contains("unexpected EOF during chunk")
}

/// A line as an event; none where it was cut off.
fn line<K: DeserializeOwned>(line: &[u8]) -> Option<Line<K>> {
    Some(match serde_json::from_slice(line) {
        Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => Line::Changed(Ok(object)),
        Ok(WatchEvent::Deleted(object)) => Line::Deleted(Ok(object)),
        Ok(WatchEvent::Bookmark(bookmark)) => {
            let meta = bookmark.metadata;
            Line::Bookmark { version: meta.resource_version, annotations: meta.annotations }
        }
        Ok(WatchEvent::Error(status)) => Line::Failed(status),
        Err(error) if error.is_eof() => return None,
        Err(_) => unfit(line),
    })
}

/// A line whose object is not what it should be, or that is no event.
fn unfit<K: DeserializeOwned>(line: &[u8]) -> Line<K> {
    #[derive(Deserialize)]
    struct Event<'a> {
        #[serde(borrow, rename = "type")]
        kind: Cow<'a, str>,
        #[serde(borrow)]
        object: &'a RawValue,
    }
    if let Ok(Event { kind, object }) = serde_json::from_slice(line) {
        return match &*kind {
            "ADDED" | "MODIFIED" => Line::Changed(decode(object.get())),
            "DELETED" => Line::Deleted(decode(object.get())),
            _ => Line::Unreadable("an event of an unknown type"),
        };
    }
    match serde_json::from_slice::<Status>(line) {
        Ok(status) if status.code != 0 => Line::Failed(Box::new(status)),
        _ => Line::Unreadable("no event"),
    }
}

/// A page of a list.
pub(crate) struct Page<K> {
    pub(crate) items: Vec<Item<K>>,
    /// The version that the list is of.
    pub(crate) version: Option<String>,
    /// Where the next page begins, if there is one.
    pub(crate) next: Option<String>,
}

/// Reads a page of a list.
pub(crate) async fn page<K: DeserializeOwned>(client: &Client, request: Request<Vec<u8>>) -> kube::Result<Page<K>> {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Meta {
        resource_version: Option<String>,
        #[serde(rename = "continue")]
        next: Option<String>,
    }
    #[derive(Deserialize)]
    struct List<'a> {
        #[serde(default)]
        metadata: Meta,
        #[serde(borrow)]
        items: Option<Vec<&'a RawValue>>,
    }
    let text = client.request_text(request).await?;
    let list: List<'_> = serde_json::from_str(&text).map_err(Error::SerdeError)?;
    let items = list.items.into_iter().flatten().map(|item| decode(item.get())).collect();
    let next = list.metadata.next.filter(|token| !token.is_empty());
    Ok(Page { items, version: list.metadata.resource_version, next })
}

/// Reads one object.
pub(crate) async fn object<K: DeserializeOwned>(client: &Client, request: Request<Vec<u8>>) -> kube::Result<Item<K>> {
    Ok(decode(&client.request_text(request).await?))
}

#[cfg(test)]
mod tests {
    use ipam_audit_api::views::PodView;

    use super::*;

    fn read(text: &str) -> Option<Line<PodView>> {
        line(text.as_bytes())
    }

    #[test]
    fn a_line_is_an_event_or_says_why_it_is_none() {
        let pod = r#"{"metadata":{"name":"a","namespace":"shop","uid":"u"},"status":{"podIP":7}}"#;
        let Some(Line::Changed(Err(unfit))) = read(&format!(r#"{{"type":"MODIFIED","object":{pod}}}"#)) else {
            panic!("an object that does not fit")
        };
        assert_eq!((unfit.object().as_str(), unfit.what.as_str()), ("shop/a", "status.podIP: expected a string"));
        let gone = read(&format!(r#"{{"type":"DELETED","object":{pod}}}"#));
        assert!(matches!(gone, Some(Line::Deleted(Err(_)))));
        let status = r#"{"kind":"Status","status":"Failure","message":"no","reason":"Expired","code":410}"#;
        assert!(matches!(read(status), Some(Line::Failed(status)) if status.code == 410));
        let event = format!(r#"{{"type":"ERROR","object":{status}}}"#);
        assert!(matches!(read(&event), Some(Line::Failed(status)) if status.code == 410));
        assert!(matches!(read(r#"{"type":"NEWS","object":{}}"#), Some(Line::Unreadable(_))));
        assert!(matches!(read("oops"), Some(Line::Unreadable(_))));
        assert!(read(r#"{"type":"ADDED","object":{"metadata"#).is_none(), "cut off in the middle");
    }
}
