//! Interfaces: addresses, prefixes, tags, attachments, trunks and branches.

use aws_sdk_ec2::types as sdk;
use ipam_audit_core::ids::InstanceId;
use ipam_audit_core::inventory::{Attachment, InterfaceKind, InterfaceStatus};

use crate::check::Check;
use crate::rig::both;
use crate::setup::{Builder, addresses, interface, refusal, scope_of, subnet};

#[tokio::test]
async fn an_interface_has_its_own_address_and_sorted_others() {
    for ec2 in both() {
        let mut check = Check::new("addresses", &ec2);
        let build = Builder::new(&ec2).await;
        let (vpc, subnet) = build.vpc_and_subnet("10.20.0.0/24").await;
        let id = build.interface(&subnet, &["10.20.0.50", "10.20.0.200", "10.20.0.9", "10.20.0.100"]).await;

        let inventory = ec2.read(&scope_of(&vpc)).await;

        let eni = interface(&inventory, &id);
        check.expect("the primary address", eni.primary, Some(addresses(&["10.20.0.50"])[0]));
        check.expect("the others", eni.secondary.to_vec(), addresses(&["10.20.0.9", "10.20.0.100", "10.20.0.200"]));
        check.expect("addresses in all", eni.addresses(), 4);
        check.expect("the subnet", eni.subnet.as_str(), subnet.as_str());
        check.expect("the kind", &eni.kind, &InterfaceKind::Interface);
        check.expect("the status", &eni.status, &InterfaceStatus::Available);
        check.expect("no attachment", eni.attachment.as_ref(), None);
        check.expect("not managed by a service", eni.requester_managed, false);
        check.finish();
    }
}

#[tokio::test]
async fn a_count_of_secondary_addresses_is_met() {
    for ec2 in both() {
        let mut check = Check::new("secondary count", &ec2);
        let build = Builder::new(&ec2).await;
        let (vpc, subnet) = build.vpc_and_subnet("10.21.0.0/16").await;
        let request = build.client.create_network_interface().subnet_id(&subnet);
        let made = request.secondary_private_ip_address_count(5).send().await.unwrap();
        let id = made.network_interface.unwrap().network_interface_id.unwrap();

        let inventory = ec2.read(&scope_of(&vpc)).await;
        check.expect("on the interface", interface(&inventory, &id).secondary.len(), 5);

        let assign = build.client.assign_private_ip_addresses().network_interface_id(&id);
        assign.secondary_private_ip_address_count(3).send().await.unwrap();
        let inventory = ec2.read(&scope_of(&vpc)).await;
        check.expect("after three more", interface(&inventory, &id).secondary.len(), 8);
        check.finish();
    }
}

#[tokio::test]
async fn prefixes_take_sixteen_addresses_each() {
    for ec2 in both() {
        let mut check = Check::new("prefixes", &ec2);
        let build = Builder::new(&ec2).await;
        let (vpc, subnet_id) = build.vpc_and_subnet("10.22.0.0/24").await;
        let request = build.client.create_network_interface().subnet_id(&subnet_id);
        let made = request.private_ip_address("10.22.0.10").ipv4_prefix_count(2).send().await.unwrap();
        let id = made.network_interface.unwrap().network_interface_id.unwrap();

        let inventory = ec2.read(&scope_of(&vpc)).await;
        check.expect("of a new interface", interface(&inventory, &id).prefixes.len(), 2);
        check.expect("free addresses", subnet(&inventory, &subnet_id).available, 251 - 1 - 32);

        let assign = build.client.assign_private_ip_addresses().network_interface_id(&id);
        assign.ipv4_prefixes("10.22.0.96/28").send().await.unwrap();
        let inventory = ec2.read(&scope_of(&vpc)).await;
        let eni = interface(&inventory, &id);
        let has = eni.prefixes.iter().any(|prefix| prefix.to_string() == "10.22.0.96/28");
        check.expect("assigned by name", has, true);
        check.expect("all three count", eni.addresses(), 1 + 48);
        check.expect("no prefix is among the addresses", eni.secondary.len(), 0);

        // A /27 has two blocks, and EC2 keeps addresses of both.
        let (_, small) = build.vpc_and_subnet("10.22.1.0/27").await;
        let id = build.interface(&small, &["10.22.1.10"]).await;
        let assign = build.client.assign_private_ip_addresses().network_interface_id(&id);
        let refused = refusal(assign.ipv4_prefix_count(1).send().await);
        check.expect("a subnet without a whole free block", refused.as_deref(), Some("InsufficientCidrBlocks"));
        check.finish();
    }
}

