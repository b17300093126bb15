//! A large cluster of several kinds of nodes, the same at every run.
//!
//! Ten node groups of equal size: plain ones, one with prefixes, two with trunks and branches, one with custom
//! networking. 300 subnets in three zones, of which nodes use 180 and their pods 15 more. Every optional source was read.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc};

use ipam_audit_core::{
    ids::NodeName,
    intern::Interner,
    inventory::{
        Attachment, Instance, Interface, InterfaceKind, InterfaceStatus, InterfaceTraits, Inventory, RouteTable,
        SecurityGroup, Subnet, Vpc,
    },
    net::{self, Prefix28},
    pages::Pages,
    snapshot::{
        AwsNode, AwsNodeEnv, AwsNodeManifest, AwsNodePod, BranchUse, ClusterSnapshot, CniNode, EnvValue, Node,
        NodeState, Platform, Pod, PodFields, PodPhase, PodTraits, TrunkHints,
    },
    source::Reading,
    tags::Tags,
};
use jiff::{SignedDuration, Timestamp};

use crate::objects;

const NODES: u32 = 5_000;
const ZONES: [&str; 3] = ["eu-central-1a", "eu-central-1b", "eu-central-1c"];
const SUBNETS: u32 = 300;
pub(crate) const NODE_SUBNETS: u32 = 180;
pub(crate) const POD_SUBNETS: u32 = 15;
pub(crate) const WORKLOADS: u32 = 400;
pub(crate) const NAMESPACES: u32 = 40;
const BRANCHES_PER_TRUNK: u32 = 4;
/// Load balancers, NAT gateways and endpoints: what is missing to 20,000 interfaces.
const OTHER_INTERFACES: u32 = 3_500;

/// What the nodes of a group have in common.
#[derive(Clone, Copy)]
struct Group {
    kind: &'static str,
    /// Interfaces for pods, the primary included.
    interfaces: u32,
    /// Addresses, or prefixes, on each.
    slots: u32,
    mode: Mode,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Plain,
    Prefixes,
    Trunk,
    CustomNetworking,
}

fn group(at: u32) -> Group {
    let (kind, interfaces, slots, mode) = match at % 10 {
        0..5 => ("m5.4xlarge", 2, 29, Mode::Plain),
        5 => ("m5.2xlarge", 3, 14, Mode::Plain),
        6 => ("m6i.2xlarge", 2, 2, Mode::Prefixes),
        7 => ("c5.4xlarge", 2, 29, Mode::Trunk),
        8 => ("r5.4xlarge", 3, 29, Mode::CustomNetworking),
        _ => ("m5.2xlarge", 3, 14, Mode::Trunk),
    };
    Group { kind, interfaces, slots, mode }
}

/// The snapshot.
pub(crate) fn snapshot() -> ClusterSnapshot {
    let mut cluster = Cluster::new();
    for at in 0..NODES {
        cluster.add_node(at);
    }
    for at in 0..OTHER_INTERFACES {
        cluster.add_other(at);
    }
    cluster.finish()
}

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * 365 * 56)
}

pub(crate) fn days_ago(days: i64) -> Option<Timestamp> {
    now().checked_sub(SignedDuration::from_hours(24 * days)).ok()
}

pub(crate) fn fresh<T>(value: T) -> Reading<T> {
    Reading::fresh(value, now())
}

pub(crate) fn tags<const N: usize>(pairs: [(&str, String); N]) -> Tags {
    let mut pairs: Vec<(Arc<str>, Arc<str>)> =
        pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
    pairs.sort();
    pairs.into()
}

pub(crate) fn zone_of(at: u32) -> &'static str {
    ZONES.get(at as usize % ZONES.len()).copied().unwrap_or_default()
}

pub(crate) fn subnet_id(at: u32) -> String {
    format!("subnet-{at:017x}")
}

/// What grows node by node.
struct Cluster {
    envs: [Arc<AwsNodeEnv>; 4],
    traits: Vec<Arc<PodTraits>>,
    workloads: Vec<(Arc<str>, Arc<str>)>,
    /// The next free address of each subnet.
    next: Vec<u32>,
    nodes: Vec<Arc<Node>>,
    pods: Pages<Pod>,
    interfaces: Vec<Interface>,
    aws_node_pods: Vec<AwsNodePod>,
    cni_nodes: Vec<CniNode>,
    instances: Vec<Instance>,
    shared: Interner,
}

