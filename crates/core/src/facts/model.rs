//! A node of the cluster as the model of ipamd wants it, and the model's answers as rules want them.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use super::{Cni, NodeFacts, PoolInterface};
use crate::{
    cni::{CniConfig, Setting, SizingMode},
    inventory::InterfaceKind,
    ipamd::{self, Arrival, Attached, Calls, Initial, Outcome, Story, Stranded, Subnet},
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

/// Targets under which a pool follows its pods up to the limits of the type.
const GROWING: WarmTargets = WarmTargets { minimum_ip: 0, warm_ip: 1 };

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
            cni: node.cni.clone().filter(|cni| cni.sizing_is_known() && !node.ipv6)?,
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

    /// Pods come together, which is told faster than one by one.
    fn burst(&self, config: &CniConfig, pods: u32) -> Outcome {
        let initial = Initial::Fresh { trunk: self.trunk };
        ipamd::simulate(&self.node(config), &Story { initial, arrival: Arrival::Burst, ..Story::fresh(pods.into()) })
    }

    /// What a new one holds with so many pods, had its subnet no end.
    pub(crate) fn new_node(&self, pods: u32) -> Option<Settled> {
        Settled::of(&self.fresh(&self.cni.config, pods))
    }

    /// Pods that can have an address on it at all: what its type can hold, whatever its targets are. None where the CNI
    /// only hands out what others attach: nobody knows how much that will be.
    pub(crate) fn capacity(&self) -> Option<u32> {
        if self.adopts_only() {
            return None;
        }
        let growing = GROWING.on(&self.cni.config);
        u32::try_from(ipamd::capacity(&self.node(&growing), self.trunk)).ok()
    }

    /// Pods that get an address on a new one under its own targets, had its subnet no end: fewer than its capacity where
    /// the targets stop the pool from growing. None if ipamd would not run, or only adopts.
    pub(crate) fn served(&self) -> Option<u32> {
        if self.adopts_only() {
            return None;
        }
        let many = self.limits.enis * self.limits.ipv4_per_eni * net::ADDRESSES_PER_PREFIX;
        let outcome = self.burst(&self.cni.config, many);
        u32::try_from(outcome.running()?.pods_with_address()).ok()
    }

    /// Whether there is a number of pods at which its pool never comes to rest: looked for over one interface's, or one
    /// prefix's, worth of pods, after which everything repeats itself.
    pub(crate) fn may_never_settle(&self) -> bool {
        let last = self.limits.slots_per_eni().max(net::ADDRESSES_PER_PREFIX);
        let restless = |pods| self.burst(&self.cni.config, pods).running().is_some_and(|held| !held.settled);
        !self.adopts_only() && (0..=last).any(restless)
    }

    /// How the pool is sized.
    pub(crate) fn mode(&self) -> SizingMode {
        self.cni.config.sizing_mode(self.cni.version(), &self.limits)
    }

    /// Whether the CNI takes and gives back nothing by itself.
    pub(crate) fn adopts_only(&self) -> bool {
        self.mode() == SizingMode::ProvisioningDisabled
    }

    /// Whether pods get addresses out of prefixes.
    pub(crate) fn uses_prefixes(&self) -> bool {
        self.cni.config.uses_prefixes(self.cni.version(), self.limits.hypervisor)
    }

    /// Whether prefixes are switched on and not used on it.
    pub(crate) fn ignores_prefixes(&self) -> bool {
        self.cni.config.prefix_delegation.value_or(false) && !self.uses_prefixes()
    }

    /// What takes interfaces, or the use of them, from its pods.
    pub(crate) fn lost(&self) -> LostInterfaces {
        let config = &self.cni.config;
        let full = u32::try_from(config.targets(&self.limits).max_eni).unwrap_or_default();
        LostInterfaces {
            custom_networking: config.custom_networking.value_or(false),
            trunk: self.trunk || ipamd::reserves_trunk(&self.node(config)),
            unmanaged: self.unmanaged,
            max_eni: (full < self.limits.enis).then_some(full),
        }
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

/// What takes interfaces of a node, or the use of them, from its pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LostInterfaces {
    /// The primary interface is in the nodes' subnet.
    pub(crate) custom_networking: bool,
    /// A trunk is attached, or its place is kept free.
    pub(crate) trunk: bool,
    /// Interfaces that the CNI leaves alone.
    pub(crate) unmanaged: u32,
    /// `MAX_ENI`, where it is below the limit of the type.
    pub(crate) max_eni: Option<u32>,
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
        Settled::of(&self.with_pods(&config, None, Subnet::UNLIMITED, self.cordoned))
    }

    /// Whether its pool comes to rest as it is, once aws-node has restarted. Yes where ipamd does not run.
    pub(crate) fn settles(&self) -> bool {
        let config = &self.kind.cni.config;
        let outcome = self.with_pods(config, None, Subnet::UNLIMITED, self.cordoned);
        outcome.running().is_none_or(|holdings| holdings.settled)
    }

    /// What keeps so many more pods from an address: the first thing without which they would all have one, from the
    /// surest to the least sure.
    pub(crate) fn obstacle(&self, more: u32, subnet: Subnet) -> Obstacle {
        let config = &self.kind.cni.config;
        let pods: u32 = self.attached.iter().map(pods_on).sum::<u32>() + more;
        let refused = |config: &CniConfig, subnet: Subnet, cordoned: bool| {
            let outcome = self.with_pods(config, Some(pods), subnet, cordoned);
            outcome.running().is_none_or(|holdings| holdings.pending > 0)
        };
        if refused(config, Subnet::UNLIMITED, false) {
            let growing = GROWING.on(config);
            return if refused(&growing, Subnet::UNLIMITED, false) { Obstacle::Limits } else { Obstacle::Targets };
        }
        if self.cordoned && refused(config, Subnet::UNLIMITED, true) {
            return Obstacle::Cordon;
        }
        if refused(config, subnet, self.cordoned) { Obstacle::Subnet } else { Obstacle::None }
    }

    fn with_pods(&self, config: &CniConfig, pods: Option<u32>, subnet: Subnet, cordoned: bool) -> Outcome {
        let max_pods = self.max_pods.map(i64::from);
        let node = ipamd::Node { max_pods, subnet, ..self.kind.node(config) };
        let initial = Initial::Running(&self.attached);
        let pods = pods.map(u64::from);
        ipamd::simulate(&node, &Story { initial, pods, peak: None, arrival: Arrival::Settled, cordoned })
    }
}

