//! `CNINode` of the VPC resource controller: what the CNI asked for on a node.

use std::borrow::Cow;

use ipam_audit_core::snapshot::CniNode;
use kube::{
    Resource,
    core::{ClusterResourceScope, ObjectMeta},
};
use serde::Deserialize;

use super::{Interner, Malformed, meta};

/// The feature by which ipamd asks for a trunk.
pub const FEATURE_TRUNK: &str = "SecurityGroupsForPods";

/// A `CNINode`, with every field optional: its schema is not ours.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct CniNodeView {
    #[serde(default, deserialize_with = "meta::pod")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Spec {
    features: Option<Vec<Feature>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Feature {
    name: Option<String>,
}

impl Resource for CniNodeView {
    type DynamicType = ();
    type Scope = ClusterResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "CNINode".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "vpcresources.k8s.aws".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1alpha1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "cninodes".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

impl CniNodeView {
    /// The row of a snapshot.
    pub fn row(&self, interner: &mut Interner) -> Result<CniNode, Malformed> {
        let meta = &self.metadata;
        let name = meta.name.as_deref().ok_or_else(|| Malformed::missing("CNINode", meta, "metadata.name"))?;
        let features = self.spec.features.iter().flatten();
        let wants_trunk = features.filter_map(|feature| feature.name.as_deref()).any(|name| name == FEATURE_TRUNK);
        Ok(CniNode::new(interner.node(name), wants_trunk))
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
}
