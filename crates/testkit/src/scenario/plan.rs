//! Puts everything of a scenario in its place: which address, interface, node and pod belong together.
//!
//! Both halves of a scenario, EC2 and Kubernetes, are written from this one plan, which is why they agree. It follows
//! what ipamd and the VPC resource controller do when they create interfaces (descriptions, tags, device indices), and
//! takes from the file how much nodes hold.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use jiff::{SignedDuration, Timestamp};

use super::addresses::AddressPool;
use super::file::{InterfaceSpec, LeakedSpec, NodeGroupSpec, ScenarioFile, SubnetSpec, TrunkSpec, Workload};
use super::names::Names;
use super::tags;
use crate::ec2::seed::{Assigned, Attachment, Interface, InterfaceKind, TrunkAssociation};

/// How long the nodes of a scenario have been running.
pub(super) const NODE_AGE: SignedDuration = SignedDuration::from_hours(30);
/// The trunk's VLANs start here.
const FIRST_VLAN: u16 = 1;

/// Everything in its place.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Nodes, in the order of the file.
    pub nodes: Vec<PlannedNode>,
    /// Interfaces of no node: other owners' and leaked ones.
    pub loose: Vec<Interface>,
}

/// A node with what it holds.
#[derive(Debug, Clone)]
pub struct PlannedNode {
    /// Name, from its address.
    pub name: String,
    /// Instance id.
    pub instance: String,
    /// Its own address, the primary one of its first interface.
    pub address: Ipv4Addr,
    /// Index of its entry in the file's node groups.
    pub group: usize,
    /// Label of its subnet.
    pub subnet: String,
    /// Its interfaces, the primary one first, then the others, the trunk, the branches.
    pub interfaces: Vec<Interface>,
    /// Its pods.
    pub pods: Vec<PlannedPod>,
}

/// A pod.
#[derive(Debug, Clone)]
pub struct PlannedPod {
    /// Name.
    pub name: String,
    /// What it is a pod of.
    pub workload: Workload,
    /// What kind of workload that is.
    pub owner: OwnerKind,
    /// Where its address comes from.
    pub place: Place,
}

/// Kinds of workloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerKind {
    /// A Deployment, by way of a `ReplicaSet`.
    Deployment,
    /// A `DaemonSet`.
    DaemonSet,
}

/// Where the address of a pod comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// It has the node's own.
    HostNetwork,
    /// It is one of the node's pool.
    Pool(Ipv4Addr),
    /// It is that of a branch interface, by index into the node's interfaces.
    Branch(usize),
    /// It has none and waits for one.
    Waiting,
}

/// Places a scenario; `now` is what ages count from.
pub(super) fn place(file: &ScenarioFile, now: Timestamp) -> Result<Plan> {
    let mut planner = Planner::new(file, now)?;
    let mut nodes = Vec::new();
    let mut ordinals: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for (index, group) in file.node_groups.iter().enumerate() {
        let first = nodes.len();
        for (subnet, count) in &group.nodes {
            for _ in 0..*count {
                let ordinal = ordinals.entry((&group.name, subnet)).or_default();
                *ordinal += 1;
                let key = format!("{}/{subnet}/{ordinal}", group.name);
                let node = planner.node(index, group, subnet, &key);
                nodes.push(node.with_context(|| format!("node {key} cannot be placed"))?);
            }
        }
        deal_out_waiting(&planner.names, group, &mut nodes[first..])?;
    }
    let loose = planner.loose().context("an interface of another owner cannot be placed")?;
    Ok(Plan { nodes, loose })
}

/// Which node something is placed on.
#[derive(Clone, Copy)]
struct Seat<'a> {
    /// What its ids are made of.
    key: &'a str,
    /// Label of its subnet.
    subnet: &'a str,
    /// Its instance id.
    instance: &'a str,
    /// For how long it has been a node.
    age: SignedDuration,
}

struct Planner<'a> {
    file: &'a ScenarioFile,
    names: Names,
    now: Timestamp,
    pools: BTreeMap<&'a str, AddressPool>,
}

