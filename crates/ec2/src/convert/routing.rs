//! Security groups and route tables.

use aws_sdk_ec2::types as sdk;
use ipam_audit_core::{
    ids::{SubnetId, VpcId},
    intern::Interner,
    inventory::{RouteTable, SecurityGroup},
};

use super::{Item, Malformed};

/// A security group; its rules do not matter for addresses.
pub(crate) fn security_group(group: &sdk::SecurityGroup, texts: &mut Interner) -> Result<SecurityGroup, Malformed> {
    let item = Item::named(group.group_id(), "a security group", "groupId")?;
    Ok(SecurityGroup {
        id: texts.text(item.0),
        vpc: VpcId::new(texts.text(item.need(group.vpc_id(), "vpcId")?)),
        name: texts.text(group.group_name().unwrap_or_default()),
    })
}

/// A route table with its active routes for IPv4.
pub(crate) fn route_table(table: &sdk::RouteTable, texts: &mut Interner) -> Result<RouteTable, Malformed> {
    let item = Item::named(table.route_table_id(), "a route table", "routeTableId")?;
    let mut routes = Vec::new();
    for route in table.routes().iter().filter(|route| route.state() != Some(&sdk::RouteState::Blackhole)) {
        let Some((destination, target)) = route.destination_cidr_block().zip(target(route)) else { continue };
        routes.push((item.parse(destination, "routeSet.destinationCidrBlock")?, texts.text(target)));
    }
    let in_force = table.associations().iter().filter(|one| is_in_force(one));
    Ok(RouteTable {
        id: texts.text(item.0),
        vpc: VpcId::new(texts.text(item.need(table.vpc_id(), "vpcId")?)),
        main: table.associations().iter().any(|association| association.main() == Some(true)),
        subnets: in_force.filter_map(|one| Some(SubnetId::new(texts.text(one.subnet_id()?)))).collect(),
        routes,
    })
}

/// An association without a word on its state is one of long ago.
fn is_in_force(association: &sdk::RouteTableAssociation) -> bool {
    let state = association.association_state().and_then(sdk::RouteTableAssociationState::state);
    state.is_none_or(|state| *state == sdk::RouteTableAssociationStateCode::Associated)
}

/// What a route goes through.
fn target(route: &sdk::Route) -> Option<&str> {
    let targets = [
        route.gateway_id(),
        route.nat_gateway_id(),
        route.transit_gateway_id(),
        route.vpc_peering_connection_id(),
        route.local_gateway_id(),
        route.carrier_gateway_id(),
        route.core_network_arn(),
        route.instance_id(),
        route.network_interface_id(),
    ];
    targets.into_iter().flatten().find(|target| !target.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(destination: &str) -> sdk::builders::RouteBuilder {
        sdk::Route::builder().destination_cidr_block(destination)
    }

    fn association(subnet: &str, state: sdk::RouteTableAssociationStateCode) -> sdk::RouteTableAssociation {
        let state = sdk::RouteTableAssociationState::builder().state(state).build();
        sdk::RouteTableAssociation::builder().main(false).subnet_id(subnet).association_state(state).build()
    }

    #[test]
    fn a_table_tells_its_subnets_and_where_its_routes_lead() {
        let main = sdk::RouteTableAssociation::builder().main(true).build();
        let table = sdk::RouteTable::builder()
            .route_table_id("rtb-1")
            .vpc_id("vpc-1")
            .associations(main)
            .associations(association("subnet-1", sdk::RouteTableAssociationStateCode::Associated))
            .associations(association("subnet-2", sdk::RouteTableAssociationStateCode::Disassociating))
            .routes(route("10.0.0.0/16").gateway_id("local").state(sdk::RouteState::Active).build())
            .routes(route("0.0.0.0/0").nat_gateway_id("nat-1").state(sdk::RouteState::Active).build())
            .routes(route("10.9.0.0/16").transit_gateway_id("tgw-1").state(sdk::RouteState::Blackhole).build())
            .routes(sdk::Route::builder().destination_ipv6_cidr_block("::/0").gateway_id("igw-1").build());
        let row = route_table(&table.clone().build(), &mut Interner::default()).unwrap();
        assert!(row.main);
        assert_eq!(row.subnets.iter().map(SubnetId::as_str).collect::<Vec<_>>(), ["subnet-1"]);
        let targets: Vec<&str> = row.routes.iter().map(|(_, target)| &**target).collect();
        assert_eq!(targets, ["local", "nat-1"]);
        let broken = table.routes(route("10.0.0.0/33").gateway_id("igw-1").build()).build();
        let error = route_table(&broken, &mut Interner::default()).unwrap_err();
        assert_eq!(error.to_string(), "rtb-1 has no readable routeSet.destinationCidrBlock");
    }

    #[test]
    fn a_group_belongs_to_a_vpc() {
        let group = sdk::SecurityGroup::builder().group_id("sg-1").group_name("pods");
        let error = security_group(&group.clone().build(), &mut Interner::default()).unwrap_err();
        assert_eq!(error.to_string(), "sg-1 has no readable vpcId");
        let row = security_group(&group.vpc_id("vpc-1").build(), &mut Interner::default()).unwrap();
        assert_eq!((&*row.id, row.vpc.as_str(), &*row.name), ("sg-1", "vpc-1", "pods"));
    }
}
