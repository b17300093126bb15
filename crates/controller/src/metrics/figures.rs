//! What metrics show of the last evaluation of an audit: figures of a few bytes each, never an outcome.
//!
//! A figure that is not known is none and makes no series. Sums are over what is known; how many nodes that leaves out is
//! a figure of its own.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use ipam_audit_core::{
    ids::{NodeName, SubnetId, Zone},
    outcome::{AuditOutcome, NodeAddresses, NodeOutcome, SubnetLedger, SubnetOutcome},
    source::Source,
};
use jiff::Timestamp;

/// The figures of one audit.
#[derive(Debug, Clone, Default)]
pub(crate) struct AuditFigures {
    /// When the audit finished.
    pub(crate) finished: Timestamp,
    /// Open findings by code and severity.
    pub(crate) findings: BTreeMap<(&'static str, &'static str), u32>,
    pub(crate) waiting_pods: Option<u32>,
    pub(crate) idle_addresses: Option<u32>,
    pub(crate) leaked_addresses: Option<u32>,
    pub(crate) categories: Categories,
    /// Everything that the nodes hold.
    pub(crate) held: Holding,
    pub(crate) subnets: Vec<SubnetFigures>,
    /// Only where nodes are to have series of their own.
    pub(crate) nodes: Vec<NodeFigures>,
    /// Each node with its subnet's place above; only where ipamd is asked.
    pub(crate) homes: HashMap<NodeName, Option<usize>>,
}

/// How many nodes there are of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Categories {
    pub(crate) total: Option<u32>,
    /// A pod waits for an address.
    pub(crate) in_deficit: Option<u32>,
    /// Every address that the node can ever give to a pod is in use.
    pub(crate) at_capacity: Option<u32>,
    /// Their addresses are not known; they are in no sum.
    pub(crate) unknown: Option<u32>,
}

/// What a node, the nodes of a subnet or all nodes hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Holding {
    pub(crate) interfaces: Option<u32>,
    /// Interfaces that the instance types allow.
    pub(crate) interface_slots: Option<u32>,
    /// Pods that can have an address.
    pub(crate) capacity_pods: Option<u32>,
    /// Where the addresses went.
    pub(crate) addresses: Option<Addresses>,
}

/// Addresses of nodes' interfaces by what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) own: u32,
    pub(crate) pods: u32,
    pub(crate) finished: u32,
    pub(crate) warm: u32,
    pub(crate) cooling: u32,
    pub(crate) stranded: u32,
    /// On branch interfaces; none where no trunk is known.
    pub(crate) branches: Option<u32>,
    /// /28 prefixes; their addresses are in the figures above.
    pub(crate) prefixes: u32,
}

/// One subnet.
#[derive(Debug, Clone)]
pub(crate) struct SubnetFigures {
    pub(crate) id: SubnetId,
    pub(crate) zone: Zone,
    pub(crate) free: u32,
    pub(crate) usable: Option<u32>,
    pub(crate) free_prefixes: Option<u32>,
    pub(crate) free_prefixes_min: Option<u32>,
    pub(crate) ledger: Option<SubnetLedger>,
    /// Interfaces and addresses in it; slots and capacity of the nodes whose primary interface is in it.
    pub(crate) held: Holding,
}

/// One node.
#[derive(Debug, Clone)]
pub(crate) struct NodeFigures {
    pub(crate) name: NodeName,
    pub(crate) waiting_pods: Option<u32>,
    pub(crate) held: Holding,
}

impl AuditFigures {
    /// The figures of an outcome; those of each node if they are wanted.
    pub(crate) fn of(outcome: &AuditOutcome, per_node: bool, finished: Timestamp) -> Self {
        let mut figures = Self {
            finished,
            findings: findings(outcome),
            waiting_pods: outcome.totals.waiting_pods,
            idle_addresses: outcome.totals.idle_addresses,
            leaked_addresses: outcome.totals.leaked_addresses,
            categories: Categories::of(outcome),
            held: Holding::default(),
            subnets: outcome.subnets.iter().map(SubnetFigures::of).collect(),
            nodes: Vec::new(),
            homes: HashMap::new(),
        };
        let places: HashMap<SubnetId, usize> =
            figures.subnets.iter().enumerate().map(|(place, subnet)| (subnet.id.clone(), place)).collect();
        let asked = outcome.sources.iter().any(|state| state.source == Source::Ipamd);
        for node in &outcome.nodes {
            if asked {
                let home = node.subnet.as_ref().and_then(|subnet| places.get(subnet).copied());
                figures.homes.insert(node.name.clone(), home);
            }
            let held = Holding::of_node(node);
            figures.held.add(held);
            figures.add_to_subnets(&places, node, held);
            if per_node {
                figures.nodes.push(NodeFigures { name: node.name.clone(), waiting_pods: node.waiting_pods, held });
            }
        }
        figures
    }

    fn add_to_subnets(&mut self, places: &HashMap<SubnetId, usize>, node: &NodeOutcome, held: Holding) {
        let home = node.subnet.as_ref().and_then(|subnet| places.get(subnet));
        if let Some(home) = home.and_then(|place| self.subnets.get_mut(*place)) {
            home.held.add(Holding { interfaces: None, addresses: None, ..held });
        }
        for interface in &node.by_interface {
            let place = places.get(&interface.subnet);
            if let Some(subnet) = place.and_then(|place| self.subnets.get_mut(*place)) {
                let addresses = Some(Addresses::of(interface.addresses, None));
                subnet.held.add(Holding { interfaces: Some(1), addresses, ..Holding::default() });
            }
        }
    }
}

