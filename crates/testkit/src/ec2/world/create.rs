//! Makes and removes VPCs, subnets, reservations, interfaces and instances.
//!
//! The seed's types are the descriptions of what is to be made, for a seed and for a request alike.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use jiff::Timestamp;

use super::super::address_book::AddressBook;
use super::super::error::ApiError;
use super::super::ids;
use super::super::seed::{self, Assigned, InterfaceKind, InterfaceStatus, Tags};
use super::super::types::InstanceType;
use super::{Instance, Interface, Reservation, Subnet, Vpc, World, zone_id_of};

/// A client token that was used, with what it was used for.
#[derive(Debug, Clone)]
pub(crate) struct TokenUse {
    /// Digest of the request.
    pub(crate) question: u64,
    /// The interface that it made.
    pub(crate) made: String,
}

/// A `RunInstances` request.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) least: u32,
    pub(crate) most: u32,
    pub(crate) instance: seed::Instance,
    /// The primary interface of each.
    pub(crate) interface: seed::Interface,
}

/// Addresses that were taken from a book for one interface.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) primary: Option<Ipv4Addr>,
    pub(super) secondary: Vec<Ipv4Addr>,
    pub(super) prefixes: Vec<Ipv4Net>,
}

impl World {
    pub(crate) fn add_vpc(&mut self, vpc: seed::Vpc) -> Result<String, ApiError> {
        for block in std::iter::once(vpc.cidr).chain(vpc.associations.iter().map(|one| one.cidr)) {
            if !is_block(block) {
                let message = format!("The CIDR '{block}' is invalid: it must be a network of /16 to /28");
                return Err(ApiError::client("InvalidVpc.Range", message));
            }
        }
        let id = self.claim_id("vpc", vpc.id)?;
        let made = Vpc { id: id.clone(), cidr: vpc.cidr, secondary: vpc.associations, tags: vpc.tags };
        self.vpcs.insert(id.clone(), made);
        self.furnish(&id);
        Ok(id)
    }

    pub(crate) fn associate_cidr(&mut self, vpc: &str, cidr: Ipv4Net) -> Result<(), ApiError> {
        let taken = self.vpc(vpc)?.blocks().any(|block| overlap(block, cidr));
        if taken || !is_block(cidr) {
            let message = format!("The CIDR '{cidr}' overlaps another one of {vpc} or is no network of /16 to /28");
            return Err(ApiError::client("InvalidVpc.Range", message));
        }
        if let Some(vpc) = self.vpcs.get_mut(vpc) {
            vpc.secondary.push(seed::CidrAssociation { cidr, state: "associated".to_owned() });
        }
        Ok(())
    }

    pub(crate) fn add_subnet(&mut self, subnet: seed::Subnet) -> Result<String, ApiError> {
        let vpc = match subnet.vpc {
            Some(vpc) => vpc,
            None if self.vpcs.len() == 1 => self.vpcs.keys().cloned().collect(),
            None => return Err(ApiError::missing("VpcId")),
        };
        let block = subnet.cidr;
        if !is_block(block) || !self.vpc(&vpc)?.blocks().any(|one| one.contains(&block)) {
            let message = format!("The CIDR '{block}' is invalid: it must be a /16 to /28 inside a CIDR of {vpc}");
            return Err(ApiError::client("InvalidSubnet.Range", message));
        }
        if let Some(other) = self.subnets.values().find(|one| one.vpc == vpc && overlap(one.cidr, block)) {
            let message = format!("The CIDR '{block}' conflicts with another subnet ({})", other.id);
            return Err(ApiError::client("InvalidSubnet.Conflict", message));
        }
        if !subnet.zone.starts_with(&self.region) || subnet.zone.len() != self.region.len() + 1 {
            return Err(ApiError::value(format!("availability zone '{}' is not in {}", subnet.zone, self.region)));
        }
        let zone_id = self.zone_id(&subnet.zone, subnet.zone_id)?;
        let id = self.claim_id("subnet", subnet.id)?;
        let made = Subnet {
            id: id.clone(),
            vpc,
            cidr: block,
            zone: subnet.zone,
            zone_id,
            tags: subnet.tags,
            state: subnet.state,
            owner: subnet.owner.unwrap_or_else(|| self.account.clone()),
            book: AddressBook::new(block, self.placement),
        };
        self.subnets.insert(id.clone(), made);
        Ok(id)
    }

    fn zone_id(&mut self, zone: &str, stated: Option<String>) -> Result<String, ApiError> {
        let known = self.zones.entry(zone.to_owned());
        let zone_id = known.or_insert_with(|| stated.clone().unwrap_or_else(|| zone_id_of(zone))).clone();
        match stated {
            Some(stated) if stated != zone_id => {
                Err(ApiError::value(format!("zone {zone} has the id {zone_id} in another subnet, not {stated}")))
            }
            _ => Ok(zone_id),
        }
    }

