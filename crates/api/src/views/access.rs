//! ServiceAccounts and their roles, and the webhooks that change pods as they are made.

use std::sync::Arc;

use ipam_audit_core::snapshot::ServiceAccount;
use k8s_openapi::api::{
    admissionregistration::v1::MutatingWebhookConfiguration as FullMutatingWebhooks,
    core::v1::ServiceAccount as FullServiceAccount,
};
use kube::{Resource, core::ObjectMeta};
use serde::Deserialize;

use super::{
    Interner, Malformed,
    meta::{self, ROLE_ARN},
};

/// A `ServiceAccount`.
#[derive(Debug, Clone, Default, Deserialize, Resource)]
#[resource(inherit = FullServiceAccount)]
pub struct ServiceAccountView {
    #[serde(default, deserialize_with = "meta::service_account")]
    metadata: ObjectMeta,
}

impl ServiceAccountView {
    /// The row of a snapshot.
    pub fn row(&self, interner: &mut Interner) -> Result<ServiceAccount, Malformed> {
        let meta = &self.metadata;
        let name = Malformed::or_name("ServiceAccount", meta)?;
        let role = meta.annotations.as_ref().and_then(|annotations| annotations.get(ROLE_ARN));
        Ok(ServiceAccount {
            namespace: interner.text(meta.namespace.as_deref().unwrap_or_default()),
            name: interner.text(name),
            labels: interner.tags(meta.labels.as_ref()),
            role: role.filter(|role| !role.is_empty()).map(|role| interner.text(role)),
        })
    }
}

/// A `MutatingWebhookConfiguration`.
#[derive(Debug, Clone, Default, Deserialize, Resource)]
#[resource(inherit = FullMutatingWebhooks)]
pub struct MutatingWebhooksView {
    #[serde(default, deserialize_with = "meta::bare")]
    metadata: ObjectMeta,
    webhooks: Option<Vec<Webhook>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Webhook {
    #[serde(default)]
    name: String,
}

impl MutatingWebhooksView {
    /// The names of its webhooks.
    pub fn names(&self, interner: &mut Interner) -> Vec<Arc<str>> {
        self.webhooks.iter().flatten().map(|webhook| interner.text(&webhook.name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_role_is_an_annotation() {
        let row = |annotations: serde_json::Value| {
            let object = json!({"metadata": {"name": "aws-node", "namespace": "kube-system",
                "labels": {"a": "b"}, "annotations": annotations}});
            serde_json::from_value::<ServiceAccountView>(object).unwrap().row(&mut Interner::default()).unwrap()
        };
        let with = row(json!({"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/cni", "other": "x"}));
        assert_eq!((with.role.as_deref(), with.labels.len()), (Some("arn:aws:iam::1:role/cni"), 1));
        assert_eq!(row(json!(null)).role, None);
    }

    #[test]
    fn webhooks_are_known_by_name() {
        let object = json!({"metadata": {"name": "vpc"}, "webhooks": [{"name": "mpod.vpc.k8s.aws", "rules": []}]});
        let view = serde_json::from_value::<MutatingWebhooksView>(object).unwrap();
        assert_eq!(view.names(&mut Interner::default()), ["mpod.vpc.k8s.aws".into()]);
    }
}
