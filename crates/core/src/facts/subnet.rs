//! Where the addresses of each subnet went.

use std::collections::BTreeMap;

use super::{
    blocks::Blocks,
    ledger::{Ledgers, Reservations},
    model::Kind,
    node::NodeFacts,
    owner::Owner,
};
use crate::{
    ids::SubnetId,
    inventory::{CidrReservation, Interface, Subnet},
    net,
    outcome::{OtherOwner, SubnetLedger},
    policy::Thresholds,
    snapshot::ClusterSnapshot,
};

/// Free addresses below which a subnet counts as full where the demand of a node is not known: the least that any
/// node's interface can ask for in prefix mode.
const FULL_BELOW: u32 = 17;

/// The facts of one subnet.
#[derive(Debug)]
pub struct SubnetFacts<'a> {
    /// The subnet as EC2 reports it.
    pub subnet: &'a Subnet,
    /// Its size less AWS' five; none for an IPv6-only subnet.
    pub usable: Option<u32>,
    /// Whole free /28 blocks, an upper bound.
    pub free_prefixes: Option<u32>,
    /// Where the addresses went; none while pods are missing.
    pub ledger: Option<SubnetLedger>,
    /// Who the others of the ledger are; empty while there is none.
    pub others: Vec<(OtherOwner, u32)>,
    /// Nodes (by index) whose primary interface is here.
    pub nodes: Vec<usize>,
    /// Interfaces in it.
    pub interfaces: u32,
    /// What a new node of the commonest kind here takes at its start.
    pub new_node_takes: Option<u32>,
    /// The instance type of that node.
    pub new_node_type: Option<String>,
    /// The share of free addresses below which it is low (percent).
    low_percent: u32,
}

impl SubnetFacts<'_> {
    /// Addresses that nodes hold here and no pod has; none while pods are missing.
    pub fn idle(&self) -> Option<u32> {
        self.ledger.map(|ledger| ledger.idle())
    }

    /// Addresses that a new node here needs, or a floor where that is not known.
    pub fn needed(&self) -> u32 {
        self.new_node_takes.unwrap_or(FULL_BELOW)
    }

    /// Whether a new node, or the next interface of one that is here, gets no addresses.
    pub fn is_full(&self) -> bool {
        self.usable.is_some() && self.subnet.available < self.needed()
    }

    /// Whether few addresses are left, the subnet not being full.
    pub fn is_low(&self) -> bool {
        let share =
            |usable: u32| u64::from(self.subnet.available) * 100 < u64::from(usable) * u64::from(self.low_percent);
        !self.is_full() && self.usable.is_some_and(share)
    }
}

/// The facts of every subnet that holds an interface of a node.
pub(super) fn all<'a>(
    snapshot: &'a ClusterSnapshot,
    nodes: &[NodeFacts<'a>],
    owners: &[Owner],
    thresholds: &Thresholds,
) -> Vec<SubnetFacts<'a>> {
    let (Some(subnets), Some(interfaces)) = (snapshot.ec2.subnets.value(), snapshot.ec2.interfaces.value()) else {
        return Vec::new();
    };
    let in_use = in_use(nodes);
    let pods_known = snapshot.pods.value().is_some();
    let mut ledgers = Ledgers::of(nodes, interfaces, owners);
    let reservations = Reservations::of(snapshot);
    let used = subnets.iter().filter(|subnet| in_use.contains_key(&subnet.id));
    let mut occupied = occupied(used, interfaces, snapshot.ec2.reservations.value().map_or(&[], Vec::as_slice));
    let mut facts: Vec<SubnetFacts<'a>> = subnets
        .iter()
        .filter_map(|subnet| {
            let (interfaces, blocks) = occupied.remove(&subnet.id)?;
            let homes = in_use.get(&subnet.id).cloned().unwrap_or_default();
            let sheet = ledgers.close(subnet, &reservations);
            let (new_node_type, new_node_takes) = commonest_new_node(nodes, &homes).unzip();
            Some(SubnetFacts {
                usable: subnet.cidr.map(net::usable_addresses),
                free_prefixes: blocks.map(|blocks| blocks.free()),
                ledger: pods_known.then_some(sheet.ledger),
                others: if pods_known { sheet.others.into_iter().collect() } else { Vec::new() },
                nodes: homes,
                interfaces,
                new_node_takes,
                new_node_type,
                low_percent: thresholds.subnet_free_percent,
                subnet,
            })
        })
        .collect();
    facts.sort_by(|a, b| a.subnet.id.cmp(&b.subnet.id));
    facts
}

/// Interfaces and blocks of each subnet in use.
fn occupied<'a>(
    subnets: impl Iterator<Item = &'a Subnet>,
    interfaces: &[Interface],
    reservations: &[CidrReservation],
) -> BTreeMap<&'a SubnetId, (u32, Option<Blocks>)> {
    let mut occupied: BTreeMap<_, _> = subnets.map(|subnet| (&subnet.id, (0, subnet.cidr.map(Blocks::of)))).collect();
    for interface in interfaces {
        if let Some((count, blocks)) = occupied.get_mut(&interface.subnet) {
            *count += 1;
            if let Some(blocks) = blocks {
                blocks.occupy(interface);
            }
        }
    }
    for reservation in reservations {
        if let Some((_, Some(blocks))) = occupied.get_mut(&reservation.subnet) {
            blocks.reserve(reservation);
        }
    }
    occupied
}

/// Subnets with an interface of a node, and the nodes whose primary is there.
fn in_use(nodes: &[NodeFacts<'_>]) -> BTreeMap<SubnetId, Vec<usize>> {
    let mut in_use: BTreeMap<SubnetId, Vec<usize>> = BTreeMap::new();
    for (at, node) in nodes.iter().enumerate() {
        for (position, interface) in node.interfaces.iter().flatten().enumerate() {
            let homes = in_use.entry(interface.subnet.clone()).or_default();
            if position == 0 {
                homes.push(at);
            }
        }
    }
    in_use
}

/// The commonest instance type among a subnet's nodes and what a new node of it takes at its start.
fn commonest_new_node(nodes: &[NodeFacts<'_>], homes: &[usize]) -> Option<(String, u32)> {
    let mut kinds: BTreeMap<&str, (u32, &NodeFacts<'_>)> = BTreeMap::new();
    for node in homes.iter().filter_map(|&at| nodes.get(at)) {
        let kind = node.node.instance_type.as_ref()?.as_str();
        kinds.entry(kind).or_insert((0, node)).0 += 1;
    }
    let (kind, (_, node)) = kinds.into_iter().max_by_key(|(kind, (count, _))| (*count, std::cmp::Reverse(*kind)))?;
    Some((kind.to_owned(), Kind::of(node)?.new_node(0)?.subnet_addresses))
}
