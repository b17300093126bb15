//! What `DescribeNetworkInterfaces` and its relatives show of interfaces of every kind.

use super::support::{SMALL, call, start};

/// The reply about one interface.
fn show(ec2: &ipam_audit_testkit::ec2::Simulator, id: &str) -> super::support::Reply {
    call(ec2, &format!("DescribeNetworkInterfaces&NetworkInterfaceId.1={id}&IncludeManagedResources=true")).ok()
}

#[test]
fn attached_interfaces_show_addresses_and_attachment() {
    let ec2 = start(SMALL);
    let reply = show(&ec2, "eni-1");
    assert_eq!(
        reply.all("primary"),
        ["true", "false", "false", "false", "false", "false", "false", "false", "false", "false"]
    );
    assert_eq!(reply.one("privateIpAddress"), "10.0.0.10");
    assert_eq!((reply.one("interfaceType"), reply.one("groupId")), ("interface", "sg-1"));
    assert_eq!((reply.one("instanceId"), reply.one("deviceIndex"), reply.one("networkCardIndex")), ("i-1", "0", "0"));
    assert_eq!(reply.all("status"), ["in-use", "attached"]);
    let trunk = show(&ec2, "eni-2");
    assert_eq!((trunk.one("interfaceType"), trunk.one("attachTime")), ("trunk", "2026-03-04T05:06:07.000Z"));
}

#[test]
fn branches_are_in_use_without_an_attachment() {
    let ec2 = start(SMALL);
    let branch = show(&ec2, "eni-3");
    assert_eq!((branch.one("interfaceType"), branch.one("status")), ("branch", "in-use"));
    assert_eq!(branch.one("requesterManaged"), "false");
    assert!(branch.all("attachment").is_empty());
    let by_instance =
        call(&ec2, "DescribeNetworkInterfaces&Filter.1.Name=attachment.instance-id&Filter.1.Value.1=i-1").ok();
    assert_eq!(by_instance.all("networkInterfaceId"), ["eni-1", "eni-2"]);
    let trunks = call(&ec2, "DescribeTrunkInterfaceAssociations").ok();
    assert_eq!(
        (trunks.one("branchInterfaceId"), trunks.one("trunkInterfaceId"), trunks.one("vlanId")),
        ("eni-3", "eni-2", "7")
    );
}

#[test]
fn leaks_and_service_interfaces_look_like_themselves() {
    let ec2 = start(SMALL);
    let leak = show(&ec2, "eni-4");
    assert_eq!((leak.one("status"), leak.one("description")), ("available", "aws-K8S-i-0gone"));
    assert_eq!(leak.one("key"), "node.k8s.amazonaws.com/instance_id");
    let nat = show(&ec2, "eni-5");
    assert_eq!(
        (nat.one("interfaceType"), nat.one("requesterManaged"), nat.one("requesterId")),
        ("nat_gateway", "true", "amazon-aws")
    );
    assert!(nat.all("instanceId").is_empty());
    assert_eq!(nat.one("instanceOwnerId"), "amazon-aws");
}

#[test]
fn managed_resources_may_be_hidden() {
    let ec2 = start(SMALL);
    let seen = |parameters: &str| call(&ec2, parameters).ok().all("networkInterfaceId").contains(&"eni-6");
    assert!(!seen("DescribeNetworkInterfaces"));
    assert!(seen("DescribeNetworkInterfaces&IncludeManagedResources=true"));
    let reply = show(&ec2, "eni-6");
    assert_eq!((reply.one("managed"), reply.one("principal")), ("true", "eks.amazonaws.com"));
}

#[test]
fn filters_choose_interfaces() {
    let ec2 = start(SMALL);
    for (filter, want) in [
        ("interface-type&Filter.1.Value.1=branch&Filter.1.Value.2=trunk", vec!["eni-2", "eni-3"]),
        ("status&Filter.1.Value.1=available", vec!["eni-4"]),
        ("requester-managed&Filter.1.Value.1=true", vec!["eni-5"]),
        ("requester-id&Filter.1.Value.1=amazon-*", vec!["eni-5"]),
        ("description&Filter.1.Value.1=aws-K8S-*", vec!["eni-4"]),
        ("addresses.private-ip-address&Filter.1.Value.1=10.0.0.10", vec!["eni-1"]),
        ("private-ip-address&Filter.1.Value.1=10.0.0.4", vec!["eni-1"]),
        ("attachment.status&Filter.1.Value.1=attached", vec!["eni-1", "eni-2", "eni-5"]),
        ("attachment.device-index&Filter.1.Value.1=1", vec!["eni-2"]),
        ("group-id&Filter.1.Value.1=sg-1", vec!["eni-1"]),
        ("operator.managed&Filter.1.Value.1=true", vec![]),
        ("tag-key&Filter.1.Value.1=vpcresources.k8s.aws/*", vec!["eni-3"]),
        ("tag:node.k8s.amazonaws.com/instance_id&Filter.1.Value.1=i-0gone", vec!["eni-4"]),
        ("vpc-id&Filter.1.Value.1=vpc-1&Filter.2.Name=subnet-id&Filter.2.Value.1=subnet-b", vec!["eni-5"]),
        ("private-dns-name&Filter.1.Value.1=ip-10-0-0-10.eu-central-1.compute.internal", vec!["eni-1"]),
    ] {
        let reply = call(&ec2, &format!("DescribeNetworkInterfaces&Filter.1.Name={filter}")).ok();
        assert_eq!(reply.all("networkInterfaceId"), want, "{filter}");
    }
}

#[test]
fn interfaces_on_their_way_say_so() {
    let ec2 = start(
        "
vpcs: [{cidr: 10.0.0.0/16}]
subnets: [{id: subnet-a, cidr: 10.0.0.0/24, zone: eu-central-1a}]
instances: [{id: i-1, type: m5.large, subnet: subnet-a}]
interfaces:
  - {id: eni-1, subnet: subnet-a, status: attaching, attachment: {instance: i-1, deviceIndex: 1}}
  - {id: eni-2, subnet: subnet-a, status: associated, kind: lambda}
  - {id: eni-3, subnet: subnet-a, status: detaching, attachment: {instance: i-1, deviceIndex: 2}}
",
    );
    let reply = call(&ec2, "DescribeNetworkInterfaces").ok();
    assert_eq!(reply.all("status"), ["attaching", "attaching", "associated", "detaching", "detaching"]);
}

#[test]
fn prefixes_are_listed_apart_from_addresses() {
    let ec2 = start(
        "
vpcs: [{cidr: 10.0.0.0/16}]
subnets: [{id: subnet-a, cidr: 10.0.0.0/24, zone: eu-central-1a}]
interfaces: [{id: eni-1, subnet: subnet-a, prefixes: [10.0.0.32/28, 10.0.0.64/28]}]
reservations: [{subnet: subnet-a, cidr: 10.0.0.128/25, kind: prefix, description: pods}]
",
    );
    let reply = call(&ec2, "DescribeNetworkInterfaces").ok();
    assert_eq!(reply.all("ipv4Prefix"), ["10.0.0.32/28", "10.0.0.64/28"]);
    assert_eq!(reply.all("primary"), ["true"]);
    let reserved = call(&ec2, "GetSubnetCidrReservations&SubnetId=subnet-a").ok();
    assert_eq!(
        (reserved.one("cidr"), reserved.one("reservationType"), reserved.one("description")),
        ("10.0.0.128/25", "prefix", "pods")
    );
    // The last address of the reserved half is one that AWS keeps anyway.
    assert_eq!(ec2.available("subnet-a"), Some(251 - 1 - 32 - 127));
}
