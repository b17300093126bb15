//! Pods with the status that kubelet reports: running with their address, or waiting for one.

use std::net::Ipv4Addr;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::Scenario;
use super::plan::{OwnerKind, Place, PlannedNode, PlannedPod};
use super::workloads;
use crate::ec2::seed::Interface;

const POD_ENI: &str = "vpc.amazonaws.com/pod-eni";
/// How long waiting pods have been waiting.
const WAITING_FOR: SignedDuration = SignedDuration::from_mins(14);
/// kubelet tries a sandbox again every 15 seconds or so.
const RETRIES: i64 = 56;

/// The Pod without its status.
pub(super) fn pod(scenario: &Scenario, node: &PlannedNode, pod: &PlannedPod, owner: &Value) -> Value {
    let mut spec = workloads::pod_spec(scenario, &pod.workload, pod.owner);
    spec["nodeName"] = json!(node.name);
    let mut labels = workloads::labels(scenario, &pod.workload);
    if pod.owner == OwnerKind::Deployment {
        let hash = pod.name.rsplit('-').nth(1).unwrap_or_default();
        labels["pod-template-hash"] = json!(hash);
    }
    let mut object = json!({
        "metadata": {
            "name": pod.name, "namespace": pod.workload.namespace, "labels": labels, "ownerReferences": [owner],
        },
        "spec": spec,
    });
    if let Some(branch) = branch(node, pod) {
        // The resource controller's webhook puts the request on the first container, the controller the annotation.
        object["spec"]["containers"][0]["resources"] = json!({"limits": {POD_ENI: "1"}, "requests": {POD_ENI: "1"}});
        object["metadata"]["annotations"] = json!({POD_ENI: branch_annotation(scenario, node, branch)});
    }
    object
}

/// What kubelet reports about a pod.
pub(super) fn status(node: &PlannedNode, pod: &PlannedPod, spec: &Value, now: Timestamp) -> Value {
    let host = node.address.to_string();
    let Some(address) = address(node, pod) else {
        return waiting_status(&host, spec, now - WAITING_FOR);
    };
    let address = address.to_string();
    let since = now - SignedDuration::from_hours(6);
    json!({"status": {
        "phase": "Running",
        "hostIP": host,
        "hostIPs": [{"ip": host}],
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": since.to_string(),
        "conditions": conditions(&[
            ("PodReadyToStartContainers", true), ("Initialized", true), ("Ready", true), ("ContainersReady", true),
            ("PodScheduled", true),
        ], since),
        "containerStatuses": containers(spec, true, &json!({"running": {"startedAt": since.to_string()}})),
    }})
}

/// The address that a pod has, if it has one.
pub(super) fn address(node: &PlannedNode, pod: &PlannedPod) -> Option<Ipv4Addr> {
    match pod.place {
        Place::HostNetwork => Some(node.address),
        Place::Pool(address) => Some(address),
        Place::Branch(_) => branch(node, pod)?.primary,
        Place::Waiting => None,
    }
}

/// kubelet's event about a sandbox that could not be created.
pub(super) fn sandbox_event(scenario: &Scenario, node: &PlannedNode, pod: &Pod, now: Timestamp) -> Value {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let sandbox = scenario.names.hex("sandbox", &[name]);
    json!({
        "metadata": {
            "name": format!("{name}.{}", &scenario.names.hex("event", &[name])[..16]),
            "namespace": pod.metadata.namespace,
        },
        "involvedObject": {
            "apiVersion": "v1", "kind": "Pod", "name": name,
            "namespace": pod.metadata.namespace, "uid": pod.metadata.uid,
        },
        "type": "Warning",
        "reason": "FailedCreatePodSandBox",
        "message": format!(
            "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to setup network for sandbox \
             \"{sandbox}\": plugin type=\"aws-cni\" name=\"aws-cni\" failed (add): add cmd: failed to assign an IP \
             address to container"
        ),
        "firstTimestamp": (now - WAITING_FOR).to_string(),
        "lastTimestamp": (now - SignedDuration::from_secs(9)).to_string(),
        "count": RETRIES,
        "source": {"component": "kubelet", "host": node.name},
        "reportingComponent": "kubelet",
        "reportingInstance": node.name,
    })
}

fn branch<'a>(node: &'a PlannedNode, pod: &PlannedPod) -> Option<&'a Interface> {
    match pod.place {
        Place::Branch(index) => node.interfaces.get(index),
        _ => None,
    }
}

fn branch_annotation(scenario: &Scenario, node: &PlannedNode, branch: &Interface) -> String {
    let id = branch.id.as_deref().unwrap_or_default();
    let entry = json!([{
        "eniId": id,
        "ifAddress": scenario.names.mac(&[id]),
        "privateIp": branch.primary.map(|address| address.to_string()),
        "ipv6Addr": "",
        "vlanId": branch.trunk.as_ref().map(|trunk| trunk.vlan),
        "subnetCidr": scenario.subnet(node).cidr.to_string(),
        "subnetV6Cidr": "",
        "associationID": scenario.names.aws_id("trunk-assoc", &[id]),
    }]);
    entry.to_string()
}

fn waiting_status(host: &str, spec: &Value, since: Timestamp) -> Value {
    json!({"status": {
        "phase": "Pending",
        "hostIP": host,
        "hostIPs": [{"ip": host}],
        "startTime": since.to_string(),
        "conditions": conditions(&[
            ("PodReadyToStartContainers", false), ("Initialized", true), ("Ready", false), ("ContainersReady", false),
            ("PodScheduled", true),
        ], since),
        "containerStatuses": containers(spec, false, &json!({"waiting": {"reason": "ContainerCreating"}})),
    }})
}

/// One entry for each container, all in the same state.
fn containers(spec: &Value, ready: bool, state: &Value) -> Vec<Value> {
    let status = |container: &Value| {
        json!({
            "name": container["name"], "image": container["image"], "imageID": "",
            "ready": ready, "started": ready, "restartCount": 0, "state": state,
        })
    };
    spec["containers"].as_array().into_iter().flatten().map(status).collect()
}

fn conditions(states: &[(&str, bool)], since: Timestamp) -> Vec<Value> {
    let condition = |(kind, holds): &(&str, bool)| {
        let truth = if *holds { "True" } else { "False" };
        json!({"type": kind, "status": truth, "lastTransitionTime": since.to_string()})
    };
    states.iter().map(condition).collect()
}
