//! The optional objects of the large cluster.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use ipam_audit_core::snapshot::{
    ClusterObjects, ConfigMap, EniConfig, Event, NetworkPolicy, NodeClaim, NodeClass, NodePool, Requirement,
    SecurityGroupPolicy, Selector, Service, ServiceAccount, Workload,
};

use crate::cluster::{NAMESPACES, NODE_SUBNETS, POD_SUBNETS, WORKLOADS, days_ago, fresh, subnet_id, zone_of};

fn selector(workload: u32) -> Selector {
    let labels = BTreeMap::from([("app.kubernetes.io/instance".into(), format!("web-{workload}").into())]);
    Selector { labels, expressions: Vec::new() }
}

fn namespace(at: u32) -> Arc<str> {
    format!("team-{}", at % NAMESPACES).into()
}

/// As many as a cluster of this size has, give or take.
pub(crate) fn objects() -> ClusterObjects {
    let workload = |namespace: Arc<str>, name: String, image: &str| Workload {
        namespace,
        name: name.into(),
        images: [image.into()].into(),
        env: Arc::default(),
        replicas: Some(2),
    };
    let daemon = |name: &str| workload("kube-system".into(), name.to_owned(), "registry/daemon:v1");
    let web = |at| workload(namespace(at), format!("web-{at}"), "registry/web:v1");
    let controller =
        workload("kube-system".into(), "karpenter".to_owned(), "public.ecr.aws/karpenter/controller:1.14.1");
    ClusterObjects {
        eni_configs: fresh((NODE_SUBNETS..NODE_SUBNETS + POD_SUBNETS).map(eni_config).collect()),
        security_group_policies: fresh((0..20).map(security_group_policy).collect()),
        service_accounts: fresh((0..WORKLOADS).map(service_account).collect()),
        config_maps: fresh(vec![ConfigMap {
            name: "amazon-vpc-cni".into(),
            data: ipam_audit_core::tags::Tags::default(),
        }]),
        events: fresh((0..100).map(event).collect()),
        daemon_sets: fresh(["aws-node", "ebs-csi-node", "kube-proxy"].map(daemon).into()),
        deployments: fresh([controller].into_iter().chain((0..WORKLOADS).map(web)).collect()),
        services: fresh((0..WORKLOADS).map(service).collect()),
        network_policies: fresh((0..100).map(network_policy).collect()),
        mutating_webhooks: fresh(vec!["mpod.vpc.k8s.aws".into()]),
        node_classes: fresh(vec![node_class()]),
        node_pools: fresh(vec![node_pool()]),
        node_claims: fresh((0..100).map(node_claim).collect()),
    }
}

fn eni_config(subnet: u32) -> EniConfig {
    EniConfig {
        name: format!("pods-{subnet}").into(),
        subnet: subnet_id(subnet).into(),
        security_groups: ["sg-nodes".into()].into(),
    }
}

fn security_group_policy(at: u32) -> SecurityGroupPolicy {
    SecurityGroupPolicy {
        namespace: namespace(at),
        name: format!("policy-{at:02}").into(),
        pods: Some(selector(at)),
        service_accounts: None,
        groups: ["sg-nodes".into()].into(),
    }
}

fn service_account(at: u32) -> ServiceAccount {
    ServiceAccount {
        namespace: namespace(at),
        name: format!("web-{at}").into(),
        labels: ipam_audit_core::tags::Tags::default(),
        role: None,
    }
}

fn event(at: u32) -> Event {
    Event {
        kind: "Pod".into(),
        namespace: namespace(at),
        name: format!("web-{at}-00000-0").into(),
        reason: "FailedCreatePodSandBox".into(),
        severity: "Warning".into(),
        action: None,
        message: "failed to assign an IP address to container".into(),
        last_at: days_ago(1),
    }
}

fn service(at: u32) -> Service {
    Service {
        namespace: namespace(at),
        name: format!("web-{at}").into(),
        cluster_address: Some(Ipv4Addr::from(0xac14_0000 + at)),
        local_traffic: at.is_multiple_of(50),
        selector: Some(selector(at)),
    }
}

fn network_policy(at: u32) -> NetworkPolicy {
    NetworkPolicy { namespace: namespace(at), name: format!("allow-{at}").into(), pods: selector(at) }
}

fn node_class() -> NodeClass {
    NodeClass {
        name: "default".into(),
        max_pods: Some(58),
        max_pods_is_expression: false,
        subnets: (0..NODE_SUBNETS).map(|at| (subnet_id(at).into(), zone_of(at).into())).collect(),
        subnets_ready: Some((true, "".into())),
    }
}

fn node_pool() -> NodePool {
    let types = ["m5.4xlarge", "m5.8xlarge", "m6i.2xlarge", "m6i.4xlarge"];
    NodePool {
        name: "general".into(),
        node_class: "default".into(),
        requirements: vec![Requirement {
            key: "node.kubernetes.io/instance-type".into(),
            operator: "In".into(),
            values: types.map(Into::into).into(),
        }],
        node_limit: Some(1_000),
    }
}

fn node_claim(at: u32) -> NodeClaim {
    NodeClaim {
        name: format!("general-{at:05}").into(),
        node_pool: Some("general".into()),
        node: None,
        launch_failure: None,
    }
}
