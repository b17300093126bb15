//! Small clusters for unit tests: a node group whose nodes hold what they are told to.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use jiff::Timestamp;

use crate::{
    ids::NodeName,
    inventory::{Attachment, Interface, InterfaceKind, InterfaceTraits, Inventory, Subnet},
    net,
    pages::Pages,
    snapshot::{
        AwsNode, AwsNodeEnv, AwsNodeManifest, AwsNodePod, BranchUse, ClusterObjects, ClusterSnapshot, EnvValue, Node,
        NodeState, Platform, Pod, PodFields, PodPhase, TrunkHints,
    },
    source::{FaultCategory, Reading},
    tags::Tags,
};

/// The moment of every fixture.
pub(crate) fn now() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

/// An interface with nothing on it, attached to nothing.
pub(crate) fn interface(id: &str, subnet: &str) -> Interface {
    Interface {
        id: id.into(),
        traits: InterfaceTraits::new(subnet.into(), InterfaceKind::Interface).into(),
        description: "".into(),
        primary: None,
        secondary: Box::default(),
        prefixes: Box::default(),
        attachment: None,
        created_at: None,
        tags: Tags::default(),
    }
}

/// A cluster with one subnet, that grows node by node.
pub(crate) struct Cluster {
    cidr: ipnet::Ipv4Net,
    free_beside_nodes: Option<u32>,
    next: u32,
    env: Arc<AwsNodeEnv>,
    nodes: Vec<Arc<Node>>,
    pods: Pages<Pod>,
    interfaces: Vec<Interface>,
    aws_node_pods: Vec<AwsNodePod>,
}

impl Cluster {
    /// An empty one with the given environment of aws-node, on top of what EKS itself always sets.
    pub(crate) fn new(cidr: &str, env: &[(&str, &str)]) -> Self {
        let literal = |(name, value): &(&str, &str)| ((*name).to_owned(), EnvValue::Literal((*value).to_owned()));
        let always = [("ENABLE_IPv4", "true"), ("CLUSTER_NAME", "shop")];
        let values: BTreeMap<String, EnvValue> = always.iter().chain(env).map(literal).collect();
        let cidr: ipnet::Ipv4Net = cidr.parse().unwrap();
        Self {
            cidr,
            free_beside_nodes: None,
            next: u32::from(cidr.network()) + 4,
            env: Arc::new(AwsNodeEnv { image: "registry/amazon-k8s-cni:v1.23.1".into(), values }),
            nodes: Vec::new(),
            pods: Pages::default(),
            interfaces: Vec::new(),
            aws_node_pods: Vec::new(),
        }
    }

    /// Lets EC2 report this many free addresses, whatever the nodes hold: others have the rest.
    pub(crate) fn with_free(mut self, free: u32) -> Self {
        self.free_beside_nodes = Some(free);
        self
    }

    fn take(&mut self) -> Ipv4Addr {
        self.next += 1;
        Ipv4Addr::from(self.next - 1)
    }

    /// Adds a node whose interfaces hold these many secondary addresses, with pods on the first of them.
    pub(crate) fn node(mut self, kind: &str, max_pods: u32, interfaces: &[u32], pods: u32) -> Self {
        let number = self.nodes.len();
        let name = NodeName::from(format!("node-{number}"));
        let instance = format!("i-{number}");
        let mut addresses = Vec::new();
        for (index, secondaries) in (0_u32..).zip(interfaces) {
            let mut row = interface(&format!("eni-{number}-{index}"), "subnet-1");
            row.primary = Some(self.take());
            row.secondary = (0..*secondaries).map(|_| self.take()).collect();
            row.attachment = Some(Attachment {
                instance: Some(instance.as_str().into()),
                device_index: index,
                card_index: 0,
                delete_on_termination: Some(true),
                attached_at: None,
            });
            addresses.extend(row.secondary.iter().copied());
            self.interfaces.push(row);
        }
        for (at, address) in addresses.iter().take(pods as usize).enumerate() {
            self.pods.push(pod(&name, &format!("resizer-{number}-{at}"), Some(*address)));
        }
        self.nodes.push(Arc::new(node(&name, &instance, kind, max_pods)));
        self.aws_node_pods.push(AwsNodePod::running(name, Arc::clone(&self.env)));
        self
    }

    /// Adds a pod to the last node that kubelet could not start for want of an address.
    pub(crate) fn waiting_pod(mut self) -> Self {
        let name = self.nodes.last().unwrap().name.clone();
        self.pods.push(pod(&name, &format!("waiting-{}", self.pods.len()), None));
        self
    }

    /// Changes the last node.
    pub(crate) fn tweak(mut self, change: impl FnOnce(&mut Node)) -> Self {
        change(Arc::make_mut(self.nodes.last_mut().unwrap()));
        self
    }

    /// The cluster as a snapshot in which every source was just read.
    pub(crate) fn snapshot(self) -> ClusterSnapshot {
        let held: u32 = self.interfaces.iter().map(Interface::addresses).sum();
        let available = self.free_beside_nodes.unwrap_or_else(|| net::usable_addresses(self.cidr) - held);
        let subnet = Subnet {
            id: "subnet-1".into(),
            vpc: "vpc-1".into(),
            cidr: Some(self.cidr),
            zone: "eu-central-1a".into(),
            zone_id: None,
            available,
            state: "available".into(),
            owner: None,
            ipv6: false,
            outpost: false,
            tags: Tags::default(),
        };
        ClusterSnapshot {
            taken_at: now(),
            nodes: Reading::fresh(self.nodes, now()),
            pods: Reading::fresh(self.pods, now()),
            aws_node: Reading::fresh(
                AwsNode {
                    daemon_set: "kube-system/aws-node".into(),
                    template: self.env,
                    pods: self.aws_node_pods,
                    manifest: AwsNodeManifest::default(),
                },
                now(),
            ),
            cni_nodes: Reading::missing(FaultCategory::NotFound, "CNINode is not installed"),
            ipamd: Reading::not_collected(),
            objects: ClusterObjects::default(),
            ec2: Inventory {
                vpcs: Reading::fresh(Vec::new(), now()),
                subnets: Reading::fresh(vec![subnet], now()),
                interfaces: Reading::fresh(self.interfaces.into(), now()),
                instance_types: Reading::default(),
                reservations: Reading::fresh(Vec::new(), now()),
                ..Inventory::default()
            },
        }
    }
}

fn node(name: &NodeName, instance: &str, kind: &str, max_pods: u32) -> Node {
    Node {
        name: name.clone(),
        uid: format!("uid-{name}").into(),
        instance: Some(instance.into()),
        instance_type: Some(kind.into()),
        zone: Some("eu-central-1a".into()),
        node_group: Some("batch".into()),
        max_pods: Some(max_pods),
        branch_slots: None,
        cordoned: false,
        platform: Platform::LinuxEc2,
        created_at: None,
        trunk_hints: TrunkHints::default(),
        labels: Tags::default(),
        annotations: Tags::default(),
        state: NodeState::default(),
    }
}

fn pod(node: &NodeName, name: &str, address: Option<Ipv4Addr>) -> Pod {
    let fields = PodFields {
        namespace: "shop".into(),
        name: name.into(),
        uid: name.into(),
        workload: Some("Deployment resizer".into()),
        node: Some(node.clone()),
        address,
        host_network: false,
        phase: if address.is_some() { PodPhase::Running } else { PodPhase::Pending },
        terminating: false,
        branch: BranchUse::No,
        created_at: None,
        scheduled_at: None,
        finished_at: None,
        traits: None,
        refused_at: address.is_none().then(now),
    };
    fields.into()
}
