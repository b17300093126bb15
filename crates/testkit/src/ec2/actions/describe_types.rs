//! `DescribeInstanceTypes`.

use std::borrow::Cow;

use super::super::error::ApiError;
use super::super::filter::{Filterable, Filters};
use super::super::paging::{Cursor, PageRules};
use super::super::query::Request;
use super::super::seed::Tags;
use super::super::types::InstanceType;
use super::super::world::World;
use super::super::xml::Xml;
use super::{is_named, named, next_token};

/// Types that one call may name, and that one page holds when the request does not say.
const MOST: u32 = 100;

pub(super) const PAGES: PageRules = PageRules { range: (5, MOST), default: Some(MOST), ids: None };

impl Filterable for InstanceType {
    const FILTERS: &'static [&'static str] = &[
        "bare-metal",
        "hypervisor",
        "instance-type",
        "memory-info.size-in-mib",
        "network-info.efa-supported",
        "network-info.ipv4-addresses-per-interface",
        "network-info.ipv6-addresses-per-interface",
        "network-info.ipv6-supported",
        "network-info.maximum-network-cards",
        "network-info.maximum-network-interfaces",
        "processor-info.supported-architecture",
        "vcpu-info.default-vcpus",
    ];

    fn values(&self, filter: &str) -> Vec<Cow<'_, str>> {
        vec![match filter {
            "hypervisor" => return self.hypervisor.map(Into::into).into_iter().collect(),
            "processor-info.supported-architecture" => {
                return self.architectures.iter().map(|one| (*one).into()).collect();
            }
            "bare-metal" => self.bare_metal.to_string().into(),
            "instance-type" => self.name.into(),
            "memory-info.size-in-mib" => self.memory_mib.to_string().into(),
            "network-info.efa-supported" => (self.efa_interfaces > 0).to_string().into(),
            "network-info.ipv4-addresses-per-interface" => self.ipv4_per_interface.to_string().into(),
            "network-info.ipv6-addresses-per-interface" => self.ipv6_per_interface.to_string().into(),
            "network-info.ipv6-supported" => (self.ipv6_per_interface > 0).to_string().into(),
            "network-info.maximum-network-cards" => self.cards.len().to_string().into(),
            "network-info.maximum-network-interfaces" => self.interfaces().to_string().into(),
            _ => self.vcpus.to_string().into(),
        }]
    }

    fn tags(&self) -> Option<&Tags> {
        None
    }
}

pub(super) fn types(_world: &World, request: &Request) -> Result<Xml, ApiError> {
    let cursor = Cursor::parse(request, PAGES)?;
    let filters = Filters::parse::<InstanceType>(&request.params)?;
    if request.params.list("InstanceType").len() > MOST as usize {
        return Err(ApiError::value(format!("At most {MOST} instance types may be named in one call")));
    }
    let names = named(&request.params, "InstanceType", |name| {
        let message = format!("The following supplied instance types do not exist: [{name}]");
        InstanceType::find(name).ok_or_else(|| ApiError::client("InvalidInstanceType", message))
    })?;
    let page = cursor.page_of(InstanceType::all(), |one| is_named(names.as_ref(), one.name) && filters.match_all(one));
    let mut xml = Xml::default();
    xml.list("instanceTypeSet", page.items, write_type);
    next_token(&mut xml, page.next.as_ref());
    Ok(xml)
}

fn write_type(xml: &mut Xml, facts: &InstanceType) {
    xml.text("instanceType", facts.name);
    xml.value("bareMetal", facts.bare_metal);
    if let Some(hypervisor) = facts.hypervisor {
        xml.text("hypervisor", hypervisor);
    }
    xml.nest("processorInfo", |xml| {
        xml.texts("supportedArchitectures", facts.architectures.iter().copied());
    });
    xml.nest("vCpuInfo", |xml| xml.value("defaultVCpus", facts.vcpus));
    xml.nest("memoryInfo", |xml| xml.value("sizeInMiB", facts.memory_mib));
    xml.nest("networkInfo", |xml| write_network(xml, facts));
}

fn write_network(xml: &mut Xml, facts: &InstanceType) {
    xml.value("maximumNetworkInterfaces", facts.interfaces());
    xml.value("maximumNetworkCards", facts.cards.len());
    xml.value("defaultNetworkCardIndex", 0);
    xml.list("networkCards", facts.cards.iter().enumerate(), |xml, (index, interfaces)| {
        xml.value("networkCardIndex", index);
        xml.value("maximumNetworkInterfaces", interfaces);
    });
    xml.value("ipv4AddressesPerInterface", facts.ipv4_per_interface);
    xml.value("ipv6AddressesPerInterface", facts.ipv6_per_interface);
    xml.value("ipv6Supported", facts.ipv6_per_interface > 0);
    xml.value("efaSupported", facts.efa_interfaces > 0);
    if facts.efa_interfaces > 0 {
        xml.nest("efaInfo", |xml| xml.value("maximumEfaInterfaces", facts.efa_interfaces));
    }
}
