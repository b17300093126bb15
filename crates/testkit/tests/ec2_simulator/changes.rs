//! Calls that change the account: what they give, what they refuse, and that addresses come back.

use std::collections::BTreeSet;

use ipam_audit_testkit::ec2::Simulator;

use super::support::{SMALL, available, call, start};

/// A subnet of 59 addresses, a larger one in another zone, and a node with its primary interface.
fn node() -> Simulator {
    start(
        "
vpcs: [{id: vpc-1, cidr: 10.0.0.0/16}]
subnets:
  - {id: subnet-a, cidr: 10.0.0.0/26, zone: eu-central-1a}
  - {id: subnet-b, cidr: 10.0.1.0/24, zone: eu-central-1b}
instances: [{id: i-1, type: t3.medium, subnet: subnet-a}]
interfaces: [{id: eni-1, subnet: subnet-a, attachment: {instance: i-1}}]
",
    )
}

fn create(ec2: &Simulator, parameters: &str) -> String {
    let reply = call(ec2, &format!("CreateNetworkInterface&{parameters}")).ok();
    reply.one("networkInterfaceId").to_owned()
}

fn attach(ec2: &Simulator, interface: &str, instance: &str, index: u32) -> super::support::Reply {
    call(
        ec2,
        &format!("AttachNetworkInterface&NetworkInterfaceId={interface}&InstanceId={instance}&DeviceIndex={index}"),
    )
}

#[test]
fn interfaces_take_addresses_and_give_them_back() {
    let ec2 = node();
    let reply = call(
        &ec2,
        "CreateNetworkInterface&SubnetId=subnet-b&SecondaryPrivateIpAddressCount=4&Description=a%26b&SecurityGroupId.1=sg-1\
         &TagSpecification.1.ResourceType=network-interface&TagSpecification.1.Tag.1.Key=k&TagSpecification.1.Tag.1.Value=v",
    )
    .ok();
    assert_eq!((reply.one("status"), reply.one("description"), reply.one("groupId")), ("available", "a&amp;b", "sg-1"));
    assert_eq!((reply.one("key"), reply.one("value")), ("k", "v"));
    assert_eq!(reply.all("primary").len(), 5);
    assert_eq!(available(&ec2)["subnet-b"], 246);
    let id = reply.one("networkInterfaceId").to_owned();
    let more =
        call(&ec2, &format!("AssignPrivateIpAddresses&NetworkInterfaceId={id}&SecondaryPrivateIpAddressCount=2")).ok();
    let new = more.all("privateIpAddress");
    assert_eq!(new.len(), 2, "only the new ones");
    assert_eq!(available(&ec2)["subnet-b"], 244);
    call(&ec2, &format!("UnassignPrivateIpAddresses&NetworkInterfaceId={id}&PrivateIpAddress.1={}", new[0])).ok();
    assert_eq!(available(&ec2)["subnet-b"], 245);
    call(&ec2, &format!("DeleteNetworkInterface&NetworkInterfaceId={id}")).ok();
    assert_eq!(available(&ec2)["subnet-b"], 251);
}

#[test]
fn a_full_subnet_refuses() {
    let ec2 = node();
    let created = call(&ec2, "CreateNetworkInterface&SubnetId=subnet-a&SecondaryPrivateIpAddressCount=58");
    assert_eq!(created.code(), "InsufficientFreeAddressesInSubnet");
    assert_eq!(available(&ec2)["subnet-a"], 58, "a refused request takes nothing");
    create(&ec2, "SubnetId=subnet-a&SecondaryPrivateIpAddressCount=57");
    assert_eq!(call(&ec2, "CreateNetworkInterface&SubnetId=subnet-a").code(), "InsufficientFreeAddressesInSubnet");
    assert_eq!(available(&ec2)["subnet-a"], 0);
    let prefixes = call(&ec2, "AssignPrivateIpAddresses&NetworkInterfaceId=eni-1&Ipv4PrefixCount=1");
    assert_eq!(prefixes.code(), "InsufficientFreeAddressesInSubnet");
}

#[test]
fn fragmentation_is_told_from_exhaustion() {
    let ec2 = node();
    // A /26 has two blocks that can be delegated; an address in each leaves 56 free addresses and no free block.
    create(
        &ec2,
        "SubnetId=subnet-a&PrivateIpAddresses.1.PrivateIpAddress=10.0.0.16&PrivateIpAddresses.1.Primary=true\
                  &PrivateIpAddresses.2.PrivateIpAddress=10.0.0.47&PrivateIpAddresses.2.Primary=false",
    );
    assert_eq!(available(&ec2)["subnet-a"], 56);
    let assigned = call(&ec2, "AssignPrivateIpAddresses&NetworkInterfaceId=eni-1&Ipv4PrefixCount=1");
    assert_eq!(assigned.code(), "InsufficientCidrBlocks");
    let created = call(&ec2, "CreateNetworkInterface&SubnetId=subnet-a&Ipv4PrefixCount=1");
    assert_eq!(created.code(), "InvalidParameterValue");
    assert!(created.one("Message").contains("sufficient free"));
}

