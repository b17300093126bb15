//! Pods: who has an address, who wants one, who made them.

use std::{fmt, net::Ipv4Addr, sync::Arc};

use ipam_audit_core::{
    ids::EniId,
    snapshot::{BranchUse, Pod, PodPhase},
};
use k8s_openapi::api::core::v1::Pod as FullPod;
use kube::{Resource, core::ObjectMeta};
use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};

use super::{
    Interner, Malformed,
    meta::{self, Kept, POD_ENI, POD_TEMPLATE_HASH, PodEni},
};

/// A pod, without what no audit looks at.
#[derive(Debug, Clone, Default, Deserialize, Resource)]
#[resource(inherit = FullPod)]
pub struct PodView {
    #[serde(default, deserialize_with = "meta::pod")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    node_name: Option<String>,
    host_network: Option<bool>,
    #[serde(default)]
    containers: BranchLimit,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Status {
    phase: Option<String>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
}

/// Whether a container has the extended resource of branch interfaces; the rest of the containers is skipped.
#[derive(Debug, Clone, Copy, Default)]
struct BranchLimit {
    wanted: bool,
}

#[derive(Deserialize)]
struct Container {
    #[serde(default)]
    resources: Resources,
}

#[derive(Default, Deserialize)]
struct Resources {
    #[serde(default)]
    limits: Kept<PodEni>,
}

impl<'de> Deserialize<'de> for BranchLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Containers;

        impl<'de> Visitor<'de> for Containers {
            type Value = BranchLimit;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of containers")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(BranchLimit::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut found = BranchLimit::default();
                while let Some(container) = list.next_element::<Container>()? {
                    found.wanted |= !container.resources.limits.entries.is_empty();
                }
                Ok(found)
            }
        }

        deserializer.deserialize_any(Containers)
    }
}

impl PodView {
    /// The row of a snapshot. Whether kubelet was refused an address comes from events, not from here.
    pub fn row(&self, interner: &mut Interner) -> Result<Pod, Malformed> {
        let meta = &self.metadata;
        let name = meta.name.as_deref().ok_or_else(|| Malformed::missing("Pod", meta, "metadata.name"))?;
        let uid = meta.uid.as_deref().ok_or_else(|| Malformed::missing("Pod", meta, "metadata.uid"))?;
        let text = self.status.pod_ip.as_deref().filter(|text| !text.is_empty());
        let workload = self.workload().map(|name| interner.text(&name));
        Ok(Pod {
            namespace: interner.text(meta.namespace.as_deref().unwrap_or_default()),
            name: name.into(),
            uid: uid.into(),
            workload,
            node: self.spec.node_name.as_deref().filter(|node| !node.is_empty()).map(|node| interner.node(node)),
            address: text.map(|text| self.ipv4(text)).transpose()?.flatten(),
            host_network: self.spec.host_network.unwrap_or_default(),
            phase: phase(self.status.phase.as_deref()),
            terminating: meta.deletion_timestamp.is_some(),
            branch: self.branch(),
            created_at: meta.creation_timestamp.as_ref().map(|time| time.0),
            scheduled_at: None,
            finished_at: None,
            refused_at: None,
            traits: None,
        })
    }

    /// The IPv4 address of a text; an IPv6 address is not one of the VPC CNI's pool and not an error.
    fn ipv4(&self, text: &str) -> Result<Option<Ipv4Addr>, Malformed> {
        match text.parse() {
            Ok(std::net::IpAddr::V4(address)) => Ok(Some(address)),
            Ok(std::net::IpAddr::V6(_)) => Ok(None),
            Err(_) => Err(Malformed::new("Pod", &self.metadata, format!("status.podIP {text:?} is not an address"))),
        }
    }

    fn branch(&self) -> BranchUse {
        let annotation = self.metadata.annotations.as_ref().and_then(|map| map.get(POD_ENI));
        match annotation.and_then(|text| branch_interface(text)) {
            Some(eni) => BranchUse::Has(eni),
            None if self.spec.containers.wanted => BranchUse::Wanted,
            None => BranchUse::No,
        }
    }

