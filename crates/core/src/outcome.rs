//! What an audit says: per node, per subnet and as a whole, with conditions, ready to be rendered.
//!
//! A number that is not known is `None` here and `?` on a screen; it is never zero.

use std::{collections::BTreeMap, fmt, sync::Arc};

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    finding::{Finding, Severity},
    ids::{EniId, InstanceType, NodeName, SubnetId, Zone},
    memory::Memory,
    source::{Source, SourceState},
    text,
};

/// The outcome of one evaluation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditOutcome {
    /// When the snapshot was taken.
    pub taken_at: Timestamp,
    /// The answer: what is wrong, why, what to do.
    pub answer: Answer,
    /// The totals behind it.
    pub totals: Totals,
    /// What is known of each source.
    pub sources: Vec<SourceState>,
    /// What each rule answered, in the registry's order.
    pub rules: Vec<RuleResult>,
    /// Findings put together by cause, the worst first.
    pub problems: Vec<Problem>,
    /// Findings that are in no node's and no subnet's report.
    pub findings: Vec<Finding>,
    /// Findings that the policy accepts: they count nowhere.
    pub suppressed: Vec<Suppressed>,
    /// What a second look has yet to prove.
    pub suspects: Vec<Suspicion>,
    /// Nodes in scope whose addresses the VPC CNI does not manage, by why.
    pub left_alone: BTreeMap<&'static str, u32>,
    /// For the next evaluation.
    pub memory: Memory,
    /// Conditions of the audit that come from the engine; `Ready` is the controller's.
    pub conditions: Vec<Condition>,
    /// Every node in scope, sorted by name.
    pub nodes: Vec<NodeOutcome>,
    /// Every subnet with a role, sorted by id. Totals count only those that hold an interface of a node.
    pub subnets: Vec<SubnetOutcome>,
}

/// The answer in a few sentences, each with its numbers. What is not known is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// What is wrong; that nothing is; or, without anything to go by, nothing.
    pub state: Option<String>,
    /// Who holds addresses that nobody uses.
    pub why: Option<String>,
    /// Which settings would help.
    pub advice: Option<Advised>,
    /// What could not be looked at.
    pub missing: Option<String>,
}

impl Answer {
    /// All of it, a line each.
    pub fn text(&self) -> String {
        let advice = self.advice.as_ref().map(ToString::to_string);
        let parts = [self.state.as_ref(), self.why.as_ref(), advice.as_ref(), self.missing.as_ref()];
        let lines: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
        lines.join("\n")
    }
}

/// Settings that would help, and what they would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Advised {
    /// As a user writes them: `MINIMUM_IP_TARGET=10 WARM_IP_TARGET=3`.
    pub settings: String,
    /// Addresses that subnets get back.
    pub addresses: u32,
    /// EC2 calls that one pod start beyond the pool costs at most.
    pub calls_per_pod: u32,
    /// Where they are set: `namespace/name` of the DaemonSet.
    pub daemon_set: Option<Arc<str>>,
}

impl fmt::Display for Advised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Setting {} frees {} within minutes and costs at most {} per pod start beyond the pool.",
            self.settings,
            text::count(self.addresses, "address"),
            text::count(self.calls_per_pod, "EC2 call"),
        )
    }
}

/// Sums over the cluster; `None` when the source for them is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Nodes in scope.
    pub nodes: Option<u32>,
    /// Pods, finished ones left out.
    pub pods: Option<u32>,
    /// Pods that wait for an address.
    pub waiting_pods: Option<u32>,
    /// Subnets in use by nodes.
    pub subnets: Option<u32>,
    /// Interfaces in those subnets.
    pub interfaces: Option<u32>,
    /// Free addresses in those subnets.
    pub free_addresses: Option<u32>,
    /// Free addresses in the worst of them.
    pub min_free_addresses: Option<u32>,
    /// Whole free /28 blocks in them.
    pub free_prefixes: Option<u32>,
    /// Pod addresses held by nodes and used by no pod.
    pub idle_addresses: Option<u32>,
    /// Addresses on interfaces that nobody will clean up.
    pub leaked_addresses: Option<u32>,
    /// Problems by severity.
    pub critical: u32,
    /// Problems by severity.
    pub warning: u32,
    /// Problems by severity.
    pub info: u32,
}

/// A finding that the policy accepts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Suppressed {
    /// The finding.
    pub finding: Finding,
    /// Why it is accepted.
    pub reason: String,
    /// Until when; none for good.
    pub until: Option<Timestamp>,
}

/// What would be a finding if a later look showed it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Suspicion {
    /// Since when it is suspected.
    pub since: Timestamp,
    /// What it would be.
    pub finding: Finding,
}

/// What one rule answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleResult {
    /// The rule's code.
    pub code: &'static str,
    /// Its answer.
    pub answer: RuleAnswer,
}

