//! A small cluster for the real engine: nodes of one group that hold two full interfaces for one pod each.

use std::{net::Ipv4Addr, sync::Arc};

use ipam_audit_core::{
    engine::evaluate,
    inventory::{Attachment, Interface, InterfaceKind, InterfaceTraits, Inventory, Subnet},
    memory::Memory,
    outcome::AuditOutcome,
    policy::AuditPolicy,
    snapshot::{
        AwsNode, AwsNodeEnv, AwsNodeManifest, AwsNodePod, BranchUse, ClusterObjects, ClusterSnapshot, EnvValue, Node,
        NodeState, Platform, Pod, PodFields, PodPhase, TrunkHints,
    },
    source::Reading,
    tags::Tags,
};
use jiff::Timestamp;

pub(crate) const NODE: &str = "ip-10-4-128-0.internal";
pub(crate) const SUBNET: &str = "subnet-0a1";

pub(crate) fn at(text: &str) -> Timestamp {
    format!("2026-11-21T{text}Z").parse().unwrap()
}

/// The outcome under the default policy.
pub(crate) fn audit(snapshot: &ClusterSnapshot) -> AuditOutcome {
    evaluate(snapshot, &AuditPolicy::default(), &Memory::default())
}

/// So many nodes in a /20 of which others leave 13 addresses, at noon.
pub(crate) fn incident(nodes: u8) -> ClusterSnapshot {
    incident_at(nodes, at("12:00:00"))
}

/// The incident at another time, everything read at that time.
pub(crate) fn incident_at(nodes: u8, now: Timestamp) -> ClusterSnapshot {
    let env = Arc::new(AwsNodeEnv {
        image: "registry/amazon-k8s-cni:v1.23.1".into(),
        values: [("WARM_ENI_TARGET", "1"), ("ENABLE_IPv4", "true")]
            .map(|(name, value)| (name.to_owned(), EnvValue::Literal(value.to_owned())))
            .into(),
    });
    let rows = 0..nodes;
    let aws_node_pods = rows.clone().map(|number| AwsNodePod::running(node_name(number), env.clone()));
    ClusterSnapshot {
        taken_at: now,
        nodes: Reading::fresh(rows.clone().map(node).collect(), now),
        pods: Reading::fresh(rows.clone().map(pod).collect(), now),
        aws_node: Reading::fresh(
            AwsNode {
                daemon_set: "kube-system/aws-node".into(),
                template: env.clone(),
                pods: aws_node_pods.collect(),
                manifest: AwsNodeManifest::default(),
            },
            now,
        ),
        cni_nodes: Reading::fresh(Vec::new(), now),
        ipamd: Reading::not_collected(),
        objects: ClusterObjects::default(),
        ec2: Inventory {
            vpcs: Reading::fresh(Vec::new(), now),
            subnets: Reading::fresh(vec![subnet()], now),
            interfaces: Reading::fresh(
                rows.flat_map(|number| [0, 1].map(|card| interface(number, card))).collect(),
                now,
            ),
            instance_types: Reading::default(),
            reservations: Reading::fresh(Vec::new(), now),
            ..Inventory::default()
        },
    }
}

fn node_name<T: From<String>>(number: u8) -> T {
    T::from(format!("ip-10-4-128-{number}.internal"))
}

fn node(number: u8) -> Arc<Node> {
    Arc::new(Node {
        name: node_name(number),
        uid: format!("uid-{number}").into(),
        instance: Some(format!("i-{number}").into()),
        instance_type: Some("m6a.32xlarge".into()),
        zone: Some("eu-central-1a".into()),
        node_group: Some("batch".into()),
        max_pods: Some(234),
        branch_slots: None,
        cordoned: false,
        platform: Platform::LinuxEc2,
        created_at: None,
        trunk_hints: TrunkHints::default(),
        labels: Tags::default(),
        annotations: Tags::default(),
        state: NodeState::default(),
    })
}

fn pod(number: u8) -> Pod {
    let fields = PodFields {
        namespace: "shop".into(),
        name: format!("resizer-{number}").into(),
        uid: format!("pod-{number}").into(),
        workload: Some("Deployment resizer".into()),
        node: Some(node_name(number)),
        address: Some(address(number, 0, 1)),
        host_network: false,
        phase: PodPhase::Running,
        terminating: false,
        branch: BranchUse::No,
        created_at: None,
        scheduled_at: None,
        finished_at: None,
        refused_at: None,
        traits: None,
    };
    fields.into()
}

/// Address 0 of an interface is its own, the others are for pods.
fn address(number: u8, card: u32, index: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 4, 128, 4)) + u32::from(number) * 100 + card * 50 + index)
}

fn interface(number: u8, card: u32) -> Interface {
    Interface {
        id: format!("eni-{number:03}-{card}").into(),
        traits: InterfaceTraits::new(SUBNET.into(), InterfaceKind::Interface).into(),
        description: "".into(),
        primary: Some(address(number, card, 0)),
        secondary: (1..50).map(|index| address(number, card, index)).collect(),
        prefixes: Box::default(),
        attachment: Some(Attachment {
            instance: Some(format!("i-{number}").into()),
            device_index: card,
            card_index: 0,
            delete_on_termination: Some(true),
            attached_at: None,
        }),
        created_at: None,
        tags: Tags::default(),
    }
}

fn subnet() -> Subnet {
    Subnet {
        id: SUBNET.into(),
        vpc: "vpc-1".into(),
        cidr: Some("10.4.128.0/20".parse().unwrap()),
        zone: "eu-central-1a".into(),
        zone_id: None,
        available: 13,
        state: "available".into(),
        owner: None,
        ipv6: false,
        outpost: false,
        tags: Tags::default(),
    }
}