impl Cluster {
    fn new() -> Self {
        let env = |extra: &[(&str, &str)]| {
            let base = [("ENABLE_IPv4", "true"), ("WARM_ENI_TARGET", "1"), ("CLUSTER_NAME", "scale")];
            let literal = |(name, value): &(&str, &str)| ((*name).to_owned(), EnvValue::Literal((*value).to_owned()));
            let values: BTreeMap<String, EnvValue> = base.iter().chain(extra).map(literal).collect();
            Arc::new(AwsNodeEnv { image: "registry/amazon-k8s-cni:v1.23.1".into(), values })
        };
        let prefixes = [("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_PREFIX_TARGET", "1")];
        let custom =
            [("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true"), ("ENI_CONFIG_LABEL_DEF", "k8s.amazonaws.com/eniConfig")];
        Self {
            envs: [env(&[]), env(&prefixes), env(&[("ENABLE_POD_ENI", "true")]), env(&custom)],
            traits: (0..WORKLOADS).map(|at| Arc::new(pod_traits(at))).collect(),
            workloads: (0..WORKLOADS)
                .map(|at| (format!("team-{}", at % NAMESPACES).into(), format!("Deployment web-{at}").into()))
                .collect(),
            // Nodes of prefixes take theirs from the upper half.
            next: (0..SUBNETS).map(|at| subnet_base(at) + 4).collect(),
            nodes: Vec::new(),
            pods: Pages::default(),
            interfaces: Vec::new(),
            aws_node_pods: Vec::new(),
            cni_nodes: Vec::new(),
            instances: Vec::new(),
            shared: Interner::default(),
        }
    }

    /// So many addresses of a subnet, one after the other.
    fn take(&mut self, subnet: u32, count: u32) -> Vec<Ipv4Addr> {
        let Some(next) = self.next.get_mut(subnet as usize) else { return Vec::new() };
        let first = *next;
        *next += count;
        (first..first + count).map(Ipv4Addr::from).collect()
    }

    fn take_prefixes(&mut self, subnet: u32, count: u32) -> Vec<Prefix28> {
        if let Some(next) = self.next.get_mut(subnet as usize) {
            *next = next.next_multiple_of(16);
        }
        let addresses = self.take(subnet, count * 16);
        addresses.into_iter().step_by(16).map(Prefix28::containing).collect()
    }

    fn add_node(&mut self, at: u32) {
        let group = group(at);
        let name = NodeName::from(format!("ip-10-{}-{}.eu-central-1.compute.internal", at / 200, at % 200));
        let home = at % NODE_SUBNETS;
        let pods_from = if group.mode == Mode::CustomNetworking { pod_subnet(at) } else { home };
        let mut free = Vec::new();
        for index in 0..group.interfaces {
            let subnet = if index == 0 { home } else { pods_from };
            let mut row = self.interface(at, index, subnet, InterfaceKind::Interface);
            if index > 0 || group.mode != Mode::CustomNetworking {
                free.extend(self.fill(&mut row, subnet, group));
            }
            self.interfaces.push(row);
        }
        // From 18 to 38 pods, so that nodes are of many shapes.
        for (number, address) in (0_u32..).zip(free.into_iter().take(18 + at as usize % 21)) {
            self.add_pod(&name, at, number, Some(address), BranchUse::No);
        }
        for number in 90..92 {
            self.add_pod(&name, at, number, None, BranchUse::No);
        }
        if group.mode == Mode::Trunk {
            self.add_trunk(&name, at, home, group.interfaces);
        }
        let env = match group.mode {
            Mode::Plain => 0,
            Mode::Prefixes => 1,
            Mode::Trunk => 2,
            Mode::CustomNetworking => 3,
        };
        if let Some(env) = self.envs.get(env) {
            let pod = AwsNodePod::running(name.clone(), Arc::clone(env));
            self.aws_node_pods.push(AwsNodePod {
                name: format!("aws-node-{at}").into(),
                started_at: days_ago(3),
                ..pod
            });
        }
        self.cni_nodes.push(CniNode {
            instance: Some(instance_id(at).as_str().into()),
            created_at: days_ago(3),
            ..CniNode::new(name.clone(), group.mode == Mode::Trunk)
        });
        self.instances.push(instance(at, group.kind));
        self.nodes.push(Arc::new(node(&name, at, group)));
    }

