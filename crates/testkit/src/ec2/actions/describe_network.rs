//! `DescribeVpcs`, `DescribeSubnets`, `DescribeAvailabilityZones`, `GetSubnetCidrReservations`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::super::error::ApiError;
use super::super::filter::{Filterable, Filters};
use super::super::paging::{Cursor, PageRules};
use super::super::query::Request;
use super::super::seed::Tags;
use super::super::world::{Reservation, Subnet, Vpc, World, cidr_association_id};
use super::super::xml::Xml;
use super::{is_named, named, next_token, pages};

pub(super) const VPC_PAGES: PageRules = pages("VpcId");
pub(super) const SUBNET_PAGES: PageRules = pages("SubnetId");
pub(super) const RESERVATION_PAGES: PageRules = PageRules { range: (5, 1000), default: None, ids: None };

impl Filterable for Vpc {
    const FILTERS: &'static [&'static str] = &[
        "cidr",
        "cidr-block-association.cidr-block",
        "cidr-block-association.association-id",
        "cidr-block-association.state",
        "is-default",
        "state",
        "vpc-id",
    ];

    fn values(&self, filter: &str) -> Vec<Cow<'_, str>> {
        match filter {
            "cidr" => vec![self.cidr.to_string().into()],
            "is-default" => vec!["false".into()],
            "state" => vec!["available".into()],
            "vpc-id" => vec![self.id.as_str().into()],
            _ => associations(self)
                .map(|(cidr, state)| match filter {
                    "cidr-block-association.cidr-block" => cidr.to_string().into(),
                    "cidr-block-association.association-id" => cidr_association_id(&self.id, cidr).into(),
                    _ => state.into(),
                })
                .collect(),
        }
    }

    fn tags(&self) -> Option<&Tags> {
        Some(&self.tags)
    }
}

/// Every CIDR of a VPC with the state of its association, the primary one first.
fn associations(vpc: &Vpc) -> impl Iterator<Item = (ipnet::Ipv4Net, &str)> {
    std::iter::once((vpc.cidr, "associated")).chain(vpc.secondary.iter().map(|one| (one.cidr, one.state.as_str())))
}

pub(super) fn vpcs(world: &World, request: &Request) -> Result<Xml, ApiError> {
    let cursor = Cursor::parse(request, VPC_PAGES)?;
    let filters = Filters::parse::<Vpc>(&request.params)?;
    let ids = named(&request.params, "VpcId", |id| world.vpc(id))?;
    let page = cursor.page_of(&world.vpcs, |vpc| is_named(ids.as_ref(), &vpc.id) && filters.match_all(vpc));
    let mut xml = Xml::default();
    xml.list("vpcSet", page.items, |xml, vpc| write_vpc(xml, world, vpc));
    next_token(&mut xml, page.next.as_ref());
    Ok(xml)
}

pub(super) fn write_vpc(xml: &mut Xml, world: &World, vpc: &Vpc) {
    xml.text("vpcId", &vpc.id);
    xml.text("ownerId", &world.account);
    xml.text("state", "available");
    xml.value("cidrBlock", vpc.cidr);
    xml.list("cidrBlockAssociationSet", associations(vpc), |xml, (cidr, state)| {
        xml.text("associationId", &cidr_association_id(&vpc.id, cidr));
        xml.value("cidrBlock", cidr);
        xml.nest("cidrBlockState", |xml| xml.text("state", state));
    });
    xml.text("dhcpOptionsId", "default");
    xml.text("instanceTenancy", "default");
    xml.value("isDefault", false);
    xml.tags(&vpc.tags);
}

impl Filterable for Subnet {
    const FILTERS: &'static [&'static str] = &[
        "availability-zone",
        "availabilityZone",
        "availability-zone-id",
        "availabilityZoneId",
        "available-ip-address-count",
        "cidr-block",
        "cidr",
        "cidrBlock",
        "default-for-az",
        "ipv6-native",
        "map-public-ip-on-launch",
        "owner-id",
        "state",
        "subnet-arn",
        "subnet-id",
        "vpc-id",
    ];

    fn values(&self, filter: &str) -> Vec<Cow<'_, str>> {
        vec![match filter {
            "availability-zone" | "availabilityZone" => self.zone.as_str().into(),
            "availability-zone-id" | "availabilityZoneId" => self.zone_id.as_str().into(),
            "available-ip-address-count" => self.book.available().to_string().into(),
            "cidr-block" | "cidr" | "cidrBlock" => self.cidr.to_string().into(),
            "owner-id" => self.owner.as_str().into(),
            "state" => self.state.as_str().into(),
            "subnet-arn" => arn(self).into(),
            "subnet-id" => self.id.as_str().into(),
            "vpc-id" => self.vpc.as_str().into(),
            _ => "false".into(),
        }]
    }

    fn tags(&self) -> Option<&Tags> {
        Some(&self.tags)
    }
}

fn arn(subnet: &Subnet) -> String {
    let region = subnet.zone.trim_end_matches(|c: char| c.is_ascii_lowercase());
    format!("arn:aws:ec2:{region}:{}:subnet/{}", subnet.owner, subnet.id)
}

