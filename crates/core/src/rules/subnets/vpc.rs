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
    let bounds = |range: Ipv4Net| (range.network(), range.broadcast());
    let cut: Vec<_> = subnets.iter().filter_map(|subnet| subnet.cidr).map(bounds).collect();
    let is_free = |range: &Ipv4Net| {
        let (first, last) = bounds(*range);
        cut.iter().all(|(start, end)| last < *start || *end < first)
    };
    let mut candidates = vpc
        .cidrs
        .iter()
        .filter(|cidr| cidr.prefix_len() <= length)
        .filter_map(|cidr| cidr.subnets(length).ok()?.find(is_free));
    candidates.next()
}
