//! Deployments, `ReplicaSets` and `DaemonSets`. No controller runs them here: they exist as the owners of the pods.

use serde_json::{Value, json};

use super::Scenario;
use super::file::{AwsNodeSpec, Workload};
use super::plan::{OwnerKind, replica_set_name};

/// The container of the VPC CNI that holds its settings.
pub(super) const AWS_NODE_CONTAINER: &str = "aws-node";
/// AWS' account for EKS add-on images in most regions.
const REGISTRY: &str = "602401143452.dkr.ecr";

/// A `DaemonSet` with the pods that it should have.
pub(super) fn daemon_set(scenario: &Scenario, workload: &Workload) -> Value {
    json!({
        "metadata": {"name": workload.name, "namespace": workload.namespace, "labels": labels(scenario, workload)},
        "spec": {
            "selector": {"matchLabels": selector(scenario, workload)},
            "template": {
                "metadata": {"labels": labels(scenario, workload)},
                "spec": pod_spec(scenario, workload, OwnerKind::DaemonSet),
            },
        },
    })
}

/// What a `DaemonSet` says once its pods run.
pub(super) fn daemon_set_status(count: usize) -> Value {
    json!({"status": {
        "currentNumberScheduled": count, "desiredNumberScheduled": count, "numberMisscheduled": 0,
        "numberReady": count, "numberAvailable": count, "updatedNumberScheduled": count, "observedGeneration": 1,
    }})
}

/// A Deployment.
pub(super) fn deployment(scenario: &Scenario, workload: &Workload, replicas: usize) -> Value {
    json!({
        "metadata": {"name": workload.name, "namespace": workload.namespace, "labels": labels(scenario, workload)},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": selector(scenario, workload)},
            "template": {
                "metadata": {"labels": labels(scenario, workload)},
                "spec": pod_spec(scenario, workload, OwnerKind::Deployment),
            },
        },
    })
}

/// The `ReplicaSet` of a Deployment; the caller adds the reference to it.
pub(super) fn replica_set(scenario: &Scenario, workload: &Workload, replicas: usize) -> Value {
    let mut set = deployment(scenario, workload, replicas);
    let name = replica_set_name(&scenario.names, workload);
    let hash = name.rsplit('-').next().unwrap_or_default().to_owned();
    for part in ["/metadata/labels", "/spec/selector/matchLabels", "/spec/template/metadata/labels"] {
        if let Some(labels) = set.pointer_mut(part) {
            labels["pod-template-hash"] = json!(hash);
        }
    }
    set["metadata"]["name"] = json!(name);
    set
}

/// What a Deployment says about its pods.
pub(super) fn deployment_status(replicas: usize, ready: usize) -> Value {
    let mut status = replica_set_status(replicas, ready);
    status["status"]["updatedReplicas"] = json!(replicas);
    status
}

/// What a `ReplicaSet` says about its pods.
pub(super) fn replica_set_status(replicas: usize, ready: usize) -> Value {
    json!({"status": {"replicas": replicas, "readyReplicas": ready, "availableReplicas": ready, "observedGeneration": 1}})
}

/// Labels of a workload and of its pods.
pub(super) fn labels(scenario: &Scenario, workload: &Workload) -> Value {
    let mut labels = selector(scenario, workload);
    if is_aws_node(scenario, workload).is_some() {
        labels["app.kubernetes.io/name"] = json!("aws-node");
        labels["app.kubernetes.io/instance"] = json!("aws-vpc-cni");
    }
    labels
}

fn selector(scenario: &Scenario, workload: &Workload) -> Value {
    match is_aws_node(scenario, workload) {
        // Also when the DaemonSet has another name: that is how it is still found.
        Some(_) => json!({"k8s-app": "aws-node"}),
        None => json!({"app": workload.name}),
    }
}

/// What the pods of a workload run.
pub(super) fn pod_spec(scenario: &Scenario, workload: &Workload, owner: OwnerKind) -> Value {
    if let Some(aws_node) = is_aws_node(scenario, workload) {
        return aws_node_spec(scenario.region(), aws_node);
    }
    let set = scenario.file.daemon_sets.iter().find(|set| &set.workload == workload);
    let host_network = owner == OwnerKind::DaemonSet && set.is_some_and(|set| set.host_network);
    let image = format!("registry.example.com/{}/{}:1.0", workload.namespace, workload.name);
    json!({"hostNetwork": host_network, "containers": [{"name": workload.name, "image": image}]})
}

fn aws_node_spec(region: &str, aws_node: &AwsNodeSpec) -> Value {
    let image = |name: &str| format!("{REGISTRY}.{region}.amazonaws.com/{name}:{}", aws_node.version);
    let env: Vec<Value> = aws_node.env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
    json!({
        "hostNetwork": true,
        "serviceAccountName": "aws-node",
        "tolerations": [{"operator": "Exists"}],
        "initContainers": [{"name": "aws-vpc-cni-init", "image": image("amazon-k8s-cni-init")}],
        "containers": [
            {"name": AWS_NODE_CONTAINER, "image": image("amazon-k8s-cni"), "env": env},
            {"name": "aws-eks-nodeagent", "image": image("amazon/aws-network-policy-agent")},
        ],
    })
}

fn is_aws_node<'a>(scenario: &'a Scenario, workload: &Workload) -> Option<&'a AwsNodeSpec> {
    let aws_node = scenario.file.aws_node.as_ref()?;
    (workload.namespace == "kube-system" && workload.name == aws_node.name).then_some(aws_node)
}
