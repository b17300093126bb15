//! Events about addresses: kubelet's word that the CNI gave a pod none, and what the CNI, the VPC resource controller and
//! Karpenter say of theirs.

use ipam_audit_core::snapshot::Event;
use k8s_openapi::{
    api::events::v1::Event as FullEvent,
    apimachinery::pkg::apis::meta::v1::{MicroTime, Time},
    jiff::Timestamp,
};
use kube::{Resource, core::ObjectMeta};
use serde::Deserialize;

use super::{Interner, Malformed, meta};

/// The reason of kubelet's events about sandboxes; the watch selects by it.
pub const POD_SANDBOX_FAILED: &str = "FailedCreatePodSandBox";
/// What the CNI plugin says when ipamd has no address to give.
const NO_ADDRESS: &str = "failed to assign an IP address to container";
/// Programs whose events are all about addresses.
const SPEAKERS: [&str; 2] = ["aws-node", "vpc-resource-controller"];
/// What other events about addresses contain, in their reason or text.
const WORDS: [&str; 4] =
    ["vpc.amazonaws.com/", "InsufficientFreeAddresses", "InsufficientCidrBlocks", "MissingIAMPermissions"];
/// The text of a row is not longer.
const LONGEST_TEXT: usize = 1024;

/// An event of `events.k8s.io`, or of the core group under its other names. kubelet writes to the core group; the API
/// server serves the same objects in both.
#[derive(Debug, Clone, Default, Deserialize, Resource)]
#[resource(inherit = FullEvent)]
#[serde(rename_all = "camelCase")]
pub struct EventView {
    #[serde(default, deserialize_with = "meta::bare")]
    metadata: ObjectMeta,
    #[serde(default, alias = "involvedObject")]
    regarding: Regarding,
    reason: Option<String>,
    #[serde(rename = "type")]
    severity: Option<String>,
    action: Option<String>,
    #[serde(alias = "message")]
    note: Option<String>,
    #[serde(alias = "reportingComponent")]
    reporting_controller: Option<String>,
    #[serde(default, alias = "source")]
    deprecated_source: EventSource,
    #[serde(alias = "firstTimestamp")]
    deprecated_first_timestamp: Option<Time>,
    #[serde(alias = "lastTimestamp")]
    deprecated_last_timestamp: Option<Time>,
    event_time: Option<MicroTime>,
    series: Option<Series>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Regarding {
    kind: Option<String>,
    namespace: Option<String>,
    name: Option<String>,
    uid: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct EventSource {
    component: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Series {
    last_observed_time: Option<MicroTime>,
}

/// A pod that was refused an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The pod's uid.
    pub pod: String,
    /// When it was last refused.
    pub at: Timestamp,
}

impl EventView {
    /// The refusal that it speaks of, if it is one.
    pub fn refusal(&self) -> Option<Refusal> {
        let of_pod = self.regarding.kind.as_deref() == Some("Pod");
        let of_sandbox = self.reason.as_deref() == Some(POD_SANDBOX_FAILED);
        let of_address = self.note.as_deref().is_some_and(|text| text.contains(NO_ADDRESS));
        let pod = self.regarding.uid.clone()?;
        (of_pod && of_sandbox && of_address).then_some(Refusal { pod, at: self.last_seen()? })
    }

    /// The row of a snapshot; none for an event about something else.
    pub fn row(&self, interner: &mut Interner) -> Result<Option<Event>, Malformed> {
        if !self.is_about_addresses() {
            return Ok(None);
        }
        let meta = &self.metadata;
        let name = self.regarding.name.as_deref();
        let name = name.ok_or_else(|| Malformed::missing("Event", meta, "the name of what it is about"))?;
        let text = self.note.as_deref().unwrap_or_default();
        // Events about many pods of one cause say the same.
        let message = interner.text(&text.chars().take(LONGEST_TEXT).collect::<String>());
        let mut shared = |text: Option<&str>| interner.text(text.unwrap_or_default());
        let namespace = self.regarding.namespace.as_deref().filter(|_| self.regarding.kind.as_deref() != Some("Node"));
        Ok(Some(Event {
            kind: shared(self.regarding.kind.as_deref()),
            namespace: shared(namespace),
            name: shared(Some(name)),
            reason: shared(self.reason.as_deref()),
            severity: shared(self.severity.as_deref()),
            action: self.action.as_deref().filter(|action| !action.is_empty()).map(|action| shared(Some(action))),
            message,
            last_at: self.last_seen(),
        }))
    }

    fn is_about_addresses(&self) -> bool {
        let reason = self.reason.as_deref().unwrap_or_default();
        let text = self.note.as_deref().unwrap_or_default();
        let mut speakers =
            [&self.reporting_controller, &self.deprecated_source.component].into_iter().flatten().map(String::as_str);
        reason == POD_SANDBOX_FAILED
            || speakers.any(|speaker| SPEAKERS.contains(&speaker))
            || WORDS.iter().any(|word| reason.contains(word) || text.contains(word))
    }

    /// Events exist in two generations: with counts and timestamps, and with a series.
    fn last_seen(&self) -> Option<Timestamp> {
        let series = self.series.as_ref().and_then(|series| series.last_observed_time.as_ref());
        let seconds = self.deprecated_last_timestamp.as_ref().or(self.deprecated_first_timestamp.as_ref());
        let micro = series.or(self.event_time.as_ref()).map(|time| time.0);
        let latest = micro.max(seconds.map(|time| time.0));
        latest.or_else(|| self.metadata.creation_timestamp.as_ref().map(|time| time.0))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_refused_address_is_a_refusal() {
        let event = |reason: &str, message: &str| {
            serde_json::from_value::<EventView>(json!({
                "metadata": {"name": "e", "namespace": "shop"},
                "regarding": {"kind": "Pod", "name": "p", "uid": "u1"},
                "reason": reason, "note": message,
                "deprecatedFirstTimestamp": "2026-01-01T00:00:00Z", "deprecatedLastTimestamp": "2026-01-01T00:05:00Z",
            }))
            .unwrap()
            .refusal()
        };
        let text = "plugin type=\"aws-cni\" name=\"aws-cni\" failed (add): add cmd: failed to assign an IP address to container";
        let at = "2026-01-01T00:05:00Z".parse().unwrap();
        assert_eq!(event(POD_SANDBOX_FAILED, text), Some(Refusal { pod: "u1".into(), at }));
        assert_eq!(event(POD_SANDBOX_FAILED, "connection refused"), None);
        assert_eq!(event("Failed", text), None);
    }

    #[test]
    fn events_of_both_groups_make_the_same_row() {
        let row = |object: serde_json::Value| {
            serde_json::from_value::<EventView>(object).unwrap().row(&mut Interner::default()).unwrap()
        };
        let core = row(json!({
            "metadata": {"name": "e", "namespace": "default"},
            "involvedObject": {"kind": "Node", "name": "n1", "uid": "n1"},
            "reason": "TrunkENICreationFailed", "type": "Warning", "message": "UnauthorizedOperation",
            "source": {"component": "vpc-resource-controller"}, "firstTimestamp": "2026-01-01T00:00:00Z",
            "lastTimestamp": "2026-01-01T00:05:00Z", "eventTime": null, "reportingComponent": "",
        }));
        let new = row(json!({
            "metadata": {"name": "e", "namespace": "default"},
            "regarding": {"kind": "Node", "name": "n1", "uid": "n1"},
            "reason": "TrunkENICreationFailed", "type": "Warning", "note": "UnauthorizedOperation",
            "reportingController": "vpc-resource-controller", "eventTime": "2026-01-01T00:00:00.000000Z",
            "series": {"count": 2, "lastObservedTime": "2026-01-01T00:05:00.000000Z"},
        }));
        assert_eq!(core, new);
        let event = core.unwrap();
        assert_eq!((&*event.kind, &*event.name, &*event.severity), ("Node", "n1", "Warning"));
        assert_eq!(event.last_at, "2026-01-01T00:05:00Z".parse().ok());
        assert_eq!(row(json!({"reason": "Pulled", "regarding": {"name": "p"}, "note": "image"})), None);
    }
}
