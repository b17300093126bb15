//! Nodes: their instance, their limits, who manages their addresses.

use std::{collections::BTreeMap, sync::Arc};

use ipam_audit_core::{
    ids::{EniId, InstanceId, InstanceType, Zone},
    snapshot::{Node, NodeState, Platform, TrunkHints},
};
use k8s_openapi::api::core::v1::Node as FullNode;
use kube::{Resource, core::ObjectMeta};
use serde::Deserialize;

use super::{
    Interner, Malformed,
    meta::{self, Keep, Kept, POD_ENI},
};

const INSTANCE_TYPE: &str = "node.kubernetes.io/instance-type";
const ZONE: &str = "topology.kubernetes.io/zone";
const OS: &str = "kubernetes.io/os";
const COMPUTE_TYPE: &str = "eks.amazonaws.com/compute-type";
const LEGACY_TRUNK: &str = "vpc.amazonaws.com/has-trunk-attached";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Labels that name the group a node belongs to, the most specific first.
const NODE_GROUP: [&str; 3] =
    ["eks.amazonaws.com/nodegroup", "karpenter.sh/nodepool", "alpha.eksctl.io/nodegroup-name"];

/// A node, without what no audit looks at: images, conditions, addresses.
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
struct Taint {
    key: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Status {
    #[serde(default)]
    capacity: Kept<Pods>,
    #[serde(default)]
    allocatable: Kept<meta::PodEni>,
}

struct Pods;

impl Keep for Pods {
    fn keeps(key: &str) -> bool {
        key == "pods"
    }
}

/// A node's row, and what of it depends on the settings of one audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRow {
    node: Arc<Node>,
    /// Annotations whose value is an interface: one of them may be the one that an audit names.
    interfaces: Box<[(Arc<str>, EniId)]>,
}

impl NodeRow {
    /// The row as an audit sees it that looks for a trunk under this annotation.
    pub fn with_trunk_annotation(&self, key: &str) -> Arc<Node> {
        let Some((_, eni)) = self.interfaces.iter().find(|(name, _)| &**name == key) else {
            return self.node.clone();
        };
        let mut node = Node::clone(&self.node);
        node.trunk_hints.annotation = Some(eni.clone());
        Arc::new(node)
    }

    /// The row without any annotation.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Its labels, sorted by key: what a selector looks at.
    pub fn labels(&self) -> &[(Arc<str>, Arc<str>)] {
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
            labels: pairs(meta.labels.as_ref(), |key, value| Some((interner.text(key), interner.text(value)))),
            annotations: Box::default(),
            state: NodeState::default(),
        };
        Ok(NodeRow {
            node: Arc::new(node),
            interfaces: pairs(meta.annotations.as_ref(), |key, value| {
                value.starts_with("eni-").then(|| (key.into(), EniId::from(value)))
            }),
        })
    }

    fn label(&self, key: &str) -> Option<&str> {
        let value = self.metadata.labels.as_ref()?.get(key)?;
        (!value.is_empty()).then_some(value)
    }

    fn is_cordoned(&self) -> bool {
        let tainted = |taint: &Taint| taint.key.as_deref() == Some(UNSCHEDULABLE);
        self.spec.unschedulable.unwrap_or_default() || self.spec.taints.iter().flatten().any(tainted)
    }

    /// A node without a provider id is one that the cloud controller has not seen yet, not a foreign one.
    fn platform(&self) -> Platform {
        let provider = self.spec.provider_id.as_deref().filter(|id| !id.is_empty());
        let foreign = provider.is_some_and(|id| InstanceId::from_provider_id(id).is_none());
        match self.label(COMPUTE_TYPE) {
            Some("fargate") => Platform::Fargate,
            Some("hybrid") => Platform::Hybrid,
            Some("auto") => Platform::AutoMode,
            _ if foreign => Platform::Foreign,
            _ if self.label(OS) == Some("windows") => Platform::Windows,
            _ => Platform::LinuxEc2,
        }
    }
}

fn pairs<V>(
    map: Option<&BTreeMap<String, String>>,
    mut make: impl FnMut(&str, &str) -> Option<(Arc<str>, V)>,
) -> Box<[(Arc<str>, V)]> {
    map.into_iter().flatten().filter_map(|(key, value)| make(key, value)).collect()
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
            "spec": {"providerID": "aws:///eu-central-1a/i-0abc", "taints": [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]},
            "status": {"capacity": {"pods": "234", "cpu": "128"}, "allocatable": {"vpc.amazonaws.com/pod-eni": "107"}},
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
    fn the_trunk_annotation_is_the_one_that_the_audit_names() {
        let row = row(full());
        let named = row.with_trunk_annotation("vpc.k8s.aws/trunk-eni-id");
        assert_eq!(named.trunk_hints.annotation, Some("eni-7".into()));
        assert_eq!(row.with_trunk_annotation("other").trunk_hints.annotation, None);
    }

    #[test]
    fn a_heartbeat_makes_the_same_row() {
        let mut beat = full();
        beat["status"]["conditions"] = json!([{"type": "Ready", "lastHeartbeatTime": "2026-01-01T00:10:00Z"}]);
        beat["metadata"]["resourceVersion"] = json!("77");
        assert_eq!(row(full()), row(beat));
    }

    #[test]
    fn foreign_nodes_are_told_by_label_or_provider() {
        let platform = |labels: Value, id: &str| {
            row(json!({"metadata": {"name": "n", "uid": "u", "labels": labels}, "spec": {"providerID": id}}))
                .node
                .platform
        };
        assert_eq!(platform(json!({"eks.amazonaws.com/compute-type": "auto"}), "aws:///a/i-1"), Platform::AutoMode);
        assert_eq!(platform(json!({}), "aws:///a/fargate-ip-10-0-0-1"), Platform::Foreign);
        assert_eq!(platform(json!({"kubernetes.io/os": "windows"}), "aws:///a/i-1"), Platform::Windows);
        assert_eq!(platform(json!({}), ""), Platform::LinuxEc2);
    }
}