impl<'a> Planner<'a> {
    fn new(file: &'a ScenarioFile, now: Timestamp) -> Result<Self> {
        let names = Names::new(&file.name);
        let mut pools = BTreeMap::new();
        for subnet in &file.subnets {
            let mut pool = AddressPool::new(subnet.cidr, names.number(&["subnet", &subnet.name]))?;
            subnet.reservations.iter().for_each(|reservation| pool.keep(reservation.cidr));
            ensure!(pools.insert(subnet.name.as_str(), pool).is_none(), "two subnets are called {:?}", subnet.name);
        }
        Ok(Self { file, names, now, pools })
    }

    fn subnet(&self, label: &str) -> Result<&'a SubnetSpec> {
        let found = self.file.subnets.iter().find(|subnet| subnet.name == label);
        found.with_context(|| format!("the scenario has no subnet called {label:?}"))
    }

    /// An interface with its addresses; prefixes come first, while whole blocks are free.
    fn interface(&mut self, key: &str, subnet: &str, secondary: u32, prefixes: u32) -> Result<Interface> {
        let mut interface = Interface::new(self.subnet(subnet)?.id.clone());
        interface.id = Some(self.names.aws_id("eni", &[key]));
        interface.groups = vec![self.names.aws_id("sg", &["cluster"])];
        let pool = self.pools.get_mut(subnet).context("every subnet has a pool")?;
        let blocks: Vec<_> = (0..prefixes).map(|_| pool.prefix()).collect::<Result<_>>()?;
        interface.primary = Some(pool.address()?);
        let addresses: Vec<_> = (0..secondary).map(|_| pool.address()).collect::<Result<_>>()?;
        interface.prefixes = Assigned::List(blocks);
        interface.secondary = Assigned::List(addresses);
        Ok(interface)
    }

    fn node(&mut self, index: usize, group: &NodeGroupSpec, subnet: &str, key: &str) -> Result<PlannedNode> {
        ensure!(!group.interfaces.is_empty(), "node group {} states no interfaces", group.name);
        ensure!(group.trunk.is_some() || group.branch_pods.is_empty(), "branch pods need a trunk in {}", group.name);
        let instance = self.names.aws_id("i", &[key]);
        let age = group.age_minutes.map_or(NODE_AGE, |minutes| SignedDuration::from_mins(minutes.into()));
        let seat = Seat { key, subnet, instance: &instance, age };
        let interfaces: Vec<_> = (0_u32..)
            .zip(&group.interfaces)
            .map(|(device, spec)| self.node_interface(seat, device, spec))
            .collect::<Result<_>>()?;
        let managed = interfaces.iter().zip(&group.interfaces).filter(|(_, spec)| !spec.unmanaged);
        let mut pool = managed.flat_map(|(interface, _)| pod_addresses(interface)).collect::<Vec<_>>().into_iter();
        let mut pods = self.daemons(key, &mut pool)?;
        pods.extend(self.pool_pods(group, key, &mut pool)?);
        let address = interfaces[0].primary.context("a primary interface has an address")?;
        let name = format!("ip-{}.{}.compute.internal", address.to_string().replace('.', "-"), self.file.region);
        let mut node = PlannedNode {
            name,
            instance: instance.clone(),
            address,
            group: index,
            subnet: subnet.into(),
            interfaces,
            pods,
        };
        if let Some(trunk) = &group.trunk {
            self.add_trunk(group, trunk, seat, &mut node)?;
        }
        Ok(node)
    }

    fn node_interface(&mut self, seat: Seat<'_>, device: u32, spec: &InterfaceSpec) -> Result<Interface> {
        let Seat { key, subnet, instance, .. } = seat;
        let subnet = spec.subnet.as_deref().unwrap_or(subnet);
        let mut interface = self.interface(&format!("{key}/{device}"), subnet, spec.secondary, spec.prefixes)?;
        interface.attachment = Some(self.attachment(instance, device, seat.age));
        if spec.unmanaged {
            interface.tags.insert(tags::NO_MANAGE.to_owned(), "true".to_owned());
            return Ok(interface);
        }
        interface.tags = tags::of_cni(self.file, instance);
        if device > 0 {
            interface.description = tags::cni_description(instance);
            interface.tags.insert(tags::CREATED_AT.to_owned(), (self.now - seat.age).to_string());
        }
        Ok(interface)
    }

    fn attachment(&self, instance: &str, device: u32, age: SignedDuration) -> Attachment {
        Attachment { attach_time: Some(self.now - age), ..Attachment::new(instance, device) }
    }

    fn daemons(&self, key: &str, pool: &mut impl Iterator<Item = Ipv4Addr>) -> Result<Vec<PlannedPod>> {
        let cni = self.file.aws_node.iter().map(|aws_node| (system(&aws_node.name), true));
        let others = self.file.daemon_sets.iter().map(|set| (set.workload.clone(), set.host_network));
        let pods = cni.chain(others).map(|(workload, host_network)| {
            let place = if host_network { Place::HostNetwork } else { take(pool)? };
            Ok(pod(&self.names, OwnerKind::DaemonSet, workload, place, (key, 0)))
        });
        pods.collect()
    }

    fn pool_pods(
        &self,
        group: &NodeGroupSpec,
        key: &str,
        pool: &mut impl Iterator<Item = Ipv4Addr>,
    ) -> Result<Vec<PlannedPod>> {
        let pods = each(&group.pods).map(|(workload, ordinal)| {
            let place = take(pool)?;
            Ok(pod(&self.names, OwnerKind::Deployment, workload.clone(), place, (key, ordinal)))
        });
        pods.collect()
    }

    /// The trunk with its branches, each of which is one pod's.
    fn add_trunk(
        &mut self,
        group: &NodeGroupSpec,
        spec: &TrunkSpec,
        seat: Seat<'_>,
        node: &mut PlannedNode,
    ) -> Result<()> {
        let seat = Seat { subnet: spec.subnet.as_deref().unwrap_or(seat.subnet), ..seat };
        let Seat { key, subnet, instance, .. } = seat;
        let mut trunk = self.interface(&format!("{key}/trunk"), subnet, 0, 0)?;
        let trunk_id = trunk.id.clone().context("every planned interface has an id")?;
        trunk.kind = InterfaceKind::Trunk;
        if !spec.groups.is_empty() {
            trunk.groups.clone_from(&spec.groups);
        }
        tags::TRUNK_DESCRIPTION.clone_into(&mut trunk.description);
        trunk.tags = tags::of_controller(self.file, instance);
        trunk.attachment = Some(self.attachment(instance, spec.device_index, seat.age));
        node.interfaces.push(trunk);
        let count: u32 = group.branch_pods.values().sum();
        ensure!(count <= spec.slots, "{count} branch pods on a trunk with {} slots in {}", spec.slots, group.name);
        for (vlan, (workload, ordinal)) in (FIRST_VLAN..).zip(each(&group.branch_pods)) {
            let mut branch = self.branch(seat, &trunk_id, vlan)?;
            if !group.branch_groups.is_empty() {
                branch.groups.clone_from(&group.branch_groups);
            }
            let place = Place::Branch(node.interfaces.len());
            node.interfaces.push(branch);
            node.pods.push(pod(&self.names, OwnerKind::Deployment, workload.clone(), place, (key, ordinal)));
        }
        Ok(())
    }

    fn branch(&mut self, seat: Seat<'_>, trunk: &str, vlan: u16) -> Result<Interface> {
        let mut branch = self.interface(&format!("{}/branch/{vlan}", seat.key), seat.subnet, 0, 0)?;
        branch.kind = InterfaceKind::Branch;
        tags::BRANCH_DESCRIPTION.clone_into(&mut branch.description);
        branch.tags = tags::of_branch(self.file, seat.instance, trunk, vlan);
        branch.trunk = Some(TrunkAssociation { trunk: trunk.to_owned(), vlan });
        Ok(branch)
    }

    fn loose(&mut self) -> Result<Vec<Interface>> {
        let mut loose = Vec::new();
        for other in &self.file.others {
            for (subnet, count) in &other.count {
                for ordinal in 0..*count {
                    let key = format!("{:?}/{}/{subnet}/{ordinal}", other.owner, other.name);
                    let interface = self.interface(&key, subnet, 0, 0)?;
                    loose.push(tags::of_other(self.file, other, interface, &self.names));
                }
            }
        }
        for (index, leak) in self.file.leaked.iter().enumerate() {
            for ordinal in 0..leak.count {
                loose.push(self.leaked(&format!("leaked/{index}/{ordinal}"), leak)?);
            }
        }
        Ok(loose)
    }

    fn leaked(&mut self, key: &str, leak: &LeakedSpec) -> Result<Interface> {
        let mut interface = self.interface(key, &leak.subnet, leak.secondary, leak.prefixes)?;
        let instance = self.names.aws_id("i", &[key]);
        interface.description = tags::cni_description(&instance);
        interface.tags = tags::of_cni(self.file, &instance);
        let made = self.now - SignedDuration::from_hours(i64::from(leak.age_hours));
        interface.tags.insert(tags::CREATED_AT.to_owned(), made.to_string());
        Ok(interface)
    }
}

