//! ipamd, the daemon of the VPC CNI that holds a node's pod addresses, as one state machine.
//!
//! It starts, pods arrive, it settles, pods leave; from a fresh node or from any state of a running one. Every claim of
//! this program about warm pools, waste, capacity and what-if rests on it, so it follows the CNI's code rule by rule
//! (`docs/model.md` maps each rule to its function), not the CNI's documentation. What ipamd leaves to chance has one
//! order here ([`Placement`], and the order of attachment); what depends on the clock happens at once.
//!
//! Invariants: an outcome is a function of its inputs alone; pods = assigned + stranded + pending + lost; the subnet's
//! free addresses plus those the instance uses stay constant.

mod behaviour;
mod growth;
mod outcome;
mod pods;
mod pool;
mod release;
mod rules;
mod settle;
mod sizing;
mod start;
mod subnet;

pub use outcome::{Calls, End, Holdings, InitError, Outcome, Stranded};
pub use subnet::Subnet;

use crate::{
    cni::{CniConfig, CniVersion},
    limits::InterfaceLimits,
};

/// A node as far as ipamd's behaviour depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    /// The environment of `aws-node`.
    pub config: &'a CniConfig,
    /// The version of the CNI.
    pub version: CniVersion,
    /// What the instance type can hold.
    pub limits: InterfaceLimits,
    /// The node's pod capacity; `None`: growth never stops because of it.
    pub max_pods: Option<i64>,
    /// Attached interfaces that ipamd leaves alone, one address each.
    pub unmanaged: u32,
    /// Whether an `ENIConfig` for the node exists.
    pub eni_config: bool,
    /// What is left in the subnet, everything attached already paid.
    pub subnet: Subnet,
    /// Which address a pod takes.
    pub placement: Placement,
}

impl<'a> Node<'a> {
    /// A node of a type, with the newest version, an unlimited subnet, packed pods and nothing special.
    pub fn new(config: &'a CniConfig, limits: InterfaceLimits) -> Self {
        Self {
            config,
            version: CniVersion::NEWEST,
            limits,
            max_pods: None,
            unmanaged: 0,
            eni_config: true,
            subnet: Subnet::UNLIMITED,
            placement: Placement::Packed,
        }
    }
}

/// Which address a pod takes; ipamd takes any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Placement {
    /// The oldest that is free: what a configuration costs at least.
    #[default]
    Packed,
    /// One on the interface, and there the prefix, with the fewest pods: what fragmentation can make of it.
    Spread,
}

/// How pods come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Arrival {
    /// One at a time, the pool settles in between.
    #[default]
    Settled,
    /// All at once.
    Burst,
}

/// An interface of a running node that ipamd may manage.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attached {
    /// The trunk, which has no addresses and is never the first.
    pub trunk: bool,
    /// Secondary addresses.
    pub ips: u32,
    /// Those held by pods.
    pub assigned: u32,
    /// Prefixes, each with the number of pods on it.
    pub prefixes: Vec<u8>,
}

/// What is attached when ipamd starts.
#[derive(Clone, Copy, Debug)]
pub enum Initial<'a> {
    /// The primary interface without further addresses, and the trunk if there is one.
    Fresh {
        /// Whether the trunk is attached.
        trunk: bool,
    },
    /// The interfaces of a running node in order of attachment, the first the primary.
    Running(&'a [Attached]),
}

/// What happens to a node.
#[derive(Clone, Copy, Debug)]
pub struct Story<'a> {
    /// What is attached at the start.
    pub initial: Initial<'a>,
    /// Pods at the end; `None`: as many as there are at the start.
    pub pods: Option<u64>,
    /// Pods at the highest point; `None`: as at the end.
    pub peak: Option<u64>,
    /// How they come.
    pub arrival: Arrival,
    /// Whether the node is cordoned: a running one from the start, a fresh one after its pods have come.
    pub cordoned: bool,
}

impl Story<'_> {
    /// Pods come one by one to a fresh node and stay.
    pub fn fresh(pods: u64) -> Self {
        let initial = Initial::Fresh { trunk: false };
        Self { initial, pods: Some(pods), peak: None, arrival: Arrival::Settled, cordoned: false }
    }
}

