//! What an EC2 account holds, as a file or a value: the input of [`World::load`](super::World::load) and its dump.
//!
//! Everything a scenario may care about can be stated; whatever is left out is filled in deterministically, so that
//! the same seed always gives the same ids and addresses. References (`vpc`, `subnet`, `instance`, `trunk`) are ids, so
//! only what nobody refers to may go without one. Names are camelCase in YAML and JSON, and an unknown name is refused.

mod network;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::network::{Route, RouteTable, SecurityGroup};

/// Tags of a resource, sorted by key.
pub type Tags = BTreeMap<String, String>;

/// The account that a simulator serves when the seed names none; AWS uses this number in its documentation.
pub const DEFAULT_ACCOUNT: &str = "111122223333";
/// The region that a simulator serves when the seed names none.
pub const DEFAULT_REGION: &str = "eu-central-1";

/// One account in one region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Ec2Seed {
    /// The account's twelve digits, owner of whatever names no other.
    pub account: String,
    /// The region; a request that was signed for another region sees an empty account.
    pub region: String,
    /// How addresses are chosen where the seed or a request names none.
    pub placement: Placement,
    /// Virtual networks.
    pub vpcs: Vec<Vpc>,
    /// Subnets, each in a CIDR of its VPC.
    pub subnets: Vec<Subnet>,
    /// Instances, which only exist to hold interfaces.
    pub instances: Vec<Instance>,
    /// Interfaces of every kind, with their addresses. Trunks may come after their branches.
    pub interfaces: Vec<Interface>,
    /// Subnet CIDR reservations; loaded before interfaces are given addresses of the simulator's choice.
    pub reservations: Vec<Reservation>,
    /// Security groups; those that interfaces have are there without being stated, and so is each VPC's default group.
    pub security_groups: Vec<SecurityGroup>,
    /// Route tables.
    pub route_tables: Vec<RouteTable>,
}

impl Default for Ec2Seed {
    fn default() -> Self {
        Self {
            account: DEFAULT_ACCOUNT.to_owned(),
            region: DEFAULT_REGION.to_owned(),
            placement: Placement::default(),
            vpcs: Vec::new(),
            subnets: Vec::new(),
            instances: Vec::new(),
            interfaces: Vec::new(),
            reservations: Vec::new(),
            security_groups: Vec::new(),
            route_tables: Vec::new(),
        }
    }
}

/// How the simulator chooses addresses and blocks that nobody named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Placement {
    /// The lowest free one: dense, readable in a scenario.
    #[default]
    Lowest,
    /// Spread over the subnet by a fixed sequence, as EC2 does: fragments /28 blocks quickly.
    Scattered,
}

/// A VPC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Vpc {
    /// `vpc-…`; generated when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The primary CIDR, /16 to /28.
    pub cidr: Ipv4Net,
    /// Secondary CIDRs, with the state of their association.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub associations: Vec<CidrAssociation>,
    /// Tags.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
}

/// A secondary CIDR of a VPC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CidrAssociation {
    /// The block.
    pub cidr: Ipv4Net,
    /// `associated` unless stated; subnets may only lie in associated blocks.
    #[serde(default = "associated")]
    pub state: String,
}

/// A subnet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subnet {
    /// `subnet-…`; generated when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The VPC's id; may be left out when the seed has one VPC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpc: Option<String>,
    /// The block, /16 to /28, inside an associated CIDR of the VPC.
    pub cidr: Ipv4Net,
    /// Availability zone name, such as `eu-central-1a`.
    pub zone: String,
    /// Availability zone id, such as `euc1-az2`; derived from the name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone_id: Option<String>,
    /// Tags.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
    /// `pending`, `available` (unless stated), `unavailable`, `failed` or `failed-insufficient-capacity`.
    #[serde(default = "available")]
    pub state: String,
    /// Owning account when the subnet is shared from another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// An instance: something that interfaces attach to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Instance {
    /// `i-…`; generated when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Instance type. One that the simulator has no facts about has no limits and cannot be described.
    #[serde(rename = "type")]
    pub instance_type: String,
    /// The subnet of its primary interface.
    pub subnet: String,
    /// Availability zone; the subnet's unless stated, and never another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// `pending`, `running` (unless stated), `shutting-down`, `terminated`, `stopping` or `stopped`.
    #[serde(default = "running")]
    pub state: String,
    /// Tags.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Interface {
    /// `eni-…`; generated when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The subnet's id.
    pub subnet: String,
    /// The interface type as EC2 spells it on the wire.
    #[serde(default)]
    pub kind: InterfaceKind,
    /// Free text; the CNI and other owners are told apart by it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// `in-use` when attached or associated with a trunk, else `available`, unless stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<InterfaceStatus>,
    /// The principal that made it, such as `amazon-elb`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester_id: Option<String>,
    /// Whether an AWS service manages it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub requester_managed: bool,
    /// Owning account when it is not the seed's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Security group ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// The primary address; chosen by the simulator when absent. `efa-only` interfaces have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary: Option<Ipv4Addr>,
    /// Secondary addresses.
    #[serde(default, skip_serializing_if = "Assigned::is_none")]
    pub secondary: Assigned<Ipv4Addr>,
    /// Delegated /28 prefixes.
    #[serde(default, skip_serializing_if = "Assigned::is_none")]
    pub prefixes: Assigned<Ipv4Net>,
    /// The instance it is attached to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachment: Option<Attachment>,
    /// The trunk that a branch belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trunk: Option<TrunkAssociation>,
    /// Tags.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
    /// Set when a service provider such as EKS Auto Mode manages it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<Operator>,
}

