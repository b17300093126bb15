//! When a bundle was taken: what its manifest says, else the newest moment that its data prove.
//!
//! The files' own times prove nothing: a checkout, a copy or an archive changes them.

use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;

/// Where the time of a bundle comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// `manifest.json` says it.
    Manifest,
    /// The newest moment that an object of the bundle speaks of.
    NewestObject,
    /// Nothing in the bundle says it: it is the time of reading.
    Reading,
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Manifest => "as manifest.json says",
            Self::NewestObject => "the newest moment that the bundle's objects speak of",
            Self::Reading => "the time of reading, for nothing in the bundle says when it was taken",
        })
    }
}

/// The head of an item: its kind and its name, and the moments that had passed when it was written down. Deadlines are
/// not among them: a pod's deletion is stamped with the end of its grace period.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Head {
    pub(crate) kind: Option<String>,
    #[serde(default)]
    pub(crate) metadata: HeadMeta,
    #[serde(default)]
    status: Status,
    last_timestamp: Option<Timestamp>,
    event_time: Option<Timestamp>,
    #[serde(default)]
    series: Option<Series>,
    #[serde(rename = "LaunchTime")]
    launch_time: Option<Timestamp>,
    #[serde(rename = "Instances")]
    instances: Option<Vec<Launched>>,
    #[serde(rename = "Attachment")]
    attachment: Option<Attached>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct HeadMeta {
    pub(crate) name: Option<String>,
    pub(crate) namespace: Option<String>,
    creation_timestamp: Option<Timestamp>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    conditions: Option<Vec<Condition>>,
    start_time: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    last_transition_time: Option<Timestamp>,
    last_heartbeat_time: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Series {
    last_observed_time: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Launched {
    launch_time: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attached {
    attach_time: Option<Timestamp>,
}

impl Head {
    /// The head of an item; an empty one where it has none.
    pub(crate) fn of(item: &str) -> Self {
        serde_json::from_str(item).unwrap_or_default()
    }

    /// `namespace/name`, as far as there is one.
    pub(crate) fn name(&self) -> Option<String> {
        let name = self.metadata.name.as_deref()?;
        Some(
            self.metadata
                .namespace
                .as_deref()
                .map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}")),
        )
    }

    /// The newest moment it proves.
    pub(crate) fn newest(&self) -> Option<Timestamp> {
        let conditions = self.status.conditions.iter().flatten();
        let of_conditions = conditions.flat_map(|one| [one.last_transition_time, one.last_heartbeat_time]);
        let of_instances = self.instances.iter().flatten().map(|one| one.launch_time);
        let single = [
            self.metadata.creation_timestamp,
            self.status.start_time,
            self.last_timestamp,
            self.event_time,
            self.series.as_ref().and_then(|series| series.last_observed_time),
            self.launch_time,
            self.attachment.as_ref().and_then(|attachment| attachment.attach_time),
        ];
        single.into_iter().chain(of_conditions).chain(of_instances).flatten().max()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn newest(object: &Value) -> Option<String> {
        Head::of(&object.to_string()).newest().map(|time| time.to_string())
    }

    #[test]
    fn the_newest_moment_is_found_and_deadlines_are_not_moments() {
        let pod = json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z", "deletionTimestamp": "2026-01-09T00:00:00Z"},
            "status": {"startTime": "2026-01-02T00:00:00Z", "conditions": [{"lastTransitionTime": "2026-01-03T00:00:00Z"}]}});
        assert_eq!(newest(&pod).as_deref(), Some("2026-01-03T00:00:00Z"));
        let event = json!({"metadata": {}, "lastTimestamp": "2026-01-01T00:00:00Z", "eventTime": null,
            "series": {"lastObservedTime": "2026-01-04T00:00:00.5Z"}});
        assert_eq!(newest(&event).as_deref(), Some("2026-01-04T00:00:00.5Z"));
        let reservation = json!({"Instances": [{"LaunchTime": "2026-01-05T01:00:00+01:00"}]});
        assert_eq!(newest(&reservation).as_deref(), Some("2026-01-05T00:00:00Z"));
        assert_eq!(newest(&json!({"SubnetId": "subnet-1"})), None);
        assert_eq!(newest(&json!("nonsense")), None);
    }

    #[test]
    fn an_item_is_named_by_its_head() {
        let name = |object: Value| Head::of(&object.to_string()).name();
        assert_eq!(name(json!({"metadata": {"name": "p", "namespace": "shop"}})).as_deref(), Some("shop/p"));
        assert_eq!(name(json!({"metadata": {"name": "n"}})).as_deref(), Some("n"));
        assert_eq!(name(json!({})), None);
    }
}
