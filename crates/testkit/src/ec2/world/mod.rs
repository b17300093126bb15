//! The account: VPCs, subnets with their address books, instances, interfaces, reservations.
//!
//! Invariants: every address and prefix of an interface is held in its subnet's book and nothing else is; an interface
//! is attached at most once and in its instance's zone; two interfaces of an instance never share card and index; a
//! VLAN is used once on its trunk. [`World::load`] and every call that changes something go through the same checks.

mod addresses;
mod attach;
mod create;
mod dump;
mod load;
mod network;
mod trunk;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use jiff::Timestamp;

pub(crate) use create::{Launch, TokenUse};
pub use load::SeedError;
pub(crate) use network::{RouteTable, SecurityGroup, route_association_id};

use super::address_book::AddressBook;
use super::error::ApiError;
use super::ids::{self, Ids};
use super::seed::{InterfaceKind, InterfaceStatus, Operator, Placement, ReservationKind, Tags};
use super::types::InstanceType;

/// Everything that one account has in one region.
#[derive(Debug, Clone)]
pub struct World {
    pub(crate) account: String,
    pub(crate) region: String,
    placement: Placement,
    ids: Ids,
    pub(crate) zones: BTreeMap<String, String>,
    pub(crate) vpcs: BTreeMap<String, Vpc>,
    pub(crate) subnets: BTreeMap<String, Subnet>,
    pub(crate) instances: BTreeMap<String, Instance>,
    pub(crate) interfaces: BTreeMap<String, Interface>,
    pub(crate) reservations: BTreeMap<String, Reservation>,
    pub(crate) security_groups: BTreeMap<String, SecurityGroup>,
    pub(crate) route_tables: BTreeMap<String, RouteTable>,
    /// Trunk associations by id, each naming the branch that carries it.
    pub(crate) associations: BTreeMap<String, String>,
    /// Interfaces by the instance that they are attached to.
    attached: BTreeMap<String, BTreeSet<String>>,
    /// Attachments by id, each naming its interface.
    attachments: BTreeMap<String, String>,
    /// Branches by trunk and VLAN.
    vlans: BTreeMap<String, BTreeMap<u16, String>>,
    tokens: BTreeMap<String, TokenUse>,
}

#[derive(Debug, Clone)]
pub(crate) struct Vpc {
    pub(crate) id: String,
    pub(crate) cidr: Ipv4Net,
    pub(crate) secondary: Vec<super::seed::CidrAssociation>,
    pub(crate) tags: Tags,
}

#[derive(Debug, Clone)]
pub(crate) struct Subnet {
    pub(crate) id: String,
    pub(crate) vpc: String,
    pub(crate) cidr: Ipv4Net,
    pub(crate) zone: String,
    pub(crate) zone_id: String,
    pub(crate) tags: Tags,
    pub(crate) state: String,
    pub(crate) owner: String,
    pub(crate) book: AddressBook,
}

#[derive(Debug, Clone)]
pub(crate) struct Instance {
    pub(crate) id: String,
    /// The launch that it came with.
    pub(crate) launch: String,
    pub(crate) type_name: String,
    pub(crate) subnet: String,
    pub(crate) vpc: String,
    pub(crate) zone: String,
    pub(crate) state: String,
    pub(crate) launched: Timestamp,
    pub(crate) tags: Tags,
}

#[derive(Debug, Clone)]
pub(crate) struct Interface {
    pub(crate) id: String,
    pub(crate) subnet: String,
    pub(crate) vpc: String,
    pub(crate) zone: String,
    pub(crate) kind: InterfaceKind,
    pub(crate) description: String,
    pub(crate) status: InterfaceStatus,
    pub(crate) requester_id: Option<String>,
    pub(crate) requester_managed: bool,
    pub(crate) owner: String,
    pub(crate) groups: Vec<String>,
    pub(crate) primary: Option<Ipv4Addr>,
    pub(crate) secondary: Vec<Ipv4Addr>,
    pub(crate) prefixes: Vec<Ipv4Net>,
    pub(crate) attachment: Option<Attachment>,
    pub(crate) branch_of: Option<BranchOf>,
    pub(crate) tags: Tags,
    pub(crate) operator: Option<Operator>,
}

#[derive(Debug, Clone)]
pub(crate) struct Attachment {
    pub(crate) id: String,
    /// None when an AWS service holds the interface.
    pub(crate) instance: Option<String>,
    pub(crate) instance_owner: String,
    pub(crate) device_index: u32,
    pub(crate) card_index: u32,
    pub(crate) delete_on_termination: bool,
    pub(crate) attached_at: Timestamp,
    pub(crate) status: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BranchOf {
    pub(crate) association: String,
    pub(crate) trunk: String,
    pub(crate) vlan: u16,
}

#[derive(Debug, Clone)]
pub(crate) struct Reservation {
    pub(crate) id: String,
    pub(crate) subnet: String,
    pub(crate) cidr: Ipv4Net,
    pub(crate) kind: ReservationKind,
    pub(crate) description: String,
    pub(crate) tags: Tags,
}

impl Interface {
    /// Addresses in use, the primary one first.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.primary.iter().chain(&self.secondary).copied()
    }

    /// Slots that count against the type's addresses per interface: an address and a prefix take one each.
    fn slots(&self) -> usize {
        self.addresses().count() + self.prefixes.len()
    }

    /// The instance that it is attached to.
    pub(crate) fn instance(&self) -> Option<&str> {
        self.attachment.as_ref().and_then(|attachment| attachment.instance.as_deref())
    }
}

impl Instance {
    /// The limits of its type, if they are known.
    fn limits(&self) -> Option<&'static InstanceType> {
        InstanceType::find(&self.type_name)
    }
}