impl Interface {
    /// A plain interface in a subnet with one address of the simulator's choice.
    pub fn new(subnet: impl Into<String>) -> Self {
        Self {
            id: None,
            subnet: subnet.into(),
            kind: InterfaceKind::default(),
            description: String::new(),
            status: None,
            requester_id: None,
            requester_managed: false,
            owner: None,
            groups: Vec::new(),
            primary: None,
            secondary: Assigned::default(),
            prefixes: Assigned::default(),
            attachment: None,
            trunk: None,
            tags: Tags::new(),
            operator: None,
        }
    }
}

impl Interface {
    /// How many addresses it holds at least: its own, the secondary ones, those of its prefixes.
    pub fn addresses(&self) -> usize {
        usize::from(self.primary.is_some()) + self.secondary.count() + 16 * self.prefixes.count()
    }
}

/// Addresses or prefixes of an interface: so many of the simulator's choice, or exactly these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Assigned<T> {
    /// So many, chosen by the simulator.
    Count(u32),
    /// Exactly these.
    List(Vec<T>),
}

impl<T> Assigned<T> {
    /// How many.
    pub fn count(&self) -> usize {
        match self {
            Self::Count(count) => *count as usize,
            Self::List(list) => list.len(),
        }
    }

    /// Whether there are none.
    pub fn is_none(&self) -> bool {
        match self {
            Self::Count(count) => *count == 0,
            Self::List(list) => list.is_empty(),
        }
    }
}

impl<T> Default for Assigned<T> {
    fn default() -> Self {
        Self::Count(0)
    }
}

/// The kind of an interface, in the spelling that EC2 uses in replies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum InterfaceKind {
    /// `interface`: of an instance, a load balancer, a database, …
    #[default]
    Interface,
    /// `trunk`: carries the branches of a node.
    Trunk,
    /// `branch`: of a pod with security groups; has no attachment.
    Branch,
    /// `efa`: with addresses.
    Efa,
    /// `efa-only`: without any address.
    EfaOnly,
    /// `lambda`, `nat_gateway`, `vpc_endpoint`, `network_load_balancer`, …
    Other(String),
}

impl InterfaceKind {
    /// The spelling on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Interface => "interface",
            Self::Trunk => "trunk",
            Self::Branch => "branch",
            Self::Efa => "efa",
            Self::EfaOnly => "efa-only",
            Self::Other(name) => name,
        }
    }
}

impl From<String> for InterfaceKind {
    fn from(name: String) -> Self {
        match name.as_str() {
            "interface" => Self::Interface,
            "trunk" => Self::Trunk,
            "branch" => Self::Branch,
            "efa" => Self::Efa,
            "efa-only" => Self::EfaOnly,
            _ => Self::Other(name),
        }
    }
}

impl From<InterfaceKind> for String {
    fn from(kind: InterfaceKind) -> Self {
        kind.as_str().to_owned()
    }
}

/// The state of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InterfaceStatus {
    /// Attached to nothing.
    Available,
    /// In use by a service without an attachment.
    Associated,
    /// On its way to an instance.
    Attaching,
    /// Attached, or a branch of a trunk.
    InUse,
    /// On its way off an instance.
    Detaching,
}

impl InterfaceStatus {
    /// The spelling on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Associated => "associated",
            Self::Attaching => "attaching",
            Self::InUse => "in-use",
            Self::Detaching => "detaching",
        }
    }
}

/// Where and how an interface is attached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Attachment {
    /// The instance's id. Without one the attachment belongs to an AWS service (`instanceOwner` says which).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Owner of the instance when it is not the interface's, such as `amazon-aws` or `amazon-elb`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_owner: Option<String>,
    /// Device index; 0 is the primary interface.
    #[serde(default)]
    pub device_index: u32,
    /// Network card.
    #[serde(default)]
    pub card_index: u32,
    /// Whether the interface goes with its instance.
    #[serde(default = "yes")]
    pub delete_on_termination: bool,
    /// When it was attached; a fixed time when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attach_time: Option<Timestamp>,
    /// `attaching`, `attached`, `detaching` or `detached`; follows the interface's status when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
}

impl Attachment {
    /// An attachment to an instance on network card 0, deleted with the instance.
    pub fn new(instance: impl Into<String>, device_index: u32) -> Self {
        Self {
            instance: Some(instance.into()),
            instance_owner: None,
            device_index,
            card_index: 0,
            delete_on_termination: true,
            attach_time: None,
            status: None,
        }
    }
}

/// A branch's place on its trunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrunkAssociation {
    /// The trunk interface's id.
    pub trunk: String,
    /// The VLAN, unique on its trunk.
    pub vlan: u16,
}

/// The service provider that manages a resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Operator {
    /// Its principal, such as `eks.amazonaws.com`.
    pub principal: String,
    /// Whether the resource is left out of listings that do not ask for managed resources.
    #[serde(default, skip_serializing_if = "is_false")]
    pub hidden: bool,
}

/// A subnet CIDR reservation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reservation {
    /// `scr-…`; generated when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The subnet's id.
    pub subnet: String,
    /// The block inside the subnet.
    pub cidr: Ipv4Net,
    /// What it is kept for.
    pub kind: ReservationKind,
    /// Free text.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

/// What a reservation keeps its addresses for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReservationKind {
    /// For /28 prefixes: they come from here first. Its unallocated space does not count as available.
    Prefix,
    /// For addresses that requests name: EC2 never chooses one from here.
    Explicit,
}

impl ReservationKind {
    /// The spelling on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prefix => "prefix",
            Self::Explicit => "explicit",
        }
    }
}

fn associated() -> String {
    "associated".to_owned()
}

fn available() -> String {
    "available".to_owned()
}

fn running() -> String {
    "running".to_owned()
}

const fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes a reference")]
const fn is_false(value: &bool) -> bool {
    !*value
}
