//! A large cluster from three numbers, the same at every run.
//!
//! Ten node groups of equal size: five plain ones and one of smaller nodes, one with prefixes, two with trunks and
//! branches, one with custom networking. Each holds what ipamd would keep for its pods, so that most of it is in order;
//! what is wrong is a handful of leftovers: leaked interfaces, pods that wait, a few cordoned nodes.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use ipnet::Ipv4Net;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Scenario;
use super::file::{
    AwsNodeSpec, DaemonSetSpec, InterfaceSpec, LeakedSpec, NodeGroupSpec, OtherOwner, OtherSpec, ScenarioFile,
    SubnetSpec, TrunkSpec, VpcSpec, Workload,
};
use super::names::Names;
use super::plan;

/// Ages count from here: a snapshot that is made today is the one that was made last year.
const NOW: &str = "2026-01-01T00:00:00Z";
const REGION: &str = "eu-central-1";
const CLUSTER: &str = "scale";
const ZONES: [&str; 3] = ["eu-central-1a", "eu-central-1b", "eu-central-1c"];
const GROUPS: u32 = 10;
/// Nodes of one group differ in their pods.
const VARIANTS: u32 = 5;
/// aws-node, kube-proxy and the driver of EBS, which has an address of its own.
const DAEMONS: u32 = 3;
const SUBNET_PREFIX: u8 = 21;
const PREFIX_SIZE: u32 = 16;

/// How large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Nodes.
    pub nodes: u32,
    /// Pods, those of `DaemonSets` included; as many as the nodes can share evenly.
    pub pods: u32,
    /// Network interfaces, those of other owners included.
    pub interfaces: u32,
}

impl Scenario {
    /// A large cluster.
    ///
    /// # Errors
    /// Says which number does not fit the others.
    pub fn large(shape: Shape) -> Result<Self> {
        let builder = Builder::new(shape)?;
        let mut file = builder.file();
        file.node_groups = builder.node_groups();
        let now: Timestamp = NOW.parse().context("the fixed moment is a timestamp")?;
        let held = plan::place(&file, now)?.nodes.iter().map(|node| node.interfaces.len()).sum::<usize>();
        file.leaked = builder.leaked();
        let leaked: u32 = file.leaked.iter().map(|leak| leak.count).sum();
        let others = i64::from(shape.interfaces) - i64::try_from(held)? - i64::from(leaked);
        let others = u32::try_from(others).ok();
        let others = others.with_context(|| format!("{} nodes have {held} interfaces already", shape.nodes))?;
        file.others = builder.others(others);
        let plan = plan::place(&file, now)?;
        Ok(Self { names: Names::new(&file.name), file, plan, now })
    }
}

/// How the nodes of a group are networked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Plain,
    Prefixes,
    Trunk,
    CustomNetworking,
}

impl Mode {
    /// Of a group by its name in the file.
    pub(super) fn of(group: &str) -> Self {
        match group.rsplit('-').next() {
            Some("prefixes") => Self::Prefixes,
            Some("trunks") => Self::Trunk,
            Some("custom") => Self::CustomNetworking,
            _ => Self::Plain,
        }
    }

    /// What the environment of aws-node says on its nodes beyond the rest.
    pub(super) const fn env(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Plain => &[],
            Self::Prefixes => &[("ENABLE_PREFIX_DELEGATION", "true")],
            Self::Trunk => &[("ENABLE_POD_ENI", "true")],
            Self::CustomNetworking => {
                &[("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true"), ("ENI_CONFIG_LABEL_DEF", "example.com/pods")]
            }
        }
    }
}

/// What an instance type offers.
#[derive(Debug, Clone, Copy)]
struct Kind {
    name: &'static str,
    cpu: u32,
    memory: &'static str,
    /// Addresses or prefixes of an interface beside its own.
    slots: u32,
    max_pods: u32,
    /// Device index and branches of a trunk.
    trunk: (u32, u32),
}

const M5_LARGE: Kind = Kind { name: "m5.large", cpu: 2, memory: "7934Mi", slots: 9, max_pods: 20, trunk: (2, 9) };
const M6I_LARGE: Kind = Kind { name: "m6i.large", max_pods: 29, ..M5_LARGE };
const M5_2XLARGE: Kind =
    Kind { name: "m5.2xlarge", cpu: 8, memory: "31622Mi", slots: 14, max_pods: 44, trunk: (3, 38) };
const M6I_2XLARGE: Kind = Kind { name: "m6i.2xlarge", max_pods: 58, ..M5_2XLARGE };
const M5_4XLARGE: Kind =
    Kind { name: "m5.4xlarge", cpu: 16, memory: "63423Mi", slots: 29, max_pods: 110, trunk: (7, 54) };