#[test]
fn prefixes_count_sixteen_and_come_from_reservations_first() {
    let ec2 = node();
    let reserved =
        call(&ec2, "CreateSubnetCidrReservation&SubnetId=subnet-b&Cidr=10.0.1.128%2F27&ReservationType=prefix").ok();
    assert_eq!(available(&ec2)["subnet-b"], 251 - 32);
    let id = create(&ec2, "SubnetId=subnet-b&Ipv4PrefixCount=1");
    let more = call(&ec2, &format!("AssignPrivateIpAddresses&NetworkInterfaceId={id}&Ipv4PrefixCount=2")).ok();
    assert_eq!(more.all("ipv4Prefix"), ["10.0.1.144/28", "10.0.1.16/28"]);
    assert_eq!(available(&ec2)["subnet-b"], 251 - 32 - 1 - 16);
    let named =
        call(&ec2, &format!("AssignPrivateIpAddresses&NetworkInterfaceId={id}&Ipv4Prefix.1=10.0.1.64%2F28")).ok();
    assert_eq!(named.all("ipv4Prefix"), ["10.0.1.64/28"]);
    call(&ec2, &format!("UnassignPrivateIpAddresses&NetworkInterfaceId={id}&Ipv4Prefix.1=10.0.1.64%2F28")).ok();
    let reservation = reserved.one("subnetCidrReservationId");
    call(&ec2, &format!("DeleteSubnetCidrReservation&SubnetCidrReservationId={reservation}")).ok();
    assert_eq!(available(&ec2)["subnet-b"], 251 - 1 - 48);
}

#[test]
fn explicit_reservations_are_for_named_addresses() {
    let ec2 = node();
    call(&ec2, "CreateSubnetCidrReservation&SubnetId=subnet-b&Cidr=10.0.1.0%2F25&ReservationType=explicit").ok();
    assert_eq!(available(&ec2)["subnet-b"], 251);
    let chosen = call(&ec2, "CreateNetworkInterface&SubnetId=subnet-b").ok();
    assert_eq!(chosen.one("privateIpAddress"), "10.0.1.128");
    let named = call(&ec2, "CreateNetworkInterface&SubnetId=subnet-b&PrivateIpAddress=10.0.1.9").ok();
    assert_eq!(named.one("privateIpAddress"), "10.0.1.9");
}

#[test]
fn wishes_that_cannot_be_granted_are_refused() {
    let ec2 = node();
    for (parameters, code) in [
        ("CreateNetworkInterface&SubnetId=subnet-9", "InvalidSubnetID.NotFound"),
        ("CreateNetworkInterface", "MissingParameter"),
        ("CreateNetworkInterface&SubnetId=subnet-a&PrivateIpAddress=10.0.0.4", "InvalidIPAddress.InUse"),
        ("CreateNetworkInterface&SubnetId=subnet-a&PrivateIpAddress=10.0.0.63", "InvalidParameterValue"),
        ("CreateNetworkInterface&SubnetId=subnet-a&PrivateIpAddress=10.0.1.9", "InvalidParameterValue"),
        ("CreateNetworkInterface&SubnetId=subnet-a&InterfaceType=lambda", "InvalidParameterValue"),
        ("AssignPrivateIpAddresses&NetworkInterfaceId=eni-9&Ipv4PrefixCount=1", "InvalidNetworkInterfaceID.NotFound"),
        ("AssignPrivateIpAddresses&NetworkInterfaceId=eni-1", "MissingParameter"),
        (
            "AssignPrivateIpAddresses&NetworkInterfaceId=eni-1&Ipv4PrefixCount=1&SecondaryPrivateIpAddressCount=1",
            "InvalidParameterCombination",
        ),
        ("AssignPrivateIpAddresses&NetworkInterfaceId=eni-1&Ipv4Prefix.1=10.0.0.24%2F28", "InvalidParameterValue"),
        (
            "AssignPrivateIpAddresses&NetworkInterfaceId=eni-1&SecondaryPrivateIpAddressCount=6",
            "PrivateIpAddressLimitExceeded",
        ),
        ("UnassignPrivateIpAddresses&NetworkInterfaceId=eni-1&PrivateIpAddress.1=10.0.0.4", "InvalidParameterValue"),
        ("CreateSubnet&VpcId=vpc-1&CidrBlock=10.0.0.0%2F25", "InvalidSubnet.Conflict"),
        ("CreateSubnet&VpcId=vpc-1&CidrBlock=10.1.0.0%2F24", "InvalidSubnet.Range"),
        ("CreateVpc&CidrBlock=10.0.0.0%2F8", "InvalidVpc.Range"),
        ("CreateVpc&CidrBlock=ten", "InvalidParameterValue"),
        ("RunInstances&SubnetId=subnet-a&InstanceType=brand.new&MinCount=1&MaxCount=1", "InvalidParameterValue"),
    ] {
        assert_eq!(call(&ec2, parameters).code(), code, "{parameters}");
    }
    assert_eq!((available(&ec2)["subnet-a"], available(&ec2)["subnet-b"]), (58, 251), "nothing was taken");
}

