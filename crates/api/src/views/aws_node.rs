//! The VPC CNI's DaemonSet, wherever it is and whatever its name, and its running pods.

use std::{collections::BTreeMap, sync::Arc};

use ipam_audit_core::{ids::NodeName, snapshot::AwsNodeEnv};
use k8s_openapi::{
    api::{apps::v1::DaemonSet as FullDaemonSet, core::v1::Pod as FullPod},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::{Resource, core::ObjectMeta};
use serde::Deserialize;

use super::{ConfigMaps, EnvView, Interner, Malformed, meta};

/// The container that runs ipamd.
const CONTAINER: &str = "aws-node";
/// Every build of the CNI ends its image name so, whichever registry it comes from.
const IMAGE: &str = "amazon-k8s-cni";
/// The label of the shipped manifests and of the EKS add-on.
const LABEL: (&str, &str) = ("k8s-app", "aws-node");

/// A DaemonSet, as far as it can be the CNI's.
#[derive(Debug, Clone, Default, Deserialize, Resource)]
#[resource(inherit = FullDaemonSet)]
pub struct DaemonSetView {
    #[serde(default, deserialize_with = "meta::all")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: DaemonSetSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct DaemonSetSpec {
    selector: Option<LabelSelector>,
    #[serde(default)]
    template: Template,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Template {
    #[serde(default)]
    spec: PodSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodSpec {
    node_name: Option<String>,
    containers: Option<Vec<CniContainer>>,
}

/// A container of such a DaemonSet or of one of its pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
pub struct CniContainer {
    #[serde(default)]
    name: String,
    #[serde(default)]
    image: String,
    /// Its environment, as written.
    #[serde(flatten)]
    pub env: EnvView,
}

impl CniContainer {
    /// What it runs with, as far as the ConfigMaps are known.
    pub fn resolve(&self, namespace: &Arc<str>, maps: &ConfigMaps) -> AwsNodeEnv {
        AwsNodeEnv { image: self.image.clone(), values: self.env.resolve(namespace, maps) }
    }

    fn runs_the_cni(&self) -> bool {
        let without_digest = self.image.split('@').next().unwrap_or_default();
        let last = without_digest.rsplit('/').next().unwrap_or_default();
        last.split(':').next().is_some_and(|name| name.ends_with(IMAGE))
    }
}

/// The container that runs ipamd: by name, else by image.
pub fn cni_container(containers: &[CniContainer]) -> Option<&CniContainer> {
    let by_name = containers.iter().find(|container| container.name == CONTAINER);
    by_name.or_else(|| containers.iter().find(|container| container.runs_the_cni()))
}

/// Whether labels and containers say that this is the VPC CNI, whatever its name.
pub fn is_vpc_cni(labels: Option<&BTreeMap<String, String>>, containers: &[CniContainer]) -> bool {
    let labelled = labels.is_some_and(|labels| labels.get(LABEL.0).is_some_and(|value| value == LABEL.1));
    labelled || containers.iter().any(CniContainer::runs_the_cni)
}

impl DaemonSetView {
    /// Its namespace and name.
    pub fn place(&self) -> Result<(&str, &str), Malformed> {
        let meta = &self.metadata;
        let name = meta.name.as_deref().ok_or_else(|| Malformed::missing("DaemonSet", meta, "metadata.name"))?;
        Ok((meta.namespace.as_deref().unwrap_or_default(), name))
    }

    /// Its labels.
    pub fn labels(&self) -> Option<&BTreeMap<String, String>> {
        self.metadata.labels.as_ref()
    }

    /// The selector of its pods.
    pub fn selector(&self) -> Option<&LabelSelector> {
        self.spec.selector.as_ref()
    }

    /// The containers of its template.
    pub fn containers(&self) -> &[CniContainer] {
        self.spec.template.spec.containers.as_deref().unwrap_or_default()
    }
}

/// A pod of such a DaemonSet.
#[derive(Debug, Clone, Default, Deserialize, Resource)]
#[resource(inherit = FullPod)]
pub struct AwsNodePodView {
    #[serde(default, deserialize_with = "meta::pod")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: PodSpec,
    #[serde(default)]
    status: PodStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct PodStatus {
    conditions: Option<Vec<Condition>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Condition {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    status: String,
}

/// A running pod of the CNI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsNodePodRow {
    /// Its `metadata.uid`.
    pub uid: Arc<str>,
    /// Its node.
    pub node: NodeName,
    /// Whether all its containers are ready.
    pub ready: bool,
    /// The container that runs ipamd.
    pub container: CniContainer,
}

impl AwsNodePodView {
    /// The row of the index; none before the pod is on a node, once it is going, or if it runs no CNI.
    pub fn row(&self, interner: &mut Interner) -> Result<Option<AwsNodePodRow>, Malformed> {
        let meta = &self.metadata;
        let uid = meta.uid.as_deref().ok_or_else(|| Malformed::missing("Pod", meta, "metadata.uid"))?;
        let node = self.spec.node_name.as_deref().filter(|node| !node.is_empty());
        let container = cni_container(self.spec.containers.as_deref().unwrap_or_default());
        Ok(match (node, container) {
            (Some(node), Some(container)) if meta.deletion_timestamp.is_none() => Some(AwsNodePodRow {
                uid: uid.into(),
                node: interner.node(node),
                ready: self.is_ready(),
                container: container.clone(),
            }),
            _ => None,
        })
    }

    fn is_ready(&self) -> bool {
        let ready = |condition: &Condition| condition.kind == "Ready" && condition.status == "True";
        self.status.conditions.iter().flatten().any(ready)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn containers(list: serde_json::Value) -> Vec<CniContainer> {
        serde_json::from_value(list).unwrap()
    }

    #[test]
    fn the_cni_is_told_by_image_whatever_the_registry_tag_or_digest() {
        for (image, want) in [
            ("602401143452.dkr.ecr.eu-central-1.amazonaws.com/amazon-k8s-cni:v1.18.1-eksbuild.3", true),
            ("registry:5000/mirror/amazon-k8s-cni@sha256:0123", true),
            ("public.ecr.aws/eks/amazon-k8s-cni:v1@sha256:0123", true),
            ("602401143452.dkr.ecr.eu-central-1.amazonaws.com/amazon-k8s-cni-init:v1.18.1", false),
            ("602401143452.dkr.ecr.eu-central-1.amazonaws.com/amazon/aws-network-policy-agent:v1", false),
        ] {
            let list = containers(json!([{"name": "x", "image": image}]));
            assert_eq!(is_vpc_cni(None, &list), want, "{image}");
            assert_eq!(cni_container(&list).is_some(), want, "{image}");
        }
    }

    #[test]
    fn the_container_named_aws_node_comes_first() {
        let list = containers(
            json!([{"name": "a", "image": "x/amazon-k8s-cni:1"}, {"name": "aws-node", "image": "own/build:2"}]),
        );
        assert_eq!(cni_container(&list).map(|container| container.image.as_str()), Some("own/build:2"));
        assert!(!is_vpc_cni(None, &containers(json!([{"name": "aws-node", "image": "own/build:2"}]))));
        assert!(is_vpc_cni(Some(&[("k8s-app".to_owned(), "aws-node".to_owned())].into()), &[]));
    }

    #[test]
    fn a_pod_without_a_node_or_on_its_way_out_runs_nothing() {
        let view = |node: Option<&str>, deleted: Option<&str>| {
            serde_json::from_value::<AwsNodePodView>(json!({
                "metadata": {"name": "aws-node-x", "uid": "u", "deletionTimestamp": deleted},
                "spec": {"nodeName": node, "containers": [{"name": "aws-node", "image": "i", "env": [{"name": "A", "value": "1"}]}]},
            }))
            .unwrap()
            .row(&mut Interner::default())
            .unwrap()
            .is_some()
        };
        assert!(view(Some("n1"), None));
        assert!(!view(None, None) && !view(Some("n1"), Some("2026-01-01T00:00:00Z")));
    }
}
