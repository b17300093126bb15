//! `DescribeSecurityGroups` and `DescribeRouteTables`.

use std::borrow::Cow;

use super::super::error::ApiError;
use super::super::filter::{Filterable, Filters};
use super::super::paging::{Cursor, PageRules};
use super::super::query::Request;
use super::super::seed::Tags;
use super::super::world::{RouteTable, SecurityGroup, World, route_association_id};
use super::super::xml::Xml;
use super::{is_named, named, next_token, pages};

pub(super) const GROUP_PAGES: PageRules = pages("GroupId");
/// Far fewer on a page than of anything else.
pub(super) const TABLE_PAGES: PageRules = PageRules { range: (5, 100), default: Some(100), ids: Some("RouteTableId") };

impl Filterable for SecurityGroup {
    const FILTERS: &'static [&'static str] = &["description", "group-id", "group-name", "owner-id", "vpc-id"];

    fn values(&self, filter: &str) -> Vec<Cow<'_, str>> {
        match filter {
            "group-id" => vec![self.id.as_str().into()],
            "vpc-id" => vec![self.vpc.as_str().into()],
            "description" | "group-name" => vec![self.name.as_str().into()],
            _ => Vec::new(),
        }
    }

    fn tags(&self) -> Option<&Tags> {
        Some(&self.tags)
    }
}

pub(super) fn security_groups(world: &World, request: &Request) -> Result<Xml, ApiError> {
    let cursor = Cursor::parse(request, GROUP_PAGES)?;
    let filters = Filters::parse::<SecurityGroup>(&request.params)?;
    let ids = named(&request.params, "GroupId", |id| world.security_group(id))?;
    let page = cursor.page_of(&world.security_groups, |one| is_named(ids.as_ref(), &one.id) && filters.match_all(one));
    let mut xml = Xml::default();
    xml.list("securityGroupInfo", page.items, |xml, group| {
        xml.text("ownerId", &world.account);
        xml.text("groupId", &group.id);
        xml.text("groupName", &group.name);
        xml.text("groupDescription", &group.name);
        xml.text("vpcId", &group.vpc);
        xml.list("ipPermissions", std::iter::empty::<()>(), |_, ()| {});
        xml.list("ipPermissionsEgress", std::iter::empty::<()>(), |_, ()| {});
        xml.tags(&group.tags);
    });
    next_token(&mut xml, page.next.as_ref());
    Ok(xml)
}

impl Filterable for RouteTable {
    const FILTERS: &'static [&'static str] = &[
        "association.main",
        "association.route-table-id",
        "association.subnet-id",
        "owner-id",
        "route-table-id",
        "route.destination-cidr-block",
        "route.gateway-id",
        "route.nat-gateway-id",
        "route.state",
        "vpc-id",
    ];

    fn values(&self, filter: &str) -> Vec<Cow<'_, str>> {
        let through = |kind: &str| {
            let of_kind = self.routes.iter().filter(|route| target_element(&route.target) == kind);
            of_kind.map(|route| route.target.as_str().into()).collect()
        };
        match filter {
            "association.main" => vec![self.main.to_string().into()],
            "association.subnet-id" => self.subnets.iter().map(|subnet| subnet.as_str().into()).collect(),
            "association.route-table-id" | "route-table-id" => vec![self.id.as_str().into()],
            "route.destination-cidr-block" => {
                self.routes.iter().map(|route| route.destination.to_string().into()).collect()
            }
            "route.gateway-id" => through("gatewayId"),
            "route.nat-gateway-id" => through("natGatewayId"),
            "route.state" => self.routes.iter().map(|route| route.state.as_str().into()).collect(),
            "vpc-id" => vec![self.vpc.as_str().into()],
            _ => Vec::new(),
        }
    }

    fn tags(&self) -> Option<&Tags> {
        Some(&self.tags)
    }
}

pub(super) fn route_tables(world: &World, request: &Request) -> Result<Xml, ApiError> {
    let cursor = Cursor::parse(request, TABLE_PAGES)?;
    let filters = Filters::parse::<RouteTable>(&request.params)?;
    let ids = named(&request.params, "RouteTableId", |id| world.route_table(id))?;
    let page = cursor.page_of(&world.route_tables, |one| is_named(ids.as_ref(), &one.id) && filters.match_all(one));
    let mut xml = Xml::default();
    xml.list("routeTableSet", page.items, |xml, table| write_table(xml, world, table));
    next_token(&mut xml, page.next.as_ref());
    Ok(xml)
}

pub(super) fn write_table(xml: &mut Xml, world: &World, table: &RouteTable) {
    xml.text("routeTableId", &table.id);
    xml.text("vpcId", &table.vpc);
    xml.text("ownerId", &world.account);
    let local = world.vpc(&table.vpc).into_iter().flat_map(|vpc| vpc.blocks().collect::<Vec<_>>());
    let local = local.map(|block| (block, "local", "active"));
    let added = table.routes.iter().map(|route| (route.destination, route.target.as_str(), route.state.as_str()));
    xml.list("routeSet", local.chain(added), |xml, (destination, target, state)| {
        xml.value("destinationCidrBlock", destination);
        xml.text(target_element(target), target);
        xml.text("state", state);
        xml.text("origin", if target == "local" { "CreateRouteTable" } else { "CreateRoute" });
    });
    let main = table.main.then_some(None);
    let associations = main.into_iter().chain(table.subnets.iter().map(Some));
    xml.list("associationSet", associations, |xml, subnet| {
        let with = subnet.map_or(table.vpc.as_str(), String::as_str);
        xml.text("routeTableAssociationId", &route_association_id(&table.id, with));
        xml.text("routeTableId", &table.id);
        if let Some(subnet) = subnet {
            xml.text("subnetId", subnet);
        }
        xml.value("main", subnet.is_none());
        xml.nest("associationState", |xml| xml.text("state", "associated"));
    });
    xml.tags(&table.tags);
}

/// The element that names a target of this kind.
pub(crate) fn target_element(target: &str) -> &'static str {
    match target.split('-').next() {
        Some("nat") => "natGatewayId",
        Some("tgw") => "transitGatewayId",
        Some("pcx") => "vpcPeeringConnectionId",
        Some("lgw") => "localGatewayId",
        Some("cagw") => "carrierGatewayId",
        Some("eni") => "networkInterfaceId",
        Some("i") => "instanceId",
        _ => "gatewayId",
    }
}
