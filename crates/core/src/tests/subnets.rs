//! Subnets for unit tests: nodes in prefix mode, other people's interfaces, reservations, more subnets.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::fixtures::{Cluster, interface};
pub(crate) use super::karpenter::answers;
use crate::{
    facts::{Blocks, Holder},
    inventory::{CidrReservation, Interface, ReservationKind, Subnet, Vpc},
    net,
    rows::Rows,
    snapshot::ClusterSnapshot,
    tags::Tags,
};

/// Nodes of type m5.large in `subnet-1`, each with these prefixes and no pod; the rest is free.
pub(crate) fn in_prefix_mode(cidr: &str, prefixes: &[&[&str]]) -> ClusterSnapshot {
    let env = [("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_PREFIX_TARGET", "1")];
    let cluster = prefixes.iter().fold(Cluster::new(cidr, &env), |cluster, _| cluster.node("m5.large", 110, &[0], 0));
    let mut snapshot = cluster.snapshot();
    for (row, prefixes) in interfaces(&mut snapshot).iter_mut().zip(prefixes) {
        row.prefixes = prefixes.iter().map(|text| text.parse().unwrap()).collect();
    }
    recount(&mut snapshot);
    snapshot
}

/// All interfaces.
pub(crate) fn interfaces(snapshot: &mut ClusterSnapshot) -> &mut Rows<Interface> {
    &mut snapshot.ec2.interfaces.last_good.as_mut().unwrap().value
}

/// All subnets.
pub(crate) fn subnets(snapshot: &mut ClusterSnapshot) -> &mut Vec<Subnet> {
    &mut snapshot.ec2.subnets.last_good.as_mut().unwrap().value
}

/// An interface of somebody else in `subnet-1`, with these addresses.
pub(crate) fn add_other(snapshot: &mut ClusterSnapshot, description: &str, addresses: &[&str]) {
    let number = interfaces(snapshot).len();
    let mut row = interface(&format!("eni-other-{number}"), "subnet-1");
    row.description = description.into();
    let addresses: Vec<Ipv4Addr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
    row.primary = addresses.first().copied();
    row.secondary = addresses.iter().skip(1).copied().collect();
    interfaces(snapshot).push(row);
    recount(snapshot);
}

/// A reservation in `subnet-1`.
pub(crate) fn reserve(snapshot: &mut ClusterSnapshot, cidr: &str, kind: ReservationKind) {
    let row = CidrReservation { subnet: "subnet-1".into(), cidr: cidr.parse().unwrap(), kind };
    snapshot.ec2.reservations.last_good.as_mut().unwrap().value.push(row);
    recount(snapshot);
}

/// Lets EC2 count what is free in `subnet-1`, as it would.
pub(crate) fn recount(snapshot: &mut ClusterSnapshot) {
    let cidr: Ipv4Net = subnets(snapshot)[0].cidr.unwrap();
    let mut blocks = Blocks::of(cidr);
    for (at, row) in interfaces(snapshot).iter().enumerate().filter(|(_, row)| row.subnet.as_str() == "subnet-1") {
        blocks.occupy(at, row, Holder::Others);
    }
    for row in snapshot.ec2.reservations.value().into_iter().flatten() {
        blocks.reserve(row);
    }
    subnets(snapshot)[0].available = net::usable_addresses(cidr) - blocks.visible() - blocks.untaken_kept();
}

/// Another subnet of the same VPC.
pub(crate) fn add_subnet<'s>(
    snapshot: &'s mut ClusterSnapshot,
    id: &str,
    cidr: &str,
    zone: &str,
    available: u32,
) -> &'s mut Subnet {
    let row = Subnet {
        id: id.into(),
        cidr: Some(cidr.parse().unwrap()),
        zone: zone.into(),
        available,
        tags: Tags::default(),
        ..subnets(snapshot)[0].clone()
    };
    subnets(snapshot).push(row);
    subnets(snapshot).last_mut().unwrap()
}

/// The VPC of `subnet-1`, with these ranges.
pub(crate) fn set_vpc<'s>(snapshot: &'s mut ClusterSnapshot, cidrs: &[&str]) -> &'s mut Vpc {
    let cidrs = cidrs.iter().map(|text| text.parse().unwrap()).collect();
    let vpc = Vpc { id: "vpc-1".into(), cidrs, troubled_cidrs: Vec::new(), ipv6: false };
    let vpcs = &mut snapshot.ec2.vpcs.last_good.as_mut().unwrap().value;
    *vpcs = vec![vpc];
    vpcs.first_mut().unwrap()
}