/// The four answers of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum RuleAnswer {
    /// Looked at everything, found nothing.
    Passed,
    /// Found something.
    Violated {
        /// How many findings.
        findings: u32,
    },
    /// Could not look at all, or not at everything.
    Inconclusive {
        /// The sources that it lacks.
        missing: Vec<Source>,
        /// What a second look has yet to prove.
        suspects: u32,
    },
    /// Switched off by the user.
    Disabled,
}

/// All findings of one code and group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The rule's code.
    pub code: &'static str,
    /// The rule's name.
    pub name: &'static str,
    /// The worst severity among its findings.
    pub severity: Severity,
    /// The node group, subnet or source that it is about.
    pub group: Arc<str>,
    /// How many subjects have it.
    pub count: u32,
    /// The message: that of the finding if there is one, of the first and worst if there are more.
    pub message: String,
    /// What to do.
    pub remediation: String,
}

/// `True`, `False` or `Unknown`, as in `metav1.Condition`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum ConditionStatus {
    /// The good state, in positive polarity.
    True,
    /// The bad state.
    False,
    /// Data for it are missing or stale.
    Unknown,
}

impl ConditionStatus {
    /// The word in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// A condition without its times, which the publisher keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// Its type.
    pub kind: ConditionType,
    /// Its status.
    pub status: ConditionStatus,
    /// One CamelCase word; for a finding, the finding's name.
    pub reason: &'static str,
    /// One sentence with numbers.
    pub message: String,
}

/// The types of conditions, positive polarity. A closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum ConditionType {
    /// No finding at or above the gate.
    Healthy,
    /// Every required source was read.
    DataComplete,
    /// Addresses are left: for the cluster, and for a node within its own limits.
    CapacityAvailable,
    /// Every address is accounted for.
    AddressesReconciled,
    /// The CNI's settings make sense and agree.
    ConfigurationConsistent,
    /// The warm pool fits the pods it serves.
    WarmPoolSized,
    /// The subnet of the next interface has what it needs.
    SubnetCapacityAvailable,
    /// The trunk has branch slots left.
    BranchCapacityAvailable,
    /// The subnet has addresses.
    AddressesAvailable,
    /// The subnet has whole /28 blocks.
    PrefixesAvailable,
}

impl ConditionType {
    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "Healthy",
            Self::DataComplete => "DataComplete",
            Self::CapacityAvailable => "CapacityAvailable",
            Self::AddressesReconciled => "AddressesReconciled",
            Self::ConfigurationConsistent => "ConfigurationConsistent",
            Self::WarmPoolSized => "WarmPoolSized",
            Self::SubnetCapacityAvailable => "SubnetCapacityAvailable",
            Self::BranchCapacityAvailable => "BranchCapacityAvailable",
            Self::AddressesAvailable => "AddressesAvailable",
            Self::PrefixesAvailable => "PrefixesAvailable",
        }
    }
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeOutcome {
    /// Its name.
    pub name: NodeName,
    /// Its uid, for events.
    pub uid: Arc<str>,
    /// Its node group.
    pub node_group: Option<Arc<str>>,
    /// Its instance type.
    pub instance_type: Option<InstanceType>,
    /// Its zone.
    pub zone: Option<Zone>,
    /// Its primary interface's subnet.
    pub subnet: Option<SubnetId>,
    /// Whether it is cordoned.
    pub cordoned: bool,
    /// `status.capacity.pods`.
    pub max_pods: Option<u32>,
    /// Pods that it admits, against addresses that it can give them; none while a limit is not known.
    pub capacity: Option<NodeCapacity>,
    /// Interfaces attached on the default card.
    pub interfaces: Option<u32>,
    /// How many its type allows there.
    pub interface_limit: Option<u32>,
    /// Where its addresses went.
    pub addresses: Option<NodeAddresses>,
    /// The same for each of its interfaces, the primary first, those that serve no pods last.
    pub by_interface: Vec<InterfaceOutcome>,
    /// Pods that use its pool.
    pub pool_pods: Option<u32>,
    /// Pods on it that wait for an address.
    pub waiting_pods: Option<u32>,
    /// Its trunk, if it has one or is meant to have one.
    pub branches: Option<BranchSlots>,
    /// The CNI on it.
    pub cni: Option<CniSeen>,
    /// The subnets of its zone as ipamd would try them for its next interface, those that it passes over last; at most
    /// eight. Empty where it makes no interface, or where that is not known.
    pub next_subnets: Arc<[SubnetChoice]>,
    /// Its conditions, in the order of [`ConditionType`].
    pub conditions: Vec<Condition>,
    /// Its findings, the worst first.
    pub findings: Vec<Finding>,
}

