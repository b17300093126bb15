//! Where the addresses of each subnet went, what is asked of it next, and whether it can give that.

use super::{
    blocks::{Blocks, Holder},
    demand::{Demand, Demands, Role, Take},
    ledger::{Ledgers, Reservations},
    lookup::Map,
    owner::Owner,
};
use crate::{
    finding::{self, Subject},
    ids::SubnetId,
    inventory::{CidrReservation, Interface, Subnet},
    memory::Memory,
    net,
    outcome::{Need, OtherOwner, SubnetLedger},
    policy::{AuditPolicy, Thresholds},
    rows::Rows,
    snapshot::ClusterSnapshot,
    source::Reading,
};

/// Code of the rule about full subnets: whether its finding was open decides how far a subnet has to recover.
pub(crate) const FULL: &str = "IPAM101";
/// Code of the rule about low subnets, for the same reason.
pub(crate) const LOW: &str = "IPAM102";

/// The facts of one subnet.
#[derive(Debug)]
pub struct SubnetFacts<'a> {
    /// The subnet as EC2 reports it.
    pub subnet: &'a Subnet,
    /// Its size less AWS' five; none for an IPv6-only subnet.
    pub usable: Option<u32>,
    /// Whole free /28 blocks, an upper bound: invisible occupants can only lower it.
    pub free_prefixes: Option<u32>,
    /// The lower bound: as if each invisible address broke a block of its own. None while reservations are missing.
    pub free_prefixes_min: Option<u32>,
    /// Where the addresses went; none while pods are missing.
    pub ledger: Option<SubnetLedger>,
    /// Who the others of the ledger are; empty while there is none.
    pub others: Vec<(OtherOwner, u32)>,
    /// Nodes (by index) whose primary interface is here.
    pub nodes: Vec<usize>,
    /// Interfaces in it.
    pub interfaces: u32,
    /// What a new node of the commonest kind here takes at its start; none where that is not known.
    pub new_node_takes: Option<u32>,
    /// The instance type of that node.
    pub new_node_type: Option<String>,
    /// What is asked of it.
    pub(crate) demand: Demand,
    /// Its blocks; none for an IPv6-only subnet.
    pub(crate) blocks: Option<Blocks>,
    /// Addresses in use that no visible interface has, negative while reads overlap.
    pub(crate) invisible: Option<i64>,
    /// The thresholds for it.
    pub(crate) thresholds: Thresholds,
    /// Whether what is reserved in it is known.
    reservations_known: bool,
    /// What the nodes that depend on it could still take, and a surge of new ones at their full size: computed where it
    /// matters; none where that is not known.
    pub(crate) ceiling: Option<Take>,
    level: Level,
}

/// How much is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// Not what the next node takes.
    Full,
    /// Few, and nodes could ask for more.
    Low,
    Enough,
}

