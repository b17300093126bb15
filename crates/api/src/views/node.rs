//! Nodes: their instance, their limits, who manages their addresses.

use std::{collections::BTreeMap, fmt, net::Ipv4Addr, sync::Arc};

use ipam_audit_core::{
    ids::{EniId, InstanceId, InstanceType, Zone},
    snapshot::{Node, NodeState, Platform, Tags, TrunkHints},
};
use k8s_openapi::{api::core::v1::Node as FullNode, apimachinery::pkg::apis::meta::v1::Time};
use kube::{Resource, core::ObjectMeta};
use serde::{Deserialize, Deserializer, de::Visitor};

use super::{
    Interner, Malformed,
    meta::{self, Keep, Kept, POD_ENI},
};
use crate::{
    names::NODE_CONDITION,
    pressure::{self, Reason, Seen},
};

const INSTANCE_TYPE: &str = "node.kubernetes.io/instance-type";
const ZONE: &str = "topology.kubernetes.io/zone";
const OS: &str = "kubernetes.io/os";
const COMPUTE_TYPE: &str = "eks.amazonaws.com/compute-type";
const LEGACY_TRUNK: &str = "vpc.amazonaws.com/has-trunk-attached";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
const WINDOWS_ADDRESSES: &str = "vpc.amazonaws.com/PrivateIPv4Address";
/// Taints by which a program says that it drains the node, by the beginning of their key, and that program.
const DRAINING: [(&str, &str); 3] = [
    ("karpenter.sh/disrupt", "karpenter"),
    ("ToBeDeletedByClusterAutoscaler", "cluster-autoscaler"),
    ("aws-node-termination-handler/", "aws-node-termination-handler"),
];
/// Names of Kubernetes are not longer.
const LONGEST_NAME: usize = 253;
/// Labels that name the group a node belongs to, the most specific first.
const NODE_GROUP: [&str; 3] =
    ["eks.amazonaws.com/nodegroup", "karpenter.sh/nodepool", "alpha.eksctl.io/nodegroup-name"];

/// A node, without what no audit looks at: images, volumes, heartbeats.
#[derive(Debug, Clone, Default, Deserialize, Resource)]
#[resource(inherit = FullNode)]
pub struct NodeView {
    #[serde(default, deserialize_with = "meta::all")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Spec {
    #[serde(rename = "providerID")]
    provider_id: Option<String>,
    taints: Option<Vec<Taint>>,
    unschedulable: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Taint {
    key: Option<String>,
    time_added: Option<Time>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    capacity: Kept<Counted>,
    #[serde(default)]
    allocatable: Kept<Counted>,
    conditions: Option<Vec<Condition>>,
    addresses: Option<Vec<Address>>,
    #[serde(default)]
    node_info: NodeInfo,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    status: String,
    last_transition_time: Option<Time>,
    #[serde(default, deserialize_with = "known_reason")]
    reason: Option<Reason>,
    /// The hash of its message: a few bytes instead of a sentence.
    #[serde(default, deserialize_with = "hashed")]
    message: u64,
}

/// A reason, if it is one of our own condition.
fn known_reason<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Reason>, D::Error> {
    deserializer.deserialize_any(Text(Reason::named))
}

fn hashed<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    deserializer.deserialize_any(Text(pressure::hash))
}

/// Makes something of a text without keeping it.
struct Text<F>(F);

impl<T: Default, F: Fn(&str) -> T> Visitor<'_> for Text<F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok((self.0)(text))
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::default())
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Address {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    address: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeInfo {
    kubelet_version: Option<String>,
}

/// The resources that count addresses, or that limits depend on.
struct Counted;

impl Keep for Counted {
    fn keeps(key: &str) -> bool {
        matches!(key, "pods" | "cpu" | POD_ENI | WINDOWS_ADDRESSES)
    }
}

/// A node's row, and what of it depends on the settings of one audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRow {
    node: Arc<Node>,
}

