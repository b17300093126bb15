//! `DescribeNetworkInterfaces` and `DescribeTrunkInterfaceAssociations`.

use std::borrow::Cow;

use super::super::error::ApiError;
use super::super::filter::{Filterable, Filters};
use super::super::ids;
use super::super::paging::{Cursor, PageRules};
use super::super::query::Request;
use super::super::seed::{Operator, Tags};
use super::super::world::{Attachment, BranchOf, Interface, World};
use super::super::xml::Xml;
use super::{is_named, named, next_token, pages, private_dns, time};

pub(super) const PAGES: PageRules = pages("NetworkInterfaceId");
pub(super) const TRUNK_PAGES: PageRules = PageRules { range: (5, 255), default: None, ids: Some("AssociationId") };

impl Filterable for Interface {
    const FILTERS: &'static [&'static str] = &[
        "addresses.primary",
        "addresses.private-ip-address",
        "attachment.attach-time",
        "attachment.attachment-id",
        "attachment.delete-on-termination",
        "attachment.device-index",
        "attachment.instance-id",
        "attachment.instance-owner-id",
        "attachment.status",
        "availability-zone",
        "description",
        "group-id",
        "group-name",
        "interface-type",
        "mac-address",
        "network-interface-id",
        "operator.managed",
        "operator.principal",
        "owner-id",
        "private-dns-name",
        "private-ip-address",
        "requester-id",
        "requester-managed",
        "source-dest-check",
        "status",
        "subnet-id",
        "vpc-id",
    ];

    fn values(&self, filter: &str) -> Vec<Cow<'_, str>> {
        if let Some(field) = filter.strip_prefix("attachment.") {
            return self.attachment.as_ref().and_then(|one| attachment_value(one, field)).into_iter().collect();
        }
        let one: Cow<'_, str> = match filter {
            "addresses.private-ip-address" | "private-ip-address" => {
                return self.addresses().map(|address| address.to_string().into()).collect();
            }
            "addresses.primary" => {
                let secondary = self.secondary.first().map(|_| "false".into());
                return self.primary.map(|_| "true".into()).into_iter().chain(secondary).collect();
            }
            "private-dns-name" => {
                let region = self.zone.trim_end_matches(|c: char| c.is_ascii_lowercase());
                return self.primary.map(|address| private_dns(region, address).into()).into_iter().collect();
            }
            "group-id" | "group-name" => return self.groups.iter().map(|group| group.as_str().into()).collect(),
            "requester-id" => return self.requester_id.as_deref().map(Into::into).into_iter().collect(),
            "operator.principal" => {
                return self.operator.as_ref().map(|one| one.principal.as_str().into()).into_iter().collect();
            }
            "availability-zone" => self.zone.as_str().into(),
            "description" => self.description.as_str().into(),
            "interface-type" => self.kind.as_str().into(),
            "mac-address" => ids::mac(&self.id).into(),
            "network-interface-id" => self.id.as_str().into(),
            "operator.managed" => flag(self.operator.is_some()),
            "owner-id" => self.owner.as_str().into(),
            "requester-managed" => flag(self.requester_managed),
            "status" => self.status.as_str().into(),
            "subnet-id" => self.subnet.as_str().into(),
            "vpc-id" => self.vpc.as_str().into(),
            _ => "true".into(),
        };
        vec![one]
    }

    fn tags(&self) -> Option<&Tags> {
        Some(&self.tags)
    }
}

fn attachment_value<'a>(attachment: &'a Attachment, field: &str) -> Option<Cow<'a, str>> {
    Some(match field {
        "attach-time" => time(attachment.attached_at).into(),
        "attachment-id" => attachment.id.as_str().into(),
        "delete-on-termination" => flag(attachment.delete_on_termination),
        "device-index" => attachment.device_index.to_string().into(),
        "instance-id" => attachment.instance.as_deref()?.into(),
        "instance-owner-id" => attachment.instance_owner.as_str().into(),
        _ => attachment.status.as_str().into(),
    })
}

const fn flag(value: bool) -> Cow<'static, str> {
    Cow::Borrowed(if value { "true" } else { "false" })
}

pub(super) fn interfaces(world: &World, request: &Request) -> Result<Xml, ApiError> {
    let params = &request.params;
    let cursor = Cursor::parse(request, PAGES)?;
    let filters = Filters::parse::<Interface>(params)?;
    let ids = named(params, "NetworkInterfaceId", |id| world.interface(id))?;
    let hidden = |one: &Interface| one.operator.as_ref().is_some_and(|operator| operator.hidden);
    let managed = params.flag("IncludeManagedResources");
    let page = cursor.page_of(&world.interfaces, |one| {
        is_named(ids.as_ref(), &one.id) && (managed || !hidden(one)) && filters.match_all(one)
    });
    let mut xml = Xml::default();
    xml.list("networkInterfaceSet", page.items, |xml, one| {
        write_interface(xml, world, one);
    });
    next_token(&mut xml, page.next.as_ref());
    Ok(xml)
}