pub(super) fn subnets(world: &World, request: &Request) -> Result<Xml, ApiError> {
    let cursor = Cursor::parse(request, SUBNET_PAGES)?;
    let filters = Filters::parse::<Subnet>(&request.params)?;
    let ids = named(&request.params, "SubnetId", |id| world.subnet(id))?;
    let page = cursor.page_of(&world.subnets, |one| is_named(ids.as_ref(), &one.id) && filters.match_all(one));
    let mut xml = Xml::default();
    xml.list("subnetSet", page.items, write_subnet);
    next_token(&mut xml, page.next.as_ref());
    Ok(xml)
}

pub(super) fn write_subnet(xml: &mut Xml, subnet: &Subnet) {
    xml.text("subnetId", &subnet.id);
    xml.text("subnetArn", &arn(subnet));
    xml.text("state", &subnet.state);
    xml.text("ownerId", &subnet.owner);
    xml.text("vpcId", &subnet.vpc);
    xml.value("cidrBlock", subnet.cidr);
    xml.list("ipv6CidrBlockAssociationSet", std::iter::empty::<()>(), |_, ()| {});
    xml.value("availableIpAddressCount", subnet.book.available());
    xml.text("availabilityZone", &subnet.zone);
    xml.text("availabilityZoneId", &subnet.zone_id);
    xml.value("defaultForAz", false);
    xml.value("mapPublicIpOnLaunch", false);
    xml.value("assignIpv6AddressOnCreation", false);
    xml.value("ipv6Native", false);
    xml.tags(&subnet.tags);
}

impl Filterable for Reservation {
    const FILTERS: &'static [&'static str] = &["reservationType", "subnet-id"];

    fn values(&self, filter: &str) -> Vec<Cow<'_, str>> {
        vec![if filter == "subnet-id" { self.subnet.as_str().into() } else { self.kind.as_str().into() }]
    }

    fn tags(&self) -> Option<&Tags> {
        Some(&self.tags)
    }
}

pub(super) fn reservations(world: &World, request: &Request) -> Result<Xml, ApiError> {
    let cursor = Cursor::parse(request, RESERVATION_PAGES)?;
    let filters = Filters::parse::<Reservation>(&request.params)?;
    let subnet = &world.subnet(request.params.need("SubnetId")?)?.id;
    let page = cursor.page_of(&world.reservations, |one| one.subnet == *subnet && filters.match_all(one));
    let mut xml = Xml::default();
    xml.list("subnetIpv4CidrReservationSet", page.items, |xml, one| {
        write_reservation(xml, world, one);
    });
    xml.list("subnetIpv6CidrReservationSet", std::iter::empty::<()>(), |_, ()| {});
    next_token(&mut xml, page.next.as_ref());
    Ok(xml)
}

pub(super) fn write_reservation(xml: &mut Xml, world: &World, reservation: &Reservation) {
    xml.text("subnetCidrReservationId", &reservation.id);
    xml.text("subnetId", &reservation.subnet);
    xml.value("cidr", reservation.cidr);
    xml.text("reservationType", reservation.kind.as_str());
    xml.text("ownerId", &world.account);
    xml.text("description", &reservation.description);
    xml.tags(&reservation.tags);
}

/// A zone, with its id.
struct Zone<'a> {
    region: &'a str,
    name: &'a str,
    id: &'a str,
}

impl Filterable for Zone<'_> {
    const FILTERS: &'static [&'static str] =
        &["group-name", "opt-in-status", "region-name", "state", "zone-id", "zone-name", "zone-type"];

    fn values(&self, filter: &str) -> Vec<Cow<'_, str>> {
        vec![match filter {
            "group-name" | "region-name" => self.region.into(),
            "opt-in-status" => "opt-in-not-required".into(),
            "state" => "available".into(),
            "zone-id" => self.id.into(),
            "zone-name" => self.name.into(),
            _ => "availability-zone".into(),
        }]
    }

    fn tags(&self) -> Option<&Tags> {
        None
    }
}

pub(super) fn zones(world: &World, request: &Request) -> Result<Xml, ApiError> {
    let zones = world.all_zones();
    let filters = Filters::parse::<Zone<'_>>(&request.params)?;
    let unknown = |what: &str| ApiError::value(format!("Invalid availability zone: [{what}]"));
    let find = |id: &str| zones.iter().find(|(name, zone)| *name == id || *zone == id).ok_or_else(|| unknown(id));
    let names = named(&request.params, "ZoneName", find)?;
    let ids = named(&request.params, "ZoneId", find)?;
    let shown = zones.iter().map(|(name, id)| Zone { region: &world.region, name, id }).filter(|zone| {
        is_named(names.as_ref(), zone.name) && is_named(ids.as_ref(), zone.id) && filters.match_all(zone)
    });
    let mut xml = Xml::default();
    xml.list("availabilityZoneInfo", shown, |xml, zone| {
        xml.text("zoneName", zone.name);
        xml.text("zoneId", zone.id);
        xml.text("regionName", zone.region);
        xml.text("groupName", zone.region);
        xml.text("networkBorderGroup", zone.region);
        xml.text("zoneState", "available");
        xml.text("zoneType", "availability-zone");
        xml.text("optInStatus", "opt-in-not-required");
        xml.list("messageSet", std::iter::empty::<()>(), |_, ()| {});
    });
    Ok(xml)
}

impl World {
    /// The zones that subnets lie in and the region's first three.
    fn all_zones(&self) -> BTreeMap<String, String> {
        let mut zones = self.zones.clone();
        for letter in ["a", "b", "c"] {
            let name = format!("{}{letter}", self.region);
            let id = super::super::world::zone_id_of(&name);
            zones.entry(name).or_insert(id);
        }
        zones
    }
}