impl Vpc {
    /// The blocks that subnets may lie in.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = Ipv4Net> {
        let more = self.secondary.iter().filter(|one| one.state == "associated").map(|one| one.cidr);
        std::iter::once(self.cidr).chain(more)
    }
}

impl World {
    /// An account without anything.
    pub fn empty(account: impl Into<String>, region: impl Into<String>) -> Self {
        Self {
            account: account.into(),
            region: region.into(),
            placement: Placement::default(),
            ids: Ids::default(),
            zones: BTreeMap::new(),
            vpcs: BTreeMap::new(),
            subnets: BTreeMap::new(),
            instances: BTreeMap::new(),
            interfaces: BTreeMap::new(),
            reservations: BTreeMap::new(),
            security_groups: BTreeMap::new(),
            route_tables: BTreeMap::new(),
            associations: BTreeMap::new(),
            attached: BTreeMap::new(),
            attachments: BTreeMap::new(),
            vlans: BTreeMap::new(),
            tokens: BTreeMap::new(),
        }
    }

    /// The account's number.
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The region.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// What EC2 reports as available in a subnet.
    pub fn available(&self, subnet: &str) -> Option<u32> {
        self.subnets.get(subnet).map(|subnet| subnet.book.available())
    }

    /// The interfaces attached to an instance, by id.
    pub(crate) fn attached_to<'a>(&'a self, instance: &str) -> impl Iterator<Item = &'a Interface> {
        self.attached.get(instance).into_iter().flatten().filter_map(|id| self.interfaces.get(id))
    }

    pub(crate) fn vpc(&self, id: &str) -> Result<&Vpc, ApiError> {
        self.vpcs.get(id).ok_or_else(|| ApiError::not_found("InvalidVpcID.NotFound", "vpc ID", id))
    }

    pub(crate) fn subnet(&self, id: &str) -> Result<&Subnet, ApiError> {
        self.subnets.get(id).ok_or_else(|| ApiError::not_found("InvalidSubnetID.NotFound", "subnet ID", id))
    }

    fn subnet_mut(&mut self, id: &str) -> Result<&mut Subnet, ApiError> {
        self.subnets.get_mut(id).ok_or_else(|| ApiError::not_found("InvalidSubnetID.NotFound", "subnet ID", id))
    }

    pub(crate) fn instance(&self, id: &str) -> Result<&Instance, ApiError> {
        self.instances.get(id).ok_or_else(|| ApiError::not_found("InvalidInstanceID.NotFound", "instance ID", id))
    }

    pub(crate) fn interface(&self, id: &str) -> Result<&Interface, ApiError> {
        let missing = || ApiError::not_found("InvalidNetworkInterfaceID.NotFound", "networkInterface ID", id);
        self.interfaces.get(id).ok_or_else(missing)
    }

    pub(crate) fn association(&self, id: &str) -> Result<&String, ApiError> {
        let missing = || ApiError::not_found("InvalidAssociationID.NotFound", "association ID", id);
        self.associations.get(id).ok_or_else(missing)
    }

    fn interface_mut(&mut self, id: &str) -> Result<&mut Interface, ApiError> {
        let missing = || ApiError::not_found("InvalidNetworkInterfaceID.NotFound", "networkInterface ID", id);
        self.interfaces.get_mut(id).ok_or_else(missing)
    }

    fn exists(&self, id: &str) -> bool {
        self.vpcs.contains_key(id)
            || self.subnets.contains_key(id)
            || self.instances.contains_key(id)
            || self.interfaces.contains_key(id)
            || self.reservations.contains_key(id)
            || self.security_groups.contains_key(id)
            || self.route_tables.contains_key(id)
    }

    /// The id that was stated, if it has the right form and is new, or a fresh one.
    fn claim_id(&mut self, kind: &str, stated: Option<String>) -> Result<String, ApiError> {
        let Some(id) = stated else {
            loop {
                let id = self.ids.make(kind);
                if !self.exists(&id) {
                    return Ok(id);
                }
            }
        };
        let rest = id.strip_prefix(kind).and_then(|rest| rest.strip_prefix('-'));
        let well_formed = |rest: &str| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        if !rest.is_some_and(well_formed) {
            return Err(ApiError::value(format!("id '{id}' should be '{kind}-' and letters, digits or hyphens")));
        }
        if self.exists(&id) {
            return Err(ApiError::value(format!("id '{id}' is used twice")));
        }
        Ok(id)
    }
}

/// The id of an availability zone as AWS abbreviates it: `eu-central-1a` is `euc1-az1` here.
pub(crate) fn zone_id_of(zone: &str) -> String {
    let (region, letter) = zone.split_at(zone.len().saturating_sub(1));
    let short: String = region
        .split('-')
        .enumerate()
        .map(|(at, part)| match (at, part) {
            (0, _) => part,
            (_, "gov") => "g",
            (_, "north") => "n",
            (_, "south") => "s",
            (_, "east") => "e",
            (_, "west") => "w",
            (_, "central") => "c",
            (_, "northeast") => "ne",
            (_, "southeast") => "se",
            (_, "northwest") => "nw",
            (_, "southwest") => "sw",
            _ => part,
        })
        .collect();
    let number = letter.bytes().next().map_or(1, |byte| byte.wrapping_sub(b'a').wrapping_add(1));
    format!("{short}-az{number}")
}

/// The id of the association of a CIDR with a VPC.
pub(crate) fn cidr_association_id(vpc: &str, cidr: Ipv4Net) -> String {
    ids::part_of("vpc-cidr-assoc", &format!("{vpc} {cidr}"))
}
