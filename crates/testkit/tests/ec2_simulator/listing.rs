//! Listings: fields, pages, filters, ids, and the refusals around them.

use super::support::{SMALL, call, call_as, http, pages, start};

#[test]
fn subnets_show_what_is_left() {
    let ec2 = start(SMALL);
    let reply = call(&ec2, "DescribeSubnets&Filter.1.Name=vpc-id&Filter.1.Value.1=vpc-1").ok();
    assert_eq!(reply.all("subnetId"), ["subnet-a", "subnet-b", "subnet-c"]);
    // 10 addresses of eni-1, and one each of the trunk, the branch and the leaked interface.
    assert_eq!(reply.all("availableIpAddressCount"), ["238", "249", "59"]);
    assert_eq!(reply.all("availabilityZoneId"), ["euc1-az1", "euc1-az3", "euc1-az1"]);
    assert_eq!(reply.all("cidrBlock")[2], "100.64.0.0/26");
    assert_eq!(reply.all("state"), ["available"; 3]);
    assert_eq!(reply.all("key"), ["kubernetes.io/role/elb"]);
    assert!(reply.head.contains("text/xml"));
    assert!(reply.body.contains("<requestId>"));
}

#[test]
fn vpcs_list_every_block_with_its_state() {
    let ec2 = start(SMALL);
    let reply = call(&ec2, "DescribeVpcs&VpcId.1=vpc-1").ok();
    assert_eq!(reply.all("cidrBlock"), ["10.0.0.0/16", "10.0.0.0/16", "100.64.0.0/16", "100.65.0.0/16"]);
    assert!(reply.body.contains("<cidrBlockState><state>disassociated</state></cidrBlockState>"));
    assert_eq!(reply.one("value"), "pods &amp; more");
}

#[test]
fn filters_choose_subnets() {
    let ec2 = start(SMALL);
    for (name, value, want) in [
        ("availability-zone", "eu-central-1b", vec!["subnet-b"]),
        ("availability-zone-id", "euc1-az1", vec!["subnet-a", "subnet-c"]),
        ("available-ip-address-count", "59", vec!["subnet-c"]),
        ("cidr-block", "10.0.1.0%2F24", vec!["subnet-b"]),
        ("owner-id", "111122223333", vec!["subnet-a", "subnet-b", "subnet-c"]),
        ("subnet-id", "subnet-%3F", vec!["subnet-a", "subnet-b", "subnet-c"]),
        ("state", "pending", vec![]),
        ("tag:kubernetes.io/role/elb", "1", vec!["subnet-a"]),
        ("tag-key", "kubernetes.io/*", vec!["subnet-a"]),
    ] {
        let reply = call(&ec2, &format!("DescribeSubnets&Filter.1.Name={name}&Filter.1.Value.1={value}")).ok();
        assert_eq!(reply.all("subnetId"), want, "{name}");
    }
    assert_eq!(call(&ec2, "DescribeSubnets&Filter.1.Name=colour&Filter.1.Value.1=x").code(), "InvalidParameterValue");
}

#[test]
fn pages_are_followed_by_their_tokens() {
    let ec2 = start(SMALL);
    for _ in 0..22 {
        call(&ec2, "CreateNetworkInterface&SubnetId=subnet-b").ok();
    }
    // 28 interfaces, one of them hidden.
    let pages = pages(&ec2, "DescribeNetworkInterfaces&MaxResults=9");
    assert_eq!(pages.iter().map(|page| page.all("networkInterfaceId").len()).collect::<Vec<_>>(), [9, 9, 9]);
    let mut ids: Vec<&str> = pages.iter().flat_map(|page| page.all("networkInterfaceId")).collect();
    ids.dedup();
    assert_eq!(ids.len(), 27);
}

#[test]
fn page_sizes_and_tokens_are_checked() {
    let ec2 = start(SMALL);
    for (parameters, code) in [
        ("DescribeSubnets&MaxResults=4", "InvalidParameterValue"),
        ("DescribeNetworkInterfaces&MaxResults=1001", "InvalidParameterValue"),
        ("DescribeInstanceTypes&MaxResults=101", "InvalidParameterValue"),
        ("DescribeTrunkInterfaceAssociations&MaxResults=256", "InvalidParameterValue"),
        ("DescribeNetworkInterfaces&NetworkInterfaceId.1=eni-1&MaxResults=5", "InvalidParameterCombination"),
        ("DescribeInstances&InstanceId.1=i-1&MaxResults=5", "InvalidParameterCombination"),
        ("DescribeVpcs&NextToken=", "InvalidParameterValue"),
        ("DescribeVpcs&NextToken=abc", "InvalidNextToken"),
        ("DescribeSubnets&SubnetId.1=subnet-9", "InvalidSubnetID.NotFound"),
        ("DescribeVpcs&VpcId.1=vpc-9", "InvalidVpcID.NotFound"),
        ("DescribeInstances&InstanceId.1=i-1&InstanceId.2=i-9", "InvalidInstanceID.NotFound"),
        ("DescribeNetworkInterfaces&NetworkInterfaceId.1=eni-9", "InvalidNetworkInterfaceID.NotFound"),
        ("GetSubnetCidrReservations", "MissingParameter"),
        ("GetSubnetCidrReservations&SubnetId=subnet-9", "InvalidSubnetID.NotFound"),
        ("DescribeMountains", "InvalidAction"),
    ] {
        let reply = call(&ec2, parameters);
        assert_eq!((reply.status, reply.code()), (400, code), "{parameters}");
        assert!(!reply.one("RequestID").is_empty());
    }
    assert_eq!(http(&ec2, "POST /", "", "Version=2016-11-15").code(), "MissingAction");
}

