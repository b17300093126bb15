//! Kubernetes objects as far as an audit looks at them, and what they become in a snapshot.
//!
//! A view is a partial type of its resource: fields that are not named here are skipped while decoding and never
//! allocated, `managedFields` above all. Everything in a view is optional, because older and newer API servers leave
//! fields out; what a row cannot do without is checked when the row is made, and an object without it is [`Malformed`].

mod access;
mod aws_node;
mod cni_node;
mod decode;
mod env;
mod event;
mod foreign;
mod karpenter;
mod meta;
mod networking;
mod node;
mod pod;
mod workload;

pub use access::{MutatingWebhooksView, ServiceAccountView};
pub use aws_node::{
    AwsNodePodRow, AwsNodePodView, CniContainer, CniTemplate, DaemonSetView, aws_node_pods, cni_places,
};
pub use cni_node::{CniNodeView, FEATURE_TRUNK};
pub use decode::{Unfit, decode, why};
pub use env::{ConfigMapKey, ConfigMapView, ConfigMaps, EnvView, config_maps_of, system_config_maps};
pub use event::{EventView, POD_SANDBOX_FAILED, Refusal};
pub use foreign::Foreign;
pub use ipam_audit_core::intern::Interner;
pub use karpenter::{NodeClaimView, NodeClassView, NodePoolView};
pub use networking::{EniConfigView, NetworkPolicyView, SecurityGroupPolicyView, ServiceView};
pub use node::{NodeRow, NodeView};
pub use pod::PodView;
pub use workload::DeploymentView;

use kube::core::ObjectMeta;
use thiserror::Error;

/// An object that lacks what a row needs, or holds nonsense there.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{kind} {object}: {what}")]
pub struct Malformed {
    /// The object's kind.
    pub kind: &'static str,
    /// Its `namespace/name`, as far as it has one.
    pub object: String,
    /// What is wrong with it.
    pub what: String,
}

impl Malformed {
    fn new(kind: &'static str, meta: &ObjectMeta, what: impl Into<String>) -> Self {
        Self { kind, object: qualified_name(meta), what: what.into() }
    }

    fn missing(kind: &'static str, meta: &ObjectMeta, field: &str) -> Self {
        Self::new(kind, meta, format!("{field} is missing"))
    }

    /// The name of an object, which every row has.
    fn or_name<'a>(kind: &'static str, meta: &'a ObjectMeta) -> Result<&'a str, Self> {
        meta.name.as_deref().ok_or_else(|| Self::missing(kind, meta, "metadata.name"))
    }
}

/// `namespace/name`, or the name alone for objects outside of namespaces.
pub fn qualified_name(meta: &ObjectMeta) -> String {
    let name = meta.name.as_deref().unwrap_or("?");
    meta.namespace.as_deref().map_or_else(|| name.to_owned(), |namespace| format!("{namespace}/{name}"))
}