fn deal_out_waiting(names: &Names, group: &NodeGroupSpec, nodes: &mut [PlannedNode]) -> Result<()> {
    ensure!(!nodes.is_empty() || group.waiting_pods.is_empty(), "no node for the waiting pods of {}", group.name);
    let count = nodes.len();
    for (turn, (workload, ordinal)) in each(&group.waiting_pods).enumerate() {
        let key = format!("{}/waiting", group.name);
        let waiting = pod(names, OwnerKind::Deployment, workload.clone(), Place::Waiting, (&key, ordinal));
        nodes[turn % count].pods.push(waiting);
    }
    Ok(())
}

/// Each pod of each workload, with its ordinal.
fn each(counts: &BTreeMap<Workload, u32>) -> impl Iterator<Item = (&Workload, u32)> {
    counts.iter().flat_map(|(workload, count)| (0..*count).map(move |ordinal| (workload, ordinal)))
}

fn pod(names: &Names, owner: OwnerKind, workload: Workload, place: Place, (key, ordinal): (&str, u32)) -> PlannedPod {
    let suffix = names.suffix(5, &["pod", &workload.namespace, &workload.name, key, &ordinal.to_string()]);
    let name = match owner {
        OwnerKind::Deployment => format!("{}-{suffix}", replica_set_name(names, &workload)),
        OwnerKind::DaemonSet => format!("{}-{suffix}", workload.name),
    };
    PlannedPod { name, workload, owner, place }
}

