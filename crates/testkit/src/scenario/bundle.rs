//! A scenario as a directory of what `kubectl get … -A -o json` and `aws ec2 describe-… --output json` would print.
//!
//! No control plane and no simulator runs for it; both halves are written from the same plan as theirs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::Scenario;
use super::plan::{OwnerKind, Place, PlannedNode, PlannedPod};
use super::{eks, nodes, pods, workloads};
use crate::ec2::World;

/// Kinds, the file of each, and its API version.
const KINDS: [(&str, &str, &str); 18] = [
    ("Node", "nodes", "v1"),
    ("Pod", "pods", "v1"),
    ("DaemonSet", "daemonsets", "apps/v1"),
    ("Deployment", "deployments", "apps/v1"),
    ("ConfigMap", "configmaps", "v1"),
    ("Event", "events", "v1"),
    ("ServiceAccount", "serviceaccounts", "v1"),
    ("Service", "services", "v1"),
    ("NetworkPolicy", "networkpolicies", "networking.k8s.io/v1"),
    ("MutatingWebhookConfiguration", "mutatingwebhookconfigurations", "admissionregistration.k8s.io/v1"),
    ("CNINode", "cninodes", "vpcresources.k8s.aws/v1alpha1"),
    ("SecurityGroupPolicy", "securitygrouppolicies", "vpcresources.k8s.aws/v1beta1"),
    ("ENIConfig", "eniconfigs", "crd.k8s.amazonaws.com/v1alpha1"),
    ("EC2NodeClass", "ec2nodeclasses", "karpenter.k8s.aws/v1"),
    ("NodePool", "nodepools", "karpenter.sh/v1"),
    ("NodeClaim", "nodeclaims", "karpenter.sh/v1"),
    ("ReplicaSet", "", "apps/v1"),
    ("CustomResourceDefinition", "", "apiextensions.k8s.io/v1"),
];

/// Writes the bundle; a later look at the same cluster differs by nothing but the moment in its manifest.
pub(super) fn write(scenario: &Scenario, dir: &Path, taken_at: Timestamp) -> Result<()> {
    let mut writer = Writer { scenario, files: BTreeMap::new() };
    writer.cluster()?;
    let world = World::load(scenario.to_ec2_seed()).context("the scenario's EC2 half makes no sense")?;
    let (kubernetes, ec2) = (dir.join("kubernetes"), dir.join("ec2"));
    for folder in [&kubernetes, &ec2] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    for (kind, file, version) in KINDS {
        // kubectl prints an empty list, too, but not for a kind that the cluster does not have.
        let items = writer.files.remove(kind).unwrap_or_default();
        if file.is_empty() || (items.is_empty() && scenario.lacks(kind)) {
            continue;
        }
        let items: Vec<Value> = items.into_iter().map(|item| with_kind(item, kind, version)).collect();
        let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": items});
        save(&kubernetes.join(format!("{file}.json")), &list)?;
    }
    for (file, answer) in world.to_cli_json() {
        save(&ec2.join(format!("{file}.json")), &answer)?;
    }
    for (file, answer) in &scenario.file.ec2_answers {
        save(&ec2.join(format!("{file}.json")), answer)?;
    }
    let manifest = json!({
        "cluster": scenario.cluster(), "region": scenario.region(), "takenAt": taken_at.to_string(),
    });
    save(&dir.join("manifest.json"), &manifest)
}

/// Visits every object as the API server keeps it, with its kind and version: node by node, never all at once.
pub(super) fn each_object(scenario: &Scenario, mut visit: impl FnMut(Stored<'_>) -> Result<()>) -> Result<()> {
    let mut writer = Writer { scenario, files: BTreeMap::new() };
    for node in &scenario.plan.nodes {
        writer.node(node);
        for pod in &node.pods {
            writer.pod(node, pod)?;
        }
        writer.hand_out(Some(node), &mut visit)?;
    }
    writer.workloads();
    writer.hand_out(None, &mut visit)?;
    for object in &scenario.file.objects {
        let known = KINDS.iter().find(|(kind, ..)| object["kind"] == *kind);
        let (kind, _, version) = known.context("an object of the scenario is of no known kind")?;
        let object = with_kind(writer.with_metadata(object.clone()), kind, version);
        visit(Stored { node: None, kind, object })?;
    }
    Ok(())
}

/// An object as the API server keeps it.
pub(super) struct Stored<'a> {
    /// The node that it is, or is on.
    pub(super) node: Option<&'a PlannedNode>,
    pub(super) kind: &'static str,
    pub(super) object: Value,
}

fn save(path: &Path, value: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value)? + "\n";
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// What EKS puts into every cluster, and what the scenario states, each with its kind and its API version.
pub(super) fn objects(scenario: &Scenario) -> Result<Vec<(&'static str, Value)>> {
    let stated = &scenario.file.objects;
    let is_stated = |kind: &str, object: &Value| {
        let same =
            |one: &Value| ["name", "namespace"].iter().all(|key| one["metadata"][key] == object["metadata"][key]);
        stated.iter().any(|one| one["kind"] == kind && same(one))
    };
    let mut objects = Vec::new();
    for (kind, object) in eks::objects() {
        if !is_stated(kind, &object) {
            objects.push((kind, object));
        }
    }
    for object in stated {
        let kind = object["kind"].as_str().context("an object of the scenario has no kind")?;
        let known = KINDS.iter().find(|(known, file, _)| *known == kind && !file.is_empty());
        let (kind, ..) = known.with_context(|| format!("objects of kind {kind} are in no bundle"))?;
        objects.push((kind, object.clone()));
    }
    let version = |kind: &str| KINDS.iter().find(|(known, ..)| *known == kind).map_or("v1", |(.., version)| version);
    Ok(objects.into_iter().map(|(kind, object)| (kind, with_kind(object, kind, version(kind)))).collect())
}