#[tokio::test]
async fn tags_and_description_tell_who_made_an_interface() {
    for ec2 in both() {
        let mut check = Check::new("tags", &ec2);
        let build = Builder::new(&ec2).await;
        let (vpc, subnet) = build.vpc_and_subnet("10.23.0.0/24").await;
        let tag = |key: &str, value: &str| sdk::Tag::builder().key(key).value(value).build();
        let tags = sdk::TagSpecification::builder()
            .resource_type(sdk::ResourceType::NetworkInterface)
            .tags(tag("node.k8s.amazonaws.com/instance_id", "i-0123"))
            .tags(tag("cluster.k8s.amazonaws.com/name", "prod"))
            .tags(tag("empty", ""));
        let request = build.client.create_network_interface().subnet_id(&subnet).private_ip_address("10.23.0.10");
        let request = request.description("aws-K8S-i-0123").tag_specifications(tags.build());
        let id = request.send().await.unwrap().network_interface.unwrap().network_interface_id.unwrap();
        build.tag(&id, "added", "later").await;

        let inventory = ec2.read(&scope_of(&vpc)).await;

        let eni = interface(&inventory, &id);
        check.expect("the description", &*eni.description, "aws-K8S-i-0123");
        let keys: Vec<&str> = eni.tags.iter().map(|(key, _)| &**key).collect();
        let want = ["added", "cluster.k8s.amazonaws.com/name", "empty", "node.k8s.amazonaws.com/instance_id"];
        check.expect("all tags, sorted", keys, want);
        check.expect("a value", eni.tag("cluster.k8s.amazonaws.com/name"), Some("prod"));
        check.expect("a value that is empty", eni.tag("empty"), Some(""));
        check.finish();
    }
}

#[tokio::test]
async fn an_attachment_names_instance_and_place() {
    for ec2 in both() {
        let mut check = Check::new("attachments", &ec2);
        let build = Builder::new(&ec2).await;
        let (vpc, subnet) = build.vpc_and_subnet("10.24.0.0/24").await;
        let instance = build.instance(&subnet, "m6a.xlarge").await;
        let id = build.interface(&subnet, &["10.24.0.200", "10.24.0.201"]).await;
        let attachment = build.attach(&id, &instance, 1).await;

        let inventory = ec2.read(&scope_of(&vpc)).await;

        let eni = interface(&inventory, &id);
        let place = eni.attachment.as_ref().unwrap();
        check.expect("the status", &eni.status, &InterfaceStatus::InUse);
        check.expect("the instance", place.instance.as_ref().map(InstanceId::as_str), Some(instance.as_str()));
        check.expect("the place", (place.device_index, place.card_index), (1, 0));
        check.expect("not the primary interface", place.is_primary(), false);
        check.expect("stays when the instance goes", place.delete_on_termination, Some(false));
        check.expect("when it was attached", place.attached_at.is_some(), true);
        let primary = inventory.interfaces.value().unwrap().iter().find(|one| one.id.as_str() != id).unwrap();
        check.expect(
            "the instance's own interface",
            primary.attachment.as_ref().map(Attachment::is_primary),
            Some(true),
        );

        build.client.detach_network_interface().attachment_id(&attachment).send().await.unwrap();
        let inventory = ec2.read(&scope_of(&vpc)).await;
        let eni = interface(&inventory, &id);
        check.expect("no attachment after it was detached", eni.attachment.as_ref(), None);
        check.expect("available after it was detached", &eni.status, &InterfaceStatus::Available);

        let id = build.interface(&subnet, &["10.24.0.210"]).await;
        build.attach(&id, &instance, 1).await;
        let twice = build.client.attach_network_interface().network_interface_id(&id).instance_id(&instance);
        let twice = refusal(twice.device_index(2).send().await);
        check.expect("a second attachment", twice.as_deref(), Some("InvalidNetworkInterface.InUse"));
        let delete = build.client.delete_network_interface().network_interface_id(&id);
        let deleted = refusal(delete.send().await);
        check.expect("deleting an interface in use", deleted.as_deref(), Some("InvalidParameterValue"));
        check.finish();
    }
}