    /// `Kind name` of the controller, with ReplicaSets of Deployments named by their Deployment.
    fn workload(&self) -> Option<String> {
        let owners = self.metadata.owner_references.as_ref()?;
        let owner = owners.iter().find(|owner| owner.controller == Some(true))?;
        let hash = self.metadata.labels.as_ref().and_then(|labels| labels.get(POD_TEMPLATE_HASH));
        let deployment = hash
            .filter(|_| owner.kind == "ReplicaSet")
            .and_then(|hash| owner.name.strip_suffix(hash.as_str())?.strip_suffix('-'));
        Some(match deployment {
            Some(name) => format!("Deployment {name}"),
            None => format!("{} {}", owner.kind, owner.name),
        })
    }
}

fn phase(word: Option<&str>) -> PodPhase {
    match word {
        Some("Pending") | None => PodPhase::Pending,
        Some("Succeeded" | "Failed") => PodPhase::Finished,
        Some(_) => PodPhase::Running,
    }
}

/// The first interface of the annotation that the VPC resource controller writes: a JSON list, in practice of one.
fn branch_interface(annotation: &str) -> Option<EniId> {
    #[derive(Deserialize)]
    struct Branch {
        #[serde(rename = "eniId")]
        eni_id: Arc<str>,
    }
    let branches: Vec<Branch> = serde_json::from_str(annotation).ok()?;
    branches.into_iter().map(|branch| EniId::new(branch.eni_id)).find(|eni| !eni.as_str().is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn row(object: Value) -> Result<Pod, Malformed> {
        serde_json::from_value::<PodView>(object).unwrap().row(&mut Interner::default())
    }

    #[test]
    fn a_pod_of_a_deployment_is_named_by_it() {
        let pod = row(json!({
            "metadata": {"name": "resizer-7d9f-x1", "namespace": "shop", "uid": "u1",
                "labels": {"pod-template-hash": "7d9f"},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "resizer-7d9f", "uid": "r", "controller": true}]},
            "spec": {"nodeName": "node-1", "containers": [{"name": "c", "resources": {"limits": {"cpu": "1"}}}]},
            "status": {"phase": "Running", "podIP": "10.0.0.9"},
        }))
        .unwrap();
        assert_eq!(pod.workload.as_deref(), Some("Deployment resizer"));
        assert!(pod.uses_pool());
        assert_eq!((pod.address, pod.branch), (Some([10, 0, 0, 9].into()), BranchUse::No));
    }

    #[test]
    fn a_branch_is_wanted_by_the_limit_and_had_by_the_annotation() {
        let limit = json!([{"name": "c", "resources": {"limits": {"vpc.amazonaws.com/pod-eni": "1"}}}]);
        let object = |annotation: &str| {
            json!({"metadata": {"name": "p", "uid": "u", "annotations": {"vpc.amazonaws.com/pod-eni": annotation}},
                "spec": {"containers": limit}})
        };
        let wanted = json!({"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": limit}});
        assert_eq!(row(wanted).unwrap().branch, BranchUse::Wanted);
        let has = row(object(r#"[{"eniId": "eni-7", "vlanId": 1}]"#)).unwrap();
        assert_eq!(has.branch, BranchUse::Has("eni-7".into()));
        assert_eq!(row(object("not json")).unwrap().branch, BranchUse::Wanted);
    }

    #[test]
    fn nonsense_is_named_and_absence_is_not_nonsense() {
        let bad =
            row(json!({"metadata": {"name": "p", "namespace": "shop", "uid": "u"}, "status": {"podIP": "10.0.0"}}));
        assert_eq!(bad.unwrap_err().to_string(), "Pod shop/p: status.podIP \"10.0.0\" is not an address");
        let none = row(json!({"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": null}})).unwrap();
        assert_eq!((none.address, none.node, none.phase), (None, None, PodPhase::Pending));
        assert!(row(json!({"metadata": {"name": "p"}})).is_err(), "a pod without uid cannot be told from the next");
    }
}
