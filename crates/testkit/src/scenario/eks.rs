//! What every EKS cluster and every VPC have, though no scenario states it.

use ipnet::Ipv4Net;
use serde_json::{Value, json};

use super::Scenario;
use crate::ec2::seed::{Route, RouteTable, Tags};

/// Objects that EKS itself puts into a cluster: kind and object.
pub(super) fn objects() -> [(&'static str, Value); 5] {
    [
        (
            "Service",
            json!({
                "metadata": {"name": "kubernetes", "namespace": "default"},
                "spec": {"clusterIP": "172.20.0.1", "type": "ClusterIP", "ports": [{"port": 443}]},
            }),
        ),
        (
            "ServiceAccount",
            json!({
                "metadata": {
                    "name": "aws-node", "namespace": "kube-system",
                    "annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/cni"},
                },
            }),
        ),
        ("ServiceAccount", json!({"metadata": {"name": "default", "namespace": "default"}})),
        (
            "ConfigMap",
            json!({
                "metadata": {"name": "amazon-vpc-cni", "namespace": "kube-system"},
                "data": {
                    "branch-eni-cooldown": "60", "enable-network-policy-controller": "false",
                    "enable-windows-ipam": "false", "enable-windows-prefix-delegation": "false",
                    "minimum-ip-target": "3", "warm-ip-target": "1", "warm-prefix-target": "0",
                },
            }),
        ),
        (
            "MutatingWebhookConfiguration",
            json!({
                "metadata": {"name": "vpc-resource-mutating-webhook"},
                "webhooks": [{
                    "name": "mpod.vpc.k8s.aws", "failurePolicy": "Ignore", "sideEffects": "None",
                    "admissionReviewVersions": ["v1"], "clientConfig": {"url": "https://127.0.0.1:9443/mutate-v1-pod"},
                }],
            }),
        ),
    ]
}

/// One main table whose way out is a NAT gateway.
pub(super) fn route_table(scenario: &Scenario) -> RouteTable {
    let nat = scenario.names.aws_id("nat", &["egress"]);
    RouteTable {
        id: Some(scenario.names.aws_id("rtb", &["main"])),
        vpc: Some(scenario.vpc().to_owned()),
        main: true,
        subnets: Vec::new(),
        routes: vec![Route { destination: Ipv4Net::default(), target: nat, state: "active".to_owned() }],
        tags: Tags::new(),
    }
}