/// The name of a Deployment's only `ReplicaSet`.
pub(super) fn replica_set_name(names: &Names, workload: &Workload) -> String {
    format!("{}-{}", workload.name, names.suffix(10, &["template", &workload.namespace, &workload.name]))
}

/// A workload in kube-system.
pub(super) fn system(name: &str) -> Workload {
    Workload { namespace: "kube-system".to_owned(), name: name.to_owned() }
}

fn take(pool: &mut impl Iterator<Item = Ipv4Addr>) -> Result<Place> {
    pool.next().map(Place::Pool).context("its interfaces hold fewer addresses than its pods need")
}

/// What an interface offers to pods: its secondary addresses and those of its prefixes, never its primary one.
fn pod_addresses(interface: &Interface) -> Vec<Ipv4Addr> {
    let single = match &interface.secondary {
        Assigned::List(addresses) => addresses.as_slice(),
        Assigned::Count(_) => &[],
    };
    let blocks = match &interface.prefixes {
        Assigned::List(blocks) => blocks.as_slice(),
        Assigned::Count(_) => &[],
    };
    let in_blocks = blocks.iter().flat_map(|block| {
        let start = u32::from(block.network());
        (start..start + 16).map(Ipv4Addr::from)
    });
    single.iter().copied().chain(in_blocks).collect()
}
