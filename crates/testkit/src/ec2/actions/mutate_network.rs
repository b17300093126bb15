//! `CreateVpc`, `AssociateVpcCidrBlock`, `CreateSubnet`, Create- and `DeleteSubnetCidrReservation`, `CreateTags`.

use ipnet::Ipv4Net;
use jiff::Timestamp;

use super::super::error::ApiError;
use super::super::query::{Params, Request};
use super::super::seed::{self, ReservationKind};
use super::super::world::{World, cidr_association_id};
use super::super::xml::Xml;
use super::describe_network::{write_reservation, write_subnet, write_vpc};

pub(super) fn block(params: &Params, name: &str) -> Result<Ipv4Net, ApiError> {
    params.typed(name)?.ok_or_else(|| ApiError::missing(name))
}

pub(super) fn create_vpc(world: &mut World, request: &Request, _now: Timestamp) -> Result<Xml, ApiError> {
    let params = &request.params;
    let cidr = block(params, "CidrBlock")?;
    let vpc = seed::Vpc { id: None, cidr, associations: Vec::new(), tags: params.tag_specification("vpc") };
    let id = world.add_vpc(vpc)?;
    let mut xml = Xml::default();
    let vpc = world.vpc(&id)?;
    xml.nest("vpc", |xml| write_vpc(xml, world, vpc));
    Ok(xml)
}

pub(super) fn associate_cidr(world: &mut World, request: &Request, _now: Timestamp) -> Result<Xml, ApiError> {
    let vpc = request.params.need("VpcId")?;
    let cidr = block(&request.params, "CidrBlock")?;
    world.associate_cidr(vpc, cidr)?;
    let mut xml = Xml::default();
    xml.text("vpcId", vpc);
    xml.nest("cidrBlockAssociation", |xml| {
        xml.text("associationId", &cidr_association_id(vpc, cidr));
        xml.value("cidrBlock", cidr);
        xml.nest("cidrBlockState", |xml| xml.text("state", "associated"));
    });
    Ok(xml)
}

pub(super) fn create_subnet(world: &mut World, request: &Request, _now: Timestamp) -> Result<Xml, ApiError> {
    let params = &request.params;
    let zone = params.get("AvailabilityZone").map_or_else(|| format!("{}a", world.region), str::to_owned);
    let id = world.add_subnet(seed::Subnet {
        id: None,
        vpc: Some(params.need("VpcId")?.to_owned()),
        cidr: block(params, "CidrBlock")?,
        zone,
        zone_id: None,
        tags: params.tag_specification("subnet"),
        state: "available".to_owned(),
        owner: None,
    })?;
    let mut xml = Xml::default();
    let subnet = world.subnet(&id)?;
    xml.nest("subnet", |xml| write_subnet(xml, subnet));
    Ok(xml)
}

pub(super) fn create_reservation(world: &mut World, request: &Request, _now: Timestamp) -> Result<Xml, ApiError> {
    let params = &request.params;
    let kind = match params.need("ReservationType")? {
        "prefix" => ReservationKind::Prefix,
        "explicit" => ReservationKind::Explicit,
        other => {
            return Err(ApiError::value(format!("reservation type '{other}' is neither prefix nor explicit")));
        }
    };
    let reservation = seed::Reservation {
        id: None,
        subnet: params.need("SubnetId")?.to_owned(),
        cidr: block(params, "Cidr")?,
        kind,
        description: params.get("Description").unwrap_or_default().to_owned(),
    };
    let id = world.add_reservation(reservation, params.tag_specification("subnet-cidr-reservation"))?;
    let mut xml = Xml::default();
    if let Some(made) = world.reservations.get(&id) {
        xml.nest("subnetCidrReservation", |xml| write_reservation(xml, world, made));
    }
    Ok(xml)
}

pub(super) fn delete_reservation(world: &mut World, request: &Request, _now: Timestamp) -> Result<Xml, ApiError> {
    let gone = world.delete_reservation(request.params.need("SubnetCidrReservationId")?)?;
    let mut xml = Xml::default();
    xml.nest("deletedSubnetCidrReservation", |xml| {
        write_reservation(xml, world, &gone);
    });
    Ok(xml)
}

pub(super) fn create_tags(world: &mut World, request: &Request, _now: Timestamp) -> Result<Xml, ApiError> {
    let ids = request.params.list("ResourceId");
    if ids.is_empty() {
        return Err(ApiError::missing("ResourceId"));
    }
    let tags = request.params.tag_list();
    for id in ids {
        world.add_tags(id, &tags)?;
    }
    Ok(done())
}

/// The reply of calls that have nothing to say.
pub(super) fn done() -> Xml {
    let mut xml = Xml::default();
    xml.value("return", true);
    xml
}
