//! VPCs, subnets and their reservations, security groups and route tables.

use ipam_audit_api::views::Interner;
use ipam_audit_core::{
    ids::{SubnetId, VpcId, Zone},
    inventory::{CidrReservation, ReservationKind, RouteTable, SecurityGroup, Subnet, Vpc},
};
use ipnet::Ipv4Net;
use serde::Deserialize;

use super::{Item, Tag, said, tags};
use crate::wrong::Wrong;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct VpcJson {
    vpc_id: Option<String>,
    cidr_block: Option<String>,
    cidr_block_association_set: Option<Vec<Association>>,
    ipv6_cidr_block_association_set: Option<Vec<Ipv6Association>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Association {
    cidr_block: Option<String>,
    cidr_block_state: Option<State>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Ipv6Association {
    ipv6_cidr_block_state: Option<State>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    state: Option<String>,
}

const ASSOCIATED: &str = "associated";
const DISASSOCIATED: &str = "disassociated";

fn word(state: Option<&State>) -> Option<&str> {
    state.and_then(|state| said(state.state.as_ref()))
}

fn has_ipv6(associations: Option<&Vec<Ipv6Association>>) -> bool {
    let mut associations = associations.into_iter().flatten();
    associations.any(|association| word(association.ipv6_cidr_block_state.as_ref()) == Some(ASSOCIATED))
}

/// A VPC with the ranges that are associated now, the primary first.
pub(crate) fn vpc(text: &str, texts: &mut Interner) -> Result<Vpc, Wrong> {
    const FIELD: &str = "CidrBlockAssociationSet.CidrBlock";
    let vpc: VpcJson = serde_json::from_str(text)?;
    let item = Item::named(vpc.vpc_id.as_ref(), "VpcId")?;
    let primary: Ipv4Net = item.parse(item.need(vpc.cidr_block.as_deref(), "CidrBlock")?, "CidrBlock")?;
    let mut cidrs = vec![primary];
    let mut troubled_cidrs = Vec::new();
    for association in vpc.cidr_block_association_set.iter().flatten() {
        let cidr = item.parse(item.need(association.cidr_block.as_deref(), FIELD)?, FIELD)?;
        match item.need(word(association.cidr_block_state.as_ref()), "CidrBlockAssociationSet.CidrBlockState")? {
            ASSOCIATED if cidr != primary => cidrs.push(cidr),
            ASSOCIATED | DISASSOCIATED => {}
            other => troubled_cidrs.push((cidr, texts.text(other))),
        }
    }
    Ok(Vpc {
        id: VpcId::new(item.0),
        cidrs,
        troubled_cidrs,
        ipv6: has_ipv6(vpc.ipv6_cidr_block_association_set.as_ref()),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SubnetJson {
    subnet_id: Option<String>,
    vpc_id: Option<String>,
    cidr_block: Option<String>,
    availability_zone: Option<String>,
    availability_zone_id: Option<String>,
    available_ip_address_count: Option<i64>,
    state: Option<String>,
    owner_id: Option<String>,
    ipv6_cidr_block_association_set: Option<Vec<Ipv6Association>>,
    outpost_arn: Option<String>,
    tags: Option<Vec<Tag>>,
}

/// A subnet. One for IPv6 alone has no range and no free addresses of the kind that is counted here.
pub(crate) fn subnet(text: &str, texts: &mut Interner) -> Result<Subnet, Wrong> {
    let subnet: SubnetJson = serde_json::from_str(text)?;
    let item = Item::named(subnet.subnet_id.as_ref(), "SubnetId")?;
    let cidr = said(subnet.cidr_block.as_ref());
    Ok(Subnet {
        id: SubnetId::new(texts.text(item.0)),
        vpc: VpcId::new(texts.text(item.need(said(subnet.vpc_id.as_ref()), "VpcId")?)),
        cidr: cidr.map(|cidr| item.parse(cidr, "CidrBlock")).transpose()?,
        zone: Zone::new(texts.text(item.need(said(subnet.availability_zone.as_ref()), "AvailabilityZone")?)),
        zone_id: said(subnet.availability_zone_id.as_ref()).map(|zone| texts.text(zone)),
        available: item.count(subnet.available_ip_address_count, "AvailableIpAddressCount")?,
        state: texts.text(item.need(said(subnet.state.as_ref()), "State")?),
        owner: said(subnet.owner_id.as_ref()).map(|owner| texts.text(owner)),
        ipv6: has_ipv6(subnet.ipv6_cidr_block_association_set.as_ref()),
        outpost: said(subnet.outpost_arn.as_ref()).is_some(),
        tags: tags(subnet.tags, texts),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ReservationJson {
    subnet_cidr_reservation_id: Option<String>,
    subnet_id: Option<String>,
    cidr: Option<String>,
    reservation_type: Option<String>,
}

/// A reservation of an IPv4 range.
pub(crate) fn reservation(text: &str, texts: &mut Interner) -> Result<CidrReservation, Wrong> {
    let reservation: ReservationJson = serde_json::from_str(text)?;
    let item = Item::named(reservation.subnet_cidr_reservation_id.as_ref(), "SubnetCidrReservationId")?;
    let subnet = item.need(said(reservation.subnet_id.as_ref()), "SubnetId")?;
    Ok(CidrReservation {
        subnet: SubnetId::new(texts.text(subnet)),
        cidr: item.parse(item.need(reservation.cidr.as_deref(), "Cidr")?, "Cidr")?,
        kind: match item.need(said(reservation.reservation_type.as_ref()), "ReservationType")? {
            "prefix" => ReservationKind::Prefix,
            "explicit" => ReservationKind::Explicit,
            other => ReservationKind::Other(texts.text(other)),
        },
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SecurityGroupJson {
    group_id: Option<String>,
    group_name: Option<String>,
    vpc_id: Option<String>,
}

/// A security group.
pub(crate) fn security_group(text: &str, texts: &mut Interner) -> Result<SecurityGroup, Wrong> {
    let group: SecurityGroupJson = serde_json::from_str(text)?;
    let item = Item::named(group.group_id.as_ref(), "GroupId")?;
    Ok(SecurityGroup {
        id: texts.text(item.0),
        vpc: VpcId::new(texts.text(item.need(said(group.vpc_id.as_ref()), "VpcId")?)),
        name: texts.text(group.group_name.as_deref().unwrap_or_default()),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RouteTableJson {
    route_table_id: Option<String>,
    vpc_id: Option<String>,
    associations: Option<Vec<RouteAssociation>>,
    routes: Option<Vec<Route>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RouteAssociation {
    main: Option<bool>,
    subnet_id: Option<String>,
    association_state: Option<State>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Route {
    destination_cidr_block: Option<String>,
    state: Option<String>,
    gateway_id: Option<String>,
    nat_gateway_id: Option<String>,
    transit_gateway_id: Option<String>,
    vpc_peering_connection_id: Option<String>,
    local_gateway_id: Option<String>,
    carrier_gateway_id: Option<String>,
    core_network_arn: Option<String>,
    instance_id: Option<String>,
    network_interface_id: Option<String>,
}

impl Route {
    fn target(&self) -> Option<&str> {
        let targets = [
            &self.gateway_id,
            &self.nat_gateway_id,
            &self.transit_gateway_id,
            &self.vpc_peering_connection_id,
            &self.local_gateway_id,
            &self.carrier_gateway_id,
            &self.core_network_arn,
            &self.instance_id,
            &self.network_interface_id,
        ];
        targets.into_iter().find_map(|target| said(target.as_ref()))
    }
}

/// A route table with its active routes for IPv4.
pub(crate) fn route_table(text: &str, texts: &mut Interner) -> Result<RouteTable, Wrong> {
    let table: RouteTableJson = serde_json::from_str(text)?;
    let item = Item::named(table.route_table_id.as_ref(), "RouteTableId")?;
    let associations = table.associations.as_deref().unwrap_or_default();
    let in_force = |association: &&RouteAssociation| {
        word(association.association_state.as_ref()).is_none_or(|state| state == ASSOCIATED)
    };
    let subnets = associations.iter().filter(in_force).filter_map(|association| said(association.subnet_id.as_ref()));
    let mut routes = Vec::new();
    for route in table.routes.iter().flatten().filter(|route| route.state.as_deref() != Some("blackhole")) {
        if let Some((destination, target)) = said(route.destination_cidr_block.as_ref()).zip(route.target()) {
            routes.push((item.parse(destination, "Routes.DestinationCidrBlock")?, texts.text(target)));
        }
    }
    Ok(RouteTable {
        id: texts.text(item.0),
        vpc: VpcId::new(texts.text(item.need(said(table.vpc_id.as_ref()), "VpcId")?)),
        main: associations.iter().any(|association| association.main == Some(true)),
        subnets: subnets.map(|subnet| SubnetId::new(texts.text(subnet))).collect(),
        routes,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn complete() -> Value {
        json!({"SubnetId": "subnet-1", "VpcId": "vpc-1", "CidrBlock": "10.0.0.0/24", "AvailabilityZone": "eu-central-1a",
            "AvailabilityZoneId": "euc1-az2", "AvailableIpAddressCount": 0, "State": "available", "OwnerId": "1",
            "Ipv6CidrBlockAssociationSet": [{"Ipv6CidrBlock": "2a05::/64", "Ipv6CidrBlockState": {"State": "associated"}}],
            "Tags": [{"Key": "Name", "Value": "pods-a"}]})
    }

    #[test]
    fn a_subnet_needs_its_count_and_says_when_it_is_zero() {
        let row = subnet(&complete().to_string(), &mut Interner::default()).unwrap();
        assert_eq!((row.available, row.ipv6, row.outpost, row.tag("Name")), (0, true, false, Some("pods-a")));
        let mut object = complete();
        object["AvailableIpAddressCount"] = Value::Null;
        let wrong = subnet(&object.to_string(), &mut Interner::default()).unwrap_err();
        assert_eq!(wrong.name.as_deref(), Some("subnet-1"));
        assert_eq!(wrong.what, "it has no readable AvailableIpAddressCount");
    }

    #[test]
    fn a_subnet_for_ipv6_alone_has_no_range() {
        let mut object = complete();
        object["CidrBlock"] = Value::Null;
        assert_eq!(subnet(&object.to_string(), &mut Interner::default()).unwrap().cidr, None);
    }

    #[test]
    fn ranges_of_a_vpc_are_associated_or_troubled_or_gone() {
        let range = |cidr: &str, state: &str| json!({"CidrBlock": cidr, "CidrBlockState": {"State": state}});
        let object = json!({"VpcId": "vpc-1", "CidrBlock": "10.0.0.0/16", "CidrBlockAssociationSet": [
            range("10.0.0.0/16", "associated"), range("100.64.0.0/16", "associated"),
            range("10.1.0.0/16", "failing"), range("10.2.0.0/16", "disassociated")]});
        let row = vpc(&object.to_string(), &mut Interner::default()).unwrap();
        let cidrs: Vec<String> = row.cidrs.iter().map(ToString::to_string).collect();
        assert_eq!(cidrs, ["10.0.0.0/16", "100.64.0.0/16"]);
        assert_eq!((row.troubled_cidrs, row.ipv6), (vec![("10.1.0.0/16".parse().unwrap(), "failing".into())], false));
    }

    #[test]
    fn a_reservation_of_a_new_type_keeps_its_name() {
        let object = json!({"SubnetCidrReservationId": "scr-1", "SubnetId": "subnet-1", "Cidr": "10.0.0.64/26",
            "ReservationType": "shared"});
        let row = reservation(&object.to_string(), &mut Interner::default()).unwrap();
        assert_eq!(row.kind, ReservationKind::Other("shared".into()));
    }

    #[test]
    fn a_route_table_tells_its_subnets_and_where_its_routes_lead() {
        let object = json!({"RouteTableId": "rtb-1", "VpcId": "vpc-1",
            "Associations": [{"Main": true, "AssociationState": {"State": "associated"}},
                {"Main": false, "SubnetId": "subnet-1", "AssociationState": {"State": "associated"}},
                {"Main": false, "SubnetId": "subnet-2", "AssociationState": {"State": "disassociating"}}],
            "Routes": [{"DestinationCidrBlock": "10.0.0.0/16", "GatewayId": "local", "State": "active"},
                {"DestinationCidrBlock": "0.0.0.0/0", "NatGatewayId": "nat-1", "State": "active"},
                {"DestinationCidrBlock": "10.9.0.0/16", "TransitGatewayId": "tgw-1", "State": "blackhole"},
                {"DestinationIpv6CidrBlock": "::/0", "EgressOnlyInternetGatewayId": "eigw-1", "State": "active"}]});
        let row = route_table(&object.to_string(), &mut Interner::default()).unwrap();
        assert!(row.main);
        assert_eq!(row.subnets.iter().map(SubnetId::as_str).collect::<Vec<_>>(), ["subnet-1"]);
        let targets: Vec<&str> = row.routes.iter().map(|(_, target)| &**target).collect();
        assert_eq!(targets, ["local", "nat-1"]);
    }

    #[test]
    fn a_security_group_belongs_to_a_vpc() {
        let object = json!({"GroupId": "sg-1", "GroupName": "pods", "VpcId": "vpc-1", "IpPermissions": []});
        let row = security_group(&object.to_string(), &mut Interner::default()).unwrap();
        assert_eq!((&*row.id, row.vpc.as_str(), &*row.name), ("sg-1", "vpc-1", "pods"));
    }
}
