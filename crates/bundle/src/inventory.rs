//! EC2's side of a bundle: the cluster's VPC and what is in it.

use std::collections::{BTreeMap, HashMap, HashSet};

use ipam_audit_core::{
    ids::{InstanceId, SubnetId, VpcId},
    inventory::{Interface, Inventory, Subnet},
    rows::Rows,
    text,
};

use crate::{
    AsOf, ec2,
    list::{Listing, Reader},
    part::Part,
};

/// Reads it; once all files are read it is known when they were, and the rows are stamped.
///
/// `nodes` are the instances of the cluster's nodes: the VPC that they are in is the one that is audited. The AWS CLI
/// lists the whole region unless it is told not to.
pub(crate) fn read(reader: &mut Reader, nodes: &HashSet<InstanceId>) -> impl FnOnce(&AsOf<'_>) -> Inventory + use<> {
    let vpcs = reader.list(Part::Vpcs, |item, texts| ec2::vpc(item, texts).map(Some));
    let vpcs = vpcs.sorted(|vpc| vpc.id.clone());
    let subnets = reader.list(Part::Subnets, |item, texts| ec2::subnet(item, texts).map(Some));
    let subnets = subnets.sorted(|subnet| subnet.id.clone());
    let interfaces = reader.list(Part::NetworkInterfaces, |item, texts| ec2::interface(item, texts).map(Some));
    let interfaces = interfaces.sorted(|interface| interface.id.clone());
    let types = reader.list(Part::InstanceTypes, |item, texts| ec2::instance_type(item, texts).map(Some));
    let types = types.sorted(|one| one.name.clone());
    let reservations = reader.list(Part::Reservations, |item, texts| ec2::reservation(item, texts).map(Some));
    let reservations = reservations.sorted(Clone::clone);
    let instances = reader.list(Part::Instances, |item, texts| ec2::instances(item, texts).map(Some));
    let instances = instances.map(|lists| lists.into_iter().flatten().collect());
    let instances = instances.sorted(|instance| instance.id.clone());
    let groups = reader.list(Part::SecurityGroups, |item, texts| ec2::security_group(item, texts).map(Some));
    let groups = groups.sorted(|group| group.id.clone());
    let tables = reader.list(Part::RouteTables, |item, texts| ec2::route_table(item, texts).map(Some));
    let tables = tables.sorted(|table| table.id.clone());
    let home = Home::of(&subnets, &interfaces, nodes);
    let subnets = home.keep(reader, "subnet", subnets, |home, subnet| home.is_vpc(&subnet.vpc));
    let interfaces = home.keep(reader, "interface", interfaces, |home, interface| home.may_hold(&interface.subnet));
    let vpcs = home.keep(reader, "VPC", vpcs, |home, vpc| home.is_vpc(&vpc.id));
    let tables = home.keep(reader, "route table", tables, |home, table| home.is_vpc(&table.vpc));
    move |as_of| Inventory {
        vpcs: vpcs.reading(as_of),
        subnets: subnets.reading(as_of),
        interfaces: interfaces.reading(as_of).map(Rows::from),
        instance_types: types.reading(as_of),
        reservations: reservations.reading(as_of),
        instances: instances.reading(as_of).map(Rows::from),
        security_groups: groups.reading(as_of),
        route_tables: tables.reading(as_of),
    }
}

/// The VPC of the cluster, if it is known.
struct Home {
    vpc: Option<VpcId>,
    /// Subnets of other VPCs.
    elsewhere: HashSet<SubnetId>,
}

impl Home {
    /// The VPC that most interfaces of the nodes are in.
    fn of(subnets: &Listing<Subnet>, interfaces: &Listing<Interface>, nodes: &HashSet<InstanceId>) -> Self {
        let vpc_of: HashMap<&SubnetId, &VpcId> = subnets.all().iter().map(|subnet| (&subnet.id, &subnet.vpc)).collect();
        let mut votes: BTreeMap<&VpcId, usize> = BTreeMap::new();
        for interface in interfaces.all() {
            let instance = interface.attachment.as_ref().and_then(|attachment| attachment.instance.as_ref());
            if instance.is_some_and(|instance| nodes.contains(instance))
                && let Some(vpc) = vpc_of.get(&interface.subnet)
            {
                *votes.entry(vpc).or_default() += 1;
            }
        }
        let vpc = votes.into_iter().max_by_key(|(_, count)| *count).map(|(vpc, _)| vpc.clone());
        let is_elsewhere = |subnet: &&Subnet| vpc.as_ref().is_some_and(|vpc| subnet.vpc != *vpc);
        let elsewhere = subnets.all().iter().filter(is_elsewhere).map(|subnet| subnet.id.clone()).collect();
        Self { vpc, elsewhere }
    }

    fn is_vpc(&self, vpc: &VpcId) -> bool {
        self.vpc.as_ref().is_none_or(|home| home == vpc)
    }

    fn may_hold(&self, subnet: &SubnetId) -> bool {
        !self.elsewhere.contains(subnet)
    }

    /// The rows of the cluster's VPC; how many were left out is noted.
    fn keep<T>(
        &self,
        reader: &mut Reader,
        what: &str,
        listing: Listing<T>,
        belongs: impl Fn(&Self, &T) -> bool,
    ) -> Listing<T> {
        let before = listing.all().len();
        let listing = listing.map(|mut rows| {
            rows.retain(|row| belongs(self, row));
            rows
        });
        let left_out = u32::try_from(before - listing.all().len()).unwrap_or(u32::MAX);
        if left_out > 0
            && let Some(vpc) = &self.vpc
        {
            reader.ignore(format!("{} outside of {vpc}, the VPC of the nodes", text::count(left_out, what)));
        }
        listing
    }
}