/// One interface of a node and where its addresses went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InterfaceOutcome {
    /// Its id.
    pub id: EniId,
    /// Its subnet.
    pub subnet: SubnetId,
    /// Whether the CNI gives pods addresses of it; not so a trunk, an unmanaged or an excluded one.
    pub serves_pods: bool,
    /// Where its addresses went.
    pub addresses: NodeAddresses,
}

/// The addresses of one node or of one of its interfaces. `held = used + idle` and `idle = finished + warm + cooling + stranded`; `own` comes on
/// top.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct NodeAddresses {
    /// Addresses on its interfaces that are not the interfaces' own.
    pub held: u32,
    /// Those that a pod has.
    pub used: u32,
    /// Those that no pod has.
    pub idle: u32,
    /// The interfaces' own addresses.
    pub own: u32,
    /// /28 prefixes among the held.
    pub prefixes: u32,
    /// Those whose only claimant is a pod that has finished.
    pub finished: u32,
    /// Those that the next pod can get.
    pub warm: u32,
    /// Those that were freed so short a time ago that the CNI does not give them away yet.
    pub cooling: u32,
    /// Those that no pod can get in the CNI's present mode.
    pub stranded: u32,
}

/// A subnet of a node's zone, and whether its next interface would be in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SubnetChoice {
    /// The subnet.
    pub subnet: SubnetId,
    /// Whether the next interface would be made there.
    pub chosen: bool,
    /// Why, or why not, in a few words.
    pub why: String,
}

/// Pods that a node admits, against pods that can have an address of its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct NodeCapacity {
    /// Pods that can have an address at all, whatever its targets are.
    pub addresses: u32,
    /// Pods in need of one that max-pods admits, beside those that are there without such need.
    pub schedulable: u32,
    /// Pods that could be placed and never have one: schedulable less addresses, not below 0.
    pub unreachable: u32,
}

/// Branch slots of a trunk, or of one that is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BranchSlots {
    /// Branches in use.
    pub used: u32,
    /// The type's limit; none if the type is not known.
    pub limit: Option<u32>,
    /// What speaks of the trunk.
    pub chain: Option<TrunkChain>,
}

/// From the intent to EC2: what speaks of a node's trunk. None is what its source does not tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrunkChain {
    /// Whether the node's own `aws-node` pod has `ENABLE_POD_ENI`.
    pub intended: Option<bool>,
    /// Whether the node's CNINode asks for a trunk.
    pub requested: Option<bool>,
    /// Whether the node publishes branch slots (allocatable `vpc.amazonaws.com/pod-eni`).
    pub resource: Option<bool>,
    /// The trunk that EC2 shows; none if there is none, or while the node's interfaces are not known.
    pub interface: Option<EniId>,
    /// The trunk that the node's annotation names: a hint that nothing rests on.
    pub annotation: Option<EniId>,
    /// The legacy label `vpc.amazonaws.com/has-trunk-attached`: a hint that nothing rests on.
    pub label: Option<Arc<str>>,
}

/// The CNI's configuration on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CniSeen {
    /// Its version, as the image tag says it.
    pub version: String,
    /// The algorithm that sizes the pool: `eni-target`, `ip-target`, …
    pub mode: &'static str,
    /// The targets in force, for example `WARM_ENI_TARGET=1`.
    pub targets: String,
}

/// One subnet. Its size is `free` plus all that its ledger names, when all is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SubnetOutcome {
    /// Its id.
    pub id: SubnetId,
    /// Its zone.
    pub zone: Zone,
    /// Its range as text.
    pub cidr: Option<String>,
    /// Nodes whose primary interface is in it.
    pub nodes: u32,
    /// Its size less AWS' five.
    pub usable: Option<u32>,
    /// What EC2 counts as free.
    pub free: u32,
    /// Whole free /28 blocks, as far as occupants are visible: an upper bound.
    pub free_prefixes: Option<u32>,
    /// The lower bound, as if each invisible occupant broke a block of its own; none while reservations are missing.
    pub free_prefixes_min: Option<u32>,
    /// The largest aligned range that is free, by the length of its prefix; none where no whole block is.
    pub largest_free: Option<u8>,
    /// Broken blocks in a hundred of those that are no prefix and could be one; none where there is none.
    pub fragmentation_percent: Option<u32>,
    /// The blocks in order, run by run, for example `1R 14F 1R`: R reserved by AWS, P prefix, F free, f fragmented, U
    /// used by 16 single addresses, X explicitly reserved, p free and reserved for prefixes. What does not fit into
    /// 2 kB is counted at the end: `+1200`. None for a range smaller than a block.
    pub block_map: Option<String>,
    /// Why it is in the audit: `node-home`, `pods`, `eni-config`, `control-plane`, `discovery`.
    pub roles: Vec<&'static str>,
    /// What is asked of it next.
    pub needs: Vec<Need>,
    /// Where the rest went; none without the interfaces.
    pub ledger: Option<SubnetLedger>,
    /// Who the others of the ledger are, with their addresses; sorted, the sum is `other`.
    pub others: Vec<(OtherOwner, u32)>,
    /// What a new node of the commonest type here takes at its start.
    pub new_node_takes: Option<u32>,
    /// When it runs out: `now`, or none while not known.
    pub runway: Option<&'static str>,
    /// Its conditions.
    pub conditions: Vec<Condition>,
    /// Its findings, the worst first.
    pub findings: Vec<Finding>,
}

