//! What rules about the VPC share: which VPC the cluster is in, and how its ranges are cut.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;

use crate::{
    facts::Facts,
    ids::VpcId,
    inventory::{Subnet, Vpc},
};

/// The VPCs of the cluster's subnets.
pub(super) fn of_cluster<'a>(facts: &Facts<'a>) -> Vec<&'a Vpc> {
    let ids: BTreeSet<&VpcId> = facts.every_subnet().map(|subnet| &subnet.subnet.vpc).collect();
    facts.snapshot.ec2.vpcs.value().into_iter().flatten().filter(|vpc| ids.contains(&vpc.id)).collect()
}

/// All subnets of a VPC, the cluster's and others.
pub(super) fn subnets<'a>(facts: &Facts<'a>, vpc: &Vpc) -> Vec<&'a Subnet> {
    facts.snapshot.ec2.subnets.value().into_iter().flatten().filter(|subnet| subnet.vpc == vpc.id).collect()
}

/// Whether two ranges have an address in common.
pub(super) fn overlap(one: Ipv4Net, other: Ipv4Net) -> bool {
    one.contains(&other) || other.contains(&one)
}

/// The first aligned range of a length in a VPC that no subnet touches.
pub(super) fn first_free(vpc: &Vpc, subnets: &[&Subnet], length: u8) -> Option<Ipv4Net> {
    let cut: Vec<Ipv4Net> = subnets.iter().filter_map(|subnet| subnet.cidr).collect();
    let mut candidates = vpc.cidrs.iter().filter(|cidr| cidr.prefix_len() <= length).filter_map(|cidr| {
        let mut ranges = cidr.subnets(length).ok()?;
        ranges.find(|range| !cut.iter().any(|subnet| overlap(*subnet, *range)))
    });
    candidates.next()
}
