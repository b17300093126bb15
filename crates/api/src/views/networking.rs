//! Objects that say how pods are networked: ENIConfigs, SecurityGroupPolicies, NetworkPolicies, Services.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use ipam_audit_core::{
    ids::SubnetId,
    snapshot::{EniConfig, NetworkPolicy, Requirement, SecurityGroupPolicy, Selector, Service},
};
use k8s_openapi::{
    api::{core::v1::Service as FullService, networking::v1::NetworkPolicy as FullNetworkPolicy},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::{Resource, core::ObjectMeta};
use serde::Deserialize;

use super::{Interner, Malformed, foreign::foreign, meta};

/// A label selector as rows keep it.
pub(super) fn selector(from: &LabelSelector, interner: &mut Interner) -> Selector {
    let expressions = from.match_expressions.iter().flatten().map(|one| Requirement {
        key: interner.text(&one.key),
        operator: interner.text(&one.operator),
        values: one.values.iter().flatten().map(|value| interner.text(value)).collect(),
    });
    let expressions = expressions.collect();
    Selector { labels: shared(from.match_labels.as_ref(), interner), expressions }
}

fn shared(labels: Option<&BTreeMap<String, String>>, interner: &mut Interner) -> BTreeMap<Arc<str>, Arc<str>> {
    labels.into_iter().flatten().map(|(key, value)| (interner.text(key), interner.text(value))).collect()
}

/// An `ENIConfig` of the VPC CNI.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct EniConfigView {
    #[serde(default, deserialize_with = "meta::bare")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: EniConfigSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EniConfigSpec {
    subnet: Option<String>,
    security_groups: Option<Vec<String>>,
}

foreign!(EniConfigView, ClusterResourceScope, "ENIConfig", "eniconfigs", "crd.k8s.amazonaws.com", ["v1alpha1"]);

impl EniConfigView {
    /// The row of a snapshot.
    pub fn row(&self, interner: &mut Interner) -> Result<EniConfig, Malformed> {
        let name = Malformed::or_name("ENIConfig", &self.metadata)?;
        let subnet = self.spec.subnet.as_deref().filter(|subnet| !subnet.is_empty());
        let subnet = subnet.ok_or_else(|| Malformed::missing("ENIConfig", &self.metadata, "spec.subnet"))?;
        Ok(EniConfig {
            name: interner.text(name),
            subnet: SubnetId::new(interner.text(subnet)),
            security_groups: self.spec.security_groups.iter().flatten().map(|group| interner.text(group)).collect(),
        })
    }
}

/// A `SecurityGroupPolicy` of the VPC resource controller.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct SecurityGroupPolicyView {
    #[serde(default, deserialize_with = "meta::bare")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: SecurityGroupPolicySpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SecurityGroupPolicySpec {
    pod_selector: Option<LabelSelector>,
    service_account_selector: Option<LabelSelector>,
    #[serde(default)]
    security_groups: Groups,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Groups {
    group_ids: Option<Vec<String>>,
}

foreign!(
    SecurityGroupPolicyView,
    NamespaceResourceScope,
    "SecurityGroupPolicy",
    "securitygrouppolicies",
    "vpcresources.k8s.aws",
    ["v1beta1"]
);

impl SecurityGroupPolicyView {
    /// The row of a snapshot.
    pub fn row(&self, interner: &mut Interner) -> Result<SecurityGroupPolicy, Malformed> {
        let name = Malformed::or_name("SecurityGroupPolicy", &self.metadata)?;
        let spec = &self.spec;
        Ok(SecurityGroupPolicy {
            namespace: interner.text(self.metadata.namespace.as_deref().unwrap_or_default()),
            name: interner.text(name),
            pods: spec.pod_selector.as_ref().map(|from| selector(from, interner)),
            service_accounts: spec.service_account_selector.as_ref().map(|from| selector(from, interner)),
            groups: spec.security_groups.group_ids.iter().flatten().map(|group| interner.text(group)).collect(),
        })
    }
}

/// A `NetworkPolicy`.
#[derive(Debug, Clone, Default, Deserialize, Resource)]
#[resource(inherit = FullNetworkPolicy)]
pub struct NetworkPolicyView {
    #[serde(default, deserialize_with = "meta::bare")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: NetworkPolicySpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NetworkPolicySpec {
    pod_selector: Option<LabelSelector>,
}