/// Tells a story to its end.
///
/// ```
/// use ipam_audit_core::{cni::CniConfig, ipamd, limits};
///
/// // A fresh m5.large with ten pods under WARM_IP_TARGET=2, MINIMUM_IP_TARGET=8.
/// let config = CniConfig::from_env(|name| match name {
///     "ENABLE_IPv4" => Some("true"),
///     "WARM_IP_TARGET" => Some("2"),
///     "MINIMUM_IP_TARGET" => Some("8"),
///     _ => None,
/// });
/// let limits = limits::resolve("m5.large", None).interfaces().expect("in the table");
/// let outcome = ipamd::simulate(&ipamd::Node::new(&config, limits), &ipamd::Story::fresh(10));
/// let holdings = outcome.running().expect("the configuration is valid");
/// assert_eq!((holdings.slots.as_slice(), outcome.subnet_addresses), ([9, 3].as_slice(), 14));
/// ```
pub fn simulate(node: &Node<'_>, story: &Story<'_>) -> Outcome {
    let mut simulation = Simulation::new(node);
    simulation.cordoned = story.cordoned && matches!(story.initial, Initial::Running(_));
    if let Err(failure) = simulation.start(node, &story.initial) {
        return simulation.outcome(failure.into());
    }
    simulation.settle();
    let pods = story.pods.unwrap_or_else(|| simulation.pods.total());
    simulation.arrive(story.peak.unwrap_or(pods), story.arrival);
    simulation.cordoned = story.cordoned;
    simulation.pods_leave(pods);
    let settled = simulation.settle();
    if settled {
        simulation.adopt_orphans();
    }
    let holdings = simulation.holdings(settled);
    simulation.outcome(End::Running(holdings))
}

/// What a running node settles at after aws-node restarts, for example with another environment: no pod comes or goes.
///
/// ```
/// use ipam_audit_core::{cni::CniConfig, ipamd::{self, Attached, Node}, limits};
///
/// // Two interfaces of nine addresses for one pod; WARM_IP_TARGET=1 gives all but two addresses back.
/// let interfaces = [Attached { ips: 9, assigned: 1, ..Attached::default() }, Attached { ips: 9, ..Attached::default() }];
/// let config = CniConfig::from_env(|name| match name {
///     "ENABLE_IPv4" => Some("true"),
///     "WARM_IP_TARGET" => Some("1"),
///     _ => None,
/// });
/// let limits = limits::resolve("m5.large", None).interfaces().expect("in the table");
/// let outcome = ipamd::restart(&Node::new(&config, limits), &interfaces);
/// assert_eq!(outcome.subnet_addresses, 3);
/// ```
pub fn restart(node: &Node<'_>, interfaces: &[Attached]) -> Outcome {
    let initial = Initial::Running(interfaces);
    simulate(node, &Story { initial, pods: None, peak: None, arrival: Arrival::Settled, cordoned: false })
}

/// The pods that get an address if as many as possible come to a fresh node at once; 0 if ipamd does not run.
pub fn capacity(node: &Node<'_>, trunk: bool) -> i64 {
    let many = u64::from(node.limits.enis) * u64::from(node.limits.ipv4_per_eni) * 16;
    let story = Story { initial: Initial::Fresh { trunk }, arrival: Arrival::Burst, ..Story::fresh(many) };
    simulate(node, &story).running().map_or(0, Holdings::pods_with_address)
}

/// Whether the place of an interface is kept free for a trunk while none is attached.
pub fn reserves_trunk(node: &Node<'_>) -> bool {
    rules::Rules::of(node).reserves_trunk
}

/// A node while its story is told.
#[derive(Debug)]
struct Simulation {
    rules: rules::Rules,
    pool: pool::Pool,
    pods: pods::Pods,
    subnet: Subnet,
    calls: Calls,
    cordoned: bool,
    /// The interface made in this step, which is too young to be released in it.
    young: Option<usize>,
    /// A settling has come back to an earlier state.
    cycled: bool,
    progress: settle::Progress,
    saved: Option<settle::Saved>,
}

impl Simulation {
    fn new(node: &Node<'_>) -> Self {
        Self {
            rules: rules::Rules::of(node),
            pool: pool::Pool::default(),
            pods: pods::Pods::default(),
            subnet: node.subnet,
            calls: Calls::default(),
            cordoned: false,
            young: None,
            cycled: false,
            progress: settle::Progress::default(),
            saved: None,
        }
    }

    fn stats(&self) -> pool::Stats {
        self.pool.stats(self.rules.prefixes)
    }

    /// Pods come until there are `peak`, and ask at once.
    fn arrive(&mut self, peak: u64, arrival: Arrival) {
        let coming = peak.saturating_sub(self.pods.total());
        match arrival {
            Arrival::Burst => self.arrive_together(coming),
            Arrival::Settled => self.arrive_one_by_one(coming),
        }
    }

    fn arrive_together(&mut self, coming: u64) {
        self.progress = settle::Progress::default();
        self.pods.pending += coming;
        self.pods_ask();
        self.settle();
    }

    /// Once a pod finds no address and the pool stays as it was, the same holds for all that follow.
    fn arrive_one_by_one(&mut self, coming: u64) {
        let mut before: Option<(pool::Pool, Subnet)> = None;
        for left in (0..coming).rev() {
            self.arrive_together(1);
            if self.pods.pending == 0 {
                continue;
            }
            let same = before.as_ref().is_some_and(|(pool, subnet)| *subnet == self.subnet && pool.same(&self.pool));
            if same || self.nothing_changed() {
                self.pods.pending += left;
                return;
            }
            before = Some((self.pool.clone(), self.subnet));
        }
    }
}
