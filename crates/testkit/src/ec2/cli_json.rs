//! The account as `aws ec2 describe-… --output json` prints it: what offline readers are fed with.

use ipnet::Ipv4Net;
use serde_json::{Value, json};

use super::actions::target_element;
use super::ids;
use super::seed::Tags;
use super::types::InstanceType;
use super::world::{
    Attachment, Instance, Interface, Reservation, RouteTable, SecurityGroup, Subnet, Vpc, World, cidr_association_id,
    route_association_id,
};

impl World {
    /// The answers by file name: `subnets`, `network-interfaces`, `instances`, `instance-types`, `vpcs`,
    /// `subnet-cidr-reservations`, `security-groups`, `route-tables`.
    pub fn to_cli_json(&self) -> [(&'static str, Value); 8] {
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
            (
                "security-groups",
                json!({"SecurityGroups": self.security_groups.values().map(security_group).collect::<Vec<_>>()}),
            ),
            (
                "route-tables",
                json!({"RouteTables": self.route_tables.values().map(|one| route_table(self, one)).collect::<Vec<_>>()}),
            ),
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

fn security_group(one: &SecurityGroup) -> Value {
    json!({
        "GroupId": one.id, "GroupName": one.name, "VpcId": one.vpc, "Description": one.name, "IpPermissions": [],
        "Tags": tags(&one.tags),
    })
}

fn route_table(world: &World, one: &RouteTable) -> Value {
    let association = |with: &str| {
        json!({
            "RouteTableAssociationId": route_association_id(&one.id, with), "RouteTableId": one.id,
            "Main": with == one.vpc, "AssociationState": {"State": "associated"},
        })
    };
    let main = one.main.then(|| association(&one.vpc));
    let of_subnets = one.subnets.iter().map(|subnet| {
        let mut value = association(subnet);
        value["SubnetId"] = json!(subnet);
        value
    });
    let local = world.vpc(&one.vpc).into_iter().flat_map(|vpc| vpc.blocks().collect::<Vec<_>>());
    let local = local.map(|block| (block, "local", "active"));
    let added = one.routes.iter().map(|route| (route.destination, route.target.as_str(), route.state.as_str()));
    let routes = local.chain(added).map(|(destination, target, state)| {
        let mut value = json!({"DestinationCidrBlock": destination.to_string(), "State": state});
        let field = target_element(target);
        value[format!("{}{}", field[..1].to_ascii_uppercase(), &field[1..])] = json!(target);
        value
    });
    json!({
        "RouteTableId": one.id, "VpcId": one.vpc, "Associations": main.into_iter().chain(of_subnets).collect::<Vec<_>>(),
        "Routes": routes.collect::<Vec<_>>(), "Tags": tags(&one.tags),
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