    pub(crate) fn add_reservation(&mut self, reservation: seed::Reservation, tags: Tags) -> Result<String, ApiError> {
        let cidr = reservation.cidr;
        if cidr.trunc() != cidr {
            return Err(ApiError::value(format!("{cidr} is no network: its host bits are not zero")));
        }
        let book = &mut self.subnet_mut(&reservation.subnet)?.book;
        book.reserve(cidr, reservation.kind).map_err(|refusal| {
            ApiError::client("InvalidSubnetCidrReservation.Range", format!("reservation {cidr} {refusal}"))
        })?;
        let id = match self.claim_id("scr", reservation.id) {
            Ok(id) => id,
            Err(error) => {
                self.subnet_mut(&reservation.subnet)?.book.unreserve(cidr, reservation.kind);
                return Err(error);
            }
        };
        let made = Reservation {
            id: id.clone(),
            subnet: reservation.subnet,
            cidr,
            kind: reservation.kind,
            description: reservation.description,
            tags,
        };
        self.reservations.insert(id.clone(), made);
        Ok(id)
    }

    pub(crate) fn delete_reservation(&mut self, id: &str) -> Result<Reservation, ApiError> {
        let missing = || ApiError::not_found("InvalidSubnetCidrReservationID.NotFound", "subnet CIDR reservation", id);
        let reservation = self.reservations.remove(id).ok_or_else(missing)?;
        self.subnet_mut(&reservation.subnet)?.book.unreserve(reservation.cidr, reservation.kind);
        Ok(reservation)
    }

    pub(crate) fn add_instance(&mut self, instance: seed::Instance, launched: Timestamp) -> Result<String, ApiError> {
        let subnet = self.subnet(&instance.subnet)?;
        let (vpc, zone) = (subnet.vpc.clone(), subnet.zone.clone());
        if let Some(stated) = instance.zone.filter(|stated| *stated != zone) {
            let message = format!("zone {stated} is not the zone of {} ({zone})", instance.subnet);
            return Err(ApiError::value(message));
        }
        let id = self.claim_id("i", instance.id)?;
        let made = Instance {
            id: id.clone(),
            launch: ids::part_of("r", &id),
            type_name: instance.instance_type,
            subnet: instance.subnet,
            vpc,
            zone,
            state: instance.state,
            launched,
            tags: instance.tags,
        };
        self.instances.insert(id.clone(), made);
        Ok(id)
    }

    /// Makes one interface, or gives back the one that the same client token made.
    pub(crate) fn create_interface(
        &mut self,
        interface: seed::Interface,
        token: Option<(String, u64)>,
    ) -> Result<String, ApiError> {
        if let Some((token, question)) = &token
            && let Some(used) = self.tokens.get(token)
        {
            let reused = "The client token was used with other parameters";
            let same = used.question == *question;
            return if same {
                Ok(used.made.clone())
            } else {
                Err(ApiError::client("IdempotentParameterMismatch", reused))
            };
        }
        let before = self.subnet(&interface.subnet)?.book.clone();
        let subnet = interface.subnet.clone();
        let made = self.take_named(&interface).and_then(|taken| self.add_interface(interface, taken));
        match (&made, token) {
            (Err(_), _) => self.subnet_mut(&subnet)?.book = before,
            (Ok(made), Some((token, question))) => {
                self.tokens.insert(token, TokenUse { question, made: made.clone() });
            }
            (Ok(_), None) => {}
        }
        made
    }

    /// Takes the addresses and prefixes that a description names.
    pub(super) fn take_named(&mut self, interface: &seed::Interface) -> Result<Taken, ApiError> {
        let book = &mut self.subnet_mut(&interface.subnet)?.book;
        let mut taken = Taken { primary: interface.primary, ..Taken::default() };
        if let Assigned::List(addresses) = &interface.secondary {
            taken.secondary.clone_from(addresses);
        }
        for address in taken.primary.iter().chain(&taken.secondary) {
            book.take(*address).map_err(|refusal| ApiError::named(address, refusal))?;
        }
        if let Assigned::List(prefixes) = &interface.prefixes {
            for prefix in prefixes {
                book.take_prefix(*prefix).map_err(|refusal| ApiError::named(prefix, refusal))?;
            }
            taken.prefixes.clone_from(prefixes);
        }
        Ok(taken)
    }