impl SubnetFacts<'_> {
    /// Addresses that nodes hold here and no pod has; none while pods are missing.
    pub fn idle(&self) -> Option<u32> {
        self.ledger.map(|ledger| ledger.idle())
    }

    /// Addresses that a new node here needs, or a floor where that is not known; 0 where no node starts or grows.
    pub fn needed(&self) -> u32 {
        self.demand.new_node.map_or(0, |take| take.addresses)
    }

    /// Whether a new node, or the next interface of one that is here, gets no addresses.
    pub fn is_full(&self) -> bool {
        self.level == Level::Full
    }

    /// Whether few addresses are left and nodes could ask for more, the subnet not being full.
    pub fn is_low(&self) -> bool {
        self.level == Level::Low
    }

    /// Whether nobody can tell if it is full or low: nodes take prefixes, more whole blocks are free than EC2 counts
    /// addresses for, and the reservations that would explain it are missing.
    pub(crate) fn is_unsure(&self) -> bool {
        let in_blocks = self.free_prefixes.unwrap_or_default().saturating_mul(net::ADDRESSES_PER_PREFIX);
        self.demand.prefixes && !self.reservations_known && in_blocks > self.subnet.available
    }

    /// Whether nodes take prefixes here and the next one finds fewer whole blocks than it needs, though addresses are
    /// left.
    pub fn lacks_blocks(&self) -> bool {
        let needed = self.demand.new_node.map_or(0, |take| take.blocks);
        let depend = self.demand.prefixes && !self.demand.relieved && !self.is_full();
        depend && self.free_prefixes.is_some_and(|free| free < needed.max(1))
    }

    /// Whether nodes take prefixes here, could take more blocks than are left, and single addresses break most of them:
    /// addresses are left that no prefix can use.
    pub fn is_fragmented(&self) -> bool {
        if !self.demand.prefixes || self.demand.relieved || self.level != Level::Enough || self.lacks_blocks() {
            return false;
        }
        let broken = self.blocks.as_ref().and_then(Blocks::fragmentation_percent).unwrap_or_default();
        let enough = self.free_prefixes.zip(self.ceiling).is_some_and(|(free, most)| free >= most.blocks);
        broken >= self.thresholds.fragmentation_percent && !enough
    }

    /// Free addresses, those included that a reservation keeps for prefixes where nodes take prefixes.
    pub fn headroom(&self) -> u32 {
        self.subnet.available.saturating_add(self.kept())
    }

    /// Free addresses in whole blocks that a reservation keeps for prefixes; EC2 does not count them as available. 0
    /// where no node takes prefixes.
    pub(crate) fn kept(&self) -> u32 {
        match &self.blocks {
            Some(blocks) if self.demand.prefixes => blocks.free_kept() * net::ADDRESSES_PER_PREFIX,
            _ => 0,
        }
    }

    /// Why it is in the audit.
    pub(crate) fn has(&self, role: Role) -> bool {
        self.demand.roles.contains(&role)
    }

    /// The words for that.
    pub fn roles(&self) -> Vec<&'static str> {
        self.demand.roles.iter().map(|role| role.name()).collect()
    }

    /// Whether it can give so much at once, as far as is visible.
    pub(crate) fn meets(&self, take: Take) -> bool {
        self.has_addresses(take) && self.free_prefixes.is_some_and(|free| free >= take.blocks)
    }

    /// The same without a look at blocks.
    fn has_addresses(&self, take: Take) -> bool {
        self.headroom() >= take.addresses && self.subnet.available >= take.singles()
    }

    /// What the nodes of a rolling upgrade's surge take, and how many they are; none where no node starts, or without
    /// an IPv4 range.
    pub(crate) fn surge(&self) -> Option<(u32, Take)> {
        self.usable?;
        let nodes = self.demand.surge_nodes(self.thresholds.surge_percent);
        Some((nodes, self.demand.new_node?.times(nodes)))
    }

    /// How many more new nodes find addresses, and blocks if they need them.
    pub(crate) fn fits(&self) -> u32 {
        let Some(take) = self.demand.new_node else { return 0 };
        let by_addresses = self.headroom() / take.addresses.max(1);
        let by_singles = self.subnet.available / take.singles().max(1);
        let by_blocks = self.free_prefixes.unwrap_or_default().checked_div(take.blocks);
        by_addresses.min(by_singles).min(by_blocks.unwrap_or(u32::MAX))
    }

    /// What is asked of it next, and whether it can give it. Nothing is asked of a subnet without an IPv4 range.
    pub fn needs(&self) -> Vec<Need> {
        if self.usable.is_none() {
            return Vec::new();
        }
        let control_plane = Take { addresses: self.thresholds.control_plane_addresses, blocks: 0 };
        let asked = [
            ("next node", self.demand.new_node),
            ("next interface", self.demand.interface),
            ("next prefix", (self.demand.prefixes && !self.demand.relieved).then_some(Take::PREFIX)),
            ("surge", self.surge().map(|(_, take)| take)),
            ("control plane", self.has(Role::ControlPlane).then_some(control_plane)),
        ];
        let need = |(what, take): (&'static str, Option<Take>)| {
            let take = take?;
            Some(Need { what, addresses: take.addresses, blocks: take.blocks, met: self.meets(take) })
        };
        asked.into_iter().filter_map(need).collect()
    }

    /// Whether its share of free addresses, or their number, is below the line. It lies higher for one that was low.
    fn is_below(&self, usable: u32, was_low: bool) -> bool {
        let Thresholds { subnet_free_percent, subnet_free_addresses, subnet_hysteresis_percent, .. } = self.thresholds;
        let extra = if was_low { subnet_hysteresis_percent } else { 0 };
        let floor = subnet_free_addresses + (subnet_free_addresses * extra).div_ceil(16);
        let (free, percent) = (u64::from(self.headroom()), u64::from(subnet_free_percent + extra));
        free * 100 < u64::from(usable) * percent || free < u64::from(floor)
    }

    /// Whether a small share of free addresses, or blocks broken by single addresses, could matter.
    fn is_strained(&self) -> bool {
        let broken = self.blocks.as_ref().and_then(Blocks::fragmentation_percent).unwrap_or_default();
        let fragmented = self.demand.prefixes && broken >= self.thresholds.fragmentation_percent;
        fragmented || self.usable.is_some_and(|usable| self.is_below(usable, true))
    }

    /// A subnet with few addresses is no matter if no node can ask for more.
    fn level(&self, memory: &Memory) -> Level {
        let (Some(usable), Some(next)) = (self.usable, self.demand.new_node) else { return Level::Enough };
        if self.is_unsure() {
            return Level::Enough;
        }
        let was_open = |code| memory.was_open(&finding::fingerprint(code, &Subject::Subnet(self.subnet.id.clone())));
        let extra = (next.addresses * self.thresholds.subnet_hysteresis_percent).div_ceil(16);
        let recovered = Take { addresses: next.addresses + extra, ..next };
        if !self.has_addresses(next) || (!self.has_addresses(recovered) && was_open(FULL)) {
            return Level::Full;
        }
        if !self.is_below(usable, true) || (!self.is_below(usable, false) && !was_open(LOW)) {
            return Level::Enough;
        }
        if self.ceiling.is_some_and(|most| self.has_addresses(most)) { Level::Enough } else { Level::Low }
    }
}