const C5_4XLARGE: Kind = Kind { name: "c5.4xlarge", memory: "31008Mi", ..M5_4XLARGE };
const R5_4XLARGE: Kind = Kind { name: "r5.4xlarge", memory: "127690Mi", ..M5_4XLARGE };

struct Builder {
    shape: Shape,
    names: Names,
    /// Pods on an average node.
    density: u32,
    /// Free addresses that each node keeps.
    warm: u32,
    node_subnets: u32,
    pod_subnets: u32,
    subnets: u32,
    workloads: u32,
}

impl Builder {
    fn new(shape: Shape) -> Result<Self> {
        let Shape { nodes, pods, .. } = shape;
        ensure!((GROUPS..=20_000).contains(&nodes), "{nodes} nodes are not 10 to 20,000");
        let density = pods / nodes;
        ensure!((9..=32).contains(&density), "{pods} pods on {nodes} nodes are not 9 to 32 for each");
        let thirds = |part: u32| (nodes * part / 5_000).max(3).next_multiple_of(3);
        let (node_subnets, pod_subnets) = (thirds(180), thirds(15));
        Ok(Self {
            shape,
            names: Names::new(&format!("{nodes} nodes, {pods} pods")),
            density,
            warm: if density > 15 { 14 } else { 4 },
            node_subnets,
            pod_subnets,
            subnets: thirds(300).max(node_subnets + pod_subnets),
            workloads: (nodes * 400 / 5_000).max(8),
        })
    }

    fn file(&self) -> ScenarioFile {
        let Shape { nodes, pods, .. } = self.shape;
        let ranges = (0..self.subnets.div_ceil(32)).map(range_of_vpc).collect::<Vec<_>>();
        ScenarioFile {
            name: format!("{nodes} nodes, {pods} pods"),
            region: REGION.to_owned(),
            cluster: CLUSTER.to_owned(),
            vpc: VpcSpec {
                id: self.names.aws_id("vpc", &[]),
                cidr: range_of_vpc(0),
                secondary_cidrs: ranges.into_iter().skip(1).collect(),
            },
            subnets: (0..self.subnets).map(|at| self.subnet(at)).collect(),
            aws_node: Some(self.aws_node()),
            daemon_sets: [("kube-proxy", true), ("ebs-csi-node", false)]
                .map(|(name, host_network)| DaemonSetSpec { workload: plan::system(name), host_network })
                .into(),
            node_groups: Vec::new(),
            others: Vec::new(),
            leaked: Vec::new(),
            interfaces: Vec::new(),
            instances: Vec::new(),
            objects: self.objects(),
            ec2_answers: BTreeMap::new(),
            cni_nodes: true,
        }
    }

    fn subnet(&self, at: u32) -> SubnetSpec {
        let block = Ipv4Addr::from(0x0a00_0000 + (at << (32 - SUBNET_PREFIX)));
        SubnetSpec {
            name: label(at),
            id: self.names.aws_id("subnet", &[&label(at)]),
            zone: zone(at).to_owned(),
            cidr: Ipv4Net::new_assert(block, SUBNET_PREFIX),
            tags: [
                ("Name", format!("private-{}", label(at))),
                ("kubernetes.io/cluster/scale", "shared".to_owned()),
                ("kubernetes.io/role/internal-elb", "1".to_owned()),
                ("team", "platform".to_owned()),
            ]
            .map(|(key, value)| (key.to_owned(), value))
            .into(),
            reservations: Vec::new(),
        }
    }