impl NetworkPolicyView {
    /// The row of a snapshot; without a selector it is about all pods of its namespace.
    pub fn row(&self, interner: &mut Interner) -> Result<NetworkPolicy, Malformed> {
        let name = Malformed::or_name("NetworkPolicy", &self.metadata)?;
        let pods = self.spec.pod_selector.as_ref();
        Ok(NetworkPolicy {
            namespace: interner.text(self.metadata.namespace.as_deref().unwrap_or_default()),
            name: interner.text(name),
            pods: pods.map(|from| selector(from, interner)).unwrap_or_default(),
        })
    }
}

/// A `Service`.
#[derive(Debug, Clone, Default, Deserialize, Resource)]
#[resource(inherit = FullService)]
pub struct ServiceView {
    #[serde(default, deserialize_with = "meta::bare")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: ServiceSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServiceSpec {
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<String>,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Option<Vec<String>>,
    external_traffic_policy: Option<String>,
    selector: Option<BTreeMap<String, String>>,
}

impl ServiceView {
    /// The row of a snapshot. `None` for headless and an IPv6 address are no IPv4 address.
    pub fn row(&self, interner: &mut Interner) -> Result<Service, Malformed> {
        let name = Malformed::or_name("Service", &self.metadata)?;
        let mut addresses = self.spec.cluster_ip.iter().chain(self.spec.cluster_ips.iter().flatten());
        let selector = self.spec.selector.as_ref().filter(|labels| !labels.is_empty());
        Ok(Service {
            namespace: interner.text(self.metadata.namespace.as_deref().unwrap_or_default()),
            name: interner.text(name),
            cluster_address: addresses.find_map(|text| text.parse::<Ipv4Addr>().ok()),
            local_traffic: self.spec.external_traffic_policy.as_deref() == Some("Local"),
            selector: selector
                .map(|labels| Selector { labels: shared(Some(labels), interner), expressions: Vec::new() }),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_eni_config_needs_its_subnet() {
        let row = |spec: serde_json::Value| {
            let object = json!({"metadata": {"name": "zone-a"}, "spec": spec});
            serde_json::from_value::<EniConfigView>(object).unwrap().row(&mut Interner::default())
        };
        let complete = row(json!({"subnet": "subnet-1", "securityGroups": ["sg-1"], "more": 1})).unwrap();
        assert_eq!((complete.subnet.as_str(), complete.security_groups.len()), ("subnet-1", 1));
        assert_eq!(row(json!({})).unwrap_err().to_string(), "ENIConfig zone-a: spec.subnet is missing");
    }

    #[test]
    fn an_absent_selector_is_not_an_empty_one() {
        let row = |spec: serde_json::Value| {
            let object = json!({"metadata": {"name": "p", "namespace": "shop"}, "spec": spec});
            serde_json::from_value::<SecurityGroupPolicyView>(object).unwrap().row(&mut Interner::default()).unwrap()
        };
        let empty = row(json!({"podSelector": {}, "securityGroups": {"groupIds": ["sg-1", "sg-2"]}}));
        assert_eq!((empty.pods, empty.service_accounts, empty.groups.len()), (Some(Selector::default()), None, 2));
        let some = row(json!({"serviceAccountSelector": {"matchLabels": {"a": "b"},
            "matchExpressions": [{"key": "c", "operator": "Exists"}]}}));
        let accounts = some.service_accounts.unwrap();
        assert_eq!((some.pods, accounts.labels.len(), accounts.expressions.len()), (None, 1, 1));
    }

    #[test]
    fn a_network_policy_without_a_selector_is_about_all_pods() {
        let object = json!({"metadata": {"name": "deny", "namespace": "shop"}, "spec": {}});
        let row = serde_json::from_value::<NetworkPolicyView>(object).unwrap().row(&mut Interner::default()).unwrap();
        assert!(row.pods.is_empty());
    }

    #[test]
    fn a_headless_service_has_no_address() {
        let row = |spec: serde_json::Value| {
            let object = json!({"metadata": {"name": "s", "namespace": "shop"}, "spec": spec});
            serde_json::from_value::<ServiceView>(object).unwrap().row(&mut Interner::default()).unwrap()
        };
        let headless = row(json!({"clusterIP": "None", "clusterIPs": ["None"], "selector": {}}));
        assert_eq!((headless.cluster_address, headless.selector), (None, None));
        let local = row(json!({"clusterIP": "172.20.0.10", "externalTrafficPolicy": "Local", "selector": {"a": "b"}}));
        assert!(local.local_traffic && local.selector.is_some());
        assert_eq!(local.cluster_address, Some([172, 20, 0, 10].into()));
    }
}
