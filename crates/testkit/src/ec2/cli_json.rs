//! The account as `aws ec2 describe-… --output json` prints it: what offline readers are fed with.

use ipnet::Ipv4Net;
use serde_json::{Value, json};

use super::ids;
use super::seed::Tags;
use super::types::InstanceType;
use super::world::{Attachment, Instance, Interface, Reservation, Subnet, Vpc, World, cidr_association_id};

impl World {
    /// The answers by file name: `subnets`, `network-interfaces`, `instances`, `instance-types`, `vpcs`,
    /// `subnet-cidr-reservations`.
    pub fn to_cli_json(&self) -> [(&'static str, Value); 6] {
        let types = self.instances.values().filter_map(|instance| InstanceType::find(&instance.type_name));
        let types: std::collections::BTreeMap<&str, &InstanceType> = types.map(|one| (one.name, one)).collect();
        let reservations = |subnet: &Subnet| {
            let own: Vec<Value> =
                self.reservations.values().filter(|one| one.subnet == subnet.id).map(reservation).collect();
            json!({"SubnetIpv4CidrReservations": own, "SubnetIpv6CidrReservations": []})
        };
        [
            ("subnets", json!({"Subnets": self.subnets.values().map(subnet).collect::<Vec<_>>()})),
            (
                "network-interfaces",
                json!({"NetworkInterfaces": self.interfaces.values().map(interface).collect::<Vec<_>>()}),
            ),
            ("instances", json!({"Reservations": self.instances.values().map(launch).collect::<Vec<_>>()})),
            (
                "instance-types",
                json!({"InstanceTypes": types.values().map(|one| instance_type(one)).collect::<Vec<_>>()}),
            ),
            ("vpcs", json!({"Vpcs": self.vpcs.values().map(vpc).collect::<Vec<_>>()})),
            ("subnet-cidr-reservations", json!(self.subnets.values().map(reservations).collect::<Vec<_>>())),
        ]
    }
}

fn tags(tags: &Tags) -> Value {
    tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect()
}

fn vpc(vpc: &Vpc) -> Value {
    let association = |cidr: Ipv4Net, state: &str| {
        json!({
            "AssociationId": cidr_association_id(&vpc.id, cidr), "CidrBlock": cidr.to_string(),
            "CidrBlockState": {"State": state},
        })
    };
    let secondary = vpc.secondary.iter().map(|one| association(one.cidr, &one.state));
    json!({
        "VpcId": vpc.id, "CidrBlock": vpc.cidr.to_string(), "State": "available", "IsDefault": false,
        "CidrBlockAssociationSet": std::iter::once(association(vpc.cidr, "associated")).chain(secondary).collect::<Vec<_>>(),
        "Tags": tags(&vpc.tags),
    })
}

fn subnet(subnet: &Subnet) -> Value {
    json!({
        "SubnetId": subnet.id, "VpcId": subnet.vpc, "OwnerId": subnet.owner, "State": subnet.state,
        "CidrBlock": subnet.cidr.to_string(), "AvailableIpAddressCount": subnet.book.available(),
        "AvailabilityZone": subnet.zone, "AvailabilityZoneId": subnet.zone_id,
        "Ipv6CidrBlockAssociationSet": [], "Ipv6Native": false, "MapPublicIpOnLaunch": false,
        "DefaultForAz": false, "AssignIpv6AddressOnCreation": false, "Tags": tags(&subnet.tags),
    })
}

fn reservation(one: &Reservation) -> Value {
    json!({
        "SubnetCidrReservationId": one.id, "SubnetId": one.subnet, "Cidr": one.cidr.to_string(),
        "ReservationType": one.kind.as_str(), "Description": one.description, "Tags": tags(&one.tags),
    })
}

fn interface(one: &Interface) -> Value {
    let address = |address| json!({"PrivateIpAddress": address, "Primary": one.primary == Some(address)});
    let mut value = json!({
        "NetworkInterfaceId": one.id, "SubnetId": one.subnet, "VpcId": one.vpc, "AvailabilityZone": one.zone,
        "Description": one.description, "OwnerId": one.owner, "RequesterManaged": one.requester_managed,
        "Status": one.status.as_str(), "InterfaceType": one.kind.as_str(), "MacAddress": ids::mac(&one.id),
        "SourceDestCheck": true,
        "Groups": one.groups.iter().map(|id| json!({"GroupId": id, "GroupName": id})).collect::<Vec<_>>(),
        "PrivateIpAddresses": one.addresses().map(address).collect::<Vec<_>>(),
        "Ipv6Addresses": [], "TagSet": tags(&one.tags),
    });
    if let Some(primary) = one.primary {
        value["PrivateIpAddress"] = json!(primary);
    }
    if let Some(requester) = &one.requester_id {
        value["RequesterId"] = json!(requester);
    }
    // As the real answer: the list is absent, not empty, for an interface without prefixes.
    if !one.prefixes.is_empty() {
        value["Ipv4Prefixes"] = one.prefixes.iter().map(|prefix| json!({"Ipv4Prefix": prefix.to_string()})).collect();
    }
    if let Some(attachment) = &one.attachment {
        value["Attachment"] = attached(attachment);
    }
    if let Some(operator) = &one.operator {
        value["Operator"] = json!({"Managed": true, "Principal": operator.principal});
    }
    value
}

fn attached(one: &Attachment) -> Value {
    let mut value = json!({
        "AttachmentId": one.id, "DeviceIndex": one.device_index, "NetworkCardIndex": one.card_index,
        "InstanceOwnerId": one.instance_owner, "Status": one.status, "AttachTime": one.attached_at.to_string(),
        "DeleteOnTermination": one.delete_on_termination,
    });
    if let Some(instance) = &one.instance {
        value["InstanceId"] = json!(instance);
    }
    value
}

fn launch(instance: &Instance) -> Value {
    let code = match instance.state.as_str() {
        "running" => 16,
        "shutting-down" => 32,
        "terminated" => 48,
        "stopping" => 64,
        "stopped" => 80,
        _ => 0,
    };
    json!({
        "ReservationId": instance.launch,
        "Instances": [{
            "InstanceId": instance.id, "InstanceType": instance.type_name, "SubnetId": instance.subnet,
            "VpcId": instance.vpc, "State": {"Code": code, "Name": instance.state},
            "Placement": {"AvailabilityZone": instance.zone}, "LaunchTime": instance.launched.to_string(),
            "Tags": tags(&instance.tags),
        }],
    })
}

fn instance_type(one: &InstanceType) -> Value {
    let card = |(index, most): (usize, &u32)| json!({"NetworkCardIndex": index, "MaximumNetworkInterfaces": most});
    let mut value = json!({
        "InstanceType": one.name, "BareMetal": one.bare_metal, "VCpuInfo": {"DefaultVCpus": one.vcpus},
        "MemoryInfo": {"SizeInMiB": one.memory_mib},
        "NetworkInfo": {
            "MaximumNetworkInterfaces": one.interfaces(), "MaximumNetworkCards": one.cards.len(),
            "DefaultNetworkCardIndex": 0, "NetworkCards": one.cards.iter().enumerate().map(card).collect::<Vec<_>>(),
            "Ipv4AddressesPerInterface": one.ipv4_per_interface, "Ipv6AddressesPerInterface": one.ipv6_per_interface,
            "Ipv6Supported": one.ipv6_per_interface > 0, "EfaSupported": one.efa_interfaces > 0,
        },
    });
    if let Some(hypervisor) = one.hypervisor {
        value["Hypervisor"] = json!(hypervisor);
    }
    value
}
