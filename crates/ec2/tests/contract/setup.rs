//! Building a world through EC2's own API.

use std::net::Ipv4Addr;

use aws_sdk_ec2::Client;
use aws_sdk_ec2::error::ProvideErrorMetadata;
use aws_sdk_ec2::types as sdk;
use ipam_audit_core::ids::VpcId;
use ipam_audit_core::inventory::{Interface, Inventory, InventoryScope, Subnet};

use crate::rig::{Ec2, ZONES};

/// A client that builds.
pub(crate) struct Builder {
    pub(crate) client: Client,
}

impl Builder {
    pub(crate) async fn new(ec2: &Ec2) -> Self {
        Self { client: Client::new(&ec2.config().await) }
    }

    pub(crate) async fn vpc(&self, cidr: &str) -> String {
        let made = self.client.create_vpc().cidr_block(cidr).send().await.unwrap();
        made.vpc.unwrap().vpc_id.unwrap()
    }

    pub(crate) async fn subnet(&self, vpc: &str, cidr: &str, zone: usize) -> String {
        let request = self.client.create_subnet().vpc_id(vpc).cidr_block(cidr);
        let made = request.availability_zone(ZONES[zone]).send().await.unwrap();
        made.subnet.unwrap().subnet_id.unwrap()
    }

    /// A VPC of the range with a subnet that fills it.
    pub(crate) async fn vpc_and_subnet(&self, cidr: &str) -> (String, String) {
        let vpc = self.vpc(cidr).await;
        let subnet = self.subnet(&vpc, cidr, 0).await;
        (vpc, subnet)
    }

    /// An interface with just these addresses, the first being its own: moto chooses at random, and some twice.
    pub(crate) async fn interface(&self, subnet: &str, addresses: &[&str]) -> String {
        let mut request = self.client.create_network_interface().subnet_id(subnet);
        for (place, address) in addresses.iter().enumerate() {
            let entry = sdk::PrivateIpAddressSpecification::builder();
            let entry = entry.private_ip_address(*address).primary(place == 0).build();
            request = request.private_ip_addresses(entry);
        }
        let made = request.send().await.unwrap();
        made.network_interface.unwrap().network_interface_id.unwrap()
    }

    /// A running instance with its primary interface in the subnet.
    pub(crate) async fn instance(&self, subnet: &str, instance_type: &str) -> String {
        let request = self.client.run_instances().image_id("ami-0123456789abcdef0").subnet_id(subnet);
        let request = request.instance_type(sdk::InstanceType::from(instance_type)).min_count(1).max_count(1);
        let made = request.send().await.unwrap();
        made.instances.unwrap().remove(0).instance_id.unwrap()
    }

    pub(crate) async fn attach(&self, interface: &str, instance: &str, index: i32) -> String {
        let request = self.client.attach_network_interface().network_interface_id(interface);
        let made = request.instance_id(instance).device_index(index).send().await.unwrap();
        made.attachment_id.unwrap()
    }

    pub(crate) async fn tag(&self, resource: &str, key: &str, value: &str) {
        let tag = sdk::Tag::builder().key(key).value(value).build();
        self.client.create_tags().resources(resource).tags(tag).send().await.unwrap();
    }
}

/// The code of EC2's refusal; none if it did not refuse.
pub(crate) fn refusal<T, E: ProvideErrorMetadata>(answer: Result<T, E>) -> Option<String> {
    let error = answer.err()?;
    Some(error.code().unwrap_or("no code").to_owned())
}

pub(crate) fn scope_of(vpc: &str) -> InventoryScope {
    InventoryScope { vpc: Some(VpcId::new(vpc)), ..InventoryScope::default() }
}

/// The subnet in a reading without faults.
pub(crate) fn subnet<'a>(inventory: &'a Inventory, id: &str) -> &'a Subnet {
    assert_eq!(inventory.subnets.fault, None);
    let subnets = inventory.subnets.value().unwrap();
    subnets.iter().find(|subnet| subnet.id.as_str() == id).unwrap()
}

/// The interface in a reading without faults.
pub(crate) fn interface<'a>(inventory: &'a Inventory, id: &str) -> &'a Interface {
    assert_eq!(inventory.interfaces.fault, None);
    let interfaces = inventory.interfaces.value().unwrap();
    interfaces.iter().find(|interface| interface.id.as_str() == id).unwrap()
}

pub(crate) fn addresses(list: &[&str]) -> Vec<Ipv4Addr> {
    list.iter().map(|address| address.parse().unwrap()).collect()
}
