//! Measures one evaluation at the size that the product promises: 5,000 nodes, 150,000 pods, 10,000 interfaces.
//!
//! `cargo run --release -p ipam-audit-core --example scale`

#![expect(clippy::print_stdout, reason = "its purpose is to print a figure")]

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc, time::Instant};

use ipam_audit_core::{
    engine,
    ids::NodeName,
    inventory::{Attachment, Interface, InterfaceKind, InterfaceStatus, Inventory, Subnet},
    memory::Memory,
    policy::AuditPolicy,
    snapshot::{
        AwsNode, AwsNodeEnv, AwsNodeManifest, AwsNodePod, BranchUse, ClusterObjects, ClusterSnapshot, EnvValue, Node,
        NodeState, Platform, Pod, PodPhase, TrunkHints,
    },
    source::Reading,
};
use jiff::Timestamp;

const NODES: u32 = 5_000;
const PODS_PER_NODE: u32 = 30;
const SUBNETS: u32 = 300;

fn main() {
    let snapshot = snapshot();
    let policy = AuditPolicy::default();
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        let outcome = engine::evaluate(&snapshot, &policy, &Memory::default());
        best = best.min(start.elapsed().as_secs_f64() * 1e3);
        assert_eq!(outcome.nodes.len(), NODES as usize);
    }
    println!("{NODES} nodes, {} pods: {best:.0} ms", NODES * PODS_PER_NODE);
}

fn snapshot() -> ClusterSnapshot {
    let now = Timestamp::UNIX_EPOCH;
    let env = Arc::new(AwsNodeEnv {
        image: "registry/amazon-k8s-cni:v1.23.1".into(),
        values: BTreeMap::from([("ENABLE_IPv4".to_owned(), EnvValue::Literal("true".to_owned()))]),
    });
    let (mut nodes, mut pods, mut interfaces, mut aws_pods) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for at in 0..NODES {
        let name = NodeName::from(format!("ip-{at}.ec2.internal"));
        let base = 0x0a00_0000 + at * 128;
        // Different numbers of pods, so that nodes are of many shapes.
        let here = PODS_PER_NODE - 15 + at % 31;
        for card in 0..2 {
            interfaces.push(interface(at, card, base));
        }
        for pod in 0..here {
            let on_second = pod / 29;
            let address = Ipv4Addr::from(base + 64 * on_second + 5 + pod % 29);
            pods.push(Arc::new(self::pod(&name, at, pod, address)));
        }
        nodes.push(Arc::new(node(&name, at)));
        aws_pods.push(AwsNodePod::running(name, Arc::clone(&env)));
    }
    let subnets = (0..SUBNETS).map(subnet).collect();
    ClusterSnapshot {
        taken_at: now,
        nodes: Reading::fresh(nodes, now),
        pods: Reading::fresh(pods, now),
        aws_node: Reading::fresh(
            AwsNode {
                daemon_set: "kube-system/aws-node".into(),
                template: env,
                pods: aws_pods,
                manifest: AwsNodeManifest::default(),
            },
            now,
        ),
        cni_nodes: Reading::default(),
        objects: ClusterObjects::default(),
        ec2: Inventory {
            subnets: Reading::fresh(subnets, now),
            interfaces: Reading::fresh(interfaces, now),
            ..Inventory::default()
        },
    }
}

fn subnet(at: u32) -> Subnet {
    Subnet {
        id: format!("subnet-{at:03}").into(),
        vpc: "vpc-1".into(),
        cidr: "10.0.0.0/20".parse().ok(),
        zone: "eu-central-1a".into(),
        zone_id: None,
        available: 20,
        state: "available".into(),
        owner: None,
        ipv6: false,
        outpost: false,
        tags: Box::default(),
    }
}

fn interface(node: u32, card: u32, base: u32) -> Interface {
    Interface {
        id: format!("eni-{node:05}-{card}").into(),
        subnet: format!("subnet-{:03}", node % SUBNETS).into(),
        kind: InterfaceKind::Interface,
        status: InterfaceStatus::InUse,
        description: "".into(),
        requester: None,
        requester_managed: false,
        primary: Some((base + 64 * card + 4).into()),
        secondary: (0..29).map(|slot| Ipv4Addr::from(base + 64 * card + 5 + slot)).collect(),
        prefixes: Box::default(),
        attachment: Some(Attachment {
            instance: Some(format!("i-{node:05}").into()),
            device_index: card,
            card_index: 0,
            delete_on_termination: Some(true),
            attached_at: None,
        }),
        groups: Box::default(),
        owner: None,
        tags: Box::default(),
    }
}

fn node(name: &NodeName, at: u32) -> Node {
    Node {
        name: name.clone(),
        uid: format!("uid-{at}").into(),
        instance: Some(format!("i-{at:05}").into()),
        instance_type: Some("m5.4xlarge".into()),
        zone: Some("eu-central-1a".into()),
        node_group: Some("workers".into()),
        max_pods: Some(110),
        branch_slots: None,
        cordoned: false,
        platform: Platform::LinuxEc2,
        created_at: None,
        trunk_hints: TrunkHints::default(),
        labels: Box::default(),
        annotations: Box::default(),
        state: NodeState::default(),
    }
}

fn pod(node: &NodeName, at: u32, number: u32, address: Ipv4Addr) -> Pod {
    Pod {
        namespace: "shop".into(),
        name: format!("web-{at}-{number}").into(),
        uid: format!("{at}-{number}").into(),
        workload: Some("Deployment web".into()),
        node: Some(node.clone()),
        address: Some(address),
        host_network: false,
        phase: PodPhase::Running,
        terminating: false,
        branch: BranchUse::No,
        created_at: None,
        scheduled_at: None,
        finished_at: None,
        refused_at: None,
        traits: None,
    }
}