fn with_kind(mut item: Value, kind: &str, version: &str) -> Value {
    item["kind"] = json!(kind);
    if item.get("apiVersion").is_none() {
        item["apiVersion"] = json!(version);
    }
    item
}

struct Writer<'a> {
    scenario: &'a Scenario,
    files: BTreeMap<String, Vec<Value>>,
}

impl Writer<'_> {
    fn cluster(&mut self) -> Result<()> {
        for node in &self.scenario.plan.nodes {
            self.node(node);
            for pod in &node.pods {
                self.pod(node, pod)?;
            }
        }
        self.workloads();
        for (kind, object) in objects(self.scenario)? {
            let made = self.with_metadata(object);
            self.put(kind, made);
        }
        Ok(())
    }

    fn hand_out(&mut self, node: Option<&PlannedNode>, visit: &mut impl FnMut(Stored<'_>) -> Result<()>) -> Result<()> {
        for (kind, _, version) in KINDS {
            for object in self.files.remove(kind).into_iter().flatten() {
                visit(Stored { node, kind, object: with_kind(object, kind, version) })?;
            }
        }
        Ok(())
    }

    fn put(&mut self, kind: &str, object: Value) {
        self.files.entry(kind.to_owned()).or_default().push(object);
    }

    /// What the API server adds to every object.
    fn with_metadata(&self, mut object: Value) -> Value {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        let hex = self.scenario.names.hex("uid", &[&namespace, &name]);
        let uid = format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[12..15], &hex[15..18], &hex[18..30]);
        let created = (self.scenario.now - super::plan::NODE_AGE).to_string();
        let metadata = &mut object["metadata"];
        for (key, value) in [("uid", uid), ("creationTimestamp", created)] {
            if metadata.get(key).is_none() {
                metadata[key] = json!(value);
            }
        }
        object
    }

    fn node(&mut self, node: &PlannedNode) {
        let mut object = nodes::node(self.scenario, node);
        merge(&mut object, &nodes::taints(self.scenario, node));
        merge(&mut object, &nodes::status(self.scenario, node, self.scenario.now));
        let created = (self.scenario.now - nodes::age(self.scenario, node)).to_string();
        object["metadata"]["creationTimestamp"] = json!(created);
        let object = self.with_metadata(object);
        if self.scenario.file.cni_nodes {
            let owner = json!({
                "apiVersion": "v1", "kind": "Node", "name": node.name, "uid": object["metadata"]["uid"],
                "controller": true, "blockOwnerDeletion": true,
            });
            let mut cni_node = nodes::cni_node(self.scenario, node);
            cni_node["metadata"]["ownerReferences"] = json!([owner]);
            cni_node["metadata"]["creationTimestamp"] = json!(created);
            let cni_node = self.with_metadata(cni_node);
            self.put("CNINode", cni_node);
        }
        self.put("Node", object);
    }

    fn pod(&mut self, node: &PlannedNode, pod: &PlannedPod) -> Result<()> {
        let owner = match pod.owner {
            OwnerKind::DaemonSet => json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "name": pod.workload.name}),
            OwnerKind::Deployment => json!({
                "apiVersion": "apps/v1", "kind": "ReplicaSet",
                "name": super::plan::replica_set_name(&self.scenario.names, &pod.workload),
            }),
        };
        let mut owner = owner;
        owner["uid"] = json!(self.scenario.names.hex("owner", &[&pod.workload.namespace, &pod.workload.name])[..32]);
        owner["controller"] = json!(true);
        let mut object = pods::pod(self.scenario, node, pod, &owner);
        let status = pods::status(node, pod, &object["spec"], self.scenario.now);
        merge(&mut object, &status);
        let object = self.with_metadata(object);
        if pod.place == Place::Waiting {
            let typed: Pod = serde_json::from_value(object.clone()).context("a planned pod is a pod")?;
            let event = pods::sandbox_event(self.scenario, node, &typed, self.scenario.now);
            let event = self.with_metadata(event);
            self.put("Event", event);
        }
        self.put("Pod", object);
        Ok(())
    }

    fn workloads(&mut self) {
        let mut counts: BTreeMap<(bool, _), usize> = BTreeMap::new();
        for pod in self.scenario.plan.nodes.iter().flat_map(|node| &node.pods) {
            *counts.entry((pod.owner == OwnerKind::DaemonSet, pod.workload.clone())).or_default() += 1;
        }
        for ((daemon, workload), count) in counts {
            let (kind, mut object, status) = if daemon {
                let object = workloads::daemon_set(self.scenario, &workload);
                ("DaemonSet", object, workloads::daemon_set_status(count))
            } else {
                let object = workloads::deployment(self.scenario, &workload, count);
                ("Deployment", object, workloads::deployment_status(count, count))
            };
            merge(&mut object, &status);
            let object = self.with_metadata(object);
            self.put(kind, object);
        }
    }
}

/// A JSON merge patch (RFC 7386).
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            if let Some(object) = target.as_object_mut() {
                object.remove(key);
            }
        } else {
            merge(&mut target[key], value);
        }
    }
}
