//! Deployments and DaemonSets: their images, and the environment of their first container.

use std::sync::Arc;

use ipam_audit_core::snapshot::{Workload, is_karpenter, is_resource_controller};
use k8s_openapi::api::apps::v1::Deployment as FullDeployment;
use kube::{Resource, core::ObjectMeta};
use serde::Deserialize;

use super::{CniContainer, ConfigMaps, Interner, Malformed, meta};

/// A Deployment.
#[derive(Debug, Clone, Default, Deserialize, Resource)]
#[resource(inherit = FullDeployment)]
pub struct DeploymentView {
    #[serde(default, deserialize_with = "meta::bare")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Spec {
    replicas: Option<u32>,
    #[serde(default)]
    template: Template,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Template {
    #[serde(default)]
    spec: PodSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct PodSpec {
    containers: Option<Vec<CniContainer>>,
}

impl DeploymentView {
    /// Whether it is one of the programs whose settings decide about addresses: Karpenter, the VPC resource controller.
    pub fn manages_addresses(&self) -> bool {
        let (namespace, name) = (self.metadata.namespace.as_deref(), self.metadata.name.as_deref());
        let (namespace, name) = (namespace.unwrap_or_default(), name.unwrap_or_default());
        is_karpenter(name, self.containers().map(CniContainer::image)) || is_resource_controller(namespace, name)
    }

    fn containers(&self) -> impl Iterator<Item = &CniContainer> {
        self.spec.template.spec.containers.iter().flatten()
    }

    /// The row of a snapshot.
    pub fn row(&self, maps: &ConfigMaps, interner: &mut Interner) -> Result<Workload, Malformed> {
        let meta = &self.metadata;
        let name = Malformed::or_name("Deployment", meta)?;
        let place = (meta.namespace.as_deref().unwrap_or_default(), name);
        let containers: Vec<&CniContainer> = self.containers().collect();
        Ok(row(place, &containers, self.spec.replicas, maps, interner))
    }
}

/// The row of a workload by its namespace and name.
pub(super) fn row(
    (namespace, name): (&str, &str),
    containers: &[&CniContainer],
    replicas: Option<u32>,
    maps: &ConfigMaps,
    interner: &mut Interner,
) -> Workload {
    let namespace = interner.text(namespace);
    let env = containers.first().map(|container| container.resolve(&namespace, maps)).unwrap_or_default();
    Workload {
        name: interner.text(name),
        images: containers.iter().map(|container| interner.text(container.image())).collect(),
        env: Arc::new(env),
        replicas,
        namespace,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_deployment_tells_its_images_and_its_first_environment() {
        let view: DeploymentView = serde_json::from_value(json!({
            "metadata": {"name": "karpenter", "namespace": "kube-system"},
            "spec": {"replicas": 2, "template": {"spec": {"containers": [
                {"name": "controller", "image": "k/karpenter/controller:1", "env": [{"name": "RESERVED_ENIS", "value": "1"}]},
                {"name": "proxy", "image": "p:1"}]}}},
        }))
        .unwrap();
        let row = view.row(&ConfigMaps::new(), &mut Interner::default()).unwrap();
        assert_eq!((&*row.namespace, &*row.name, row.replicas), ("kube-system", "karpenter", Some(2)));
        assert_eq!(row.images.len(), 2);
        assert_eq!(row.env.known().get("RESERVED_ENIS").map(String::as_str), Some("1"));
    }
}