#[test]
fn the_same_client_token_makes_one_interface() {
    let ec2 = node();
    let wish = "SubnetId=subnet-b&SecondaryPrivateIpAddressCount=3&ClientToken=once";
    assert_eq!(create(&ec2, wish), create(&ec2, wish));
    assert_eq!(available(&ec2)["subnet-b"], 247);
    let other = call(&ec2, "CreateNetworkInterface&SubnetId=subnet-b&ClientToken=once");
    assert_eq!(other.code(), "IdempotentParameterMismatch");
}

#[test]
fn attaching_follows_the_rules() {
    let ec2 = node();
    let ids: Vec<String> = (0..3).map(|_| create(&ec2, "SubnetId=subnet-a")).collect();
    let far = create(&ec2, "SubnetId=subnet-b");
    assert_eq!(attach(&ec2, &far, "i-1", 1).code(), "InvalidParameterCombination");
    assert_eq!(attach(&ec2, &ids[0], "i-9", 1).code(), "InvalidInstanceID.NotFound");
    assert_eq!(attach(&ec2, &ids[0], "i-1", 0).code(), "InvalidParameterValue");
    let attachment = attach(&ec2, &ids[0], "i-1", 1).ok().one("attachmentId").to_owned();
    assert_eq!(attach(&ec2, &ids[0], "i-1", 2).code(), "InvalidNetworkInterface.InUse");
    assert_eq!(attach(&ec2, &ids[1], "i-1", 1).code(), "InvalidParameterValue");
    attach(&ec2, &ids[1], "i-1", 2).ok();
    assert_eq!(attach(&ec2, &ids[2], "i-1", 3).code(), "AttachmentLimitExceeded", "t3.medium takes three");
    let deleted = call(&ec2, &format!("DeleteNetworkInterface&NetworkInterfaceId={}", ids[0]));
    assert_eq!(deleted.code(), "InvalidParameterValue");
    assert!(deleted.one("Message").contains("currently in use"));
    call(&ec2, &format!("DetachNetworkInterface&AttachmentId={attachment}")).ok();
    assert_eq!(
        call(&ec2, &format!("DetachNetworkInterface&AttachmentId={attachment}")).code(),
        "InvalidAttachmentID.NotFound"
    );
    call(&ec2, &format!("DeleteNetworkInterface&NetworkInterfaceId={}", ids[0])).ok();
    attach(&ec2, &ids[2], "i-1", 3).ok();
    let primary = call(&ec2, "DescribeNetworkInterfaces&NetworkInterfaceId.1=eni-1").ok();
    let primary = primary.one("attachmentId");
    assert_eq!(call(&ec2, &format!("DetachNetworkInterface&AttachmentId={primary}")).code(), "OperationNotPermitted");
}

#[test]
fn addresses_beyond_the_type_are_refused_when_attaching() {
    let ec2 = node();
    let id = create(&ec2, "SubnetId=subnet-a&SecondaryPrivateIpAddressCount=6");
    assert_eq!(attach(&ec2, &id, "i-1", 1).code(), "PrivateIpAddressLimitExceeded");
}

#[test]
fn a_service_keeps_its_interfaces() {
    let ec2 = start(SMALL);
    let nat = call(&ec2, "DescribeNetworkInterfaces&NetworkInterfaceId.1=eni-5").ok();
    let detached = call(&ec2, &format!("DetachNetworkInterface&AttachmentId={}", nat.one("attachmentId")));
    assert_eq!(detached.code(), "OperationNotPermitted");
    assert_eq!(call(&ec2, "DeleteNetworkInterface&NetworkInterfaceId=eni-5").code(), "InvalidParameterValue");
}

