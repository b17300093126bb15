//! Nodes as kubelet and the VPC resource controller register them.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::Scenario;
use super::plan::{NODE_AGE, PlannedNode};
use super::tags;

const POD_ENI: &str = "vpc.amazonaws.com/pod-eni";
const ARCHITECTURE: &str = "amd64";
const KUBELET_VERSION: &str = "v1.33.5-eks-113cf36";

/// The Node without its status.
pub(super) fn node(scenario: &Scenario, node: &PlannedNode) -> Value {
    let mut spec = json!({
        "providerID": format!("aws:///{}/{}", scenario.subnet(node).zone, node.instance),
    });
    if scenario.group(node).cordoned {
        spec["unschedulable"] = json!(true);
    }
    let annotations = &scenario.group(node).annotations;
    json!({"metadata": {"name": node.name, "labels": labels(scenario, node), "annotations": annotations}, "spec": spec})
}

/// Admission gives every new Node the taint of one that is not ready; this takes it off again.
pub(super) fn taints(scenario: &Scenario, node: &PlannedNode) -> Value {
    let group = scenario.group(node);
    let mut taint = json!({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"});
    if let Some(minutes) = group.cordoned_minutes {
        taint["timeAdded"] = json!((scenario.now - SignedDuration::from_mins(minutes.into())).to_string());
    }
    json!({"spec": {"taints": if group.cordoned { json!([taint]) } else { Value::Null }}})
}

/// For how long it has been a node.
pub(super) fn age(scenario: &Scenario, node: &PlannedNode) -> SignedDuration {
    scenario.group(node).age_minutes.map_or(NODE_AGE, |minutes| SignedDuration::from_mins(minutes.into()))
}

/// The status of a healthy Node.
pub(super) fn status(scenario: &Scenario, node: &PlannedNode, now: Timestamp) -> Value {
    let capacity = capacity(scenario, node);
    let since = (now - age(scenario, node)).to_string();
    let condition = |kind: &str, status: &str, reason: &str| {
        json!({
            "type": kind, "status": status, "reason": reason, "message": format!("kubelet says {reason}"),
            "lastHeartbeatTime": now.to_string(), "lastTransitionTime": since,
        })
    };
    json!({"status": {
        "capacity": capacity,
        "allocatable": capacity,
        "conditions": [
            condition("MemoryPressure", "False", "KubeletHasSufficientMemory"),
            condition("DiskPressure", "False", "KubeletHasNoDiskPressure"),
            condition("PIDPressure", "False", "KubeletHasSufficientPID"),
            condition("Ready", "True", "KubeletReady"),
        ],
        "addresses": [
            {"type": "InternalIP", "address": node.address.to_string()},
            {"type": "InternalDNS", "address": node.name},
            {"type": "Hostname", "address": node.name},
        ],
        "nodeInfo": {
            "architecture": ARCHITECTURE, "operatingSystem": "linux",
            "kubeletVersion": KUBELET_VERSION, "kubeProxyVersion": KUBELET_VERSION,
            "containerRuntimeVersion": "containerd://2.1.4", "kernelVersion": "6.12.46-66.121.amzn2023.x86_64",
            "osImage": "Amazon Linux 2023", "machineID": "", "systemUUID": "", "bootID": "",
        },
    }})
}

/// The `CNINode` of a node, without the reference to its Node; ipamd asks for a trunk by the feature.
pub(super) fn cni_node(scenario: &Scenario, node: &PlannedNode) -> Value {
    let group = scenario.group(node);
    let trunk =
        (group.trunk.is_some() || group.wants_trunk).then(|| json!({"name": "SecurityGroupsForPods", "value": ""}));
    let eni_config = group.eni_config.as_ref().map(|name| json!({"name": "CustomNetworking", "value": name}));
    let features: Vec<Value> = trunk.into_iter().chain(eni_config).collect();
    json!({
        "apiVersion": "vpcresources.k8s.aws/v1alpha1",
        "kind": "CNINode",
        "metadata": {"name": node.name, "labels": {"kubernetes.io/os": "linux"}},
        "spec": {
            "features": features,
            "tags": {tags::CLUSTER_NAME: scenario.cluster(), tags::INSTANCE_ID: node.instance},
        },
    })
}

fn labels(scenario: &Scenario, node: &PlannedNode) -> BTreeMap<String, String> {
    let group = scenario.group(node);
    let zone = &scenario.subnet(node).zone;
    let standard = [
        ("eks.amazonaws.com/capacityType", "ON_DEMAND"),
        ("eks.amazonaws.com/nodegroup", &group.name),
        ("kubernetes.io/arch", ARCHITECTURE),
        ("kubernetes.io/hostname", &node.name),
        ("kubernetes.io/os", "linux"),
        ("node.kubernetes.io/instance-type", &group.instance_type),
        ("topology.kubernetes.io/region", scenario.region()),
        ("topology.kubernetes.io/zone", zone),
    ];
    let standard = standard.map(|(key, value)| (key.to_owned(), value.to_owned()));
    standard.into_iter().chain(group.labels.clone()).collect()
}

fn capacity(scenario: &Scenario, node: &PlannedNode) -> BTreeMap<String, String> {
    let group = scenario.group(node);
    let mut capacity = BTreeMap::from([
        ("cpu".to_owned(), group.cpu.to_string()),
        ("memory".to_owned(), group.memory.clone()),
        ("pods".to_owned(), group.max_pods.to_string()),
    ]);
    if let Some(trunk) = &group.trunk {
        capacity.insert(POD_ENI.to_owned(), trunk.slots.to_string());
    }
    capacity
}
