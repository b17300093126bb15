//! `FailedCreatePodSandBox` events: kubelet's word that the CNI gave a pod no address.

use k8s_openapi::{
    api::events::v1::Event as FullEvent,
    apimachinery::pkg::apis::meta::v1::{MicroTime, Time},
    jiff::Timestamp,
};
use kube::{Resource, core::ObjectMeta};
use serde::Deserialize;

use super::meta;

/// The reason of kubelet's events about sandboxes; the watch selects by it.
pub const POD_SANDBOX_FAILED: &str = "FailedCreatePodSandBox";
/// What the CNI plugin says when ipamd has no address to give.
const NO_ADDRESS: &str = "failed to assign an IP address to container";

/// An event of `events.k8s.io`. kubelet writes to the core group; the API server serves the same objects in both.
#[derive(Debug, Clone, Default, Deserialize, Resource)]
#[resource(inherit = FullEvent)]
#[serde(rename_all = "camelCase")]
pub struct EventView {
    #[serde(default, deserialize_with = "meta::pod")]
    metadata: ObjectMeta,
    #[serde(default)]
    regarding: Regarding,
    reason: Option<String>,
    note: Option<String>,
    deprecated_first_timestamp: Option<Time>,
    deprecated_last_timestamp: Option<Time>,
    event_time: Option<MicroTime>,
    series: Option<Series>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Regarding {
    kind: Option<String>,
    uid: Option<String>,
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
}