#[test]
fn a_terminated_instance_frees_its_addresses_and_leaks_the_rest() {
    let ec2 = start(SMALL);
    let kept = create(&ec2, "SubnetId=subnet-a");
    attach(&ec2, &kept, "i-1", 2).ok();
    let ended = call(&ec2, "TerminateInstances&InstanceId.1=i-1").ok();
    assert_eq!(ended.all("name"), ["terminated", "running"]);
    // The primary interface and the trunk went with the instance; the branch and the late one stay behind.
    let left = call(&ec2, "DescribeNetworkInterfaces&Filter.1.Name=subnet-id&Filter.1.Value.1=subnet-a").ok();
    let left: BTreeSet<&str> = left.all("networkInterfaceId").into_iter().collect();
    assert_eq!(left, BTreeSet::from(["eni-3", "eni-4", kept.as_str()]));
    assert_eq!(available(&ec2)["subnet-a"], 251 - 3);
    let branch = call(&ec2, "DescribeNetworkInterfaces&NetworkInterfaceId.1=eni-3").ok();
    assert_eq!(branch.one("status"), "available");
    assert!(call(&ec2, "DescribeTrunkInterfaceAssociations").ok().all("associationId").is_empty());
    let gone = call(&ec2, "DescribeInstances&InstanceId.1=i-1").ok();
    assert_eq!(gone.one("name"), "terminated", "it lingers");
    call(&ec2, "DeleteNetworkInterface&NetworkInterfaceId=eni-3").ok();
}

#[test]
fn instances_launch_as_many_as_fit() {
    let ec2 = node();
    let launch = "RunInstances&SubnetId=subnet-a&InstanceType=m5.large&ImageId=ami-1";
    let tags =
        "TagSpecification.1.ResourceType=instance&TagSpecification.1.Tag.1.Key=k&TagSpecification.1.Tag.1.Value=v";
    let made = call(&ec2, &format!("{launch}&MinCount=1&MaxCount=100&{tags}")).ok();
    assert_eq!(made.all("instanceId").len(), 58);
    assert_eq!(made.all("reservationId").len(), 1);
    assert_eq!(made.all("key").len(), 58);
    assert_eq!(available(&ec2)["subnet-a"], 0);
    assert_eq!(call(&ec2, &format!("{launch}&MinCount=1&MaxCount=1")).code(), "InsufficientFreeAddressesInSubnet");
    let one = made.one("instanceId");
    call(&ec2, &format!("TerminateInstances&InstanceId.1={one}")).ok();
    assert_eq!(available(&ec2)["subnet-a"], 1);
    assert_eq!(call(&ec2, &format!("{launch}&MinCount=2&MaxCount=2")).code(), "InsufficientFreeAddressesInSubnet");
    assert_eq!(available(&ec2)["subnet-a"], 1, "a launch that falls short takes nothing");
}

#[test]
fn branches_join_and_leave_trunks() {
    let ec2 = start(SMALL);
    let branch = create(&ec2, "SubnetId=subnet-b&InterfaceType=branch");
    let join = |vlan: u16, branch: &str| {
        call(&ec2, &format!("AssociateTrunkInterface&TrunkInterfaceId=eni-2&BranchInterfaceId={branch}&VlanId={vlan}"))
    };
    assert_eq!(join(7, &branch).code(), "InvalidParameterValue", "the VLAN is taken");
    assert_eq!(join(8, "eni-4").code(), "InvalidParameterValue", "not a branch");
    let joined = join(8, &branch).ok();
    assert_eq!(joined.one("vlanId"), "8");
    assert_eq!(
        call(&ec2, &format!("DeleteNetworkInterface&NetworkInterfaceId={branch}")).code(),
        "InvalidParameterValue"
    );
    call(&ec2, &format!("DisassociateTrunkInterface&AssociationId={}", joined.one("associationId"))).ok();
    call(&ec2, &format!("DeleteNetworkInterface&NetworkInterfaceId={branch}")).ok();
    assert_eq!(call(&ec2, "DisassociateTrunkInterface&AssociationId=x").code(), "InvalidAssociationID.NotFound");
}

#[test]
fn networks_grow_and_are_tagged() {
    let ec2 = start("{}");
    let vpc = call(&ec2, "CreateVpc&CidrBlock=10.0.0.0%2F16").ok().one("vpcId").to_owned();
    call(&ec2, &format!("AssociateVpcCidrBlock&VpcId={vpc}&CidrBlock=100.64.0.0%2F16")).ok();
    let subnet =
        call(&ec2, &format!("CreateSubnet&VpcId={vpc}&CidrBlock=100.64.3.0%2F24&AvailabilityZone=eu-central-1c")).ok();
    assert_eq!((subnet.one("availableIpAddressCount"), subnet.one("availabilityZone")), ("251", "eu-central-1c"));
    let id = subnet.one("subnetId");
    call(&ec2, &format!("CreateTags&ResourceId.1={id}&ResourceId.2={vpc}&Tag.1.Key=k&Tag.1.Value=v")).ok();
    assert_eq!(call(&ec2, "DescribeSubnets&Filter.1.Name=tag:k&Filter.1.Value.1=v").ok().all("subnetId"), [id]);
    assert_eq!(call(&ec2, "CreateTags&ResourceId.1=subnet-9&Tag.1.Key=k&Tag.1.Value=v").code(), "InvalidID");
}
