//! What EC2 says: subnets, interfaces, instance types, as compact typed rows.
//!
//! The rows are made by the one crate that sees the AWS SDK, and by readers of bundles. Enum drift is expected: a
//! kind or state that is not known here is kept by name and never an error.

use std::{
    future::Future,
    net::Ipv4Addr,
    ops::{Deref, DerefMut},
    sync::Arc,
};

use ipnet::Ipv4Net;
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde::{Deserialize, Serialize};

use crate::{
    ids::{EniId, InstanceId, InstanceType, SubnetId, VpcId, Zone},
    net::Prefix28,
    rows::Rows,
    source::{Reading, Source, SourceState},
    tags::Tags,
};

/// Whether a tag's key names the cluster that a resource is of.
pub fn is_cluster_tag(key: &str) -> bool {
    CLUSTER_TAGS.contains(&key) || key.starts_with(CLUSTER_TAG_PREFIX)
}

/// Tags whose value is the name of a cluster: the CNI's, EKS' own, and that of eksctl.
pub(crate) const CLUSTER_TAGS: [&str; 4] =
    ["cluster.k8s.amazonaws.com/name", "eks:cluster-name", "aws:eks:cluster-name", "alpha.eksctl.io/cluster-name"];
/// What comes before the name of a cluster in the key of a tag.
pub(crate) const CLUSTER_TAG_PREFIX: &str = "kubernetes.io/cluster/";

/// Everything read from EC2, each part with its own age and fault.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// `DescribeVpcs`.
    pub vpcs: Reading<Vec<Vpc>>,
    /// `DescribeSubnets` of the VPC, sorted by id.
    pub subnets: Reading<Vec<Subnet>>,
    /// `DescribeNetworkInterfaces` of the VPC, sorted by id.
    pub interfaces: Reading<Rows<Interface>>,
    /// `DescribeInstanceTypes` of the types seen on nodes, sorted by name.
    pub instance_types: Reading<Vec<InstanceTypeFacts>>,
    /// `GetSubnetCidrReservations` of the subnets in use, sorted.
    pub reservations: Reading<Vec<CidrReservation>>,
    /// `DescribeInstances`, sorted by id.
    pub instances: Reading<Rows<Instance>>,
    /// `DescribeSecurityGroups`, sorted by id.
    pub security_groups: Reading<Vec<SecurityGroup>>,
    /// `DescribeRouteTables`, sorted by id.
    pub route_tables: Reading<Vec<RouteTable>>,
}

impl Inventory {
    /// The state of each of EC2's sources.
    pub fn states(&self) -> [SourceState; 8] {
        [
            self.vpcs.state(Source::Vpcs),
            self.subnets.state(Source::Subnets),
            self.interfaces.state(Source::NetworkInterfaces),
            self.instance_types.state(Source::InstanceTypes),
            self.reservations.state(Source::CidrReservations),
            self.instances.state(Source::Instances),
            self.security_groups.state(Source::SecurityGroups),
            self.route_tables.state(Source::RouteTables),
        ]
    }
}

/// A VPC and its address ranges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vpc {
    /// Its id.
    pub id: VpcId,
    /// All associated IPv4 ranges, the primary first.
    pub cidrs: Vec<Ipv4Net>,
    /// IPv4 ranges in any other state, with EC2's word for it: `associating`, `failing`, `failed`, `disassociating`.
    pub troubled_cidrs: Vec<(Ipv4Net, Arc<str>)>,
    /// Whether it has an IPv6 range.
    pub ipv6: bool,
}

/// A subnet as EC2 reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// Its id.
    pub id: SubnetId,
    /// Its VPC.
    pub vpc: VpcId,
    /// Its IPv4 range; none for an IPv6-only subnet.
    pub cidr: Option<Ipv4Net>,
    /// Its zone by name.
    pub zone: Zone,
    /// Its zone by id, the same in every account.
    pub zone_id: Option<Arc<str>>,
    /// `AvailableIpAddressCount`: what EC2 itself counts as free.
    pub available: u32,
    /// `available`, `pending`, …
    pub state: Arc<str>,
    /// The owning account.
    pub owner: Option<Arc<str>>,
    /// Whether it has an IPv6 range.
    pub ipv6: bool,
    /// Whether it is on an Outpost.
    pub outpost: bool,
    /// Its tags.
    pub tags: Tags,
}

