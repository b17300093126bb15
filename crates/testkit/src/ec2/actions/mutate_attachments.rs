//! `AttachNetworkInterface`, `DetachNetworkInterface`, `AssociateTrunkInterface`, `DisassociateTrunkInterface`.

use jiff::Timestamp;

use super::super::error::ApiError;
use super::super::query::Request;
use super::super::seed;
use super::super::world::World;
use super::super::xml::Xml;
use super::describe_interfaces::write_association;
use super::mutate_network::done;

pub(super) fn attach(world: &mut World, request: &Request, now: Timestamp) -> Result<Xml, ApiError> {
    let params = &request.params;
    let index = params.typed("DeviceIndex")?.ok_or_else(|| ApiError::missing("DeviceIndex"))?;
    let mut place = seed::Attachment::new(params.need("InstanceId")?, index);
    place.card_index = params.typed("NetworkCardIndex")?.unwrap_or(0);
    // As EC2 does for interfaces that are attached later; the CNI sets the flag in a call of its own.
    place.delete_on_termination = false;
    let card = place.card_index;
    let id = world.attach(params.need("NetworkInterfaceId")?, place, now)?;
    let mut xml = Xml::default();
    xml.text("attachmentId", &id);
    xml.value("networkCardIndex", card);
    Ok(xml)
}

pub(super) fn detach(world: &mut World, request: &Request, _now: Timestamp) -> Result<Xml, ApiError> {
    world.detach(request.params.need("AttachmentId")?)?;
    Ok(done())
}

pub(super) fn associate_trunk(world: &mut World, request: &Request, _now: Timestamp) -> Result<Xml, ApiError> {
    let params = &request.params;
    let branch = params.need("BranchInterfaceId")?;
    let vlan = params.typed("VlanId")?.ok_or_else(|| ApiError::missing("VlanId"))?;
    let place = world.join_trunk(branch, params.need("TrunkInterfaceId")?, vlan)?;
    let mut xml = Xml::default();
    xml.nest("interfaceAssociation", |xml| write_association(xml, branch, &place));
    Ok(xml)
}

pub(super) fn disassociate_trunk(world: &mut World, request: &Request, _now: Timestamp) -> Result<Xml, ApiError> {
    world.end_association(request.params.need("AssociationId")?)?;
    Ok(done())
}
