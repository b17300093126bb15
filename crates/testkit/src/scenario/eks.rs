//! What every EKS cluster and every VPC have, though no scenario states it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Scenario;

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
                "webhooks": [{"name": "mpod.vpc.k8s.aws", "failurePolicy": "Ignore"}],
            }),
        ),
    ]
}

/// `aws ec2 describe-security-groups`: the groups that the interfaces have.
pub(super) fn security_groups(scenario: &Scenario) -> Value {
    let seed = scenario.to_ec2_seed();
    let ids: BTreeSet<&String> = seed.interfaces.iter().flat_map(|interface| &interface.groups).collect();
    let group = |id: &String| json!({"GroupId": id, "GroupName": id, "VpcId": scenario.vpc(), "Description": ""});
    json!({"SecurityGroups": ids.into_iter().map(group).collect::<Vec<_>>()})
}

/// `aws ec2 describe-route-tables`: one main table whose way out is a NAT gateway.
pub(super) fn route_tables(scenario: &Scenario) -> Value {
    let nat = scenario.names.aws_id("nat", &["egress"]);
    let id = scenario.names.aws_id("rtb", &["main"]);
    json!({"RouteTables": [{
        "RouteTableId": id, "VpcId": scenario.vpc(), "OwnerId": "111122223333",
        "Associations": [{"Main": true, "RouteTableId": id, "AssociationState": {"State": "associated"}}],
        "Routes": [
            {"DestinationCidrBlock": scenario.file.vpc.cidr.to_string(), "GatewayId": "local", "State": "active"},
            {"DestinationCidrBlock": "0.0.0.0/0", "NatGatewayId": nat, "State": "active"},
        ],
    }]})
}