impl Subnet {
    /// The value of one of its tags.
    pub fn tag(&self, key: &str) -> Option<&str> {
        self.tags.get(key)
    }
}

/// A network interface as EC2 reports it. What it has in common with others reads like fields of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Its id.
    pub id: EniId,
    /// What it has in common with thousands of others, held once.
    pub traits: Arc<InterfaceTraits>,
    /// Its description: who created it is written there, case-sensitively.
    pub description: Arc<str>,
    /// Its own (primary) address.
    pub primary: Option<Ipv4Addr>,
    /// Its secondary addresses, sorted.
    pub secondary: Box<[Ipv4Addr]>,
    /// Its /28 prefixes, sorted.
    pub prefixes: Box<[Prefix28]>,
    /// What it is attached to.
    pub attachment: Option<Attachment>,
    /// When ipamd created it, if it says so.
    pub created_at: Option<Timestamp>,
    /// Its tags, but for the one that tells when it was created: it is another one on each.
    pub tags: Tags,
}

/// What interfaces of one make in one subnet have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InterfaceTraits {
    /// The subnet that all its addresses come from.
    pub subnet: SubnetId,
    /// What it is for.
    pub kind: InterfaceKind,
    /// Attached or not.
    pub status: InterfaceStatus,
    /// The service that asked for it, if not a user.
    pub requester: Option<Arc<str>>,
    /// Whether AWS manages it on a user's behalf.
    pub requester_managed: bool,
    /// Its security groups.
    pub groups: Arc<[Arc<str>]>,
    /// The account that owns it.
    pub owner: Option<Arc<str>>,
}

impl InterfaceTraits {
    /// Those of an interface in use, of which nothing else is known.
    pub fn new(subnet: SubnetId, kind: InterfaceKind) -> Self {
        Self {
            subnet,
            kind,
            status: InterfaceStatus::InUse,
            requester: None,
            requester_managed: false,
            groups: Arc::default(),
            owner: None,
        }
    }
}

impl Deref for Interface {
    type Target = InterfaceTraits;

    fn deref(&self) -> &InterfaceTraits {
        &self.traits
    }
}

impl DerefMut for Interface {
    /// To change what it shares, it is given a copy of its own.
    fn deref_mut(&mut self) -> &mut InterfaceTraits {
        Arc::make_mut(&mut self.traits)
    }
}

impl Interface {
    /// The tag by which ipamd says when it created an interface.
    pub const CREATED_AT: &'static str = "node.k8s.amazonaws.com/createdAt";

    /// Addresses it takes from its subnet: the primary, the secondaries, 16 for each prefix.
    pub fn addresses(&self) -> u32 {
        let single = usize::from(self.primary.is_some()) + self.secondary.len();
        u32::try_from(single).unwrap_or(u32::MAX) + self.prefix_addresses()
    }

    /// Addresses that pods could get from it, whatever mode the CNI is in.
    pub fn pod_addresses(&self) -> u32 {
        u32::try_from(self.secondary.len()).unwrap_or(u32::MAX) + self.prefix_addresses()
    }

    fn prefix_addresses(&self) -> u32 {
        u32::try_from(self.prefixes.len()).unwrap_or(u32::MAX).saturating_mul(crate::net::ADDRESSES_PER_PREFIX)
    }

    /// Where a pod's address lies on it, if it does.
    pub fn seat(&self, address: Ipv4Addr) -> Option<Seat> {
        if self.secondary.binary_search(&address).is_ok() {
            return Some(Seat::Secondary);
        }
        self.prefixes.binary_search(&Prefix28::containing(address)).ok().map(Seat::Prefix)
    }

