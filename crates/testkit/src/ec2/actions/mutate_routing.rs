//! `CreateSecurityGroup`, `CreateRouteTable`, `AssociateRouteTable` and `CreateRoute`.

use jiff::Timestamp;

use super::super::error::ApiError;
use super::super::query::Request;
use super::super::seed;
use super::super::world::World;
use super::super::xml::Xml;
use super::describe_routing::write_table;
use super::mutate_network::{block, done};

/// The parameters that name what a route goes through.
const TARGETS: [&str; 8] = [
    "GatewayId",
    "NatGatewayId",
    "TransitGatewayId",
    "VpcPeeringConnectionId",
    "LocalGatewayId",
    "CarrierGatewayId",
    "NetworkInterfaceId",
    "InstanceId",
];

pub(super) fn create_security_group(world: &mut World, request: &Request, _now: Timestamp) -> Result<Xml, ApiError> {
    let params = &request.params;
    let id = world.add_security_group(seed::SecurityGroup {
        id: None,
        vpc: params.get("VpcId").map(str::to_owned),
        name: params.need("GroupName")?.to_owned(),
        tags: params.tag_specification("security-group"),
    })?;
    let mut xml = done();
    xml.text("groupId", &id);
    Ok(xml)
}

pub(super) fn create_route_table(world: &mut World, request: &Request, _now: Timestamp) -> Result<Xml, ApiError> {
    let params = &request.params;
    let id = world.add_route_table(seed::RouteTable {
        id: None,
        vpc: Some(params.need("VpcId")?.to_owned()),
        main: false,
        subnets: Vec::new(),
        routes: Vec::new(),
        tags: params.tag_specification("route-table"),
    })?;
    let mut xml = Xml::default();
    let table = world.route_table(&id)?;
    xml.nest("routeTable", |xml| write_table(xml, world, table));
    Ok(xml)
}

pub(super) fn associate_route_table(world: &mut World, request: &Request, _now: Timestamp) -> Result<Xml, ApiError> {
    let params = &request.params;
    let id = world.associate_route_table(params.need("RouteTableId")?, params.need("SubnetId")?)?;
    let mut xml = Xml::default();
    xml.text("associationId", &id);
    xml.nest("associationState", |xml| xml.text("state", "associated"));
    Ok(xml)
}

pub(super) fn create_route(world: &mut World, request: &Request, _now: Timestamp) -> Result<Xml, ApiError> {
    let params = &request.params;
    let target = TARGETS.iter().find_map(|name| params.get(name)).ok_or_else(|| ApiError::missing("GatewayId"))?;
    world.add_route(params.need("RouteTableId")?, block(params, "DestinationCidrBlock")?, target)?;
    Ok(done())
}