    /// Gives an interface its addresses or prefixes; those that pods can have are returned.
    fn fill(&mut self, row: &mut Interface, subnet: u32, group: Group) -> Vec<Ipv4Addr> {
        if group.mode == Mode::Prefixes {
            let prefixes = self.take_prefixes(subnet, group.slots);
            row.prefixes = prefixes.into();
            let blocks = row.prefixes.iter().map(|prefix| u32::from(prefix.first()));
            return blocks.flat_map(|first| (first..first + 16).map(Ipv4Addr::from)).collect();
        }
        row.secondary = self.take(subnet, group.slots).into();
        row.secondary.to_vec()
    }

    fn add_trunk(&mut self, node: &NodeName, at: u32, subnet: u32, index: u32) {
        let mut trunk = self.interface(at, index, subnet, InterfaceKind::Trunk);
        trunk.description = "aws-k8s-trunk-eni".into();
        let trunk_id = trunk.id.to_string();
        self.interfaces.push(trunk);
        for number in 0..BRANCHES_PER_TRUNK {
            let mut branch = self.interface(at, 10 + number, subnet, InterfaceKind::Branch);
            (branch.attachment, branch.status) = (None, InterfaceStatus::Associated);
            branch.description = "aws-k8s-branch-eni".into();
            branch.tags = tags([
                ("eks:eni:owner", "eks-vpc-resource-controller".to_owned()),
                ("kubernetes.io/cluster/scale", "owned".to_owned()),
                ("vpcresources.k8s.aws/trunk-eni-id", trunk_id.clone()),
                ("vpcresources.k8s.aws/vlan-id", (number + 1).to_string()),
            ]);
            self.add_pod(node, at, 100 + number, branch.primary, BranchUse::Has(branch.id.clone()));
            self.interfaces.push(branch);
        }
    }

    /// Somebody else's interface.
    fn add_other(&mut self, at: u32) {
        let mut row = self.interface(NODES + at, 0, at % SUBNETS, InterfaceKind::Interface);
        row.kind = InterfaceKind::Other("network_load_balancer".into());
        (row.description, row.requester) = (format!("ELB net/lb-{at}/0").into(), Some("amazon-elb".into()));
        (row.requester_managed, row.attachment, row.tags) = (true, None, Tags::default());
        row.created_at = None;
        self.interfaces.push(row);
    }

    /// An interface with its own address and nothing else, attached to the instance of a number.
    fn interface(&mut self, at: u32, index: u32, subnet: u32, kind: InterfaceKind) -> Interface {
        let cni = [
            ("cluster.k8s.amazonaws.com/name", "scale".to_owned()),
            ("node.k8s.amazonaws.com/instance_id", instance_id(at)),
        ];
        let primary = self.take(subnet, 1).first().copied();
        Interface {
            id: format!("eni-{at:013x}{index:04x}").into(),
            traits: self.shared.interface(InterfaceTraits {
                groups: ["sg-nodes".into()].into(),
                owner: Some("111122223333".into()),
                ..InterfaceTraits::new(subnet_id(subnet).into(), kind)
            }),
            description: if index == 0 { "".into() } else { format!("aws-K8S-{}", instance_id(at)).into() },
            primary,
            secondary: Box::default(),
            prefixes: Box::default(),
            attachment: Some(Attachment {
                instance: Some(instance_id(at).as_str().into()),
                device_index: index,
                card_index: 0,
                delete_on_termination: Some(true),
                attached_at: days_ago(3),
            }),
            created_at: (index > 0).then(|| days_ago(3)).flatten(),
            tags: if index == 0 { Tags::default() } else { tags(cni) },
        }
    }