    fn aws_node(&self) -> AwsNodeSpec {
        let warm = self.warm.to_string();
        let env = [
            ("ADDITIONAL_ENI_TAGS", "{}"),
            ("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "false"),
            ("CLUSTER_NAME", CLUSTER),
            ("DISABLE_NETWORK_RESOURCE_PROVISIONING", "false"),
            ("ENABLE_IPv4", "true"),
            ("ENABLE_IPv6", "false"),
            ("ENABLE_POD_ENI", "false"),
            ("ENABLE_PREFIX_DELEGATION", "false"),
            ("ENABLE_SUBNET_DISCOVERY", "true"),
            ("MINIMUM_IP_TARGET", "10"),
            ("NETWORK_POLICY_ENFORCING_MODE", "standard"),
            ("WARM_ENI_TARGET", "1"),
            ("WARM_IP_TARGET", &warm),
            ("WARM_PREFIX_TARGET", "1"),
        ];
        AwsNodeSpec {
            name: "aws-node".to_owned(),
            version: "v1.20.4-eksbuild.1".to_owned(),
            env: env.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        }
    }

    /// One entry for all nodes that are alike: of a group, with so many pods, in a zone.
    fn node_groups(&self) -> Vec<NodeGroupSpec> {
        let mut entries: BTreeMap<(u32, u32, u32), BTreeMap<String, u32>> = BTreeMap::new();
        for at in 0..self.shape.nodes {
            let home = at % self.node_subnets;
            let alike = (at % GROUPS, at / GROUPS % VARIANTS, home % 3);
            *entries.entry(alike).or_default().entry(label(home)).or_default() += 1;
        }
        let mut groups: Vec<_> = entries.into_iter().map(|(alike, nodes)| self.node_group(alike, nodes)).collect();
        // A few pods wait, on the first nodes of one group.
        if let Some(first) = groups.iter_mut().find(|group| Mode::of(&group.name) == Mode::Plain) {
            let waiting = (self.shape.nodes / 500).max(1);
            first.waiting_pods = BTreeMap::from([(self.workload("web", 0), waiting)]);
        }
        groups
    }

    fn node_group(&self, (group, variant, zone): (u32, u32, u32), nodes: BTreeMap<String, u32>) -> NodeGroupSpec {
        let (kind, mode) = self.kind(group);
        let branches = match mode {
            Mode::Trunk if self.density > 15 => 4,
            Mode::Trunk => 2,
            _ => 0,
        };
        // Two fewer to two more than the average.
        let deployed = self.density + variant - 2 - DAEMONS - branches;
        // One of the daemons has an address of its own, too.
        let held = deployed + 1 + self.warm;
        let pods_from = label(self.node_subnets + zone + 3 * (variant % (self.pod_subnets / 3)));
        let seed = (group * VARIANTS + variant) * 3 + zone;
        NodeGroupSpec {
            name: group_name(group, mode),
            instance_type: kind.name.to_owned(),
            nodes,
            cpu: kind.cpu,
            memory: kind.memory.to_owned(),
            max_pods: kind.max_pods,
            labels: BTreeMap::from([("team".to_owned(), "platform".to_owned())])
                .into_iter()
                .chain((mode == Mode::CustomNetworking).then(|| ("example.com/pods".to_owned(), pods_from.clone())))
                .collect(),
            annotations: BTreeMap::new(),
            cordoned: false,
            cordoned_minutes: None,
            age_minutes: None,
            interfaces: interfaces(kind, mode, held, &pods_from),
            trunk: (mode == Mode::Trunk).then(|| TrunkSpec {
                device_index: kind.trunk.0,
                groups: Vec::new(),
                slots: kind.trunk.1,
                subnet: None,
            }),
            wants_trunk: false,
            eni_config: (mode == Mode::CustomNetworking).then_some(pods_from),
            pods: self.pods("web", seed, deployed),
            branch_groups: Vec::new(),
            branch_pods: self.pods("ledger", seed, branches),
            waiting_pods: BTreeMap::new(),
        }
    }

    fn kind(&self, group: u32) -> (Kind, Mode) {
        let dense = self.density > 15;
        let of = |large, small| if dense { large } else { small };
        match group {
            // They come first: what is placed later leaves no whole block free.
            0 => (of(M6I_2XLARGE, M6I_LARGE), Mode::Prefixes),
            1..6 => (of(M5_4XLARGE, M6I_LARGE), Mode::Plain),
            6 => (of(M5_2XLARGE, M5_LARGE), Mode::Plain),
            7 => (of(C5_4XLARGE, M5_LARGE), Mode::Trunk),
            8 => (of(R5_4XLARGE, M5_LARGE), Mode::CustomNetworking),
            _ => (of(M5_2XLARGE, M5_LARGE), Mode::Trunk),
        }
    }

    /// Pods of different workloads.
    fn pods(&self, name: &str, seed: u32, count: u32) -> BTreeMap<Workload, u32> {
        let mut pods = BTreeMap::new();
        for number in 0..count {
            *pods.entry(self.workload(name, seed * 17 + number * 7)).or_default() += 1;
        }
        pods
    }

    fn workload(&self, name: &str, number: u32) -> Workload {
        let number = number % self.workloads;
        Workload {
            namespace: format!("team-{}", number % (self.workloads / 8).max(1)),
            name: format!("{name}-{number}"),
        }
    }

    /// As many of the other objects as such a cluster has, give or take.
    fn objects(&self) -> Vec<Value> {
        let group = self.names.aws_id("sg", &["cluster"]);
        let of_workload = |number| {
            let Workload { namespace, name } = self.workload("web", number);
            let selector = json!({"app": name});
            let metadata = json!({"namespace": namespace, "name": name});
            let account = json!({"kind": "ServiceAccount", "metadata": metadata});
            let service = json!({"kind": "Service", "metadata": metadata, "spec": {
                "clusterIP": "None", "clusterIPs": ["None"], "type": "ClusterIP", "selector": selector,
                "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": "http"}],
                "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "sessionAffinity": "None",
                "internalTrafficPolicy": "Cluster",
            }});
            let policy = json!({"kind": "NetworkPolicy", "metadata": metadata, "spec": {
                "podSelector": {"matchLabels": selector}, "policyTypes": ["Ingress"],
                "ingress": [{"from": [{"namespaceSelector": {}}]}],
            }});
            let policy = number.is_multiple_of(4).then_some(policy);
            [Some(account), Some(service), policy].into_iter().flatten()
        };
        let config = |at| {
            let subnet = self.names.aws_id("subnet", &[&label(at)]);
            json!({"kind": "ENIConfig", "metadata": {"name": label(at)}, "spec": {"subnet": subnet, "securityGroups": [group]}})
        };
        let groups = |number| {
            let Workload { namespace, name } = self.workload("ledger", number);
            json!({"kind": "SecurityGroupPolicy", "metadata": {"namespace": namespace, "name": name}, "spec": {
                "podSelector": {"matchLabels": {"app": name}}, "securityGroups": {"groupIds": [group]},
            }})
        };
        let pods_from = self.node_subnets..self.node_subnets + self.pod_subnets;
        (0..self.workloads)
            .flat_map(of_workload)
            .chain(pods_from.map(config))
            .chain((0..self.workloads).map(groups))
            .collect()
    }

    fn leaked(&self) -> Vec<LeakedSpec> {
        let count = (self.shape.nodes / 500).max(1);
        vec![LeakedSpec { subnet: label(0), count, secondary: 2, prefixes: 0, age_hours: 80 }]
    }

    /// Load balancers, evenly over all subnets.
    fn others(&self, count: u32) -> Vec<OtherSpec> {
        let share = |at: u32| count / self.subnets + u32::from(at < count % self.subnets);
        let count = (0..self.subnets).map(|at| (label(at), share(at))).collect();
        vec![OtherSpec { owner: OtherOwner::NetworkLoadBalancer, name: "public/2f8d6b4c0a9e7153".to_owned(), count }]
    }
}