/// What is asked of a subnet next, all or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Need {
    /// `next node`, `next interface`, `next prefix`, `surge` (of a rolling upgrade), `control plane`.
    pub what: &'static str,
    /// Addresses, those of whole blocks included.
    pub addresses: u32,
    /// Whole /28 blocks among them.
    pub blocks: u32,
    /// Whether the subnet has them, as far as is visible.
    pub met: bool,
}

/// Where a subnet's addresses went.
///
/// The size of the subnet is `free` plus the sum of all fields, `unaccounted` included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct SubnetLedger {
    /// What AWS keeps for itself: the first four and the last.
    pub reserved: u32,
    /// Nodes' interfaces' own addresses, trunks included.
    pub own: u32,
    /// Addresses that pods have.
    pub pods: u32,
    /// Addresses on nodes whose only claimant is a pod that has finished.
    pub finished: u32,
    /// Addresses on nodes that the next pod can get.
    pub warm: u32,
    /// Addresses on nodes that were freed so short a time ago that the CNI does not give them away yet.
    pub cooling: u32,
    /// Addresses on nodes that no pod can get in the CNI's present mode.
    pub stranded: u32,
    /// Branch interfaces.
    pub branches: u32,
    /// Interfaces of the CNI or the resource controller that are attached to nothing.
    pub leaked: u32,
    /// Everybody else: load balancers, NAT gateways, endpoints, other instances.
    pub other: u32,
    /// Untaken addresses of reserved ranges, as far as EC2 does not count them as free.
    pub reserved_ranges: u32,
    /// What EC2's count and its interfaces do not agree on; 0 when all is visible, negative while reads overlap.
    pub unaccounted: i64,
}

impl SubnetLedger {
    /// Addresses that nodes hold and no pod has.
    pub fn idle(&self) -> u32 {
        self.finished + self.warm + self.cooling + self.stranded
    }

    /// Addresses that visible interfaces have.
    pub fn seen(&self) -> u32 {
        self.own + self.pods + self.idle() + self.branches + self.leaked + self.other
    }
}

/// Who has addresses in a subnet without being the VPC CNI of this cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OtherOwner {
    /// A load balancer of any kind.
    LoadBalancer,
    /// A NAT gateway.
    NatGateway,
    /// An endpoint of a service.
    Endpoint,
    /// A function.
    Function,
    /// A database or a cache.
    Database,
    /// A mount target of a file system.
    FileSystem,
    /// A transit gateway's attachment.
    TransitGateway,
    /// The control plane of a cluster.
    ControlPlane,
    /// A task of a container service.
    ContainerTask,
    /// An instance that is no node of this cluster.
    OtherInstance,
    /// The CNI of another cluster.
    OtherCluster,
    /// EKS Auto Mode.
    AutoMode,
    /// A node of this cluster whose addresses the VPC CNI does not manage.
    LeftAloneNode,
    /// Any other service of AWS.
    Service,
    /// Nothing says who.
    Unknown,
}

impl OtherOwner {
    /// Every one, in the order they are reported.
    pub const ALL: [Self; 15] = [
        Self::LoadBalancer,
        Self::NatGateway,
        Self::Endpoint,
        Self::Function,
        Self::Database,
        Self::FileSystem,
        Self::TransitGateway,
        Self::ControlPlane,
        Self::ContainerTask,
        Self::OtherInstance,
        Self::OtherCluster,
        Self::AutoMode,
        Self::LeftAloneNode,
        Self::Service,
        Self::Unknown,
    ];

    /// The word in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::LoadBalancer => "load-balancer",
            Self::NatGateway => "nat-gateway",
            Self::Endpoint => "endpoint",
            Self::Function => "function",
            Self::Database => "database",
            Self::FileSystem => "file-system",
            Self::TransitGateway => "transit-gateway",
            Self::ControlPlane => "control-plane",
            Self::ContainerTask => "container-task",
            Self::OtherInstance => "other-instance",
            Self::OtherCluster => "other-cluster",
            Self::AutoMode => "auto-mode",
            Self::LeftAloneNode => "left-alone-node",
            Self::Service => "service",
            Self::Unknown => "unknown",
        }
    }
}
