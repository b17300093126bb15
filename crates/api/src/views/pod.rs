//! Pods: who has an address, who wants one, who made them.

use std::{collections::BTreeMap, fmt, net::Ipv4Addr, sync::Arc};

use ipam_audit_core::{
    ids::EniId,
    snapshot::{BranchUse, Pod, PodFields, PodPhase, PodTraits},
};
use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Pod as FullPod, apimachinery::pkg::apis::meta::v1::Time};
use kube::{Resource, core::ObjectMeta};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};

use super::{
    Interner, Malformed,
    meta::{self, Kept, POD_ENI, POD_TEMPLATE_HASH, PodEni},
};

/// What the scheduler says when no node has a branch slot left.
const NO_BRANCH_SLOT: &str = "Insufficient vpc.amazonaws.com/pod-eni";

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
    service_account_name: Option<String>,
    termination_grace_period_seconds: Option<i64>,
    #[serde(default)]
    containers: Containers,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    phase: Option<String>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    conditions: Option<Vec<Condition>>,
    container_statuses: Option<Vec<ContainerStatus>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    status: String,
    message: Option<String>,
    last_transition_time: Option<Time>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct ContainerStatus {
    #[serde(default)]
    state: ContainerState,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct ContainerState {
    terminated: Option<Terminated>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Terminated {
    finished_at: Option<Time>,
}

/// What of a pod's containers matters here: the rest is skipped.
#[derive(Debug, Clone, Default)]
struct Containers {
    /// Indices of those with the extended resource of branch interfaces.
    with_branch: Vec<u32>,
    /// Whether kubelet probes one of them over the network.
    network_probes: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    #[serde(default)]
    resources: Resources,
    liveness_probe: Option<Probe>,
    readiness_probe: Option<Probe>,
    startup_probe: Option<Probe>,
}

#[derive(Default, Deserialize)]
struct Resources {
    #[serde(default)]
    limits: Kept<PodEni>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    http_get: Option<IgnoredAny>,
    tcp_socket: Option<IgnoredAny>,
    grpc: Option<IgnoredAny>,
}

impl Probe {
    fn uses_the_network(&self) -> bool {
        self.http_get.is_some() || self.tcp_socket.is_some() || self.grpc.is_some()
    }
}

impl<'de> Deserialize<'de> for Containers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Containers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of containers")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Containers::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut found = Containers::default();
                let mut index = 0;
                while let Some(container) = list.next_element::<Container>()? {
                    let Container { resources, liveness_probe, readiness_probe, startup_probe } = container;
                    if !resources.limits.entries.is_empty() {
                        found.with_branch.push(index);
                    }
                    let mut probes = [liveness_probe, readiness_probe, startup_probe].into_iter().flatten();
                    found.network_probes |= probes.any(|probe| probe.uses_the_network());
                    index += 1;
                }
                Ok(found)
            }
        }

        deserializer.deserialize_any(List)
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
        let address = text.map(|text| self.ipv4(text)).transpose()?.flatten();
        let phase = phase(self.status.phase.as_deref());
        let branch = self.branch();
        let fields = PodFields {
            namespace: interner.text(meta.namespace.as_deref().unwrap_or_default()),
            name: name.into(),
            uid: uid.into(),
            workload,
            node: self.spec.node_name.as_deref().filter(|node| !node.is_empty()).map(|node| interner.node(node)),
            address,
            host_network: self.spec.host_network.unwrap_or_default(),
            phase,
            terminating: meta.deletion_timestamp.is_some(),
            scheduled_at: self.scheduled_at().filter(|_| branch != BranchUse::No || address.is_none()),
            finished_at: self.finished_at().filter(|_| phase == PodPhase::Finished),
            branch,
            created_at: meta.creation_timestamp.as_ref().map(|time| time.0),
            refused_at: None,
            traits: Some(self.traits(interner)),
        };
        Ok(Pod::pack(fields, interner))
    }

    /// Its labels.
    pub fn labels(&self) -> Option<&BTreeMap<String, String>> {
        self.metadata.labels.as_ref()
    }

    fn traits(&self, interner: &mut Interner) -> Arc<PodTraits> {
        let lacks_slot = |condition: &Condition| {
            let message = condition.message.as_deref().unwrap_or_default();
            condition.status == "False" && message.contains(NO_BRANCH_SLOT)
        };
        let account = self.spec.service_account_name.as_deref().filter(|name| !name.is_empty());
        let traits = PodTraits {
            labels: interner.tags(self.metadata.labels.as_ref()),
            service_account: account.map(|name| interner.text(name)),
            branch_containers: self.spec.containers.with_branch.as_slice().into(),
            grace_seconds: self.spec.termination_grace_period_seconds.and_then(|seconds| u32::try_from(seconds).ok()),
            network_probes: self.spec.containers.network_probes,
            lacks_branch_slot: self.scheduled().is_some_and(lacks_slot),
        };
        interner.traits(traits)
    }

    fn scheduled(&self) -> Option<&Condition> {
        self.status.conditions.iter().flatten().find(|condition| condition.kind == "PodScheduled")
    }

    fn scheduled_at(&self) -> Option<Timestamp> {
        let condition = self.scheduled().filter(|condition| condition.status == "True")?;
        condition.last_transition_time.as_ref().map(|time| time.0)
    }

    fn finished_at(&self) -> Option<Timestamp> {
        let statuses = self.status.container_statuses.iter().flatten();
        statuses.filter_map(|status| Some(status.state.terminated.as_ref()?.finished_at.as_ref()?.0)).max()
    }

    /// The IPv4 address of a text; an IPv6 address is not one of the VPC CNI's pool and not an error.
    fn ipv4(&self, text: &str) -> Result<Option<Ipv4Addr>, Malformed> {
        match text.parse() {
            Ok(std::net::IpAddr::V4(address)) => Ok(Some(address)),
            Ok(std::net::IpAddr::V6(_)) => Ok(None),
            Err(_) => Err(Malformed::new("Pod", &self.metadata, "status.podIP is not an address")),
        }
    }

    fn branch(&self) -> BranchUse {
        let annotation = self.metadata.annotations.as_ref().and_then(|map| map.get(POD_ENI));
        match annotation.and_then(|text| branch_interface(text)) {
            Some(eni) => BranchUse::Has(eni),
            None if !self.spec.containers.with_branch.is_empty() => BranchUse::Wanted,
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

    fn row(object: Value) -> Result<PodFields, Malformed> {
        serde_json::from_value::<PodView>(object).unwrap().row(&mut Interner::default()).map(|pod| pod.fields())
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
        assert!(Pod::from(pod.clone()).uses_pool());
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
    fn pods_of_one_template_share_what_they_have_in_common() {
        let mut interner = Interner::default();
        let mut pod = |name: &str| {
            let object = json!({
                "metadata": {"name": name, "uid": name, "labels": {"app": "shop"}},
                "spec": {"serviceAccountName": "shop", "terminationGracePeriodSeconds": 45, "containers": [
                    {"name": "proxy", "readinessProbe": {"httpGet": {"port": 1}}},
                    {"name": "app", "resources": {"limits": {"vpc.amazonaws.com/pod-eni": "1"}}}]},
                "status": {"conditions": [{"type": "PodScheduled", "status": "False",
                    "message": "0/9 nodes are available: 9 Insufficient vpc.amazonaws.com/pod-eni."}]},
            });
            serde_json::from_value::<PodView>(object).unwrap().row(&mut interner).unwrap().fields().traits.unwrap()
        };
        let (one, two) = (pod("a"), pod("b"));
        assert!(Arc::ptr_eq(&one, &two));
        assert_eq!((one.label("app"), one.service_account.as_deref()), (Some("shop"), Some("shop")));
        assert_eq!((&*one.branch_containers, one.grace_seconds), ([1].as_slice(), Some(45)));
        assert!(one.network_probes && one.lacks_branch_slot);
    }

    #[test]
    fn times_are_kept_where_they_are_asked_for() {
        let pod = |phase: &str, address: Option<&str>| {
            row(json!({
                "metadata": {"name": "p", "uid": "u"},
                "status": {"phase": phase, "podIP": address,
                    "conditions": [{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}],
                    "containerStatuses": [
                        {"state": {"terminated": {"finishedAt": "2026-01-01T00:05:00Z"}}},
                        {"state": {"terminated": {"finishedAt": "2026-01-01T00:04:00Z"}}}]},
            }))
            .unwrap()
        };
        let at = |text: &str| text.parse::<Timestamp>().ok();
        let waiting = pod("Pending", None);
        assert_eq!((waiting.scheduled_at, waiting.finished_at), (at("2026-01-01T00:00:00Z"), None));
        let finished = pod("Succeeded", Some("10.0.0.9"));
        assert_eq!((finished.scheduled_at, finished.finished_at), (None, at("2026-01-01T00:05:00Z")));
    }

    #[test]
    fn nonsense_is_named_and_absence_is_not_nonsense() {
        let bad =
            row(json!({"metadata": {"name": "p", "namespace": "shop", "uid": "u"}, "status": {"podIP": "10.0.0"}}));
        assert_eq!(bad.unwrap_err().to_string(), "Pod shop/p: status.podIP is not an address");
        let none = row(json!({"metadata": {"name": "p", "uid": "u"}, "spec": {"containers": null}})).unwrap();
        assert_eq!((none.address, none.node, none.phase), (None, None, PodPhase::Pending));
        assert!(row(json!({"metadata": {"name": "p"}})).is_err(), "a pod without uid cannot be told from the next");
    }
}