/// Interfaces that hold so many addresses for pods, one after the other filled.
fn interfaces(kind: Kind, mode: Mode, held: u32, pods_from: &str) -> Vec<InterfaceSpec> {
    let spec = |secondary, prefixes, subnet| InterfaceSpec { secondary, prefixes, subnet, unmanaged: false };
    if mode == Mode::Prefixes {
        return vec![spec(0, held.div_ceil(PREFIX_SIZE), None)];
    }
    let custom = mode == Mode::CustomNetworking;
    // With custom networking the primary interface holds none for pods.
    let mut interfaces: Vec<_> = custom.then(|| spec(0, 0, None)).into_iter().collect();
    for first in (0..held).step_by(kind.slots as usize) {
        interfaces.push(spec(kind.slots.min(held - first), 0, custom.then(|| pods_from.to_owned())));
    }
    interfaces
}

fn group_name(group: u32, mode: Mode) -> String {
    let what = match mode {
        Mode::Plain => "plain",
        Mode::Prefixes => "prefixes",
        Mode::Trunk => "trunks",
        Mode::CustomNetworking => "custom",
    };
    format!("group-{group}-{what}")
}

fn label(subnet: u32) -> String {
    format!("s{subnet:03}")
}

fn zone(subnet: u32) -> &'static str {
    ZONES[subnet as usize % ZONES.len()]
}

fn range_of_vpc(at: u32) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::from(0x0a00_0000 + (at << 16)), 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_cluster_is_as_large_as_it_says() {
        for (nodes, pods, interfaces, waiting) in
            [(50, 500, 400, 1), (50, 1_500, 400, 1), (5_000, 50_000, 20_000, 10), (5_000, 150_000, 20_000, 10)]
        {
            let scenario = Scenario::large(Shape { nodes, pods, interfaces }).unwrap();
            let plan = scenario.plan();
            let count: usize = plan.nodes.iter().map(|node| node.pods.len()).sum();
            assert_eq!((plan.nodes.len(), count), (nodes as usize, (pods + waiting) as usize));
            assert_eq!(scenario.to_ec2_seed().interfaces.len(), interfaces as usize);
            crate::ec2::World::load(scenario.to_ec2_seed()).unwrap();
        }
    }

    #[test]
    fn numbers_that_do_not_fit_are_refused() {
        let problem =
            |nodes, pods, interfaces| format!("{:#}", Scenario::large(Shape { nodes, pods, interfaces }).unwrap_err());
        assert!(problem(50, 50, 400).contains("9 to 32 for each"));
        assert!(problem(50, 500, 40).contains("interfaces already"));
    }
}
