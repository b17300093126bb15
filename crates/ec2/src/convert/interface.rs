//! Network interfaces: the bulk of the inventory.

use std::{net::Ipv4Addr, sync::Arc};

use aws_sdk_ec2::types as sdk;
use ipam_audit_core::{
    ids::{EniId, InstanceId, SubnetId},
    intern::Interner,
    inventory::{Attachment, Interface, InterfaceKind, InterfaceStatus, InterfaceTraits},
    net::Prefix28,
};
use jiff::Timestamp;

use super::{Item, Malformed};
use crate::sieve::Unread;

/// What EC2 tells of an interface and no row has: most of it is the names of its addresses.
pub(crate) const UNREAD: Unread = &[
    "association",
    "availabilityZone",
    "availabilityZoneId",
    "connectionTrackingConfiguration",
    "groupName",
    "instanceOwnerId",
    "ipv6AddressesSet",
    "ipv6PrefixSet",
    "macAddress",
    "operator",
    "privateDnsName",
    "publicIpDnsNameOptions",
    "sourceDestCheck",
];

/// An interface with all its addresses.
pub(crate) fn interface(eni: &sdk::NetworkInterface, texts: &mut Interner) -> Result<Interface, Malformed> {
    let item = Item::named(eni.network_interface_id.as_deref(), "a network interface", "networkInterfaceId")?;
    let subnet = item.need(eni.subnet_id.as_deref(), "subnetId")?;
    let kind = item.need(eni.interface_type.as_ref(), "interfaceType")?;
    let status = item.need(eni.status.as_ref(), "status")?;
    let primary = primary(&item, eni)?;
    let (created, tags) = eni.tag_set().iter().partition::<Vec<_>, _>(|tag| tag.key() == Some(Interface::CREATED_AT));
    let traits = InterfaceTraits {
        subnet: SubnetId::new(texts.text(subnet)),
        kind: InterfaceKind::parse(kind.as_str()),
        status: InterfaceStatus::parse(status.as_str()),
        requester: eni.requester_id.as_deref().map(|requester| texts.text(requester)),
        requester_managed: eni.requester_managed == Some(true),
        groups: groups(eni, texts),
        owner: eni.owner_id.as_deref().map(|owner| texts.text(owner)),
    };
    Ok(Interface {
        id: EniId::new(item.0),
        traits: texts.interface(traits),
        description: texts.text(eni.description.as_deref().unwrap_or_default()),
        primary,
        secondary: secondary(&item, eni.private_ip_addresses(), primary)?,
        prefixes: prefixes(&item, eni.ipv4_prefixes())?,
        attachment: eni.attachment.as_ref().map(|attachment| attached(&item, attachment, texts)).transpose()?.flatten(),
        created_at: created.first().and_then(|tag| tag.value()?.parse().ok()),
        tags: item.tags(tags, texts)?,
    })
}

/// The interface's own address; an interface of IPv6 alone, or of a fabric without IP, has none.
fn primary(item: &Item<'_>, eni: &sdk::NetworkInterface) -> Result<Option<Ipv4Addr>, Malformed> {
    let marked = eni.private_ip_addresses().iter().find(|entry| entry.primary() == Some(true));
    let address = eni.private_ip_address().or_else(|| marked?.private_ip_address());
    let address = address.filter(|address| !address.is_empty());
    address.map(|address| item.parse(address, "privateIpAddress")).transpose()
}

fn groups(eni: &sdk::NetworkInterface, texts: &mut Interner) -> Arc<[Arc<str>]> {
    let ids = eni.groups().iter().filter_map(sdk::GroupIdentifier::group_id);
    texts.list(ids)
}

fn secondary(
    item: &Item<'_>,
    addresses: &[sdk::NetworkInterfacePrivateIpAddress],
    primary: Option<Ipv4Addr>,
) -> Result<Box<[Ipv4Addr]>, Malformed> {
    const FIELD: &str = "privateIpAddressesSet.privateIpAddress";
    let mut secondary = Vec::with_capacity(addresses.len().saturating_sub(usize::from(primary.is_some())));
    for entry in addresses {
        let address = item.parse(item.need(entry.private_ip_address(), FIELD)?, FIELD)?;
        if Some(address) != primary {
            secondary.push(address);
        }
    }
    secondary.sort_unstable();
    Ok(secondary.into_boxed_slice())
}

fn prefixes(item: &Item<'_>, prefixes: &[sdk::Ipv4PrefixSpecification]) -> Result<Box<[Prefix28]>, Malformed> {
    const FIELD: &str = "ipv4PrefixSet.ipv4Prefix";
    let parsed = prefixes.iter().map(|prefix| item.parse(item.need(prefix.ipv4_prefix(), FIELD)?, FIELD));
    let mut prefixes: Box<[Prefix28]> = parsed.collect::<Result<_, _>>()?;
    prefixes.sort_unstable();
    Ok(prefixes)
}

