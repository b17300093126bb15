//! The actions of the API: which there are, and what they have in common.

mod describe_instances;
mod describe_interfaces;
mod describe_network;
mod describe_routing;
mod describe_types;
mod mutate_attachments;
mod mutate_instances;
mod mutate_interfaces;
mod mutate_network;
mod mutate_routing;

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::error::ApiError;
use super::paging::{Cursor, PageRules};
use super::query::{Params, Request};
use super::world::World;
use super::xml::Xml;

pub(crate) use self::describe_routing::target_element;

const NAMESPACE: &str = "http://ec2.amazonaws.com/doc/2016-11-15/";

/// An action that only looks.
pub(crate) type Read = fn(&World, &Request) -> Result<Xml, ApiError>;
/// An action that changes the account.
pub(crate) type Write = fn(&mut World, &Request, Timestamp) -> Result<Xml, ApiError>;

/// What the simulator does for an action.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Action {
    /// Looks.
    Read(Read),
    /// Changes.
    Write(Write),
}

impl Action {
    /// The action of a name.
    pub(crate) fn find(name: &str) -> Result<Self, ApiError> {
        Ok(match name {
            "DescribeVpcs" => Self::Read(describe_network::vpcs),
            "DescribeSubnets" => Self::Read(describe_network::subnets),
            "DescribeAvailabilityZones" => Self::Read(describe_network::zones),
            "GetSubnetCidrReservations" => Self::Read(describe_network::reservations),
            "DescribeNetworkInterfaces" => Self::Read(describe_interfaces::interfaces),
            "DescribeTrunkInterfaceAssociations" => Self::Read(describe_interfaces::trunk_associations),
            "DescribeInstances" => Self::Read(describe_instances::instances),
            "DescribeInstanceTypes" => Self::Read(describe_types::types),
            "DescribeSecurityGroups" => Self::Read(describe_routing::security_groups),
            "DescribeRouteTables" => Self::Read(describe_routing::route_tables),
            "CreateVpc" => Self::Write(mutate_network::create_vpc),
            "AssociateVpcCidrBlock" => Self::Write(mutate_network::associate_cidr),
            "CreateSubnet" => Self::Write(mutate_network::create_subnet),
            "CreateSubnetCidrReservation" => Self::Write(mutate_network::create_reservation),
            "DeleteSubnetCidrReservation" => Self::Write(mutate_network::delete_reservation),
            "CreateSecurityGroup" => Self::Write(mutate_routing::create_security_group),
            "CreateRouteTable" => Self::Write(mutate_routing::create_route_table),
            "AssociateRouteTable" => Self::Write(mutate_routing::associate_route_table),
            "CreateRoute" => Self::Write(mutate_routing::create_route),
            "CreateTags" => Self::Write(mutate_network::create_tags),
            "CreateNetworkInterface" => Self::Write(mutate_interfaces::create),
            "DeleteNetworkInterface" => Self::Write(mutate_interfaces::delete),
            "AssignPrivateIpAddresses" => Self::Write(mutate_interfaces::assign),
            "UnassignPrivateIpAddresses" => Self::Write(mutate_interfaces::unassign),
            "AttachNetworkInterface" => Self::Write(mutate_attachments::attach),
            "DetachNetworkInterface" => Self::Write(mutate_attachments::detach),
            "AssociateTrunkInterface" => Self::Write(mutate_attachments::associate_trunk),
            "DisassociateTrunkInterface" => Self::Write(mutate_attachments::disassociate_trunk),
            "RunInstances" => Self::Write(mutate_instances::run),
            "TerminateInstances" => Self::Write(mutate_instances::terminate),
            _ => {
                let message = format!("The action {name} is not valid for this web service.");
                return Err(ApiError::client("InvalidAction", message));
            }
        })
    }
}

/// Refuses a trial call with the answer that says it would have worked.
pub(crate) fn refuse_dry_run(params: &Params) -> Result<(), ApiError> {
    if !params.flag("DryRun") {
        return Ok(());
    }
    let message = "Request would have succeeded, but DryRun flag is set.".to_owned();
    Err(ApiError { status: 412, code: "DryRunOperation".into(), message })
}

/// A reply with its root element.
pub(crate) fn reply(action: &str, request_id: &str, content: &Xml) -> String {
    let mut xml = Xml::document();
    xml.root(&format!("{action}Response"), NAMESPACE, |xml| {
        xml.text("requestId", request_id);
        xml.append(content);
    });
    xml.finish()
}

/// An error reply.
pub(crate) fn error_reply(error: &ApiError, request_id: &str) -> String {
    let mut xml = Xml::document();
    xml.nest("Response", |xml| {
        xml.nest("Errors", |xml| {
            xml.nest("Error", |xml| {
                xml.text("Code", &error.code);
                xml.text("Message", &error.message);
            });
        });
        xml.text("RequestID", request_id);
    });
    xml.finish()
}

/// A page without anything that says there is more, as EC2 sometimes sends; none for actions without pages.
pub(crate) fn empty_page(request: &Request) -> Result<Option<Xml>, ApiError> {
    let (set, rules) = match request.action.as_str() {
        "DescribeVpcs" => ("vpcSet", describe_network::VPC_PAGES),
        "DescribeSubnets" => ("subnetSet", describe_network::SUBNET_PAGES),
        "GetSubnetCidrReservations" => ("subnetIpv4CidrReservationSet", describe_network::RESERVATION_PAGES),
        "DescribeNetworkInterfaces" => ("networkInterfaceSet", describe_interfaces::PAGES),
        "DescribeTrunkInterfaceAssociations" => ("interfaceAssociationSet", describe_interfaces::TRUNK_PAGES),
        "DescribeInstances" => ("reservationSet", describe_instances::PAGES),
        "DescribeInstanceTypes" => ("instanceTypeSet", describe_types::PAGES),
        "DescribeSecurityGroups" => ("securityGroupInfo", describe_routing::GROUP_PAGES),
        "DescribeRouteTables" => ("routeTableSet", describe_routing::TABLE_PAGES),
        _ => return Ok(None),
    };
    let mut xml = Xml::default();
    xml.list(set, std::iter::empty::<()>(), |_, ()| {});
    xml.text("nextToken", &Cursor::parse(request, rules)?.same_page());
    Ok(Some(xml))
}

const fn pages(ids: &'static str) -> PageRules {
    PageRules { range: (5, 1000), default: None, ids: Some(ids) }
}

fn next_token(xml: &mut Xml, next: Option<&String>) {
    if let Some(token) = next {
        xml.text("nextToken", token);
    }
}

/// The ids that a request names, each of which must exist; none when it names no ids.
fn named<'a, T>(
    params: &'a Params,
    list: &str,
    find: impl Fn(&str) -> Result<T, ApiError>,
) -> Result<Option<BTreeSet<&'a str>>, ApiError> {
    let ids: BTreeSet<&str> = params.list(list).into_iter().collect();
    for id in &ids {
        find(id)?;
    }
    Ok((!ids.is_empty()).then_some(ids))
}

fn is_named(ids: Option<&BTreeSet<&str>>, id: &str) -> bool {
    ids.is_none_or(|ids| ids.contains(id))
}

/// The name that the VPC's resolver gives an address.
fn private_dns(region: &str, address: std::net::Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    match region {
        "us-east-1" => format!("ip-{a}-{b}-{c}-{d}.ec2.internal"),
        _ => format!("ip-{a}-{b}-{c}-{d}.{region}.compute.internal"),
    }
}

fn time(at: Timestamp) -> String {
    format!("{at:.3}")
}