/// What keeps pods from an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// What the type can hold.
    Limits,
    /// The targets of the CNI.
    Targets,
    /// The node is cordoned.
    Cordon,
    /// The subnet has not what the next step takes.
    Subnet,
    /// Nothing that the model knows.
    None,
}

fn pods_on(attached: &Attached) -> u32 {
    attached.assigned + attached.prefixes.iter().map(|pods| u32::from(*pods)).sum::<u32>()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        limits,
        snapshot::{AwsNodeEnv, EnvValue},
    };

    fn cni(version: &str, env: &[(&str, &str)]) -> Arc<Cni> {
        let always = [("ENABLE_IPv4", "true")];
        let literal = |(name, value): &(&str, &str)| ((*name).to_owned(), EnvValue::Literal((*value).to_owned()));
        let values = always.iter().chain(env).map(literal).collect();
        Arc::new(Cni::of(&AwsNodeEnv { image: format!("amazon-k8s-cni:{version}"), values }))
    }

    fn kind(name: &str, version: &str, env: &[(&str, &str)]) -> Kind {
        Kind::of_type(cni(version, env), limits::lookup(name).unwrap().interface_limits())
    }

    /// The model steps through growth; what it ends at is what one can also reckon.
    #[test]
    fn capacity_is_what_the_usable_interfaces_hold() {
        let switches = [
            ("ENABLE_POD_ENI", "true"),
            ("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true"),
            ("ENABLE_PREFIX_DELEGATION", "true"),
            ("MAX_ENI", "2"),
        ];
        for row in limits::types().iter().step_by(23) {
            for chosen in 0_u32..16 {
                let on = |bit: usize| chosen & (1 << bit) != 0;
                let env: Vec<_> = (0..4).filter(|bit| on(*bit)).map(|bit| switches[bit]).collect();
                let limits = row.interface_limits();
                let kind = Kind::of_type(cni("v1.23.1", &env), limits);
                let attachable = if on(3) { limits.enis.min(2) } else { limits.enis };
                let lost = u32::from(on(0) && limits.trunking) + u32::from(on(1));
                let per_slot = if on(2) && limits.hypervisor.supports_prefixes() { 16 } else { 1 };
                // A reserved place counts against new interfaces only: the primary is there already.
                let usable = attachable.saturating_sub(lost).max(u32::from(!on(1)));
                let expected = usable * limits.slots_per_eni() * per_slot;
                assert_eq!(kind.capacity(), Some(expected), "{} {env:?}", row.name);
                // Prefixes without any target are refused, and so is custom networking without an interface.
                if expected > 0 && !on(2) {
                    assert_eq!(kind.served(), Some(expected), "{} {env:?}", row.name);
                }
            }
        }
    }

    #[test]
    fn older_versions_reserve_a_trunk_where_none_can_be() {
        let env = &[("ENABLE_POD_ENI", "true")];
        assert_eq!(kind("t3.medium", "v1.20.3", env).capacity(), Some(10));
        assert_eq!(kind("t3.medium", "v1.20.4", env).capacity(), Some(15));
    }

    #[test]
    fn a_minimum_alone_serves_the_minimum() {
        assert_eq!(kind("m5.large", "v1.23.1", &[("MINIMUM_IP_TARGET", "5")]).served(), Some(5));
        let prefixes = &[("MINIMUM_IP_TARGET", "22"), ("ENABLE_PREFIX_DELEGATION", "true")];
        assert_eq!(kind("m5.large", "v1.23.1", prefixes).served(), Some(32));
        let both = &[("MINIMUM_IP_TARGET", "5"), ("WARM_IP_TARGET", "1")];
        assert_eq!(kind("m5.large", "v1.23.1", both).served(), Some(27));
    }

    #[test]
    fn the_kinds_that_may_never_settle() {
        assert!(kind("m5.large", "v1.23.1", &[("WARM_ENI_TARGET", "0")]).may_never_settle());
        let text = &[("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_PREFIX_TARGET", "abc")];
        assert!(kind("m5.large", "v1.23.1", text).may_never_settle());
        for env in [
            &[("WARM_ENI_TARGET", "1")][..],
            &[("WARM_IP_TARGET", "1")],
            &[("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_PREFIX_TARGET", "1")],
            &[("WARM_ENI_TARGET", "0"), ("DISABLE_NETWORK_RESOURCE_PROVISIONING", "true")],
        ] {
            assert!(!kind("m5.large", "v1.23.1", env).may_never_settle(), "{env:?}");
        }
    }
}