    /// A pod; without an address it is on the host's network.
    fn add_pod(&mut self, node: &NodeName, at: u32, number: u32, address: Option<Ipv4Addr>, branch: BranchUse) {
        let workload = (at * 31 + number * 7) % WORKLOADS;
        let Some((namespace, owner)) = self.workloads.get(workload as usize) else { return };
        let fields = PodFields {
            namespace: Arc::clone(namespace),
            name: format!("web-{workload}-{at:05}-{number}").into(),
            uid: format!("00000000-0000-4000-8000-{at:06x}{number:06x}").into(),
            workload: Some(Arc::clone(owner)),
            node: Some(node.clone()),
            address,
            host_network: address.is_none(),
            phase: PodPhase::Running,
            terminating: false,
            branch,
            created_at: days_ago(2),
            scheduled_at: None,
            finished_at: None,
            refused_at: None,
            traits: self.traits.get(workload as usize).cloned(),
        };
        self.pods.push(Pod::pack(fields, &mut self.shared));
    }

    fn finish(mut self) -> ClusterSnapshot {
        self.nodes.sort_by(|a, b| a.name.cmp(&b.name));
        self.interfaces.sort_by(|a, b| a.id.cmp(&b.id));
        self.aws_node_pods.sort_by(|a, b| a.node.cmp(&b.node));
        self.cni_nodes.sort_by(|a, b| a.name.cmp(&b.name));
        let template = self.envs.first().cloned().unwrap_or_default();
        let daemon_set = AwsNode {
            daemon_set: "kube-system/aws-node".into(),
            template,
            pods: self.aws_node_pods,
            manifest: AwsNodeManifest { desired: Some(NODES), updated: Some(NODES), ..AwsNodeManifest::default() },
        };
        let subnets = (0..SUBNETS).zip(&self.next).map(|(at, next)| subnet(at, *next)).collect();
        ClusterSnapshot {
            taken_at: now(),
            nodes: fresh(self.nodes),
            pods: fresh(self.pods),
            aws_node: fresh(daemon_set),
            cni_nodes: fresh(self.cni_nodes),
            ipamd: Reading::not_collected(),
            objects: objects::objects(),
            ec2: Inventory {
                vpcs: fresh(vec![vpc()]),
                subnets: fresh(subnets),
                interfaces: fresh(self.interfaces.into()),
                instance_types: fresh(Vec::new()),
                reservations: fresh(Vec::new()),
                instances: fresh(self.instances.into()),
                security_groups: fresh(vec![SecurityGroup {
                    id: "sg-nodes".into(),
                    vpc: "vpc-1".into(),
                    name: "nodes".into(),
                }]),
                route_tables: fresh(vec![route_table()]),
            },
        }
    }
}

fn pod_subnet(at: u32) -> u32 {
    // The zone of a node is that of its number, and so is that of a subnet.
    NODE_SUBNETS + (at / 10 * 3 % POD_SUBNETS) + at % 3
}

fn instance_id(at: u32) -> String {
    format!("i-{at:017x}")
}

fn subnet_base(at: u32) -> u32 {
    0x0a00_0000 + at * 4096
}

fn vpc() -> Vpc {
    Vpc {
        id: "vpc-1".into(),
        cidrs: (0..19).filter_map(|at| ipnet::Ipv4Net::new([10, at, 0, 0].into(), 16).ok()).collect(),
        troubled_cidrs: Vec::new(),
        ipv6: false,
    }
}

fn subnet(at: u32, next: u32) -> Subnet {
    let cidr = ipnet::Ipv4Net::new(subnet_base(at).into(), 20).ok();
    // A few are nearly full: others have the rest.
    let taken = next - subnet_base(at) - 4;
    let free = cidr.map_or(0, net::usable_addresses).saturating_sub(taken);
    Subnet {
        id: subnet_id(at).into(),
        vpc: "vpc-1".into(),
        cidr,
        zone: zone_of(at).into(),
        zone_id: Some(format!("euc1-az{}", at % 3 + 1).into()),
        available: if at % 40 == 7 { free / 20 } else { free },
        state: "available".into(),
        owner: Some("111122223333".into()),
        ipv6: false,
        outpost: false,
        tags: tags([
            ("Name", format!("private-{at}")),
            ("kubernetes.io/cluster/scale", "shared".to_owned()),
            ("kubernetes.io/role/internal-elb", "1".to_owned()),
            ("team", "platform".to_owned()),
        ]),
    }
}

