//! Network interfaces: the bulk of EC2's side.

use std::net::Ipv4Addr;

use ipam_audit_api::views::Interner;
use ipam_audit_core::{
    ids::{EniId, InstanceId, SubnetId},
    inventory::{Attachment, Interface, InterfaceKind, InterfaceStatus, InterfaceTraits},
    net::Prefix28,
};
use jiff::Timestamp;
use serde::Deserialize;

use super::{Item, Tag, said, tags};
use crate::wrong::Wrong;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Json {
    network_interface_id: Option<String>,
    subnet_id: Option<String>,
    interface_type: Option<String>,
    status: Option<String>,
    description: Option<String>,
    requester_id: Option<String>,
    requester_managed: Option<bool>,
    owner_id: Option<String>,
    private_ip_address: Option<String>,
    private_ip_addresses: Option<Vec<Address>>,
    ipv4_prefixes: Option<Vec<Prefix>>,
    attachment: Option<Attached>,
    groups: Option<Vec<Group>>,
    tag_set: Option<Vec<Tag>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Address {
    private_ip_address: Option<String>,
    primary: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Prefix {
    ipv4_prefix: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Group {
    group_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attached {
    attachment_id: Option<String>,
    instance_id: Option<String>,
    device_index: Option<i64>,
    network_card_index: Option<i64>,
    delete_on_termination: Option<bool>,
    attach_time: Option<Timestamp>,
}

/// An interface with all its addresses.
pub(crate) fn interface(text: &str, texts: &mut Interner) -> Result<Interface, Wrong> {
    let eni: Json = serde_json::from_str(text)?;
    let item = Item::named(eni.network_interface_id.as_ref(), "NetworkInterfaceId")?;
    let subnet = item.need(said(eni.subnet_id.as_ref()), "SubnetId")?;
    let kind = item.need(said(eni.interface_type.as_ref()), "InterfaceType")?;
    let status = item.need(said(eni.status.as_ref()), "Status")?;
    let addresses = eni.private_ip_addresses.as_deref().unwrap_or_default();
    let primary = primary(&item, eni.private_ip_address.as_ref(), addresses)?;
    let groups = eni.groups.iter().flatten().filter_map(|group| said(group.group_id.as_ref()));
    let (created, tagged): (Vec<Tag>, _) =
        eni.tag_set.into_iter().flatten().partition(|tag| tag.key == Interface::CREATED_AT);
    let traits = InterfaceTraits {
        subnet: SubnetId::new(texts.text(subnet)),
        kind: InterfaceKind::parse(kind),
        status: InterfaceStatus::parse(status),
        requester: said(eni.requester_id.as_ref()).map(|requester| texts.text(requester)),
        requester_managed: eni.requester_managed == Some(true),
        groups: texts.list(groups),
        owner: said(eni.owner_id.as_ref()).map(|owner| texts.text(owner)),
    };
    Ok(Interface {
        id: EniId::new(item.0),
        traits: texts.interface(traits),
        description: texts.text(eni.description.as_deref().unwrap_or_default()),
        primary,
        secondary: secondary(&item, addresses, primary)?,
        prefixes: prefixes(&item, eni.ipv4_prefixes.as_deref().unwrap_or_default())?,
        attachment: eni.attachment.as_ref().map(|attachment| attached(&item, attachment, texts)).transpose()?.flatten(),
        created_at: created.first().and_then(|tag| tag.value.as_ref()?.parse().ok()),
        tags: tags(Some(tagged), texts),
    })
}

/// The interface's own address; an interface of IPv6 alone, or of a fabric without IP, has none.
fn primary(item: &Item<'_>, own: Option<&String>, addresses: &[Address]) -> Result<Option<Ipv4Addr>, Wrong> {
    let marked = addresses.iter().find(|entry| entry.primary == Some(true));
    let address = said(own).or_else(|| said(marked?.private_ip_address.as_ref()));
    address.map(|address| item.parse(address, "PrivateIpAddress")).transpose()
}

fn secondary(item: &Item<'_>, addresses: &[Address], primary: Option<Ipv4Addr>) -> Result<Box<[Ipv4Addr]>, Wrong> {
    const FIELD: &str = "PrivateIpAddresses";
    let mut secondary = Vec::with_capacity(addresses.len().saturating_sub(usize::from(primary.is_some())));
    for entry in addresses {
        let address = item.parse(item.need(said(entry.private_ip_address.as_ref()), FIELD)?, FIELD)?;
        if Some(address) != primary {
            secondary.push(address);
        }
    }
    secondary.sort_unstable();
    Ok(secondary.into_boxed_slice())
}

fn prefixes(item: &Item<'_>, prefixes: &[Prefix]) -> Result<Box<[Prefix28]>, Wrong> {
    const FIELD: &str = "Ipv4Prefixes";
    let parsed = prefixes.iter().map(|prefix| item.parse(item.need(said(prefix.ipv4_prefix.as_ref()), FIELD)?, FIELD));
    let mut prefixes: Box<[Prefix28]> = parsed.collect::<Result<_, _>>()?;
    prefixes.sort_unstable();
    Ok(prefixes)
}

/// What it is attached to; EC2 leaves an empty attachment behind for a moment after a detachment.
fn attached(item: &Item<'_>, attachment: &Attached, texts: &mut Interner) -> Result<Option<Attachment>, Wrong> {
    if attachment.attachment_id.is_none() && attachment.instance_id.is_none() {
        return Ok(None);
    }
    // The card is absent where the service knows of only one.
    let card = attachment.network_card_index.unwrap_or(0);
    Ok(Some(Attachment {
        instance: said(attachment.instance_id.as_ref()).map(|instance| InstanceId::new(texts.text(instance))),
        device_index: item.count(attachment.device_index, "Attachment.DeviceIndex")?,
        card_index: item.count(Some(card), "Attachment.NetworkCardIndex")?,
        delete_on_termination: attachment.delete_on_termination,
        attached_at: attachment.attach_time,
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn complete() -> Value {
        json!({
            "NetworkInterfaceId": "eni-1", "SubnetId": "subnet-1", "InterfaceType": "interface", "Status": "in-use",
            "Description": "aws-K8S-i-1", "RequesterManaged": false, "OwnerId": "111122223333",
            "PrivateIpAddress": "10.0.0.9",
            "PrivateIpAddresses": [{"PrivateIpAddress": "10.0.0.20", "Primary": false},
                {"PrivateIpAddress": "10.0.0.9", "Primary": true}, {"PrivateIpAddress": "10.0.0.10", "Primary": false}],
            "Ipv4Prefixes": [{"Ipv4Prefix": "10.0.0.48/28"}, {"Ipv4Prefix": "10.0.0.32/28"}],
            "Attachment": {"AttachmentId": "eni-attach-1", "InstanceId": "i-1", "DeviceIndex": 1, "NetworkCardIndex": 0,
                "DeleteOnTermination": true, "Status": "attached", "AttachTime": "2026-01-01T00:00:00+00:00"},
            "Groups": [{"GroupId": "sg-1", "GroupName": "nodes"}],
            "TagSet": [{"Key": "b", "Value": "2"}, {"Key": "a", "Value": "1"}],
        })
    }

    fn convert(object: &Value) -> Result<Interface, String> {
        interface(&object.to_string(), &mut Interner::default()).map_err(|wrong| wrong.what)
    }

    #[test]
    fn an_interface_has_its_addresses_sorted_and_its_owner() {
        let row = convert(&complete()).unwrap();
        assert_eq!(row.primary, Some([10, 0, 0, 9].into()));
        assert_eq!(*row.secondary, [Ipv4Addr::from([10, 0, 0, 10]), [10, 0, 0, 20].into()]);
        assert_eq!((row.addresses(), row.owner.as_deref(), &*row.groups[0]), (3 + 32, Some("111122223333"), "sg-1"));
        assert_eq!(row.tag("a"), Some("1"));
        let attachment = row.attachment.unwrap();
        assert_eq!((attachment.device_index, attachment.card_index), (1, 0));
        assert_eq!(attachment.attached_at, "2026-01-01T00:00:00Z".parse().ok());
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (pointer, value, want) in [
            ("/NetworkInterfaceId", Value::Null, "it has no readable NetworkInterfaceId"),
            ("/SubnetId", Value::Null, "it has no readable SubnetId"),
            ("/Status", json!(""), "it has no readable Status"),
            ("/PrivateIpAddress", json!("ten"), "it has no readable PrivateIpAddress"),
            ("/Ipv4Prefixes/0/Ipv4Prefix", json!("10.0.0.1/28"), "it has no readable Ipv4Prefixes"),
            ("/Attachment/DeviceIndex", json!(-1), "it has no readable Attachment.DeviceIndex"),
        ] {
            let mut object = complete();
            *object.pointer_mut(pointer).unwrap() = value;
            assert_eq!(convert(&object).unwrap_err(), want);
        }
    }

    #[test]
    fn an_emptied_attachment_is_none_and_a_new_kind_keeps_its_word() {
        let mut object = complete();
        object["Attachment"] = json!({});
        object["InterfaceType"] = json!("nat_gateway");
        let row = convert(&object).unwrap();
        assert_eq!((&row.attachment, &row.kind), (&None, &InterfaceKind::Other("nat_gateway".into())));
    }
}