    /// The value of one of its tags.
    pub fn tag(&self, key: &str) -> Option<&str> {
        self.tags.get(key)
    }
}

/// Where a pod's address lies on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seat {
    /// It is one of the secondary addresses.
    Secondary,
    /// It is in the prefix of this index.
    Prefix(usize),
}

/// `InterfaceType`. The SDK's enum lags behind the service, so unknown kinds keep their name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum InterfaceKind {
    /// An ordinary interface of an instance.
    Interface,
    /// A trunk that carries branch interfaces.
    Trunk,
    /// A branch: one pod of security groups for pods.
    Branch,
    /// Elastic fabric adapter with an IP stack.
    Efa,
    /// Elastic fabric adapter without one.
    EfaOnly,
    /// Any other service's interface: load balancer, NAT gateway, endpoint, function, …
    Other(Arc<str>),
}

impl InterfaceKind {
    /// From EC2's own word.
    pub fn parse(word: &str) -> Self {
        match word {
            "interface" => Self::Interface,
            "trunk" => Self::Trunk,
            "branch" => Self::Branch,
            "efa" => Self::Efa,
            "efa-only" => Self::EfaOnly,
            other => Self::Other(other.into()),
        }
    }
}

/// `Status` of an interface.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum InterfaceStatus {
    /// Attached to nothing.
    Available,
    /// A branch associated with its trunk.
    Associated,
    /// On its way to an instance.
    Attaching,
    /// Attached.
    InUse,
    /// On its way off.
    Detaching,
    /// A word not known here.
    Other(Arc<str>),
}

impl InterfaceStatus {
    /// From EC2's own word.
    pub fn parse(word: &str) -> Self {
        match word {
            "available" => Self::Available,
            "associated" => Self::Associated,
            "attaching" => Self::Attaching,
            "in-use" => Self::InUse,
            "detaching" => Self::Detaching,
            other => Self::Other(other.into()),
        }
    }
}

/// Where an interface is attached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The instance; none for interfaces of services.
    pub instance: Option<InstanceId>,
    /// 0 on card 0 is the instance's primary interface.
    pub device_index: u32,
    /// The network card.
    pub card_index: u32,
    /// Whether it goes with the instance.
    pub delete_on_termination: Option<bool>,
    /// When it was attached.
    pub attached_at: Option<Timestamp>,
}

impl Attachment {
    /// Whether this is the primary interface of its instance.
    pub fn is_primary(&self) -> bool {
        self.device_index == 0 && self.card_index == 0
    }
}

/// `NetworkInfo` of an instance type, as far as the CNI's limits depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceTypeFacts {
    /// The type.
    pub name: InstanceType,
    /// Interfaces of the **default** network card: the limit the CNI works with.
    pub default_card_interfaces: u32,
    /// Interfaces over all cards: what `MaximumNetworkInterfaces` says, and what unwary tools use.
    pub all_card_interfaces: u32,
    /// IPv4 addresses per interface, its primary included.
    pub ipv4_per_interface: u32,
    /// `nitro` or `xen`; absent on most bare metal.
    pub hypervisor: Option<Arc<str>>,
    /// Whether it is bare metal.
    pub bare_metal: bool,
    /// Virtual processors, which some max-pods rules look at.
    pub vcpus: Option<u32>,
}

/// A reservation inside a subnet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CidrReservation {
    /// The subnet.
    pub subnet: SubnetId,
    /// The range.
    pub cidr: Ipv4Net,
    /// What EC2 keeps it for.
    pub kind: ReservationKind,
}

/// `ReservationType`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ReservationKind {
    /// For prefixes only; taken from first.
    Prefix,
    /// Never assigned by itself.
    Explicit,
    /// A word not known here.
    Other(Arc<str>),
}

