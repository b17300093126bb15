//! The API server's audit log: every request that it answered, as a witness for tests.

use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Deserialize;

/// Every request once it is answered; nothing for its mere arrival.
pub(super) const POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
";

/// One answered request. A watch appears twice: when it starts and when it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEvent {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; lower-case method otherwise.
    pub verb: String,
    /// Plural resource name; empty for requests outside the API, such as `/readyz`.
    pub resource: String,
    /// `status`, `token`, ...; empty for the resource itself.
    pub subresource: String,
    /// API group; empty for the core group.
    pub group: String,
    /// Namespace of the object; empty if it has none.
    pub namespace: String,
    /// Name of the object; empty for lists and watches.
    pub name: String,
    /// User as authenticated: `admin` or `system:serviceaccount:<namespace>:<name>`.
    pub user: String,
    /// User-Agent header, empty if the client sent none.
    pub user_agent: String,
    /// HTTP status of the answer; absent when the connection was cut before.
    pub code: Option<u16>,
    /// `ResponseStarted`, `ResponseComplete` or `Panic`.
    pub stage: String,
    /// Path and query of the request.
    pub uri: String,
    /// When the request came in.
    pub received: Option<Timestamp>,
    /// When this stage of it was reached.
    pub at: Option<Timestamp>,
}

impl AuditEvent {
    /// Whether the request was meant to change something.
    pub fn is_write(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    verb: String,
    #[serde(rename = "requestURI", default)]
    uri: String,
    #[serde(default)]
    user: User,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    object_ref: ObjectRef,
    response_status: Option<ResponseStatus>,
    stage: String,
    request_received_timestamp: Option<Timestamp>,
    stage_timestamp: Option<Timestamp>,
}

#[derive(Deserialize, Default)]
struct User {
    #[serde(default)]
    username: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ObjectRef {
    resource: String,
    subresource: String,
    api_group: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct ResponseStatus {
    code: Option<u16>,
}

impl From<Line> for AuditEvent {
    fn from(line: Line) -> Self {
        Self {
            verb: line.verb,
            resource: line.object_ref.resource,
            subresource: line.object_ref.subresource,
            group: line.object_ref.api_group,
            namespace: line.object_ref.namespace,
            name: line.object_ref.name,
            user: line.user.username,
            user_agent: line.user_agent,
            code: line.response_status.and_then(|status| status.code),
            stage: line.stage,
            uri: line.uri,
            received: line.request_received_timestamp,
            at: line.stage_timestamp,
        }
    }
}

/// Reads the log in the order in which the server answered.
pub(super) fn read(path: &Path) -> Result<Vec<AuditEvent>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    parse(&text)
}

fn parse(text: &str) -> Result<Vec<AuditEvent>> {
    // The server may be in the middle of a line: what follows the last newline is not complete.
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    let events = complete.lines().map(|line| serde_json::from_str::<Line>(whole(line)).map(AuditEvent::from));
    events.collect::<Result<_, _>>().context("the audit log has a line that cannot be read")
}

/// What a killed server has left of a line is before the first line of the next.
fn whole(line: &str) -> &str {
    line.rfind(r#"{"kind":"Event","apiVersion":"audit"#).map_or(line, |start| &line[start..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_written_line_is_left_for_the_next_read() {
        let line = r#"{"verb":"patch","requestURI":"/api/v1/nodes/a/status","user":{"username":"admin"},"objectRef":
            {"resource":"nodes","subresource":"status","name":"a"},"responseStatus":{"code":200},"stage":"ResponseComplete"}"#
            .replace('\n', "");
        let events = parse(&format!("{line}\n{{\"verb\":\"ge")).unwrap();
        assert_eq!(events.len(), 1);
        let next =
            format!("{{\"verb\":\"ge{}\n", line.replacen('{', r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","#, 1));
        assert_eq!(parse(&next).unwrap(), events, "the next server goes on behind what a killed one has left");
        let event = &events[0];
        assert_eq!(
            (event.verb.as_str(), event.resource.as_str(), event.subresource.as_str()),
            ("patch", "nodes", "status")
        );
        assert_eq!((event.code, event.is_write(), event.group.as_str()), (Some(200), true, ""));
    }
}