impl NodeRow {
    /// The row as an audit sees it that looks for a trunk under this annotation.
    pub fn with_trunk_annotation(&self, key: &str) -> Arc<Node> {
        let Some(eni) = self.node.annotation(key).filter(|value| value.starts_with("eni-")) else {
            return self.node.clone();
        };
        let mut node = Node::clone(&self.node);
        node.trunk_hints.annotation = Some(EniId::from(eni));
        Arc::new(node)
    }

    /// The row without any annotation.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Its labels, sorted by key: what a selector looks at.
    pub fn labels(&self) -> &Tags {
        &self.node.labels
    }
}

impl NodeView {
    /// The row of the index.
    pub fn row(&self, interner: &mut Interner) -> Result<NodeRow, Malformed> {
        let meta = &self.metadata;
        let name = meta.name.as_deref().ok_or_else(|| Malformed::missing("Node", meta, "metadata.name"))?;
        let uid = meta.uid.as_deref().ok_or_else(|| Malformed::missing("Node", meta, "metadata.uid"))?;
        let node = Node {
            name: interner.node(name),
            uid: uid.into(),
            instance: self.spec.provider_id.as_deref().and_then(InstanceId::from_provider_id),
            instance_type: self.label(INSTANCE_TYPE).map(|text| InstanceType::new(interner.text(text))),
            zone: self.label(ZONE).map(|text| Zone::new(interner.text(text))),
            node_group: NODE_GROUP.iter().find_map(|key| self.label(key)).map(|text| interner.text(text)),
            max_pods: count(&self.status.capacity.entries, "pods"),
            branch_slots: count(&self.status.allocatable.entries, POD_ENI),
            cordoned: self.is_cordoned(),
            platform: self.platform(),
            created_at: meta.creation_timestamp.as_ref().map(|time| time.0),
            trunk_hints: TrunkHints {
                annotation: None,
                legacy_label: self.label(LEGACY_TRUNK).map(|text| interner.text(text)),
            },
            labels: interner.tags(meta.labels.as_ref()),
            annotations: self.annotations(interner),
            state: self.state(interner),
        };
        Ok(NodeRow { node: Arc::new(node) })
    }

    /// Annotations that could name something; long texts and times, which may change with every heartbeat, are not kept.
    fn annotations(&self, interner: &mut Interner) -> Tags {
        let is_name = |value: &str| {
            value.len() <= LONGEST_NAME
                && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        };
        let all = self.metadata.annotations.iter().flatten();
        all.filter(|(_, value)| is_name(value)).map(|(key, value)| interner.tag(key, value)).collect()
    }

    fn state(&self, interner: &mut Interner) -> NodeState {
        let status = &self.status;
        let ready = status.conditions.iter().flatten().find(|condition| condition.kind == "Ready");
        let kubelet = status.node_info.kubelet_version.as_deref();
        NodeState {
            ready: ready.map(|condition| condition.status == "True"),
            ready_since: ready.and_then(|condition| condition.last_transition_time.as_ref()).map(|time| time.0),
            cordoned_since: self.taint(|key| key == UNSCHEDULABLE).and_then(|taint| Some(taint.time_added.as_ref()?.0)),
            drained_by: self.drained_by().map(|program| interner.text(program)),
            deleted_at: self.metadata.deletion_timestamp.as_ref().map(|time| time.0),
            kubelet: kubelet.map(|version| interner.text(version)),
            cpus: count(&status.capacity.entries, "cpu"),
            allocatable_pods: count(&status.allocatable.entries, "pods"),
            windows_addresses: count(&status.allocatable.entries, WINDOWS_ADDRESSES),
            address: self.internal_address(),
        }
    }

    /// Our own condition, if the node has it.
    pub fn pressure(&self) -> Option<Seen> {
        let entry = self.status.conditions.iter().flatten().find(|condition| condition.kind == NODE_CONDITION)?;
        Some(Seen {
            reason: entry.reason,
            consistent: entry.reason.is_some_and(|reason| reason.status().name() == entry.status),
            message: entry.message,
            since: entry.last_transition_time.as_ref().map(|time| time.0),
        })
    }

