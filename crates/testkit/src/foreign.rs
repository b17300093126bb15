//! Kinds that other programs install into a cluster, with definitions whose schemas are open: what no program should write
//! can be written by a test.

use anyhow::{Context, Result};
use kube::api::DynamicObject;
use kube::core::gvk::GroupVersionKind;
use kube::discovery::ApiResource;
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::controlplane::apply_yaml;

/// A kind of another program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignKind {
    /// Its API group.
    pub group: &'static str,
    /// Its name.
    pub kind: &'static str,
    /// Its plural.
    pub plural: &'static str,
    /// The versions it has been served in, the newest first.
    pub versions: &'static [&'static str],
    /// Whether its objects are in namespaces.
    pub namespaced: bool,
}

/// Those that say something about addresses.
pub const KINDS: [ForeignKind; 6] = [
    ForeignKind {
        group: "vpcresources.k8s.aws",
        kind: "CNINode",
        plural: "cninodes",
        versions: &["v1alpha1"],
        namespaced: false,
    },
    ForeignKind {
        group: "vpcresources.k8s.aws",
        kind: "SecurityGroupPolicy",
        plural: "securitygrouppolicies",
        versions: &["v1beta1"],
        namespaced: true,
    },
    ForeignKind {
        group: "crd.k8s.amazonaws.com",
        kind: "ENIConfig",
        plural: "eniconfigs",
        versions: &["v1alpha1"],
        namespaced: false,
    },
    ForeignKind {
        group: "karpenter.sh",
        kind: "NodePool",
        plural: "nodepools",
        versions: &["v1", "v1beta1"],
        namespaced: false,
    },
    ForeignKind {
        group: "karpenter.sh",
        kind: "NodeClaim",
        plural: "nodeclaims",
        versions: &["v1", "v1beta1"],
        namespaced: false,
    },
    ForeignKind {
        group: "karpenter.k8s.aws",
        kind: "EC2NodeClass",
        plural: "ec2nodeclasses",
        versions: &["v1", "v1beta1"],
        namespaced: false,
    },
];

impl ForeignKind {
    /// The kind of this name.
    ///
    /// # Errors
    /// There is none.
    pub fn named(kind: &str) -> Result<Self> {
        let found = KINDS.into_iter().find(|known| known.kind == kind);
        found.with_context(|| format!("{kind} is no kind of another program"))
    }

    /// The name of its definition.
    pub fn definition_name(&self) -> String {
        format!("{}.{}", self.plural, self.group)
    }

    /// A definition that serves these versions; the first is the one that is stored.
    pub fn definition(&self, versions: &[&str]) -> Value {
        let scope = if self.namespaced { "Namespaced" } else { "Cluster" };
        let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let versions = versions.iter().enumerate().map(|(index, version)| {
            json!({
                "name": version, "served": true, "storage": index == 0, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": open},
            })
        });
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": self.definition_name()},
            "spec": {
                "group": self.group, "scope": scope, "versions": versions.collect::<Vec<_>>(),
                "names": {
                    "kind": self.kind, "listKind": format!("{}List", self.kind),
                    "plural": self.plural, "singular": self.kind.to_lowercase(),
                },
            },
        })
    }

    /// Installs its definition with the newest version and waits until it is served.
    pub async fn install(&self, client: &Client) -> Result<()> {
        self.install_versions(client, &self.versions[..1]).await
    }

    /// The same with these versions.
    pub async fn install_versions(&self, client: &Client, versions: &[&str]) -> Result<()> {
        let installed = apply_yaml(client, &self.definition(versions).to_string()).await;
        installed.with_context(|| format!("cannot install {}", self.definition_name()))
    }

    /// Its objects in one of its versions, in a namespace if it is in namespaces.
    pub fn api(&self, client: &Client, version: &str, namespace: &str) -> Api<DynamicObject> {
        let gvk = GroupVersionKind::gvk(self.group, version, self.kind);
        let resource = ApiResource::from_gvk_with_plural(&gvk, self.plural);
        if self.namespaced {
            Api::namespaced_with(client.clone(), namespace, &resource)
        } else {
            Api::all_with(client.clone(), &resource)
        }
    }
}