/// The facts of every subnet that has a role, sorted by id: those that hold an interface of a node, and the others.
pub(super) fn all<'a>(
    snapshot: &'a ClusterSnapshot,
    mut demands: Demands<'_, 'a>,
    mut ledgers: Ledgers,
    owners: &[Owner],
    policy: &AuditPolicy,
    memory: &Memory,
) -> (Vec<SubnetFacts<'a>>, Vec<SubnetFacts<'a>>) {
    let (Some(subnets), Some(interfaces)) = (snapshot.ec2.subnets.value(), snapshot.ec2.interfaces.value()) else {
        return (Vec::new(), Vec::new());
    };
    let pods_known = snapshot.pods.value().is_some();
    let reservations = Reservations::of(snapshot);
    let asked: Vec<(&Subnet, Demand)> =
        subnets.iter().filter_map(|subnet| Some((subnet, demands.take(&subnet.id)?))).collect();
    let mut occupied =
        occupied(asked.iter().map(|(subnet, _)| *subnet), interfaces, owners, &snapshot.ec2.reservations);
    let mut facts: Vec<SubnetFacts<'a>> = asked
        .into_iter()
        .map(|(subnet, demand)| {
            let (interfaces, blocks) = occupied.remove(&subnet.id).unwrap_or_default();
            let mut facts = bare(subnet, demand, blocks, *policy.for_subnet(subnet));
            let sheet = ledgers.close(subnet, &reservations);
            facts.interfaces = interfaces;
            facts.ledger = pods_known.then_some(sheet.ledger);
            facts.others = if pods_known { sheet.others.into_iter().collect() } else { Vec::new() };
            if snapshot.ec2.reservations.value().is_none() {
                facts.reservations_known = false;
                facts.free_prefixes_min = None;
            }
            if facts.is_strained() {
                facts.ceiling =
                    demands.ceiling(&facts.demand, facts.demand.surge_nodes(facts.thresholds.surge_percent));
            }
            facts.level = facts.level(memory);
            facts
        })
        .collect();
    facts.sort_by(|a, b| a.subnet.id.cmp(&b.subnet.id));
    facts.into_iter().partition(|facts| facts.demand.attached > 0)
}

fn bare(subnet: &Subnet, demand: Demand, blocks: Option<Blocks>, thresholds: Thresholds) -> SubnetFacts<'_> {
    let usable = subnet.cidr.map(net::usable_addresses);
    let invisible = blocks.as_ref().zip(usable).map(|(blocks, usable)| invisible(blocks, usable, subnet.available));
    let free_prefixes = blocks.as_ref().map(Blocks::free);
    let lost = invisible.map(|invisible| u32::try_from(invisible.max(0)).unwrap_or(u32::MAX));
    let known_type = demand.new_node_type.is_some();
    SubnetFacts {
        subnet,
        usable,
        free_prefixes,
        free_prefixes_min: free_prefixes.zip(lost).map(|(free, lost)| free.saturating_sub(lost)),
        ledger: None,
        others: Vec::new(),
        nodes: demand.homes.clone(),
        interfaces: 0,
        new_node_takes: demand.new_node.filter(|_| known_type).map(|take| take.addresses),
        new_node_type: demand.new_node_type.clone(),
        demand,
        blocks,
        invisible,
        thresholds,
        reservations_known: true,
        ceiling: None,
        level: Level::Enough,
    }
}

/// Addresses that EC2 counts as taken and that no visible interface has.
///
/// What a reservation for prefixes keeps is not counted as available. Whether that is so for explicit ones is not
/// documented: a difference of exactly their size is explained by them.
fn invisible(blocks: &Blocks, usable: u32, available: u32) -> i64 {
    let taken = i64::from(usable) - i64::from(available);
    let rest = taken - i64::from(blocks.visible()) - i64::from(blocks.untaken_kept());
    if rest == i64::from(blocks.untaken_explicit()) { 0 } else { rest }
}

/// Interfaces and blocks of some subnets.
fn occupied<'a>(
    subnets: impl Iterator<Item = &'a Subnet>,
    interfaces: &Rows<Interface>,
    owners: &[Owner],
    reservations: &Reading<Vec<CidrReservation>>,
) -> Map<&'a SubnetId, (u32, Option<Blocks>)> {
    let mut occupied: Map<_, _> = subnets.map(|subnet| (&subnet.id, (0, subnet.cidr.map(Blocks::of)))).collect();
    for (at, (interface, owner)) in interfaces.iter().zip(owners).enumerate() {
        if let Some((count, blocks)) = occupied.get_mut(&interface.subnet) {
            *count += 1;
            let by = match owner {
                Owner::Node(node) => Holder::Node(*node),
                Owner::Branch | Owner::Leaked | Owner::InTransit => Holder::Cluster,
                Owner::Other(_) => Holder::Others,
            };
            if let Some(blocks) = blocks {
                blocks.occupy(at, interface, by);
            }
        }
    }
    for reservation in reservations.value().into_iter().flatten() {
        if let Some((_, Some(blocks))) = occupied.get_mut(&reservation.subnet) {
            blocks.reserve(reservation);
        }
    }
    occupied
}