    fn taint(&self, wanted: impl Fn(&str) -> bool) -> Option<&Taint> {
        self.spec.taints.iter().flatten().find(|taint| taint.key.as_deref().is_some_and(&wanted))
    }

    fn drained_by(&self) -> Option<&'static str> {
        DRAINING.iter().find(|(start, _)| self.taint(|key| key.starts_with(start)).is_some()).map(|(_, by)| *by)
    }

    fn internal_address(&self) -> Option<Ipv4Addr> {
        let mut internal = self.status.addresses.iter().flatten().filter(|address| address.kind == "InternalIP");
        internal.find_map(|address| address.address.parse().ok())
    }

    fn label(&self, key: &str) -> Option<&str> {
        let value = self.metadata.labels.as_ref()?.get(key)?;
        (!value.is_empty()).then_some(value)
    }

    fn is_cordoned(&self) -> bool {
        self.spec.unschedulable.unwrap_or_default() || self.taint(|key| key == UNSCHEDULABLE).is_some()
    }

    /// A node without a provider id is one that the cloud controller has not seen yet, not a foreign one.
    fn platform(&self) -> Platform {
        let provider = self.spec.provider_id.as_deref().filter(|id| !id.is_empty());
        let foreign = provider.is_some_and(|id| InstanceId::from_provider_id(id).is_none());
        let on_fargate = provider.is_some_and(|id| id.contains("/fargate-"));
        match self.label(COMPUTE_TYPE) {
            Some("fargate") => Platform::Fargate,
            _ if on_fargate => Platform::Fargate,
            Some("hybrid") => Platform::Hybrid,
            Some("auto") => Platform::AutoMode,
            _ if foreign => Platform::Foreign,
            _ if self.label(OS) == Some("windows") => Platform::Windows,
            _ => Platform::LinuxEc2,
        }
    }
}