#[test]
fn a_dry_run_is_answered_with_412() {
    let ec2 = start(SMALL);
    let reply = call(&ec2, "DescribeSubnets&DryRun=true");
    assert_eq!((reply.status, reply.code()), (412, "DryRunOperation"));
    assert_eq!(call(&ec2, "CreateVpc&CidrBlock=10.9.0.0%2F16&DryRun=true").code(), "DryRunOperation");
    assert_eq!(call(&ec2, "DescribeVpcs").ok().all("vpcId").len(), 1);
}

#[test]
fn types_come_with_their_cards_and_one_unknown_fails_the_call() {
    let ec2 = start(SMALL);
    let reply = call(&ec2, "DescribeInstanceTypes&InstanceType.1=p5.48xlarge").ok();
    assert_eq!(reply.all("maximumNetworkInterfaces").first(), Some(&"64"));
    assert_eq!(reply.all("networkCardIndex").len(), 32);
    assert_eq!((reply.one("hypervisor"), reply.one("ipv4AddressesPerInterface")), ("nitro", "50"));
    let metal = call(&ec2, "DescribeInstanceTypes&InstanceType.1=m5.metal").ok();
    assert_eq!((metal.one("bareMetal"), metal.all("hypervisor").len()), ("true", 0));
    let unknown = call(&ec2, "DescribeInstanceTypes&InstanceType.1=m5.large&InstanceType.2=brand.new");
    assert_eq!(unknown.code(), "InvalidInstanceType");
    assert!(unknown.one("Message").contains("[brand.new]"));
    let many: Vec<String> = (1..=101).map(|n| format!("InstanceType.{n}=m5.large")).collect();
    assert_eq!(call(&ec2, &format!("DescribeInstanceTypes&{}", many.join("&"))).code(), "InvalidParameterValue");
}

#[test]
fn types_without_a_page_size_come_in_pages_of_a_hundred() {
    let ec2 = start(SMALL);
    let pages = pages(&ec2, "DescribeInstanceTypes");
    let sizes: Vec<usize> = pages.iter().map(|page| page.all("instanceType").len()).collect();
    assert!(sizes.len() > 2 && sizes[..sizes.len() - 1].iter().all(|size| *size == 100), "{sizes:?}");
    let xen = call(&ec2, "DescribeInstanceTypes&Filter.1.Name=hypervisor&Filter.1.Value.1=xen").ok();
    assert!(xen.all("instanceType").contains(&"m4.large") && !xen.all("instanceType").contains(&"m5.large"));
}

#[test]
fn instances_carry_their_interfaces() {
    let ec2 = start(SMALL);
    let reply = call(&ec2, "DescribeInstances&Filter.1.Name=tag:eks:cluster-name&Filter.1.Value.1=demo").ok();
    assert_eq!(reply.all("instanceId"), ["i-1"]);
    assert_eq!(reply.all("networkInterfaceId"), ["eni-1", "eni-2"], "branches are not attached");
    assert_eq!(reply.one("privateIpAddress"), "10.0.0.10");
    for (filter, want) in [
        ("network-interface.subnet-id&Filter.1.Value.1=subnet-a", 1),
        ("network-interface.subnet-id&Filter.1.Value.1=subnet-b", 0),
        ("instance-state-name&Filter.1.Value.1=running", 1),
        ("private-ip-address&Filter.1.Value.1=10.0.0.10", 1),
        ("instance-type&Filter.1.Value.1=m5.*", 1),
    ] {
        let reply = call(&ec2, &format!("DescribeInstances&Filter.1.Name={filter}")).ok();
        assert_eq!(reply.all("instanceId").len(), want, "{filter}");
    }
}

#[test]
fn zones_have_names_and_ids() {
    let ec2 = start(SMALL);
    let reply = call(&ec2, "DescribeAvailabilityZones").ok();
    assert_eq!(reply.all("zoneName"), ["eu-central-1a", "eu-central-1b", "eu-central-1c"]);
    assert_eq!(reply.all("zoneId"), ["euc1-az1", "euc1-az3", "euc1-az3"]);
    let one = call(&ec2, "DescribeAvailabilityZones&ZoneName.1=eu-central-1b").ok();
    assert_eq!(one.all("zoneName"), ["eu-central-1b"]);
    assert_eq!(call(&ec2, "DescribeAvailabilityZones&ZoneName.1=mars-1a").code(), "InvalidParameterValue");
}

#[test]
fn another_region_is_another_place() {
    let ec2 = start(SMALL);
    assert_eq!(call_as(&ec2, "AKIA", "eu-central-1", "DescribeVpcs").ok().all("vpcId"), ["vpc-1"]);
    assert!(call_as(&ec2, "AKIA", "us-east-1", "DescribeVpcs").ok().all("vpcId").is_empty());
    assert_eq!(call_as(&ec2, "AKIA", "us-east-1", "DescribeVpcs&VpcId.1=vpc-1").code(), "InvalidVpcID.NotFound");
    call_as(&ec2, "AKIA", "us-east-1", "CreateVpc&CidrBlock=10.0.0.0%2F16").ok();
    assert_eq!(call_as(&ec2, "AKIA", "us-east-1", "DescribeVpcs").ok().all("vpcId").len(), 1);
    assert_eq!(call_as(&ec2, "AKIA", "eu-central-1", "DescribeVpcs").ok().all("vpcId"), ["vpc-1"]);
}

#[test]
fn a_request_may_be_a_get() {
    let ec2 = start(SMALL);
    let reply = http(&ec2, "GET /?Action=DescribeVpcs&Version=2016-11-15", "", "").ok();
    assert_eq!(reply.all("vpcId"), ["vpc-1"]);
}
