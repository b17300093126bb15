//! What nodes and the control plane ask of each subnet: who takes addresses there, and how many at once.
//!
//! A node's primary interface is in its home subnet. Its other interfaces are made there too, unless its ENIConfig or
//! subnet discovery sends them elsewhere; then the home pays for the primary's own address only. Where discovery leaves
//! a choice and another subnet of the choice has room, a subnet is *relieved*: nobody depends on it.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use super::{
    CustomNetworking, Discovery, NodeFacts,
    discovery::Outlook,
    lookup::Map,
    model::{Kind, Settled},
};
use crate::{
    cni::SizingMode,
    ids::SubnetId,
    inventory::{Interface, Subnet},
    net::ADDRESSES_PER_PREFIX,
    outcome::ClusterName,
    rows::Rows,
    snapshot::ClusterSnapshot,
};

/// How EKS describes the interfaces of a control plane; the cluster's name follows.
const CONTROL_PLANE: &str = "Amazon EKS ";
/// What a new node takes where its kind is not known: the least that an interface asks for in prefix mode.
const LEAST: Take = Take { addresses: 17, blocks: 0 };

/// Why a subnet is in an audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Primary interfaces of nodes are in it.
    NodeHome,
    /// Pods of nodes get addresses from it.
    Pods,
    /// ENIConfigs in use name it.
    EniConfig,
    /// The control plane has interfaces in it.
    ControlPlane,
    /// Subnet discovery would use it.
    Discovery,
}

impl Role {
    /// The word in reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NodeHome => "node-home",
            Self::Pods => "pods",
            Self::EniConfig => "eni-config",
            Self::ControlPlane => "control-plane",
            Self::Discovery => "discovery",
        }
    }
}

/// What is taken at once, all or nothing: addresses, those of whole blocks included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Take {
    /// Addresses.
    pub(crate) addresses: u32,
    /// Whole /28 blocks among them.
    pub(crate) blocks: u32,
}

impl Take {
    /// One prefix.
    pub(crate) const PREFIX: Self = Self { addresses: ADDRESSES_PER_PREFIX, blocks: 1 };

    /// The same so many times.
    pub(crate) fn times(self, number: u32) -> Self {
        Self { addresses: self.addresses.saturating_mul(number), blocks: self.blocks.saturating_mul(number) }
    }

    /// Addresses that need not be in whole blocks.
    pub(crate) fn singles(self) -> u32 {
        self.addresses.saturating_sub(self.blocks.saturating_mul(ADDRESSES_PER_PREFIX))
    }

    fn plus(self, other: Self) -> Self {
        let addresses = self.addresses.saturating_add(other.addresses);
        Self { addresses, blocks: self.blocks.saturating_add(other.blocks) }
    }

    /// What a settled node takes.
    fn of(settled: Settled, in_prefixes: bool) -> Self {
        let blocks = if in_prefixes { settled.held.div_ceil(ADDRESSES_PER_PREFIX) } else { 0 };
        Self { addresses: settled.subnet_addresses, blocks }
    }
}

/// What is asked of one subnet.
#[derive(Debug, Default)]
pub(crate) struct Demand {
    /// Why it is in the audit; empty if it is not.
    pub(crate) roles: BTreeSet<Role>,
    /// Nodes (by index) whose primary interface is here.
    pub(crate) homes: Vec<usize>,
    /// Nodes whose next interface is made here.
    pub(crate) drawers: Vec<usize>,
    /// Interfaces of nodes in it.
    pub(crate) attached: u32,
    /// Whether some of its nodes take prefixes here.
    pub(crate) prefixes: bool,
    /// Whether nodes that would make interfaces here have another subnet with room.
    pub(crate) relieved: bool,
    /// What a new node of the commonest type takes here at its start; none if no node starts or grows here.
    pub(crate) new_node: Option<Take>,
    /// The type of that node; none where it is not known.
    pub(crate) new_node_type: Option<String>,
    /// What the next interface of such a node takes; none where none can have one more.
    pub(crate) interface: Option<Take>,
}

impl Demand {
    /// Nodes that depend on the subnet.
    pub(crate) fn nodes(&self) -> BTreeSet<usize> {
        self.homes.iter().chain(&self.drawers).copied().collect()
    }