fn instance(at: u32, kind: &str) -> Instance {
    Instance {
        id: instance_id(at).as_str().into(),
        state: "running".into(),
        state_since: None,
        instance_type: Some(kind.into()),
        launched_at: days_ago(3),
        tags: tags([("Name", format!("node-{at}")), ("eks:cluster-name", "scale".to_owned())]),
    }
}

fn route_table() -> RouteTable {
    RouteTable {
        id: "rtb-1".into(),
        vpc: "vpc-1".into(),
        main: true,
        subnets: Box::default(),
        routes: "0.0.0.0/0".parse().map(|all| vec![(all, Arc::from("nat-1"))]).unwrap_or_default(),
    }
}

fn node(name: &NodeName, at: u32, group: Group) -> Node {
    let pool = format!("group-{}", at % 10);
    let eni_config =
        if group.mode == Mode::CustomNetworking { format!("pods-{}", pod_subnet(at)) } else { String::new() };
    let mut labels = tags([
        ("beta.kubernetes.io/arch", "amd64".to_owned()),
        ("beta.kubernetes.io/instance-type", group.kind.to_owned()),
        ("beta.kubernetes.io/os", "linux".to_owned()),
        ("eks.amazonaws.com/capacityType", "ON_DEMAND".to_owned()),
        ("eks.amazonaws.com/nodegroup", pool.clone()),
        ("eks.amazonaws.com/nodegroup-image", "ami-0123456789abcdef0".to_owned()),
        ("failure-domain.beta.kubernetes.io/region", "eu-central-1".to_owned()),
        ("failure-domain.beta.kubernetes.io/zone", zone_of(at).to_owned()),
        ("k8s.amazonaws.com/eniConfig", eni_config.clone()),
        ("kubernetes.io/arch", "amd64".to_owned()),
        ("kubernetes.io/hostname", name.to_string()),
        ("kubernetes.io/os", "linux".to_owned()),
        ("node.kubernetes.io/instance-type", group.kind.to_owned()),
        ("team", "platform".to_owned()),
        ("topology.k8s.aws/zone-id", format!("euc1-az{}", at % 3 + 1)),
        ("topology.kubernetes.io/region", "eu-central-1".to_owned()),
        ("topology.kubernetes.io/zone", zone_of(at).to_owned()),
    ]);
    if eni_config.is_empty() {
        labels = labels
            .iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
    }
    let max_pods = if group.mode == Mode::CustomNetworking { 205 } else { 58 };
    Node {
        name: name.clone(),
        uid: format!("00000000-0000-4000-9000-{at:012x}").into(),
        instance: Some(instance_id(at).as_str().into()),
        instance_type: Some(group.kind.into()),
        zone: Some(zone_of(at).into()),
        node_group: Some(pool.into()),
        max_pods: Some(max_pods),
        branch_slots: (group.mode == Mode::Trunk).then_some(if group.kind == "c5.4xlarge" { 54 } else { 38 }),
        cordoned: at % 500 == 3,
        platform: Platform::LinuxEc2,
        created_at: days_ago(3),
        trunk_hints: TrunkHints::default(),
        labels,
        annotations: tags([("volumes.kubernetes.io/controller-managed-attach-detach", "true".to_owned())]),
        state: NodeState {
            ready: Some(true),
            ready_since: days_ago(3),
            kubelet: Some("v1.33.1-eks-1".into()),
            cpus: Some(16),
            allocatable_pods: Some(max_pods),
            ..NodeState::default()
        },
    }
}

fn pod_traits(at: u32) -> PodTraits {
    PodTraits {
        labels: tags([
            ("app.kubernetes.io/instance", format!("web-{at}")),
            ("app.kubernetes.io/name", "web".to_owned()),
            ("pod-template-hash", format!("{at:010x}")),
            ("team", format!("team-{}", at % NAMESPACES)),
        ]),
        service_account: Some(format!("web-{at}").into()),
        branch_containers: Box::default(),
        grace_seconds: Some(30),
        network_probes: true,
        lacks_branch_slot: false,
    }
}
