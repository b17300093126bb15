//! VPCs, subnets and their reservations.

use aws_sdk_ec2::types as sdk;
use ipam_audit_core::{
    ids::{SubnetId, VpcId, Zone},
    intern::Interner,
    inventory::{CidrReservation, ReservationKind, Subnet, Vpc},
};

use super::{Item, Malformed};

/// A VPC with the ranges that are associated now, the primary first.
pub(crate) fn vpc(vpc: &sdk::Vpc) -> Result<Vpc, Malformed> {
    let item = Item::named(vpc.vpc_id(), "a VPC", "vpcId")?;
    let primary = item.need(vpc.cidr_block(), "cidrBlock")?;
    let mut cidrs = vec![item.parse(primary, "cidrBlock")?];
    let mut troubled_cidrs = Vec::new();
    for association in vpc.cidr_block_association_set() {
        let state = association.cidr_block_state().and_then(sdk::VpcCidrBlockState::state);
        let cidr = item.need(association.cidr_block(), "cidrBlockAssociationSet.cidrBlock")?;
        let parsed = item.parse(cidr, "cidrBlockAssociationSet.cidrBlock")?;
        match state {
            Some(sdk::VpcCidrBlockStateCode::Associated) if cidr == primary => {}
            Some(sdk::VpcCidrBlockStateCode::Associated) => cidrs.push(parsed),
            // A range that is gone is listed for a while; it is no trouble.
            Some(sdk::VpcCidrBlockStateCode::Disassociated) | None => {}
            Some(other) => troubled_cidrs.push((parsed, other.as_str().into())),
        }
    }
    let ipv6 = !vpc.ipv6_cidr_block_association_set().is_empty();
    Ok(Vpc { id: VpcId::new(item.0), cidrs, troubled_cidrs, ipv6 })
}

/// A subnet. One for IPv6 alone has no range and no free addresses of the kind that is counted here.
pub(crate) fn subnet(subnet: &sdk::Subnet, texts: &mut Interner) -> Result<Subnet, Malformed> {
    let item = Item::named(subnet.subnet_id.as_deref(), "a subnet", "subnetId")?;
    let cidr = subnet.cidr_block.as_deref().filter(|cidr| !cidr.is_empty());
    Ok(Subnet {
        id: SubnetId::new(texts.text(item.0)),
        vpc: VpcId::new(texts.text(item.need(subnet.vpc_id.as_deref(), "vpcId")?)),
        cidr: cidr.map(|cidr| item.parse(cidr, "cidrBlock")).transpose()?,
        zone: Zone::new(texts.text(item.need(subnet.availability_zone.as_deref(), "availabilityZone")?)),
        zone_id: subnet.availability_zone_id.as_deref().map(|zone| texts.text(zone)),
        available: item.count(subnet.available_ip_address_count, "availableIpAddressCount")?,
        state: texts.text(item.need(subnet.state.as_ref(), "state")?.as_str()),
        owner: subnet.owner_id.as_deref().map(|owner| texts.text(owner)),
        ipv6: !subnet.ipv6_cidr_block_association_set().is_empty(),
        outpost: subnet.outpost_arn.is_some(),
        tags: item.tags(subnet.tags(), texts)?,
    })
}

/// A reservation of an IPv4 range.
pub(crate) fn reservation(reservation: &sdk::SubnetCidrReservation) -> Result<CidrReservation, Malformed> {
    let id = reservation.subnet_cidr_reservation_id();
    let item = Item::named(id, "a CIDR reservation", "subnetCidrReservationId")?;
    let kind = item.need(reservation.reservation_type(), "reservationType")?;
    Ok(CidrReservation {
        subnet: SubnetId::new(item.need(reservation.subnet_id(), "subnetId")?),
        cidr: item.parse(item.need(reservation.cidr(), "cidr")?, "cidr")?,
        kind: match kind.as_str() {
            "prefix" => ReservationKind::Prefix,
            "explicit" => ReservationKind::Explicit,
            other => ReservationKind::Other(other.into()),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> sdk::builders::SubnetBuilder {
        sdk::Subnet::builder()
            .subnet_id("subnet-1")
            .vpc_id("vpc-1")
            .cidr_block("10.0.0.0/24")
            .availability_zone("eu-central-1a")
            .available_ip_address_count(0)
            .state(sdk::SubnetState::Available)
    }

    fn convert(builder: sdk::builders::SubnetBuilder) -> Result<Subnet, String> {
        subnet(&builder.build(), &mut Interner::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_subnet_needs_its_count_and_says_when_it_is_zero() {
        assert_eq!(convert(complete()).unwrap().available, 0);
        let error = convert(complete().set_available_ip_address_count(None)).unwrap_err();
        assert_eq!(error, "subnet-1 has no readable availableIpAddressCount");
        let error = convert(complete().cidr_block("10.0.0.0/33")).unwrap_err();
        assert_eq!(error, "subnet-1 has no readable cidrBlock");
    }

    #[test]
    fn a_subnet_for_ipv6_alone_has_no_range() {
        assert_eq!(convert(complete().set_cidr_block(None)).unwrap().cidr, None);
    }

    #[test]
    fn a_state_unknown_to_the_sdk_keeps_its_name() {
        let state = sdk::SubnetState::from("hibernating");
        assert_eq!(&*convert(complete().state(state)).unwrap().state, "hibernating");
    }

    #[test]
    fn only_associated_ranges_of_a_vpc_count() {
        let range = |cidr: &str, state: sdk::VpcCidrBlockStateCode| {
            let state = sdk::VpcCidrBlockState::builder().state(state).build();
            let association = sdk::VpcCidrBlockAssociation::builder();
            association.cidr_block(cidr).cidr_block_state(state).build()
        };
        let row = vpc(&sdk::Vpc::builder()
            .vpc_id("vpc-1")
            .cidr_block("10.0.0.0/16")
            .cidr_block_association_set(range("100.64.0.0/16", sdk::VpcCidrBlockStateCode::Associated))
            .cidr_block_association_set(range("10.0.0.0/16", sdk::VpcCidrBlockStateCode::Associated))
            .cidr_block_association_set(range("10.1.0.0/16", sdk::VpcCidrBlockStateCode::Disassociating))
            .build());
        let row = row.unwrap();
        let cidrs: Vec<String> = row.cidrs.iter().map(ToString::to_string).collect();
        assert_eq!(cidrs, ["10.0.0.0/16", "100.64.0.0/16"]);
        assert_eq!(row.troubled_cidrs, [("10.1.0.0/16".parse().unwrap(), "disassociating".into())]);
    }

    #[test]
    fn a_reservation_of_a_new_type_keeps_its_name() {
        let builder = sdk::SubnetCidrReservation::builder()
            .subnet_cidr_reservation_id("scr-1")
            .subnet_id("subnet-1")
            .cidr("10.0.0.64/26")
            .reservation_type(sdk::SubnetCidrReservationType::from("shared"));
        let row = reservation(&builder.clone().build()).unwrap();
        assert_eq!(row.kind, ReservationKind::Other("shared".into()));
        let error = reservation(&builder.set_reservation_type(None).build()).unwrap_err();
        assert_eq!(error.to_string(), "scr-1 has no readable reservationType");
    }
}