    /// How many of them shall be replaceable at once, at least one.
    pub(crate) fn surge_nodes(&self, percent: u32) -> u32 {
        let nodes = u32::try_from(self.nodes().len()).unwrap_or(u32::MAX);
        nodes.saturating_mul(percent).div_ceil(100).max(1)
    }
}

/// The demand on every subnet.
#[derive(Debug)]
pub(super) struct Demands<'n, 'a> {
    nodes: &'n [NodeFacts<'a>],
    by_subnet: Map<&'a SubnetId, Demand>,
    settled: RefCell<Map<(Kind, u32), Option<Settled>>>,
}

impl<'n, 'a> Demands<'n, 'a> {
    /// From what is there and from what nodes would do next.
    pub(super) fn of(
        snapshot: &'a ClusterSnapshot,
        nodes: &'n [NodeFacts<'a>],
        networking: &CustomNetworking<'a>,
        discovery: &Discovery<'a>,
        cluster: Option<&ClusterName>,
    ) -> Self {
        let mut demands = Self { nodes, by_subnet: Map::default(), settled: RefCell::default() };
        for (at, node) in nodes.iter().enumerate() {
            demands.add_interfaces(at, node);
            let outlook = discovery.kind_of(at).and_then(|kind| discovery.outlooks().get(kind));
            match (networking.of_node(at), outlook) {
                (Some(choice), _) => {
                    if let Some(config) = choice.config {
                        demands.add_drawer(at, &config.subnet, Role::EniConfig);
                    }
                }
                (None, Some(outlook)) => demands.add_choice(at, outlook),
                (None, None) => {
                    if let Some(home) = node.interfaces.iter().flatten().next() {
                        demands.add_drawer(at, &home.subnet, Role::Pods);
                    }
                }
            }
        }
        for outlook in discovery.outlooks() {
            for subnet in outlook.tried.iter().filter(|subnet| subnet.id != outlook.home.id) {
                demands.at(&subnet.id).roles.insert(Role::Discovery);
            }
        }
        let interfaces = snapshot.ec2.interfaces.value().unwrap_or(Rows::NONE);
        for subnet in control_plane(interfaces, cluster.map(|cluster| &*cluster.name)) {
            demands.at(subnet).roles.insert(Role::ControlPlane);
        }
        demands.price();
        demands.relieve(discovery);
        demands
    }

    /// The demand on one subnet, if it has a role.
    pub(super) fn take(&mut self, subnet: &SubnetId) -> Option<Demand> {
        self.by_subnet.remove(subnet)
    }

    fn at(&mut self, subnet: &'a SubnetId) -> &mut Demand {
        self.by_subnet.entry(subnet).or_default()
    }

    fn add_interfaces(&mut self, at: usize, node: &NodeFacts<'a>) {
        for (position, interface) in node.interfaces.iter().flatten().enumerate() {
            let demand = self.at(&interface.subnet);
            demand.attached += 1;
            if position == 0 {
                demand.roles.insert(Role::NodeHome);
                demand.homes.push(at);
            } else {
                demand.roles.insert(Role::Pods);
            }
        }
    }

    fn add_drawer(&mut self, at: usize, subnet: &'a SubnetId, role: Role) {
        let prefixes = self.nodes.get(at).is_some_and(takes_prefixes);
        let demand = self.at(subnet);
        demand.drawers.push(at);
        demand.roles.extend([role, Role::Pods]);
        demand.prefixes |= prefixes;
    }

    /// By discovery: the home where it is tried, else the subnet that is tried first.
    fn add_choice(&mut self, at: usize, outlook: &Outlook<'a>) {
        let main = main_of(outlook);
        let role = if main.id == outlook.home.id { Role::Pods } else { Role::Discovery };
        self.add_drawer(at, &main.id, role);
    }

    /// Computes what new nodes and interfaces take.
    fn price(&mut self) {
        let mut by_subnet = std::mem::take(&mut self.by_subnet);
        for demand in by_subnet.values_mut() {
            let drawers: BTreeSet<usize> = demand.drawers.iter().copied().collect();
            let homes: BTreeSet<usize> = demand.homes.iter().copied().collect();
            // Those that take their pods' addresses here decide before those that only live here.
            if let Some((at, node)) = self.commonest(&drawers).or_else(|| self.commonest(&homes)) {
                let take = self.fresh(node, 0).map(|whole| share(whole, homes.contains(&at), drawers.contains(&at)));
                demand.new_node_type = take.and_then(|_| Some(node.node.instance_type.as_ref()?.to_string()));
                demand.new_node = Some(take.unwrap_or(LEAST));
            }
            let grows = |at: &&usize| self.nodes.get(**at).is_some_and(can_attach);
            let growing: BTreeSet<usize> = drawers.iter().filter(grows).copied().collect();
            demand.interface = self.commonest(&growing).and_then(|(_, node)| next_interface(node));
        }
        self.by_subnet = by_subnet;
    }

    /// Where discovery leaves a choice, and another subnet of it has room for a whole new node.
    fn relieve(&mut self, discovery: &Discovery<'a>) {
        for outlook in discovery.outlooks() {
            let main = main_of(outlook);
            let rest = outlook.tried.iter().filter(|subnet| subnet.id != main.id);
            let most = rest.map(|subnet| subnet.available).max().unwrap_or_default();
            let Some(demand) = self.by_subnet.get_mut(&main.id) else { continue };
            let next = demand.new_node.unwrap_or(LEAST).addresses;
            if most >= next.max(1) {
                demand.relieved = true;
                // The primary's own address is all that has to come from here.
                let primary = u32::from(!demand.homes.is_empty());
                demand.new_node = (primary > 0).then_some(Take { addresses: primary, blocks: 0 });
                demand.interface = None;
            }
        }
    }

    /// What the nodes that draw from a subnet could still take, and so many new ones at their full size; none where
    /// that is not known.
    pub(super) fn ceiling(&self, demand: &Demand, new_nodes: u32) -> Option<Take> {
        if demand.relieved || demand.drawers.is_empty() {
            return Some(demand.new_node.unwrap_or_default().times(new_nodes));
        }
        let mut all = Take::default();
        let growing = demand.drawers.iter().filter_map(|&at| self.nodes.get(at)).filter(|node| !node.ipv6);
        for node in growing {
            let most = self.at_limits(node)?;
            let pool = node.pool.as_ref()?;
            all = all.plus(Take {
                addresses: most.addresses.saturating_sub(pool.held + pool.own),
                blocks: most.blocks.saturating_sub(pool.prefixes),
            });
        }
        let (_, common) = self.commonest(&demand.drawers.iter().copied().collect())?;
        Some(all.plus(self.at_limits(common)?.times(new_nodes)))
    }

    /// What a new node like this one takes of all subnets together, with as many pods as it can have.
    fn at_limits(&self, node: &NodeFacts<'_>) -> Option<Take> {
        let pods = if node.ipv6 { 0 } else { node.pool_pods? + node.room()? };
        self.fresh(node, pods)
    }

    /// What a new node like this one takes of all subnets together, with so many pods.
    fn fresh(&self, node: &NodeFacts<'_>, pods: u32) -> Option<Take> {
        if node.ipv6 {
            // Its pods live on IPv6 prefixes: all it takes here is its own address.
            return Some(Take { addresses: 1, blocks: 0 });
        }
        let kind = Kind::of(node)?;
        let mut known = self.settled.borrow_mut();
        let settled = *known.entry((kind, pods)).or_insert_with_key(|(kind, pods)| kind.new_node(*pods));
        settled.map(|settled| Take::of(settled, takes_prefixes(node)))
    }

    /// A node of the commonest instance type among some, and its index.
    fn commonest(&self, among: &BTreeSet<usize>) -> Option<(usize, &'n NodeFacts<'a>)> {
        let mut types: BTreeMap<&str, (u32, usize, &'n NodeFacts<'a>)> = BTreeMap::new();
        for (at, node) in among.iter().filter_map(|&at| Some((at, self.nodes.get(at)?))) {
            let name = node.node.instance_type.as_ref().map_or("", |name| name.as_str());
            types.entry(name).or_insert((0, at, node)).0 += 1;
        }
        let most = types.into_iter().max_by_key(|(name, (count, ..))| (*count, std::cmp::Reverse(*name)));
        most.map(|(_, (_, at, node))| (at, node))
    }
}