/// An instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// `running`, `stopped`, `terminated`, …
    pub state: Arc<str>,
    /// When it reached that state, where EC2 tells.
    pub state_since: Option<Timestamp>,
    /// Its type.
    pub instance_type: Option<InstanceType>,
    /// When it was launched.
    pub launched_at: Option<Timestamp>,
    /// Its tags; those that name no cluster may be left out.
    pub tags: Tags,
}

impl Instance {
    /// The moment in EC2's reason for a state, such as `User initiated (2026-11-21 10:00:00 GMT)`.
    pub fn time_in_reason(reason: &str) -> Option<Timestamp> {
        let (_, rest) = reason.rsplit_once('(')?;
        let (text, _) = rest.split_once(" GMT)")?;
        let time: DateTime = text.parse().ok()?;
        time.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    }

    /// Whether it is gone for good, or going.
    pub fn is_gone(&self) -> bool {
        matches!(&*self.state, "terminated" | "shutting-down")
    }
}

/// A security group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroup {
    /// Its id.
    pub id: Arc<str>,
    /// Its VPC.
    pub vpc: VpcId,
    /// Its name.
    pub name: Arc<str>,
}

/// A route table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTable {
    /// Its id.
    pub id: Arc<str>,
    /// Its VPC.
    pub vpc: VpcId,
    /// Whether it is the VPC's main table: subnets without an association use it.
    pub main: bool,
    /// Subnets associated with it.
    pub subnets: Box<[SubnetId]>,
    /// Its active routes: the IPv4 destination and the id of the target (`igw-…`, `nat-…`, `tgw-…`, `local`, …).
    pub routes: Vec<(Ipv4Net, Arc<str>)>,
}

/// What to read from EC2.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InventoryScope {
    /// The VPC; when none is given it is found through the instances of the nodes.
    pub vpc: Option<VpcId>,
    /// Instances of the cluster's nodes, one is enough to find the VPC.
    pub instances: Vec<InstanceId>,
    /// Types seen on nodes.
    pub instance_types: Vec<InstanceType>,
    /// Subnets whose reservations are wanted; none reads those of all subnets that hold an instance's interface or a
    /// branch.
    pub reservation_subnets: Vec<SubnetId>,
}

/// Reads EC2. Never fails as a whole: each part of the inventory carries its own fault.
pub trait ReadInventory: Send + Sync + 'static {
    /// One reading. A part that could not be read has a fault and no view: the caller keeps the last good one. A part
    /// that could be read but for some items has both, and its fault names them. A part that is read now and then and
    /// was not due has neither: what the caller has of it still stands.
    fn read(&self, scope: &InventoryScope) -> impl Future<Output = Inventory> + Send;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_tells_the_time_or_nothing() {
        let told = Instance::time_in_reason("User initiated (2026-11-21 10:00:00 GMT)");
        assert_eq!(told, "2026-11-21T10:00:00Z".parse().ok());
        for reason in ["", "Server.SpotInstanceTermination", "User initiated (yesterday GMT)", "User initiated (2026"] {
            assert_eq!(Instance::time_in_reason(reason), None, "{reason}");
        }
    }

    #[test]
    fn an_interface_carries_its_addresses_and_those_of_its_prefixes() {
        let interface = Interface {
            id: "eni-1".into(),
            traits: InterfaceTraits::new("subnet-1".into(), InterfaceKind::Interface).into(),
            description: "".into(),
            primary: Some([10, 0, 0, 4].into()),
            secondary: [[10, 0, 0, 5].into(), [10, 0, 0, 9].into()].into(),
            prefixes: ["10.0.0.32/28".parse().unwrap()].into(),
            attachment: None,
            created_at: None,
            tags: Tags::default(),
        };
        assert_eq!((interface.addresses(), interface.pod_addresses()), (19, 18));
        assert!(interface.seat([10, 0, 0, 9].into()).is_some() && interface.seat([10, 0, 0, 47].into()).is_some());
        assert!(interface.seat([10, 0, 0, 48].into()).is_none() && interface.seat([10, 0, 0, 6].into()).is_none());
    }
}