/// A count among quantities; a suffix or a fraction makes no sense for pods and is taken as "not known".
fn count(quantities: &BTreeMap<String, String>, key: &str) -> Option<u32> {
    quantities.get(key)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn row(object: Value) -> NodeRow {
        serde_json::from_value::<NodeView>(object).unwrap().row(&mut Interner::default()).unwrap()
    }

    fn full() -> Value {
        json!({
            "metadata": {"name": "n1", "uid": "u1", "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": {"node.kubernetes.io/instance-type": "m6a.32xlarge", "topology.kubernetes.io/zone": "eu-central-1a",
                    "alpha.eksctl.io/nodegroup-name": "old", "eks.amazonaws.com/nodegroup": "batch", "kubernetes.io/os": "linux"},
                "annotations": {"vpc.k8s.aws/trunk-eni-id": "eni-7", "other": "x"}},
            "spec": {"providerID": "aws:///eu-central-1a/i-0abc", "taints": [
                {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule", "timeAdded": "2026-01-02T00:00:00Z"},
                {"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}]},
            "status": {"capacity": {"pods": "234", "cpu": "128"},
                "allocatable": {"vpc.amazonaws.com/pod-eni": "107", "pods": "230", "cpu": "127610m"},
                "nodeInfo": {"kubeletVersion": "v1.33.1-eks-1"},
                "addresses": [{"type": "Hostname", "address": "n1"}, {"type": "InternalIP", "address": "10.0.0.5"}],
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:01:00Z"}]},
        })
    }

    #[test]
    fn a_node_tells_its_instance_its_group_and_its_limits() {
        let node = row(full()).with_trunk_annotation("none");
        assert_eq!(node.instance.as_ref().map(InstanceId::as_str), Some("i-0abc"));
        assert_eq!(node.node_group.as_deref(), Some("batch"));
        assert_eq!((node.max_pods, node.branch_slots, node.cordoned), (Some(234), Some(107), true));
        assert_eq!((node.platform, &node.trunk_hints.annotation), (Platform::LinuxEc2, &None));
    }

    #[test]
    fn a_node_tells_what_it_is_doing() {
        let row = row(full());
        let state = &row.node().state;
        let at = |text: &str| text.parse().ok();
        assert_eq!((state.ready, state.ready_since), (Some(true), at("2026-01-01T00:01:00Z")));
        assert_eq!(
            (state.cordoned_since, state.drained_by.as_deref()),
            (at("2026-01-02T00:00:00Z"), Some("karpenter"))
        );
        assert_eq!((state.cpus, state.allocatable_pods, state.windows_addresses), (Some(128), Some(230), None));
        assert_eq!((state.address, state.kubelet.as_deref()), (Some([10, 0, 0, 5].into()), Some("v1.33.1-eks-1")));
        assert_eq!(row.node().label("eks.amazonaws.com/nodegroup"), Some("batch"));
    }

    #[test]
    fn annotations_are_kept_where_they_could_be_names() {
        let mut object = full();
        object["metadata"]["annotations"] =
            json!({"k8s.amazonaws.com/eniConfig": "zone-a", "empty": "", "seen": "2026-01-01T00:00:00Z", "json": "{}"});
        let row = row(object);
        let kept: Vec<&str> = row.node().annotations.iter().map(|(key, _)| &**key).collect();
        assert_eq!(kept, ["empty", "k8s.amazonaws.com/eniConfig"]);
    }

    #[test]
    fn the_trunk_annotation_is_the_one_that_the_audit_names() {
        let row = row(full());
        let named = row.with_trunk_annotation("vpc.k8s.aws/trunk-eni-id");
        assert_eq!(named.trunk_hints.annotation, Some("eni-7".into()));
        assert_eq!(row.with_trunk_annotation("other").trunk_hints.annotation, None);
    }

    #[test]
    fn a_heartbeat_makes_the_same_row() {
        let mut beat = full();
        beat["status"]["conditions"][0]["lastHeartbeatTime"] = json!("2026-01-01T00:10:00Z");
        beat["metadata"]["resourceVersion"] = json!("77");
        assert_eq!(row(full()), row(beat));
    }

    #[test]
    fn our_own_condition_is_seen_whatever_others_say_and_changes_no_row() {
        let pressure = |object: &Value| serde_json::from_value::<NodeView>(object.clone()).unwrap().pressure();
        let mut object = full();
        assert_eq!(pressure(&object), None);
        let entry = json!({"type": "ipam-audit.dev/IPPressure", "status": "True", "reason": "SubnetExhausted",
            "message": "none left", "lastTransitionTime": "2026-01-01T00:02:00Z"});
        object["status"]["conditions"].as_array_mut().unwrap().push(entry);
        let seen = pressure(&object).unwrap();
        assert_eq!((seen.reason, seen.consistent), (Some(Reason::SubnetExhausted), true));
        assert_eq!((seen.message, seen.since), (pressure::hash("none left"), "2026-01-01T00:02:00Z".parse().ok()));
        assert_eq!(row(full()), row(object.clone()), "what we write ourselves is no reason for an audit");
        object["status"]["conditions"][1]["status"] = json!("False");
        assert!(!pressure(&object).unwrap().consistent);
        object["status"]["conditions"][1]["reason"] = json!("Odd");
        object["status"]["conditions"][1]["message"] = json!(null);
        let odd = pressure(&object).unwrap();
        assert_eq!((odd.reason, odd.consistent, odd.message), (None, false, 0));
    }

    #[test]
    fn foreign_nodes_are_told_by_label_or_provider() {
        let platform = |labels: Value, id: &str| {
            row(json!({"metadata": {"name": "n", "uid": "u", "labels": labels}, "spec": {"providerID": id}}))
                .node
                .platform
        };
        assert_eq!(platform(json!({"eks.amazonaws.com/compute-type": "auto"}), "aws:///a/i-1"), Platform::AutoMode);
        assert_eq!(platform(json!({}), "aws:///a/9-9/fargate-ip-10-0-0-1"), Platform::Fargate);
        assert_eq!(platform(json!({}), "gce://project/zone/node-1"), Platform::Foreign);
        assert_eq!(platform(json!({"kubernetes.io/os": "windows"}), "aws:///a/i-1"), Platform::Windows);
        assert_eq!(platform(json!({}), ""), Platform::LinuxEc2);
    }
}