/// The subnet that has to have room: the home where it is tried, else the one that is tried first.
fn main_of<'a>(outlook: &Outlook<'a>) -> &'a Subnet {
    let home_is_tried = outlook.tried.iter().any(|subnet| subnet.id == outlook.home.id);
    match outlook.tried.first() {
        Some(first) if !home_is_tried => first,
        _ => outlook.home,
    }
}

/// The part of a new node that a subnet pays for.
fn share(whole: Take, home: bool, draws: bool) -> Take {
    match (home, draws) {
        (true, true) => whole,
        (true, false) => Take { addresses: 1, blocks: 0 },
        (false, _) => Take { addresses: whole.addresses.saturating_sub(1), ..whole },
    }
}

fn takes_prefixes(node: &NodeFacts<'_>) -> bool {
    let limits = node.limits.as_ref().and_then(crate::limits::Limits::interfaces);
    node.cni
        .as_ref()
        .zip(limits)
        .is_some_and(|(cni, limits)| !node.ipv6 && cni.config.uses_prefixes(cni.version(), limits.hypervisor))
}

/// Whether one more interface would be attached to it.
fn can_attach(node: &NodeFacts<'_>) -> bool {
    let Some(limits) = node.limits.as_ref().and_then(crate::limits::Limits::interfaces) else { return true };
    let most = node.cni.as_ref().map_or_else(|| i64::from(limits.enis), |cni| cni.config.targets(&limits).max_eni);
    let attached = node.interfaces.as_ref().map_or(0, Vec::len);
    !node.ipv6 && i64::try_from(attached).is_ok_and(|attached| attached < most)
}