    /// Adds an interface whose named addresses were taken; chooses the others.
    pub(super) fn add_interface(&mut self, interface: seed::Interface, mut taken: Taken) -> Result<String, ApiError> {
        self.choose_others(&interface, &mut taken)?;
        let subnet = self.subnet(&interface.subnet)?;
        let (vpc, zone) = (subnet.vpc.clone(), subnet.zone.clone());
        let id = self.claim_id("eni", interface.id)?;
        let made = Interface {
            id: id.clone(),
            subnet: interface.subnet,
            vpc,
            zone,
            kind: interface.kind,
            description: interface.description,
            status: interface.status.unwrap_or(InterfaceStatus::Available),
            requester_id: interface.requester_id,
            requester_managed: interface.requester_managed,
            owner: interface.owner.unwrap_or_else(|| self.account.clone()),
            groups: interface.groups,
            primary: taken.primary,
            secondary: taken.secondary,
            prefixes: taken.prefixes,
            attachment: None,
            branch_of: None,
            tags: interface.tags,
            operator: interface.operator,
        };
        self.interfaces.insert(id.clone(), made);
        Ok(id)
    }

    fn choose_others(&mut self, interface: &seed::Interface, taken: &mut Taken) -> Result<(), ApiError> {
        let no_room = |refusal| ApiError::no_room(&interface.subnet, refusal);
        let book = &mut self.subnet_mut(&interface.subnet)?.book;
        if interface.kind == InterfaceKind::EfaOnly {
            let bare = taken.primary.is_none() && interface.secondary.is_none() && interface.prefixes.is_none();
            return if bare { Ok(()) } else { Err(ApiError::value("an efa-only interface has no addresses")) };
        }
        if taken.primary.is_none() {
            taken.primary = book.choose(1).map_err(no_room)?.pop();
        }
        if let Assigned::Count(count) = interface.secondary {
            taken.secondary = book.choose(count).map_err(no_room)?;
        }
        if let Assigned::Count(count) = interface.prefixes {
            taken.prefixes = book.choose_prefixes(count).map_err(no_room)?;
        }
        Ok(())
    }

    /// Launches as many as fit, at least the least, each with its primary interface.
    pub(crate) fn launch(&mut self, launch: &Launch, now: Timestamp) -> Result<Vec<String>, ApiError> {
        let name = &launch.instance.instance_type;
        if InstanceType::find(name).is_none() {
            let message = format!("Invalid value '{name}' for InstanceType.");
            return Err(ApiError::value(message));
        }
        let mut trial = self.clone();
        let mut made: Vec<String> = Vec::new();
        let mut refused = None;
        while made.len() < launch.most as usize && refused.is_none() {
            match trial.launch_one(launch, now) {
                Ok(id) => made.push(id),
                Err(error) => refused = Some(error),
            }
        }
        if let Some(error) = refused.filter(|_| made.len() < launch.least.max(1) as usize) {
            return Err(error);
        }
        let first = made.first().cloned().unwrap_or_default();
        for id in &made {
            if let Some(instance) = trial.instances.get_mut(id) {
                instance.launch = ids::part_of("r", &first);
            }
        }
        *self = trial;
        Ok(made)
    }

    fn launch_one(&mut self, launch: &Launch, now: Timestamp) -> Result<String, ApiError> {
        // The interface first: it is what may not fit, and without it there is nothing to undo.
        let interface = self.create_interface(launch.interface.clone(), None)?;
        let id = self.add_instance(launch.instance.clone(), now)?;
        self.attach(&interface, seed::Attachment::new(id.as_str(), 0), now)?;
        Ok(id)
    }

    pub(crate) fn add_tags(&mut self, id: &str, tags: &Tags) -> Result<(), ApiError> {
        let found = None
            .or_else(|| self.vpcs.get_mut(id).map(|one| &mut one.tags))
            .or_else(|| self.subnets.get_mut(id).map(|one| &mut one.tags))
            .or_else(|| self.instances.get_mut(id).map(|one| &mut one.tags))
            .or_else(|| self.interfaces.get_mut(id).map(|one| &mut one.tags))
            .or_else(|| self.reservations.get_mut(id).map(|one| &mut one.tags))
            .or_else(|| self.security_groups.get_mut(id).map(|one| &mut one.tags))
            .or_else(|| self.route_tables.get_mut(id).map(|one| &mut one.tags));
        let missing = || ApiError::not_found("InvalidID", "ID", id);
        found.ok_or_else(missing)?.extend(tags.iter().map(|(key, value)| (key.clone(), value.clone())));
        Ok(())
    }
}

fn is_block(block: Ipv4Net) -> bool {
    (16..=28).contains(&block.prefix_len()) && block.trunc() == block
}

fn overlap(one: Ipv4Net, other: Ipv4Net) -> bool {
    one.contains(&other) || other.contains(&one)
}
