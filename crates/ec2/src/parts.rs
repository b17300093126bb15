//! The parts of the inventory, each read by itself and each with its own fault.
//!
//! A part may have rows and a fault at once: then the rows are good, and the fault says which are not among them.

use ipam_audit_core::{
    ids::{InstanceType, SubnetId, VpcId},
    intern::Interner,
    inventory::{
        CidrReservation, Instance, InstanceTypeFacts, Interface, Inventory, RouteTable, SecurityGroup, Subnet, Vpc,
    },
    rows::Rows,
    source::{FaultCategory, Observed, Reading, SourceFault},
};
use jiff::{SignedDuration, Timestamp};

use crate::{
    action::Action,
    convert,
    failure::Failure,
    inventory::Reader,
    listing::{Listing, list},
    memory::Rare,
};

/// The most types that one call may name.
const TYPES_AT_ONCE: usize = 100;
/// Limits of a type never change.
const KEEP_TYPE: SignedDuration = SignedDuration::from_hours(24);
/// A type that EC2 does not know may be introduced soon after.
const KEEP_UNKNOWN_TYPE: SignedDuration = SignedDuration::from_hours(1);
/// Reservations are made by people, and cost one call per subnet to read.
const KEEP_RESERVATIONS: SignedDuration = SignedDuration::from_hours(1);
/// So many names in a message; the rest is a number.
const NAMED: usize = 5;