/// The least that one more interface of it takes.
fn next_interface(node: &NodeFacts<'_>) -> Option<Take> {
    let (cni, limits) = (node.cni.as_ref()?, node.limits.as_ref()?.interfaces()?);
    match cni.config.sizing_mode(cni.version(), &limits) {
        SizingMode::EniTarget => Some(Take { addresses: limits.slots_per_eni() + 1, blocks: 0 }),
        SizingMode::IpTarget => Some(Take { addresses: 2, blocks: 0 }),
        SizingMode::PrefixTarget | SizingMode::PrefixIpTarget => {
            Some(Take { addresses: ADDRESSES_PER_PREFIX + 1, blocks: 1 })
        }
        SizingMode::ProvisioningDisabled => None,
    }
}

/// Subnets with interfaces of the cluster's control plane; none while several clusters are in the VPC and nothing says
/// which is this one.
fn control_plane<'i>(interfaces: &'i Rows<Interface>, name: Option<&str>) -> BTreeSet<&'i SubnetId> {
    let of_eks =
        |interface: &'i Interface| Some((interface.description.strip_prefix(CONTROL_PLANE)?, &interface.subnet));
    let mut by_cluster: BTreeMap<&str, BTreeSet<&SubnetId>> = BTreeMap::new();
    for (cluster, subnet) in interfaces.iter().filter_map(of_eks) {
        by_cluster.entry(cluster).or_default().insert(subnet);
    }
    match name {
        Some(name) => by_cluster.remove(name).unwrap_or_default(),
        None if by_cluster.len() == 1 => by_cluster.into_values().flatten().collect(),
        None => BTreeSet::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::{
        engine,
        memory::Memory,
        outcome::SubnetOutcome,
        policy::AuditPolicy,
        snapshot::{ClusterSnapshot, EniConfig},
        source::Reading,
        tests::{
            fixtures::{Cluster, now},
            subnets::{add_other, add_subnet, in_prefix_mode, interfaces},
        },
    };

    fn subnets(snapshot: &ClusterSnapshot) -> Vec<SubnetOutcome> {
        engine::evaluate(snapshot, &AuditPolicy::default(), &Memory::default()).subnets
    }

    /// What is asked, with addresses, blocks and whether they are there.
    fn needs(subnet: &SubnetOutcome) -> Vec<(&'static str, u32, u32, bool)> {
        subnet.needs.iter().map(|need| (need.what, need.addresses, need.blocks, need.met)).collect()
    }

    #[test]
    fn whole_interfaces_are_asked_for_by_default() {
        let cluster = (0..12).fold(Cluster::new("10.0.0.0/23", &[]), |all, _| all.node("m5.large", 29, &[9, 9], 5));
        let subnet = &subnets(&cluster.with_free(15).snapshot())[0];
        assert_eq!(subnet.roles, ["node-home", "pods"]);
        assert_eq!(
            needs(subnet),
            [("next node", 10, 0, true), ("next interface", 10, 0, true), ("surge", 20, 0, false)]
        );
    }

    #[test]
    fn prefixes_are_asked_for_in_blocks() {
        let subnet = &subnets(&in_prefix_mode("10.0.0.0/26", &[&["10.0.0.16/28"], &["10.0.0.32/28"]]))[0];
        assert_eq!((subnet.free, subnet.free_prefixes, subnet.largest_free), (25, Some(0), None));
        assert_eq!(subnet.block_map.as_deref(), Some("1R 2P 1R"));
        assert_eq!(
            needs(subnet),
            [
                ("next node", 17, 1, false),
                ("next interface", 17, 1, false),
                ("next prefix", 16, 1, false),
                ("surge", 17, 1, false)
            ]
        );
    }

    #[test]
    fn under_custom_networking_the_home_pays_for_the_nodes_own_address_only() {
        let env =
            [("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true"), ("ENI_CONFIG_LABEL_DEF", "topology.kubernetes.io/zone")];
        let cluster = Cluster::new("10.0.0.0/28", &env).node("m5.large", 20, &[0], 0).tweak(|node| {
            node.labels = [("topology.kubernetes.io/zone".into(), "eu-central-1a".into())].into();
        });
        let mut snapshot = cluster.with_free(5).snapshot();
        add_subnet(&mut snapshot, "subnet-2", "100.64.0.0/26", "eu-central-1a", 9);
        let config =
            EniConfig { name: Arc::from("eu-central-1a"), subnet: "subnet-2".into(), security_groups: Box::default() };
        snapshot.objects.eni_configs = Reading::fresh(vec![config], now());
        let seen = subnets(&snapshot);
        assert_eq!((&seen[0].roles[..], needs(&seen[0])[0]), (&["node-home"][..], ("next node", 1, 0, true)));
        assert!(seen[0].findings.iter().all(|finding| finding.code != "IPAM101" && finding.code != "IPAM102"));
        assert_eq!(
            (&seen[1].roles[..], needs(&seen[1])[0]),
            (&["pods", "eni-config"][..], ("next node", 10, 0, false))
        );
        assert!(seen[1].findings.iter().any(|finding| finding.code == "IPAM101"));
    }

    #[test]
    fn subnets_without_nodes_are_there_and_in_no_total() {
        let mut snapshot = Cluster::new("10.0.0.0/24", &[]).node("m5.large", 29, &[9], 5).snapshot();
        add_subnet(&mut snapshot, "subnet-2", "10.0.1.0/28", "eu-central-1b", 10);
        add_other(&mut snapshot, "Amazon EKS shop", &["10.0.1.5"]);
        interfaces(&mut snapshot).last_mut().unwrap().subnet = "subnet-2".into();
        add_subnet(&mut snapshot, "subnet-3", "10.0.2.0/24", "eu-central-1a", 251).tags =
            [("kubernetes.io/role/cni".into(), "1".into())].into();
        add_subnet(&mut snapshot, "subnet-4", "10.0.3.0/24", "eu-central-1a", 251);
        let outcome = engine::evaluate(&snapshot, &AuditPolicy::default(), &Memory::default());
        let roles: Vec<_> = outcome.subnets.iter().map(|subnet| (subnet.id.as_str(), subnet.roles.join(" "))).collect();
        let want = [("subnet-1", "node-home pods"), ("subnet-2", "control-plane"), ("subnet-3", "discovery")];
        assert_eq!(roles, want.map(|(id, roles)| (id, roles.to_owned())));
        assert_eq!(needs(&outcome.subnets[1]), [("control plane", 6, 0, true)]);
        assert_eq!((outcome.totals.subnets, outcome.totals.free_addresses), (Some(1), Some(241)));
    }

    #[test]
    fn invisible_addresses_lower_the_least_number_of_blocks() {
        let cluster = Cluster::new("10.0.0.0/24", &[]).node("m5.large", 29, &[9], 5).with_free(231);
        let mut snapshot = cluster.snapshot();
        let blocks = |snapshot: &ClusterSnapshot| {
            let subnet = subnets(snapshot).remove(0);
            (subnet.free_prefixes, subnet.free_prefixes_min)
        };
        assert_eq!(blocks(&snapshot), (Some(14), Some(4)), "10 of 20 in use are not visible");
        snapshot.ec2.reservations = Reading::default();
        assert_eq!(blocks(&snapshot), (Some(14), None));
    }
}
