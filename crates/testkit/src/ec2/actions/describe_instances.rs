//! `DescribeInstances`.

use std::borrow::Cow;

use super::super::error::ApiError;
use super::super::filter::{Filterable, Filters};
use super::super::ids;
use super::super::paging::{Cursor, PageRules};
use super::super::query::Request;
use super::super::seed::Tags;
use super::super::types::InstanceType;
use super::super::world::{Instance, Interface, World};
use super::super::xml::Xml;
use super::describe_interfaces::{write_addresses, write_attachment, write_groups, write_operator};
use super::{is_named, named, next_token, pages, private_dns, time};

pub(super) const PAGES: PageRules = pages("InstanceId");

/// An instance with what is known of it elsewhere.
struct View<'a> {
    world: &'a World,
    instance: &'a Instance,
}

impl View<'_> {
    fn primary(&self) -> Option<&Interface> {
        self.world
            .attached_to(&self.instance.id)
            .find(|one| one.attachment.as_ref().is_some_and(|place| (place.card_index, place.device_index) == (0, 0)))
    }
}

impl Filterable for View<'_> {
    const FILTERS: &'static [&'static str] = &[
        "availability-zone",
        "instance-id",
        "instance-state-code",
        "instance-state-name",
        "instance-type",
        "network-interface.network-interface-id",
        "network-interface.subnet-id",
        "network-interface.vpc-id",
        "owner-id",
        "private-ip-address",
        "reservation-id",
        "subnet-id",
        "vpc-id",
    ];

    fn values(&self, filter: &str) -> Vec<Cow<'_, str>> {
        if let Some(field) = filter.strip_prefix("network-interface.") {
            let attached = self.world.attached_to(&self.instance.id);
            return attached.flat_map(|one| Filterable::values(one, field)).collect();
        }
        vec![match filter {
            "availability-zone" => self.instance.zone.as_str().into(),
            "instance-id" => self.instance.id.as_str().into(),
            "instance-state-code" => state_code(&self.instance.state).to_string().into(),
            "instance-state-name" => self.instance.state.as_str().into(),
            "instance-type" => self.instance.type_name.as_str().into(),
            "owner-id" => self.world.account.as_str().into(),
            "private-ip-address" => {
                let address = self.primary().and_then(|one| one.primary);
                return address.map(|address| address.to_string().into()).into_iter().collect();
            }
            "reservation-id" => self.instance.launch.as_str().into(),
            "subnet-id" => self.instance.subnet.as_str().into(),
            _ => self.instance.vpc.as_str().into(),
        }]
    }

    fn tags(&self) -> Option<&Tags> {
        Some(&self.instance.tags)
    }
}

pub(super) fn instances(world: &World, request: &Request) -> Result<Xml, ApiError> {
    let cursor = Cursor::parse(request, PAGES)?;
    let filters = Filters::parse::<View<'_>>(&request.params)?;
    let ids = named(&request.params, "InstanceId", |id| world.instance(id))?;
    let page = cursor.page_of(&world.instances, |instance| {
        is_named(ids.as_ref(), &instance.id) && filters.match_all(&View { world, instance })
    });
    let mut xml = Xml::default();
    let launches = page.items.chunk_by(|one, next| one.launch == next.launch);
    xml.list("reservationSet", launches, |xml, launch| {
        write_launch(xml, world, launch);
    });
    next_token(&mut xml, page.next.as_ref());
    Ok(xml)
}

/// Instances of one launch, which EC2 calls a reservation.
pub(super) fn write_launch(xml: &mut Xml, world: &World, launch: &[&Instance]) {
    if let Some(first) = launch.first() {
        xml.text("reservationId", &first.launch);
    }
    xml.text("ownerId", &world.account);
    write_groups(xml, &[]);
    xml.list("instancesSet", launch.iter().enumerate(), |xml, (index, instance)| {
        xml.value("amiLaunchIndex", index);
        write_instance(xml, &View { world, instance });
    });
}

fn write_instance(xml: &mut Xml, view: &View<'_>) {
    let (world, instance) = (view.world, view.instance);
    xml.text("instanceId", &instance.id);
    xml.text("imageId", &ids::part_of("ami", &world.region));
    xml.nest("instanceState", |xml| write_state(xml, &instance.state));
    xml.text("instanceType", &instance.type_name);
    xml.text("launchTime", &time(instance.launched));
    xml.nest("placement", |xml| {
        xml.text("availabilityZone", &instance.zone);
        xml.text("tenancy", "default");
    });
    if let Some(facts) = InstanceType::find(&instance.type_name) {
        xml.text("architecture", facts.architectures.first().copied().unwrap_or_default());
        // This element knows only ovm and xen; Nitro instances say xen.
        xml.text("hypervisor", "xen");
    }
    if instance.state != "terminated" {
        xml.text("subnetId", &instance.subnet);
        xml.text("vpcId", &instance.vpc);
    }
    let primary = view.primary();
    if let Some(address) = primary.and_then(|one| one.primary) {
        xml.value("privateIpAddress", address);
        xml.text("privateDnsName", &private_dns(&world.region, address));
    }
    write_groups(xml, primary.map_or(&[], |one| &one.groups));
    xml.list("networkInterfaceSet", world.attached_to(&instance.id), |xml, one| {
        write_attached(xml, world, one);
    });
    xml.tags(&instance.tags);
}

fn write_attached(xml: &mut Xml, world: &World, interface: &Interface) {
    xml.text("networkInterfaceId", &interface.id);
    xml.text("subnetId", &interface.subnet);
    xml.text("vpcId", &interface.vpc);
    xml.text("description", &interface.description);
    xml.text("ownerId", &interface.owner);
    xml.text("status", interface.status.as_str());
    xml.text("macAddress", &ids::mac(&interface.id));
    xml.text("interfaceType", interface.kind.as_str());
    xml.value("sourceDestCheck", true);
    write_groups(xml, &interface.groups);
    if let Some(attachment) = &interface.attachment {
        xml.nest("attachment", |xml| write_attachment(xml, attachment));
    }
    write_addresses(xml, world, interface);
    if let Some(operator) = &interface.operator {
        write_operator(xml, operator);
    }
}

pub(super) fn write_state(xml: &mut Xml, name: &str) {
    xml.value("code", state_code(name));
    xml.text("name", name);
}

fn state_code(name: &str) -> u8 {
    match name {
        "pending" => 0,
        "shutting-down" => 32,
        "terminated" => 48,
        "stopping" => 64,
        "stopped" => 80,
        _ => 16,
    }
}