#[tokio::test]
async fn an_instance_takes_interfaces_where_its_type_and_zone_allow() {
    for ec2 in both() {
        let mut check = Check::new("attachment limit", &ec2);
        let build = Builder::new(&ec2).await;
        let vpc = build.vpc("10.25.0.0/16").await;
        let subnet = build.subnet(&vpc, "10.25.0.0/24", 0).await;
        let elsewhere = build.subnet(&vpc, "10.25.1.0/24", 1).await;
        let instance = build.instance(&subnet, "t3.medium").await;
        let try_at = async |interface: &str, index| {
            let request = build.client.attach_network_interface().network_interface_id(interface);
            refusal(request.instance_id(&instance).device_index(index).send().await)
        };

        let first = build.interface(&subnet, &["10.25.0.201"]).await;
        build.attach(&first, &instance, 1).await;
        let second = build.interface(&subnet, &["10.25.0.202"]).await;
        let refused = try_at(&second, 1).await;
        check.expect("two at one index", refused.as_deref(), Some("InvalidParameterValue"));
        let far = build.interface(&elsewhere, &["10.25.1.201"]).await;
        let refused = try_at(&far, 2).await;
        check.expect("of another zone", refused.as_deref(), Some("InvalidParameterCombination"));
        let third = build.interface(&subnet, &["10.25.0.203"]).await;
        build.attach(&third, &instance, 3).await;
        let fourth = build.interface(&subnet, &["10.25.0.204"]).await;
        let refused = try_at(&fourth, 4).await;
        check.expect("a fourth interface of a t3.medium", refused.as_deref(), Some("AttachmentLimitExceeded"));
        check.finish();
    }
}

#[tokio::test]
async fn trunks_and_branches_are_told_apart() {
    for ec2 in both() {
        let mut check = Check::new("trunk", &ec2);
        let build = Builder::new(&ec2).await;
        let (vpc, subnet) = build.vpc_and_subnet("10.26.0.0/24").await;
        let make = async |kind: &str, address: &str| {
            let request = build.client.create_network_interface().subnet_id(&subnet).private_ip_address(address);
            let request = request.interface_type(sdk::NetworkInterfaceCreationType::from(kind));
            request.send().await.unwrap().network_interface.unwrap().network_interface_id.unwrap()
        };
        let (trunk, branch) = (make("trunk", "10.26.0.10").await, make("branch", "10.26.0.11").await);
        let request = build.client.associate_trunk_interface().trunk_interface_id(&trunk);
        let associated = request.branch_interface_id(&branch).vlan_id(7).send().await;

        let inventory = ec2.read(&scope_of(&vpc)).await;

        check.expect("association", associated.is_ok(), true);
        check.expect("the trunk's kind", &interface(&inventory, &trunk).kind, &InterfaceKind::Trunk);
        let branch = interface(&inventory, &branch);
        check.expect("the branch's kind", &branch.kind, &InterfaceKind::Branch);
        check.expect("the branch's status", &branch.status, &InterfaceStatus::InUse);
        check.expect("a branch is attached to nothing", branch.attachment.as_ref(), None);
        check.finish();
    }
}
