//! A node of the cluster as the model of ipamd wants it, and the model's answers as rules want them.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use super::{Cni, NodeFacts, PoolInterface};
use crate::{
    cni::{CniConfig, Setting},
    inventory::InterfaceKind,
    ipamd::{self, Attached, Calls, Initial, Outcome, Story, Stranded},
    limits::InterfaceLimits,
    net,
};

/// Targets to advise: `WARM_IP_TARGET` never without `MINIMUM_IP_TARGET`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WarmTargets {
    minimum_ip: u32,
    warm_ip: u32,
}

impl WarmTargets {
    /// Targets under which so many pods can start at once on an empty node. A third of them stays warm beyond the
    /// floor, so that a busy node does not ask EC2 for each single pod.
    pub(crate) fn for_burst(pods: u32) -> Self {
        Self { minimum_ip: pods.max(1), warm_ip: (pods / 3).max(1) }
    }
}

impl WarmTargets {
    /// The same configuration with these targets.
    fn on(self, config: &CniConfig) -> CniConfig {
        let set = |value: u32| Setting::Set { value: i64::from(value), raw: value.to_string().into() };
        CniConfig { warm_ip_target: set(self.warm_ip), minimum_ip_target: set(self.minimum_ip), ..config.clone() }
    }
}

impl fmt::Display for WarmTargets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MINIMUM_IP_TARGET={} WARM_IP_TARGET={}", self.minimum_ip, self.warm_ip)
    }
}

/// What the model says of a node once it has settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settled {
    /// Pod addresses held.
    pub(crate) held: u32,
    /// Pods without an address.
    pub(crate) pending: u32,
    /// Addresses that the node takes from its subnet.
    pub(crate) subnet_addresses: u32,
}

impl Settled {
    /// None if ipamd would not run.
    fn of(outcome: &Outcome) -> Option<Self> {
        let holdings = outcome.running()?;
        let Stranded { ips, prefixes, pods: _ } = holdings.stranded;
        let per_prefix = i64::from(net::ADDRESSES_PER_PREFIX);
        Some(Self {
            held: u32::try_from(holdings.total + ips + prefixes * per_prefix).ok()?,
            pending: u32::try_from(holdings.pending).ok()?,
            subnet_addresses: u32::try_from(outcome.subnet_addresses).ok()?,
        })
    }
}

/// A kind of node: all that decides what a new one of it would hold.
#[derive(Debug, Clone)]
pub(crate) struct Kind {
    cni: Arc<Cni>,
    limits: InterfaceLimits,
    trunk: bool,
    unmanaged: u32,
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Kind {}

impl Hash for Kind {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl Kind {
    /// None while the node's settings, type or interfaces are not known.
    pub(crate) fn of(node: &NodeFacts<'_>) -> Option<Self> {
        let attached = node.interfaces.as_ref()?;
        let trunk = attached.iter().any(|interface| interface.kind == InterfaceKind::Trunk);
        let apart = attached.len().checked_sub(node.pool.as_ref()?.interfaces.len())?;
        Some(Self {
            cni: Arc::clone(node.cni.as_ref()?),
            limits: node.limits.as_ref()?.interfaces()?,
            trunk,
            unmanaged: u32::try_from(apart.checked_sub(usize::from(trunk))?).ok()?,
        })
    }

    /// A new node of a type with nothing on it, as its settings and limits alone make it.
    pub(crate) fn of_type(cni: Arc<Cni>, limits: InterfaceLimits) -> Self {
        Self { cni, limits, trunk: false, unmanaged: 0 }
    }

    /// Nodes with equal settings share them, so that their address stands for their content.
    fn key(&self) -> (usize, InterfaceLimits, bool, u32) {
        (Arc::as_ptr(&self.cni).addr(), self.limits, self.trunk, self.unmanaged)
    }

    fn node<'a>(&self, config: &'a CniConfig) -> ipamd::Node<'a> {
        ipamd::Node { version: self.cni.version(), unmanaged: self.unmanaged, ..ipamd::Node::new(config, self.limits) }
    }