fn findings(outcome: &AuditOutcome) -> BTreeMap<(&'static str, &'static str), u32> {
    let mut counts = BTreeMap::new();
    let of_nodes = outcome.nodes.iter().flat_map(|node| &node.findings);
    let of_subnets = outcome.subnets.iter().flat_map(|subnet| &subnet.findings);
    for finding in outcome.findings.iter().chain(of_nodes).chain(of_subnets) {
        *counts.entry((finding.code, finding.severity.name())).or_default() += 1;
    }
    counts
}

impl Categories {
    fn of(outcome: &AuditOutcome) -> Self {
        let nodes = outcome.totals.nodes.map(|_| outcome.nodes.as_slice());
        let count = |is: fn(&NodeOutcome) -> Option<bool>| {
            let answers: Vec<bool> = nodes?.iter().filter_map(is).collect();
            // Where no node can tell, nobody can; without nodes there is nothing to tell.
            let known = !answers.is_empty() || outcome.nodes.is_empty();
            known.then(|| number(answers.into_iter().filter(|is| *is).count()))
        };
        Self {
            total: outcome.totals.nodes,
            in_deficit: count(|node| Some(node.waiting_pods? > 0)),
            at_capacity: count(|node| Some(node.addresses?.used >= node.capacity?.addresses)),
            unknown: count(|node| Some(node.addresses.is_none())),
        }
    }
}

impl Holding {
    fn of_node(node: &NodeOutcome) -> Self {
        let branches = node.branches.as_ref().map(|slots| slots.used);
        Self {
            interfaces: node.interfaces,
            interface_slots: node.interface_limit,
            capacity_pods: node.capacity.map(|capacity| capacity.addresses),
            addresses: node.addresses.map(|addresses| Addresses::of(addresses, branches)),
        }
    }

    /// Addresses on interfaces that are not the interfaces' own and no branches.
    pub(crate) fn held(&self) -> Option<u32> {
        self.addresses.map(|of| of.pods + of.finished + of.warm + of.cooling + of.stranded)
    }

    /// Interfaces that could be attached yet.
    pub(crate) fn empty_slots(&self) -> Option<u32> {
        Some(self.interface_slots?.saturating_sub(self.interfaces?))
    }

    fn add(&mut self, more: Self) {
        self.interfaces = sum(self.interfaces, more.interfaces);
        self.interface_slots = sum(self.interface_slots, more.interface_slots);
        self.capacity_pods = sum(self.capacity_pods, more.capacity_pods);
        if let Some(more) = more.addresses {
            self.addresses.get_or_insert_default().add(more);
        }
    }
}

impl Addresses {
    const fn of(addresses: NodeAddresses, branches: Option<u32>) -> Self {
        let NodeAddresses { held: _, used, idle: _, own, prefixes, finished, warm, cooling, stranded } = addresses;
        Self { own, pods: used, finished, warm, cooling, stranded, branches, prefixes }
    }

    const fn add(&mut self, more: Self) {
        let Self { own, pods, finished, warm, cooling, stranded, branches, prefixes } = more;
        self.own += own;
        self.pods += pods;
        self.finished += finished;
        self.warm += warm;
        self.cooling += cooling;
        self.stranded += stranded;
        self.branches = sum(self.branches, branches);
        self.prefixes += prefixes;
    }

    /// Each state with its figure, in the words of the ledgers.
    pub(crate) fn by_state(self) -> impl Iterator<Item = (&'static str, u32)> {
        [
            ("own", Some(self.own)),
            ("pods", Some(self.pods)),
            ("finished", Some(self.finished)),
            ("warm", Some(self.warm)),
            ("cooling", Some(self.cooling)),
            ("stranded", Some(self.stranded)),
            ("branches", self.branches),
        ]
        .into_iter()
        .filter_map(|(state, figure)| Some((state, figure?)))
    }
}

impl SubnetFigures {
    fn of(subnet: &SubnetOutcome) -> Self {
        Self {
            id: subnet.id.clone(),
            zone: subnet.zone.clone(),
            free: subnet.free,
            usable: subnet.usable,
            free_prefixes: subnet.free_prefixes,
            free_prefixes_min: subnet.free_prefixes_min,
            ledger: subnet.ledger,
            held: Holding::default(),
        }
    }

    /// Each class of the ledger but what AWS keeps for itself: with the free ones they add up to the usable ones.
    pub(crate) fn by_class(&self) -> impl Iterator<Item = (&'static str, i64)> {
        let classes = self.ledger.map(|ledger| {
            let SubnetLedger { reserved: _, own, pods, finished, warm, cooling, stranded, .. } = ledger;
            let SubnetLedger { branches, leaked, other, reserved_ranges, unaccounted, .. } = ledger;
            [
                ("own", own.into()),
                ("pods", pods.into()),
                ("finished", finished.into()),
                ("warm", warm.into()),
                ("cooling", cooling.into()),
                ("stranded", stranded.into()),
                ("branches", branches.into()),
                ("leaked", leaked.into()),
                ("other", other.into()),
                ("reserved-ranges", reserved_ranges.into()),
                ("unaccounted", unaccounted),
            ]
        });
        classes.into_iter().flatten()
    }

    /// Addresses that nodes hold there and no pod has.
    pub(crate) fn idle(&self) -> Option<u32> {
        self.ledger.map(|ledger| ledger.idle())
    }
}

/// The figures of all audits at one moment.
pub(crate) type Figures = BTreeMap<String, Arc<AuditFigures>>;

/// What is known of two figures together.
const fn sum(one: Option<u32>, other: Option<u32>) -> Option<u32> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one + other),
        (Some(known), None) | (None, Some(known)) => Some(known),
        (None, None) => None,
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