impl Reader<'_> {
    pub(crate) async fn vpcs(&self, vpc: &VpcId) -> Reading<Vec<Vpc>> {
        let as_of = Timestamp::now();
        let listing = list(|token| self.caller.vpcs(vpc, token), |vpc| convert::vpc(&vpc)).await;
        self.reading(Action::DescribeVpcs, as_of, listing, |vpc| &vpc.id)
    }

    pub(crate) async fn subnets(&self, vpc: &VpcId) -> Reading<Vec<Subnet>> {
        let as_of = Timestamp::now();
        let mut texts = Interner::default();
        let convert = |subnet| convert::subnet(&subnet, &mut texts);
        let listing = list(|token| self.caller.subnets(vpc, token), convert).await;
        self.reading(Action::DescribeSubnets, as_of, listing, |subnet| &subnet.id)
    }

    /// Interfaces that are as they were are those of the last reading: there is one copy of most of them at all times.
    pub(crate) async fn interfaces(&self, vpc: &VpcId) -> Reading<Rows<Interface>> {
        let as_of = Timestamp::now();
        let known = self.memory.interfaces().clone();
        let mut texts = self.memory.take_texts();
        let convert = |eni| Ok(known.share(convert::interface(&eni, &mut texts)?, |eni| &eni.id));
        let listing = list(|token| self.caller.interfaces(vpc, token), convert).await;
        let reading = self.reading(Action::DescribeNetworkInterfaces, as_of, listing, |eni| &eni.id);
        let reading = reading.map(Rows::from_iter);
        if let Some(rows) = reading.value() {
            self.memory.interfaces().clone_from(rows);
        }
        self.memory.keep_texts(texts);
        reading
    }

    /// Instances of the VPC; nothing while they are not due.
    pub(crate) async fn instances(&self, vpc: &VpcId) -> Reading<Rows<Instance>> {
        let Some(as_of) = self.due(Rare::Instances, vpc) else { return not_due() };
        let known = self.memory.instances().clone();
        let mut texts = self.memory.take_texts();
        let convert = |instance| Ok(known.share(convert::instance(&instance, &mut texts)?, |instance| &instance.id));
        let listing = list(|token| self.caller.instances(vpc, token), convert).await;
        let reading = self.reading(Action::DescribeInstances, as_of, listing, |instance| &instance.id);
        let reading = reading.map(Rows::from_iter);
        if let Some(rows) = reading.value() {
            self.memory.instances().clone_from(rows);
        }
        self.memory.keep_texts(texts);
        reading
    }

    /// Security groups of the VPC; nothing while they are not due.
    pub(crate) async fn security_groups(&self, vpc: &VpcId) -> Reading<Vec<SecurityGroup>> {
        let Some(as_of) = self.due(Rare::SecurityGroups, vpc) else { return not_due() };
        let mut texts = Interner::default();
        let convert = |group| convert::security_group(&group, &mut texts);
        let listing = list(|token| self.caller.security_groups(vpc, token), convert).await;
        self.reading(Action::DescribeSecurityGroups, as_of, listing, |group| &group.id)
    }

    /// Route tables of the VPC; nothing while they are not due.
    pub(crate) async fn route_tables(&self, vpc: &VpcId) -> Reading<Vec<RouteTable>> {
        let Some(as_of) = self.due(Rare::RouteTables, vpc) else { return not_due() };
        let mut texts = Interner::default();
        let convert = |table| convert::route_table(&table, &mut texts);
        let listing = list(|token| self.caller.route_tables(vpc, token), convert).await;
        self.reading(Action::DescribeRouteTables, as_of, listing, |table| &table.id)
    }

    fn due(&self, part: Rare, vpc: &VpcId) -> Option<Timestamp> {
        let now = Timestamp::now();
        self.memory.is_due(part, vpc, now).then_some(now)
    }

    /// Remembers which of the parts that are read now and then were read: only once they go to the caller, for a
    /// reading may be given up on its way.
    pub(crate) fn remember(&self, vpc: &VpcId, inventory: &Inventory) {
        let read = [
            (Rare::Instances, complete(&inventory.instances)),
            (Rare::SecurityGroups, complete(&inventory.security_groups)),
            (Rare::RouteTables, complete(&inventory.route_tables)),
        ];
        for (part, as_of) in read {
            if let Some(as_of) = as_of {
                self.memory.was_read(part, vpc, as_of);
            }
        }
    }

    /// The rows by id. What moved from one page to the next while they were read is there once.
    fn reading<T, K: Ord>(
        &self,
        action: Action,
        as_of: Timestamp,
        listing: Result<Listing<T>, Failure>,
        id: impl Fn(&T) -> &K,
    ) -> Reading<Vec<T>> {
        let mut listing = match listing {
            Ok(listing) => listing,
            Err(failure) => {
                let SourceFault { category, message } = self.caller.fault(action, &failure);
                return Reading::missing(category, message);
            }
        };
        let fault = listing.fault(action);
        listing.rows.sort_by(|a, b| id(a).cmp(id(b)));
        listing.rows.dedup_by(|a, b| id(a) == id(b));
        listing.rows.shrink_to_fit();
        Reading { last_good: Some(Observed { value: listing.rows, as_of }), fault }
    }

    /// The limits of the types; those that EC2 does not know are left out and named.
    pub(crate) async fn instance_types(&self, wanted: &[InstanceType]) -> Reading<Vec<InstanceTypeFacts>> {
        let now = Timestamp::now();
        let mut wanted = wanted.to_vec();
        wanted.sort_unstable();
        wanted.dedup();
        let due = self.memory.types().due(&wanted, now, |facts| match facts {
            Some(_) => KEEP_TYPE,
            None => KEEP_UNKNOWN_TYPE,
        });
        let fault = self.describe_types(&due, now).await.err();
        let types = self.memory.types();
        let (known, oldest) = types.view(&wanted);
        let unknown: Vec<_> = known.iter().filter(|(_, facts)| facts.is_none()).map(|(name, _)| *name).collect();
        Reading {
            fault: fault.or_else(|| self.unknown_types(&unknown)),
            last_good: observed(
                known.into_iter().filter_map(|(_, facts)| facts.clone()).collect(),
                oldest,
                wanted.is_empty().then_some(now),
            ),
        }
    }

    /// Asks for up to a hundred types at once. One that EC2 does not know spoils the whole call, so it is looked for by
    /// halves.
    async fn describe_types(&self, due: &[InstanceType], now: Timestamp) -> Result<(), SourceFault> {
        let mut batches: Vec<&[InstanceType]> = due.chunks(TYPES_AT_ONCE).collect();
        let mut malformed = None;
        let mut texts = Interner::default();
        while let Some(batch) = batches.pop() {
            let convert = |info| convert::instance_type(&info, &mut texts);
            match list(|token| self.caller.instance_types(batch, token), convert).await {
                Ok(listing) => {
                    let fault = listing.fault(Action::DescribeInstanceTypes);
                    self.remember_types(batch, listing.rows, fault.is_none(), now);
                    malformed = malformed.or(fault);
                }
                Err(failure) if failure.has_code(&["InvalidInstanceType"]) => match batch {
                    [unknown] => self.memory.types().put(unknown.clone(), None, now),
                    several => batches.extend([&several[..several.len() / 2], &several[several.len() / 2..]]),
                },
                Err(failure) => return Err(self.caller.fault(Action::DescribeInstanceTypes, &failure)),
            }
        }
        malformed.map_or(Ok(()), Err)
    }

    /// What an answer that could be read to the end does not name, EC2 does not know.
    fn remember_types(&self, asked: &[InstanceType], answered: Vec<InstanceTypeFacts>, complete: bool, now: Timestamp) {
        let mut types = self.memory.types();
        for name in asked.iter().filter(|_| complete) {
            types.put(name.clone(), None, now);
        }
        for facts in answered {
            types.put(facts.name.clone(), Some(facts), now);
        }
    }

    fn unknown_types(&self, unknown: &[&InstanceType]) -> Option<SourceFault> {
        let names: Vec<&str> = unknown.iter().take(NAMED).map(|name| name.as_str()).collect();
        let more = match unknown.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        (!unknown.is_empty()).then(|| SourceFault {
            category: FaultCategory::NotFound,
            message: format!(
                "EC2 in {} does not know the instance types {}{more}: \
                 their limits are those of the built-in table, if it has them",
                self.caller.region(),
                names.join(", ")
            ),
        })
    }

    /// Reservations of the subnets (sorted), each read once an hour.
    pub(crate) async fn reservations(&self, wanted: &[SubnetId]) -> Reading<Vec<CidrReservation>> {
        let now = Timestamp::now();
        let due = {
            let mut known = self.memory.reservations();
            known.keep_only(wanted);
            known.due(
                wanted,
                now,
                |listing| {
                    if listing.is_complete() { KEEP_RESERVATIONS } else { SignedDuration::ZERO }
                },
            )
        };
        let failed = self.read_reservations(&due, now).await.err();
        let known = self.memory.reservations();
        let (subnets, oldest) = known.view(wanted);
        let incomplete = || subnets.iter().find_map(|(_, listing)| listing.fault(Action::GetSubnetCidrReservations));
        let fault = failed.or_else(incomplete);
        let mut rows: Vec<_> = subnets.iter().flat_map(|(_, listing)| listing.rows.iter().cloned()).collect();
        rows.sort_unstable();
        Reading { last_good: observed(rows, oldest, wanted.is_empty().then_some(now)), fault }
    }

    async fn read_reservations(&self, due: &[SubnetId], now: Timestamp) -> Result<(), SourceFault> {
        for subnet in due {
            let convert = |row| convert::reservation(&row);
            let listing = match list(|token| self.caller.reservations(subnet, token), convert).await {
                Ok(listing) => listing,
                // Deleted since it was listed.
                Err(failure) if failure.has_code(&["InvalidSubnetID.NotFound"]) => Listing::new(),
                Err(failure) => return Err(self.caller.fault(Action::GetSubnetCidrReservations, &failure)),
            };
            self.memory.reservations().put(subnet.clone(), listing, now);
        }
        Ok(())
    }
}

/// What the caller has still stands.
const fn not_due<T>() -> Reading<T> {
    Reading { last_good: None, fault: None }
}

/// When a part was read, if nothing of it was left out.
fn complete<T>(reading: &Reading<T>) -> Option<Timestamp> {
    reading.as_of().filter(|_| reading.fault.is_none())
}

/// A view of what is remembered: as old as its oldest part, fresh when nothing was wanted, and none when nothing of
/// what was wanted is known.
fn observed<T>(rows: Vec<T>, oldest: Option<Timestamp>, unasked: Option<Timestamp>) -> Option<Observed<Vec<T>>> {
    let as_of = oldest.or(unasked)?;
    Some(Observed { value: rows, as_of })
}