    fn fresh(&self, config: &CniConfig, pods: u32) -> Outcome {
        let story = Story { initial: Initial::Fresh { trunk: self.trunk }, ..Story::fresh(pods.into()) };
        ipamd::simulate(&self.node(config), &story)
    }

    /// What a new one holds with so many pods, had its subnet no end.
    pub(crate) fn new_node(&self, pods: u32) -> Option<Settled> {
        Settled::of(&self.fresh(&self.cni.config, pods))
    }

    /// Pods that can have an address on it at all: what its type can hold, whatever its targets are.
    pub(crate) fn capacity(&self) -> Option<u32> {
        let growing = WarmTargets { minimum_ip: 0, warm_ip: 1 }.on(&self.cni.config);
        u32::try_from(ipamd::capacity(&self.node(&growing), self.trunk)).ok()
    }

    /// EC2 calls that one pod start beyond the pool costs at most under other targets: looked for over one interface's
    /// worth of pods, which every boundary lies in.
    pub(crate) fn calls_per_pod(&self, targets: WarmTargets) -> Option<u32> {
        let config = targets.on(&self.cni.config);
        let last = targets.minimum_ip + self.limits.slots_per_eni() + 1;
        let calls: Option<Vec<u64>> = (0..=last).map(|pods| Some(changes(self.fresh(&config, pods).calls?))).collect();
        let steps = calls?.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).max()?;
        u32::try_from(steps).ok()
    }
}

/// Calls by which a pool grows.
fn changes(calls: Calls) -> u64 {
    calls.create_network_interface + calls.attach_network_interface + calls.assign_private_ip_addresses
}

/// A running node as far as the model looks at it. Nodes of one shape settle alike.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    /// What it is.
    pub(crate) kind: Kind,
    max_pods: Option<u32>,
    cordoned: bool,
    attached: Vec<Attached>,
}

impl Shape {
    /// None while the node's settings, type or interfaces are not known.
    pub(crate) fn of(node: &NodeFacts<'_>) -> Option<Self> {
        let kind = Kind::of(node)?;
        let mut attached: Vec<Attached> = node.pool.as_ref()?.interfaces.iter().map(attached).collect::<Option<_>>()?;
        if kind.trunk {
            attached.push(Attached { trunk: true, ..Attached::default() });
        }
        Some(Self { kind, max_pods: node.node.max_pods, cordoned: node.node.cordoned, attached })
    }

    /// What it settles at under other targets, once aws-node has restarted.
    pub(crate) fn settled_with(&self, targets: WarmTargets) -> Option<Settled> {
        let config = targets.on(&self.kind.cni.config);
        let node = ipamd::Node { max_pods: self.max_pods.map(i64::from), ..self.kind.node(&config) };
        let story = Story {
            initial: Initial::Running(&self.attached),
            pods: None,
            peak: None,
            arrival: ipamd::Arrival::Settled,
            cordoned: self.cordoned,
        };
        Settled::of(&ipamd::simulate(&node, &story))
    }
}

fn attached(on: &PoolInterface<'_>) -> Option<Attached> {
    let prefixes = on.on_prefixes.iter().map(|pods| u8::try_from(*pods).ok());
    Some(Attached {
        trunk: false,
        ips: u32::try_from(on.interface.secondary.len()).ok()?,
        assigned: on.on_addresses,
        prefixes: prefixes.collect::<Option<_>>()?,
    })
}

impl NodeFacts<'_> {
    /// Whether one pod more would wait on a new node with these settings, had the subnet no end.
    pub(crate) fn settings_stop_growth(&self) -> bool {
        let pods = self.pool_pods.unwrap_or_default() + 1;
        let room = self.room().is_some_and(|room| room > 0);
        room && Kind::of(self).and_then(|kind| kind.new_node(pods)).is_some_and(|settled| settled.pending > 0)
    }
}