/// What it is attached to; EC2 leaves an empty attachment behind for a moment after a detachment.
fn attached(
    item: &Item<'_>,
    attachment: &sdk::NetworkInterfaceAttachment,
    texts: &mut Interner,
) -> Result<Option<Attachment>, Malformed> {
    if attachment.attachment_id().is_none() && attachment.instance_id().is_none() {
        return Ok(None);
    }
    let instance = attachment.instance_id().filter(|instance| !instance.is_empty());
    // The card is absent where the service knows of only one.
    let card = attachment.network_card_index().unwrap_or(0);
    Ok(Some(Attachment {
        instance: instance.map(|instance| InstanceId::new(texts.text(instance))),
        device_index: item.count(attachment.device_index(), "attachment.deviceIndex")?,
        card_index: item.count(Some(card), "attachment.networkCardIndex")?,
        delete_on_termination: attachment.delete_on_termination(),
        attached_at: attachment.attach_time().and_then(|time| Timestamp::from_second(time.secs()).ok()),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> sdk::builders::NetworkInterfaceBuilder {
        sdk::NetworkInterface::builder()
            .network_interface_id("eni-1")
            .subnet_id("subnet-1")
            .interface_type(sdk::NetworkInterfaceType::Interface)
            .status(sdk::NetworkInterfaceStatus::InUse)
            .private_ip_address("10.0.0.9")
    }

    fn address(address: &str) -> sdk::NetworkInterfacePrivateIpAddress {
        let builder = sdk::NetworkInterfacePrivateIpAddress::builder();
        builder.private_ip_address(address).build()
    }

    fn prefix(prefix: &str) -> sdk::Ipv4PrefixSpecification {
        sdk::Ipv4PrefixSpecification::builder().ipv4_prefix(prefix).build()
    }

    fn convert(builder: sdk::builders::NetworkInterfaceBuilder) -> Result<Interface, String> {
        interface(&builder.build(), &mut Interner::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn addresses_are_sorted_and_the_primary_is_not_among_the_secondaries() {
        let row = convert(
            complete()
                .private_ip_addresses(address("10.0.0.20"))
                .private_ip_addresses(address("10.0.0.9"))
                .private_ip_addresses(address("10.0.0.10"))
                .ipv4_prefixes(prefix("10.0.0.48/28"))
                .ipv4_prefixes(prefix("10.0.0.32/28")),
        )
        .unwrap();
        assert_eq!(row.primary, Some([10, 0, 0, 9].into()));
        assert_eq!(*row.secondary, [Ipv4Addr::from([10, 0, 0, 10]), [10, 0, 0, 20].into()]);
        assert_eq!(row.addresses(), 3 + 32);
        assert!(row.prefixes[0] < row.prefixes[1]);
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (builder, want) in [
            (complete().set_subnet_id(None), "eni-1 has no readable subnetId"),
            (complete().set_status(None), "eni-1 has no readable status"),
            (complete().set_interface_type(None), "eni-1 has no readable interfaceType"),
            (complete().private_ip_address("ten"), "eni-1 has no readable privateIpAddress"),
            (complete().ipv4_prefixes(prefix("10.0.0.1/28")), "eni-1 has no readable ipv4PrefixSet.ipv4Prefix"),
            (complete().set_network_interface_id(None), "a network interface has no readable networkInterfaceId"),
        ] {
            assert_eq!(convert(builder).unwrap_err(), want);
        }
    }

    #[test]
    fn kinds_that_the_sdk_does_not_know_or_spells_otherwise_keep_their_word() {
        for word in ["nat_gateway", "evs", "something_new"] {
            let row = convert(complete().interface_type(sdk::NetworkInterfaceType::from(word))).unwrap();
            assert_eq!(row.kind, InterfaceKind::Other(word.into()));
        }
        let row = convert(complete().interface_type(sdk::NetworkInterfaceType::from("efa-only"))).unwrap();
        assert_eq!(row.kind, InterfaceKind::EfaOnly);
    }

    #[test]
    fn an_attachment_needs_its_device_index() {
        let attachment = || sdk::NetworkInterfaceAttachment::builder().attachment_id("eni-attach-1").instance_id("i-1");
        let row = convert(complete().attachment(attachment().device_index(1).build())).unwrap();
        let attachment_row = row.attachment.unwrap();
        assert_eq!((attachment_row.device_index, attachment_row.card_index), (1, 0));
        assert_eq!(attachment_row.instance, Some("i-1".into()));
        let error = convert(complete().attachment(attachment().build())).unwrap_err();
        assert_eq!(error, "eni-1 has no readable attachment.deviceIndex");
        let empty = sdk::NetworkInterfaceAttachment::builder().build();
        assert_eq!(convert(complete().attachment(empty)).unwrap().attachment, None);
    }
}