pub(super) fn write_interface(xml: &mut Xml, world: &World, interface: &Interface) {
    xml.text("networkInterfaceId", &interface.id);
    xml.text("subnetId", &interface.subnet);
    xml.text("vpcId", &interface.vpc);
    xml.text("availabilityZone", &interface.zone);
    if let Some(zone_id) = world.zones.get(&interface.zone) {
        xml.text("availabilityZoneId", zone_id);
    }
    xml.text("description", &interface.description);
    xml.text("ownerId", &interface.owner);
    if let Some(requester) = &interface.requester_id {
        xml.text("requesterId", requester);
    }
    xml.value("requesterManaged", interface.requester_managed);
    xml.text("status", interface.status.as_str());
    xml.text("macAddress", &ids::mac(&interface.id));
    xml.text("interfaceType", interface.kind.as_str());
    xml.value("sourceDestCheck", true);
    write_groups(xml, &interface.groups);
    if let Some(attachment) = &interface.attachment {
        xml.nest("attachment", |xml| {
            write_attachment(xml, attachment);
            if let Some(instance) = &attachment.instance {
                xml.text("instanceId", instance);
            }
            xml.text("instanceOwnerId", &attachment.instance_owner);
        });
    }
    write_addresses(xml, world, interface);
    if let Some(operator) = &interface.operator {
        write_operator(xml, operator);
    }
    xml.tags(&interface.tags);
}

/// What the interface and its instance both say about addresses.
pub(super) fn write_addresses(xml: &mut Xml, world: &World, interface: &Interface) {
    if let Some(primary) = interface.primary {
        xml.value("privateIpAddress", primary);
        xml.text("privateDnsName", &private_dns(&world.region, primary));
    }
    xml.list("privateIpAddressesSet", interface.addresses(), |xml, address| {
        xml.value("privateIpAddress", address);
        xml.text("privateDnsName", &private_dns(&world.region, address));
        xml.value("primary", interface.primary == Some(address));
    });
    xml.list("ipv6AddressesSet", std::iter::empty::<()>(), |_, ()| {});
    if !interface.prefixes.is_empty() {
        xml.list("ipv4PrefixSet", &interface.prefixes, |xml, prefix| {
            xml.value("ipv4Prefix", prefix);
        });
    }
}

pub(super) fn write_groups(xml: &mut Xml, groups: &[String]) {
    xml.list("groupSet", groups, |xml, group| {
        xml.text("groupId", group);
        xml.text("groupName", group);
    });
}

pub(super) fn write_operator(xml: &mut Xml, operator: &Operator) {
    xml.nest("operator", |xml| {
        xml.value("managed", true);
        xml.text("principal", &operator.principal);
        xml.value("hiddenByDefault", operator.hidden);
    });
}

pub(super) fn write_attachment(xml: &mut Xml, attachment: &Attachment) {
    xml.text("attachmentId", &attachment.id);
    xml.value("deviceIndex", attachment.device_index);
    xml.value("networkCardIndex", attachment.card_index);
    xml.text("status", &attachment.status);
    xml.text("attachTime", &time(attachment.attached_at));
    xml.value("deleteOnTermination", attachment.delete_on_termination);
}

/// A branch on its trunk.
struct Association;

impl Filterable for Association {
    const FILTERS: &'static [&'static str] = &["gre-key", "interface-protocol"];

    fn values(&self, filter: &str) -> Vec<Cow<'_, str>> {
        if filter == "interface-protocol" { vec!["VLAN".into()] } else { Vec::new() }
    }

    fn tags(&self) -> Option<&Tags> {
        None
    }
}

pub(super) fn trunk_associations(world: &World, request: &Request) -> Result<Xml, ApiError> {
    let cursor = Cursor::parse(request, TRUNK_PAGES)?;
    let filters = Filters::parse::<Association>(&request.params)?;
    let ids = named(&request.params, "AssociationId", |id| world.association(id))?;
    let listed = |branch: &String| world.interfaces.get(branch).and_then(|one| one.branch_of.as_ref());
    let page = cursor.page_of(&world.associations, |branch| {
        listed(branch).is_some_and(|place| is_named(ids.as_ref(), &place.association))
            && filters.match_all(&Association)
    });
    let places = page.items.iter().filter_map(|branch| listed(branch).map(|place| (branch.as_str(), place)));
    let mut xml = Xml::default();
    xml.list("interfaceAssociationSet", places, |xml, (branch, place)| {
        write_association(xml, branch, place);
    });
    next_token(&mut xml, page.next.as_ref());
    Ok(xml)
}

pub(super) fn write_association(xml: &mut Xml, branch: &str, place: &BranchOf) {
    xml.text("associationId", &place.association);
    xml.text("branchInterfaceId", branch);
    xml.text("trunkInterfaceId", &place.trunk);
    xml.text("interfaceProtocol", "VLAN");
    xml.value("vlanId", place.vlan);
}
