//! A small cluster as kubectl and the AWS CLI print it: two nodes, the CNI on both, two pods of a Deployment.

use std::{collections::BTreeMap, fs};

use ipam_audit_bundle::Bundle;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A bundle in the making: file by file, as text.
#[derive(Debug, Clone)]
pub(crate) struct Files(BTreeMap<String, Vec<u8>>);

pub(crate) const NEWEST: &str = "2026-11-21T10:00:00Z";

impl Files {
    /// The five files that an audit cannot do without.
    pub(crate) fn minimal() -> Self {
        let mut files = Self(BTreeMap::new());
        files.put("kubernetes/nodes.json", &list("", &[node(1), node(2)]));
        files.put("kubernetes/daemonsets.json", &list("", &[daemon_set()]));
        let pods =
            [cni_pod(1), cni_pod(2), pod("resizer-7d9f-a", 1, "10.0.0.11"), pod("resizer-7d9f-b", 2, "10.0.0.21")];
        files.put("kubernetes/pods.json", &list("", &pods));
        files.put("ec2/subnets.json", &json!({"Subnets": [subnet("subnet-1", "vpc-1")]}));
        files.put("ec2/network-interfaces.json", &json!({"NetworkInterfaces": [interface(1), interface(2)]}));
        files
    }

    pub(crate) fn put(&mut self, path: &str, content: &Value) {
        self.put_text(path, serde_json::to_string_pretty(content).unwrap());
    }

    pub(crate) fn put_text(&mut self, path: &str, content: impl Into<Vec<u8>>) {
        self.0.insert(path.to_owned(), content.into());
    }

    pub(crate) fn without(mut self, path: &str) -> Self {
        self.0.remove(path).unwrap();
        self
    }

    pub(crate) fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&self.0[path]).unwrap()
    }

    /// Changes a file in place.
    pub(crate) fn edit(&mut self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut value = self.json(path);
        change(&mut value);
        self.put(path, &value);
    }

    pub(crate) fn in_a_folder(&self) -> TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (path, content) in &self.0 {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        dir
    }

    pub(crate) fn read(&self) -> Bundle {
        ipam_audit_bundle::read(self.in_a_folder().path()).unwrap()
    }
}

/// The warnings of a bundle as a user sees them.
pub(crate) fn warnings(bundle: &Bundle) -> Vec<String> {
    bundle.warnings.iter().map(ToString::to_string).collect()
}

/// A list as `kubectl get -o json` prints it.
pub(crate) fn list(token: &str, items: &[Value]) -> Value {
    json!({"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": "", "continue": token}})
}

pub(crate) fn node(number: u8) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": format!("node-{number}"), "uid": format!("node-uid-{number}"),
            "creationTimestamp": "2026-11-20T00:00:00Z", "labels": {
                "node.kubernetes.io/instance-type": "m5.large", "topology.kubernetes.io/zone": "eu-central-1a",
                "eks.amazonaws.com/nodegroup": "batch", "kubernetes.io/os": "linux"}},
        "spec": {"providerID": format!("aws:///eu-central-1a/i-{number}")},
        "status": {"capacity": {"cpu": "2", "pods": "29"}, "allocatable": {"cpu": "1930m", "pods": "29"},
            "addresses": [{"type": "InternalIP", "address": format!("10.0.0.{number}0")}],
            "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": NEWEST,
                "lastTransitionTime": "2026-11-20T00:01:00Z"}],
            "nodeInfo": {"kubeletVersion": "v1.33.1-eks-1"}},
    })
}

pub(crate) fn daemon_set() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": "aws-node", "namespace": "kube-system", "uid": "ds", "labels": {"k8s-app": "aws-node"},
            "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"selector": {"matchLabels": {"k8s-app": "aws-node"}},
            "template": {"metadata": {"labels": {"k8s-app": "aws-node"}}, "spec": {
                "serviceAccountName": "aws-node", "containers": [container()]}}},
        "status": {"currentNumberScheduled": 2, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2},
    })
}

fn container() -> Value {
    json!({"name": "aws-node",
        "image": "602401143452.dkr.ecr.eu-central-1.amazonaws.com/amazon-k8s-cni:v1.19.0-eksbuild.1",
        "env": [{"name": "WARM_IP_TARGET", "value": "2"}, {"name": "MINIMUM_IP_TARGET",
            "valueFrom": {"configMapKeyRef": {"name": "cni-targets", "key": "minimum"}}}]})
}

fn cni_pod(number: u8) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": format!("aws-node-{number}"), "namespace": "kube-system", "uid": format!("cni-{number}"),
            "creationTimestamp": "2026-11-20T00:00:30Z", "labels": {"k8s-app": "aws-node", "pod-template-generation": "1"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "aws-node", "uid": "ds", "controller": true}]},
        "spec": {"nodeName": format!("node-{number}"), "hostNetwork": true, "containers": [container()]},
        "status": {"phase": "Running", "podIP": format!("10.0.0.{number}0"),
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "aws-node", "restartCount": 3, "state": {"running": {}}}]},
    })
}

pub(crate) fn pod(name: &str, number: u8, address: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "uid": format!("uid-{name}"),
            "creationTimestamp": "2026-11-20T00:05:00Z", "labels": {"app": "resizer", "pod-template-hash": "7d9f"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "resizer-7d9f", "uid": "rs", "controller": true}]},
        "spec": {"nodeName": format!("node-{number}"), "serviceAccountName": "resizer",
            "containers": [{"name": "app", "image": "resizer:1", "env": [{"name": "TOKEN", "value": "hunter2"}]}]},
        "status": {"phase": if address.is_empty() { "Pending" } else { "Running" }, "podIP": address},
    })
}

pub(crate) fn subnet(id: &str, vpc: &str) -> Value {
    json!({"SubnetId": id, "VpcId": vpc, "CidrBlock": "10.0.0.0/24", "AvailabilityZone": "eu-central-1a",
        "AvailabilityZoneId": "euc1-az2", "AvailableIpAddressCount": 200, "State": "available", "OwnerId": "111122223333"})
}

pub(crate) fn interface(number: u8) -> Value {
    let address =
        |last: u8, primary: bool| json!({"PrivateIpAddress": format!("10.0.0.{number}{last}"), "Primary": primary});
    json!({"NetworkInterfaceId": format!("eni-{number}"), "SubnetId": "subnet-1", "VpcId": "vpc-1",
        "InterfaceType": "interface", "Status": "in-use", "PrivateIpAddress": format!("10.0.0.{number}0"),
        "PrivateIpAddresses": [address(0, true), address(1, false), address(2, false), address(3, false)],
        "Ipv4Prefixes": [], "Description": "", "RequesterManaged": false, "OwnerId": "111122223333",
        "Attachment": {"AttachmentId": format!("att-{number}"), "InstanceId": format!("i-{number}"), "DeviceIndex": 0,
            "NetworkCardIndex": 0, "DeleteOnTermination": true, "AttachTime": "2026-11-20T00:00:00+00:00"},
        "Groups": [{"GroupId": "sg-1", "GroupName": "nodes"}],
        "TagSet": [{"Key": "node.k8s.amazonaws.com/instance_id", "Value": format!("i-{number}")}]})
}
