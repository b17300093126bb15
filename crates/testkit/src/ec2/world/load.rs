//! Fills an account from a seed, in one call, with an error that says which entry is wrong and why.

use super::super::error::ApiError;
use super::super::ids::EPOCH;
use super::super::seed::{self, Assigned, Ec2Seed, InterfaceStatus, Tags};
use super::World;

/// What is wrong with a seed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("EC2 seed, {place}: {problem}")]
pub struct SeedError {
    /// The entry, such as `interfaces[3] (eni-1)`.
    pub place: String,
    /// What is wrong with it.
    pub problem: String,
}

impl SeedError {
    fn at<'a>(list: &'a str, index: usize, id: Option<&'a str>) -> impl FnOnce(ApiError) -> Self + 'a {
        move |error| {
            let id = id.map(|id| format!(" ({id})")).unwrap_or_default();
            Self { place: format!("{list}[{index}]{id}"), problem: error.message }
        }
    }
}

impl World {
    /// Builds the account that a seed describes, or says what is wrong with the seed.
    pub fn load(seed: Ec2Seed) -> Result<Self, SeedError> {
        let mut world = Self::empty(seed.account, seed.region);
        world.placement = seed.placement;
        for (index, vpc) in seed.vpcs.into_iter().enumerate() {
            let id = vpc.id.clone();
            world.add_vpc(vpc).map_err(SeedError::at("vpcs", index, id.as_deref()))?;
        }
        for (index, subnet) in seed.subnets.into_iter().enumerate() {
            let id = subnet.id.clone();
            world.add_subnet(subnet).map_err(SeedError::at("subnets", index, id.as_deref()))?;
        }
        for (index, instance) in seed.instances.into_iter().enumerate() {
            let id = instance.id.clone();
            world.add_instance(instance, EPOCH).map_err(SeedError::at("instances", index, id.as_deref()))?;
        }
        for (index, reservation) in seed.reservations.into_iter().enumerate() {
            let id = reservation.id.clone();
            let added = world.add_reservation(reservation, Tags::new());
            added.map_err(SeedError::at("reservations", index, id.as_deref()))?;
        }
        for (index, group) in seed.security_groups.into_iter().enumerate() {
            let id = group.id.clone();
            world.add_security_group(group).map_err(SeedError::at("securityGroups", index, id.as_deref()))?;
        }
        for (index, table) in seed.route_tables.into_iter().enumerate() {
            let id = table.id.clone();
            world.add_route_table(table).map_err(SeedError::at("routeTables", index, id.as_deref()))?;
        }
        world.load_interfaces(seed.interfaces)?;
        world.add_groups_of_interfaces();
        Ok(world)
    }

    /// Named addresses before chosen ones, interfaces before what joins them, attachments before trunk limits.
    fn load_interfaces(&mut self, interfaces: Vec<seed::Interface>) -> Result<(), SeedError> {
        let at = |index: usize, id: Option<&str>| {
            let id = id.map(str::to_owned);
            move |error| SeedError::at("interfaces", index, id.as_deref())(error)
        };
        let mut taken = Vec::with_capacity(interfaces.len());
        for (index, one) in interfaces.iter().enumerate() {
            let named = self.take_named(one).map_err(|error| with_holder(error, &interfaces, index));
            taken.push(named.map_err(at(index, one.id.as_deref()))?);
        }
        let mut joins = Vec::new();
        for (index, (mut one, taken)) in interfaces.into_iter().zip(taken).enumerate() {
            let stated = one.id.clone();
            let join = (one.attachment.take(), one.trunk.take(), one.status);
            let id = self.add_interface(one, taken).map_err(at(index, stated.as_deref()))?;
            joins.push((id, join));
        }
        for (index, (id, (attachment, ..))) in joins.iter_mut().enumerate() {
            if let Some(attachment) = attachment.take() {
                self.attach(id, attachment, EPOCH).map_err(at(index, Some(id)))?;
            }
        }
        for (index, (id, (_, trunk, _))) in joins.iter().enumerate() {
            if let Some(place) = trunk {
                self.join_trunk(id, &place.trunk, place.vlan).map_err(at(index, Some(id)))?;
            }
        }
        for (index, (id, (_, _, status))) in joins.iter().enumerate() {
            self.state_status(id, *status).map_err(at(index, Some(id)))?;
        }
        Ok(())
    }

    /// Sets the status that the seed states, where it can be true.
    fn state_status(&mut self, id: &str, status: Option<InterfaceStatus>) -> Result<(), ApiError> {
        let Some(status) = status else { return Ok(()) };
        let interface = self.interface_mut(id)?;
        let joined = interface.attachment.is_some() || interface.branch_of.is_some();
        let moving = matches!(status, InterfaceStatus::Attaching | InterfaceStatus::Detaching);
        if joined && status == InterfaceStatus::Available {
            return Err(ApiError::value("status is available although it is attached or on a trunk"));
        }
        if moving && interface.attachment.is_none() {
            return Err(ApiError::value(format!("status is {} without an attachment", status.as_str())));
        }
        interface.status = status;
        if let Some(attachment) = interface.attachment.as_mut().filter(|one| moving && one.status == "attached") {
            status.as_str().clone_into(&mut attachment.status);
        }
        Ok(())
    }
}

/// Names the earlier entry that holds an address of this one, since "in use" alone says little about a seed.
fn with_holder(mut error: ApiError, all: &[seed::Interface], index: usize) -> ApiError {
    if error.code != "InvalidIPAddress.InUse" {
        return error;
    }
    let (earlier, this) = all.split_at(index);
    let clash = this.first().and_then(|this| {
        earlier.iter().enumerate().find(|(_, other)| other.subnet == this.subnet && shares(other, this))
    });
    match clash {
        Some((at, other)) => {
            let name = other.id.as_deref().unwrap_or("without an id");
            error.message = format!("{} by interfaces[{at}] ({name})", error.message);
        }
        None => error.message.push_str(" by this interface itself"),
    }
    error
}

fn shares(one: &seed::Interface, other: &seed::Interface) -> bool {
    let ranges = |interface: &seed::Interface| {
        let mut ranges: Vec<(u32, u32)> = interface.primary.iter().map(|at| (u32::from(*at), u32::from(*at))).collect();
        if let Assigned::List(list) = &interface.secondary {
            ranges.extend(list.iter().map(|at| (u32::from(*at), u32::from(*at))));
        }
        if let Assigned::List(list) = &interface.prefixes {
            ranges.extend(list.iter().map(|net| (u32::from(net.network()), u32::from(net.broadcast()))));
        }
        ranges
    };
    let others = ranges(other);
    ranges(one).iter().any(|(first, last)| others.iter().any(|(from, to)| first <= to && from <= last))
}
