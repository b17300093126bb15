//! Instance types: the limits that the CNI works with.

use ipam_audit_api::views::Interner;
use ipam_audit_core::{ids::InstanceType, inventory::InstanceTypeFacts};
use serde::Deserialize;

use super::{Item, said};
use crate::wrong::Wrong;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Json {
    instance_type: Option<String>,
    hypervisor: Option<String>,
    bare_metal: Option<bool>,
    network_info: Option<Network>,
    #[serde(rename = "VCpuInfo")]
    cpus: Option<Cpus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Network {
    maximum_network_interfaces: Option<i64>,
    ipv4_addresses_per_interface: Option<i64>,
    default_network_card_index: Option<i64>,
    #[serde(rename = "NetworkCards")]
    cards: Option<Vec<Card>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Card {
    network_card_index: Option<i64>,
    maximum_network_interfaces: Option<i64>,
}

#[derive(Deserialize)]
struct Cpus {
    #[serde(rename = "DefaultVCpus")]
    default: Option<i64>,
}

/// What a type can hold, with the limit of the default network card apart from that of all cards.
pub(crate) fn instance_type(text: &str, texts: &mut Interner) -> Result<InstanceTypeFacts, Wrong> {
    let info: Json = serde_json::from_str(text)?;
    let item = Item::named(info.instance_type.as_ref(), "InstanceType")?;
    let network = item.need(info.network_info.as_ref(), "NetworkInfo")?;
    let cpus = info.cpus.and_then(|cpus| cpus.default);
    Ok(InstanceTypeFacts {
        name: InstanceType::new(item.0),
        default_card_interfaces: default_card(&item, network)?,
        all_card_interfaces: item.count(network.maximum_network_interfaces, "NetworkInfo.MaximumNetworkInterfaces")?,
        ipv4_per_interface: item
            .count(network.ipv4_addresses_per_interface, "NetworkInfo.Ipv4AddressesPerInterface")?,
        hypervisor: said(info.hypervisor.as_ref()).map(|hypervisor| texts.text(hypervisor)),
        bare_metal: info.bare_metal == Some(true),
        vcpus: cpus.map(|cpus| item.count(Some(cpus), "VCpuInfo.DefaultVCpus")).transpose()?,
    })
}

/// Interfaces of the default card. Only where there is one card need the default not be named.
fn default_card(item: &Item<'_>, network: &Network) -> Result<u32, Wrong> {
    let cards = network.cards.as_deref().unwrap_or_default();
    let card = match (network.default_network_card_index, cards) {
        (None, [only]) => Some(only),
        (None, _) => None,
        (index, cards) => cards.iter().find(|card| card.network_card_index == index),
    };
    let card = item.need(card, "NetworkInfo.DefaultNetworkCardIndex")?;
    item.count(card.maximum_network_interfaces, "NetworkInfo.NetworkCards.MaximumNetworkInterfaces")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn convert(network: &Value) -> Result<InstanceTypeFacts, String> {
        let object = json!({"InstanceType": "x.large", "Hypervisor": "nitro", "BareMetal": false,
            "VCpuInfo": {"DefaultVCpus": 8}, "NetworkInfo": network});
        instance_type(&object.to_string(), &mut Interner::default()).map_err(|wrong| wrong.what)
    }

    #[test]
    fn the_default_card_counts_not_all_of_them() {
        let network = json!({"MaximumNetworkInterfaces": 75, "Ipv4AddressesPerInterface": 50, "DefaultNetworkCardIndex": 1,
            "NetworkCards": [{"NetworkCardIndex": 0, "MaximumNetworkInterfaces": 60}, {"NetworkCardIndex": 1, "MaximumNetworkInterfaces": 15}]});
        let row = convert(&network).unwrap();
        assert_eq!((row.default_card_interfaces, row.all_card_interfaces, row.ipv4_per_interface), (15, 75, 50));
        assert_eq!((row.hypervisor.as_deref(), row.bare_metal, row.vcpus), (Some("nitro"), false, Some(8)));
    }

    #[test]
    fn a_default_card_that_is_not_named_is_not_guessed() {
        let card = json!({"NetworkCardIndex": 0, "MaximumNetworkInterfaces": 4});
        let network = |cards: Value| json!({"MaximumNetworkInterfaces": 8, "Ipv4AddressesPerInterface": 15, "NetworkCards": cards});
        assert_eq!(convert(&network(json!([card]))).unwrap().default_card_interfaces, 4);
        let error = convert(&network(json!([card, card]))).unwrap_err();
        assert_eq!(error, "it has no readable NetworkInfo.DefaultNetworkCardIndex");
    }
}
