//! Instance types: the limits that the CNI works with.

use aws_sdk_ec2::types as sdk;
use ipam_audit_core::{ids::InstanceType, inventory::InstanceTypeFacts};

use super::{Item, Malformed};
use ipam_audit_core::intern::Interner;

/// What a type can hold, with the limit of the default network card apart from that of all cards.
pub(crate) fn instance_type(
    info: &sdk::InstanceTypeInfo,
    texts: &mut Interner,
) -> Result<InstanceTypeFacts, Malformed> {
    let name = info.instance_type().map(sdk::InstanceType::as_str);
    let item = Item::named(name, "an instance type", "instanceType")?;
    let network = item.need(info.network_info(), "networkInfo")?;
    let all_cards = network.maximum_network_interfaces();
    let vcpus = info.v_cpu_info().and_then(sdk::VCpuInfo::default_v_cpus);
    Ok(InstanceTypeFacts {
        name: InstanceType::new(item.0),
        default_card_interfaces: default_card(&item, network)?,
        all_card_interfaces: item.count(all_cards, "networkInfo.maximumNetworkInterfaces")?,
        ipv4_per_interface: item
            .count(network.ipv4_addresses_per_interface(), "networkInfo.ipv4AddressesPerInterface")?,
        hypervisor: info.hypervisor().map(|hypervisor| texts.text(hypervisor.as_str())),
        bare_metal: info.bare_metal() == Some(true),
        vcpus: vcpus.map(|vcpus| item.count(Some(vcpus), "vCpuInfo.defaultVCpus")).transpose()?,
    })
}

/// Interfaces of the default card. Only where there is one card need the default not be named.
fn default_card(item: &Item<'_>, network: &sdk::NetworkInfo) -> Result<u32, Malformed> {
    let card = match (network.default_network_card_index(), network.network_cards()) {
        (None, [only]) => Some(only),
        (None, _) => None,
        (index, cards) => cards.iter().find(|card| card.network_card_index() == index),
    };
    let card = item.need(card, "networkInfo.defaultNetworkCardIndex")?;
    item.count(card.maximum_network_interfaces(), "networkInfo.networkCards.maximumNetworkInterfaces")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(index: i32, interfaces: i32) -> sdk::NetworkCardInfo {
        let builder = sdk::NetworkCardInfo::builder();
        builder.network_card_index(index).maximum_network_interfaces(interfaces).build()
    }

    fn network() -> sdk::builders::NetworkInfoBuilder {
        sdk::NetworkInfo::builder()
            .maximum_network_interfaces(75)
            .ipv4_addresses_per_interface(50)
            .default_network_card_index(1)
            .network_cards(card(0, 60))
            .network_cards(card(1, 15))
    }

    fn convert(network: sdk::builders::NetworkInfoBuilder) -> Result<InstanceTypeFacts, String> {
        let info = sdk::InstanceTypeInfo::builder()
            .instance_type(sdk::InstanceType::from("p9.huge"))
            .network_info(network.build());
        instance_type(&info.build(), &mut Interner::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_default_card_is_not_the_sum_of_all_cards() {
        let facts = convert(network()).unwrap();
        assert_eq!((facts.default_card_interfaces, facts.all_card_interfaces), (15, 75));
        assert_eq!((facts.hypervisor, facts.vcpus), (None, None));
    }

    #[test]
    fn limits_are_never_guessed() {
        let error = convert(network().set_ipv4_addresses_per_interface(None)).unwrap_err();
        assert_eq!(error, "p9.huge has no readable networkInfo.ipv4AddressesPerInterface");
        let error = convert(network().set_default_network_card_index(None)).unwrap_err();
        assert_eq!(error, "p9.huge has no readable networkInfo.defaultNetworkCardIndex");
        let one = network().set_default_network_card_index(None).set_network_cards(Some(vec![card(0, 4)]));
        assert_eq!(convert(one).unwrap().default_card_interfaces, 4);
    }
}
