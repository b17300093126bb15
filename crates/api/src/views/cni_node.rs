//! `CNINode` of the VPC resource controller: what the CNI asked for on a node.

use std::collections::BTreeMap;

use ipam_audit_core::{ids::InstanceId, snapshot::CniNode};
use kube::core::ObjectMeta;
use serde::Deserialize;

use super::{Interner, Malformed, foreign::foreign, meta};

/// The feature by which ipamd asks for a trunk.
pub const FEATURE_TRUNK: &str = "SecurityGroupsForPods";
/// The feature by which ipamd names the ENIConfig it uses.
const FEATURE_CUSTOM_NETWORKING: &str = "CustomNetworking";
/// The tag that names the instance.
const INSTANCE: &str = "node.k8s.amazonaws.com/instance_id";

/// A `CNINode`, with every field optional: its schema is not ours.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct CniNodeView {
    #[serde(default, deserialize_with = "meta::bare")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Spec {
    features: Option<Vec<Feature>>,
    tags: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Feature {
    name: Option<String>,
    value: Option<String>,
}

foreign!(CniNodeView, ClusterResourceScope, "CNINode", "cninodes", "vpcresources.k8s.aws", ["v1alpha1"]);

impl CniNodeView {
    /// The row of a snapshot.
    pub fn row(&self, interner: &mut Interner) -> Result<CniNode, Malformed> {
        let meta = &self.metadata;
        let name = meta.name.as_deref().ok_or_else(|| Malformed::missing("CNINode", meta, "metadata.name"))?;
        let networking = self.feature(FEATURE_CUSTOM_NETWORKING);
        let instance = self.spec.tags.as_ref().and_then(|tags| tags.get(INSTANCE)).filter(|id| !id.is_empty());
        Ok(CniNode {
            name: interner.node(name),
            wants_trunk: self.feature(FEATURE_TRUNK).is_some(),
            eni_config: networking.map(|feature| interner.text(feature.value.as_deref().unwrap_or_default())),
            instance: instance.map(|id| InstanceId::from(id.as_str())),
            created_at: meta.creation_timestamp.as_ref().map(|time| time.0),
            deleted_at: meta.deletion_timestamp.as_ref().map(|time| time.0),
        })
    }

    fn feature(&self, name: &str) -> Option<&Feature> {
        self.spec.features.iter().flatten().find(|feature| feature.name.as_deref() == Some(name))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_trunk_is_wanted_by_name_and_other_features_are_tolerated() {
        let row = |spec: serde_json::Value| {
            let object = json!({"metadata": {"name": "node-1"}, "spec": spec});
            serde_json::from_value::<CniNodeView>(object).unwrap().row(&mut Interner::default()).unwrap()
        };
        assert!(
            row(json!({"features": [{"name": "Other", "value": "x"}, {"name": "SecurityGroupsForPods"}]})).wants_trunk
        );
        assert!(!row(json!({"features": [{"value": "x"}], "tags": {"a": "b"}})).wants_trunk);
        assert!(!row(json!({})).wants_trunk);
    }

    #[test]
    fn the_eni_config_is_the_value_of_its_feature_and_may_be_empty() {
        let row = |value: serde_json::Value| {
            let object = json!({
                "metadata": {"name": "node-1", "creationTimestamp": "2026-01-01T00:00:00Z"},
                "spec": {"features": [{"name": "CustomNetworking", "value": value}],
                    "tags": {"node.k8s.amazonaws.com/instance_id": "i-1"}},
            });
            serde_json::from_value::<CniNodeView>(object).unwrap().row(&mut Interner::default()).unwrap()
        };
        assert_eq!(row(json!("zone-a")).eni_config.as_deref(), Some("zone-a"));
        assert_eq!(row(json!(null)).eni_config.as_deref(), Some(""));
        assert_eq!(row(json!("x")).instance, Some("i-1".into()));
        assert!(row(json!("x")).created_at.is_some());
    }
}
