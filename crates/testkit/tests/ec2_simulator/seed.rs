//! Seeds: what they fill in, what they refuse and how they say so, and that a dump loads as the same account.

use ipam_audit_testkit::ec2::World;
use ipam_audit_testkit::ec2::seed::{Assigned, Placement};

use super::support::{SMALL, parse};

/// What is wrong with a small seed that has this in it.
fn refusal(section: &str) -> String {
    let base = "
vpcs: [{id: vpc-1, cidr: 10.0.0.0/16}]
subnets:
  - {id: subnet-a, cidr: 10.0.0.0/26, zone: eu-central-1a}
  - {id: subnet-b, cidr: 10.0.1.0/26, zone: eu-central-1b}
instances:
  - {id: i-1, type: m5.large, subnet: subnet-a}
  - {id: i-2, type: t3.medium, subnet: subnet-a}
";
    World::load(parse(&format!("{base}{section}"))).unwrap_err().to_string()
}

#[test]
fn what_is_not_stated_is_filled_in_the_same_way_every_time() {
    let seed = "
vpcs: [{cidr: 10.0.0.0/16}]
subnets: [{id: subnet-a, cidr: 10.0.0.0/24, zone: eu-central-1b}]
interfaces: [{subnet: subnet-a, secondary: 2}, {subnet: subnet-a, primary: 10.0.0.5, prefixes: 1}]
";
    let one = World::load(parse(seed)).unwrap().to_seed();
    assert_eq!(one, World::load(parse(seed)).unwrap().to_seed());
    assert_eq!(one.subnets[0].zone_id.as_deref(), Some("euc1-az2"));
    let mut addresses: Vec<String> = Vec::new();
    for interface in &one.interfaces {
        addresses.extend(interface.primary.map(|address| address.to_string()));
        if let Assigned::List(secondary) = &interface.secondary {
            addresses.extend(secondary.iter().map(ToString::to_string));
        }
    }
    addresses.sort();
    assert_eq!(addresses, ["10.0.0.4", "10.0.0.5", "10.0.0.6", "10.0.0.7"], "chosen ones go around the stated one");
}

#[test]
fn a_dump_loads_as_the_same_account() {
    let world = World::load(parse(SMALL)).unwrap();
    let dump = world.to_seed();
    let again = World::load(dump.clone()).unwrap();
    assert_eq!(again.to_seed(), dump);
    for subnet in ["subnet-a", "subnet-b", "subnet-c"] {
        assert_eq!(again.available(subnet), world.available(subnet), "{subnet}");
    }
    let text = serde_json::to_string(&dump).unwrap();
    assert_eq!(serde_json::from_str::<ipam_audit_testkit::ec2::Ec2Seed>(&text).unwrap(), dump);
}

#[test]
fn scattered_addresses_break_up_blocks_sooner() {
    let fragmented = |placement| {
        let mut seed = parse(
            "
vpcs: [{id: vpc-1, cidr: 10.0.0.0/16}]
subnets: [{id: subnet-a, cidr: 10.0.0.0/22, zone: eu-central-1a}]
interfaces: [{subnet: subnet-a, secondary: 60}]
",
        );
        seed.placement = placement;
        let dump = World::load(seed).unwrap().to_seed();
        let Assigned::List(addresses) = &dump.interfaces[0].secondary else { panic!() };
        let mut blocks: Vec<u32> = addresses.iter().map(|address| u32::from(*address) >> 4).collect();
        blocks.sort_unstable();
        blocks.dedup();
        blocks.len()
    };
    assert_eq!(fragmented(Placement::Lowest), 5);
    assert!(fragmented(Placement::Scattered) > 25, "60 addresses over 64 blocks");
}

#[test]
fn a_wrong_seed_is_refused_with_the_entry_and_the_reason() {
    for (section, parts) in [
        (
            "interfaces: [{id: eni-1, subnet: subnet-a, primary: 10.0.0.9}, {subnet: subnet-a, secondary: [10.0.0.9]}]",
            ["interfaces[1]", "10.0.0.9 is already in use by interfaces[0] (eni-1)"],
        ),
        (
            "interfaces: [{id: eni-1, subnet: subnet-a, prefixes: [10.0.0.16/28]}, {subnet: subnet-a, primary: 10.0.0.20}]",
            ["interfaces[1]", "by interfaces[0] (eni-1)"],
        ),
        ("interfaces: [{subnet: subnet-a, primary: 10.0.1.9}]", ["10.0.1.9", "not inside"]),
        ("interfaces: [{subnet: subnet-a, primary: 10.0.0.3}]", ["10.0.0.3", "AWS keeps"]),
        ("interfaces: [{subnet: subnet-a, prefixes: [10.0.0.24/28]}]", ["10.0.0.24/28", "not an aligned /28"]),
        ("interfaces: [{subnet: subnet-a, secondary: 80}]", ["subnet-a", "not have enough free addresses"]),
        ("interfaces: [{subnet: subnet-z}]", ["interfaces[0]", "'subnet-z' does not exist"]),
        (
            "interfaces: [{id: eni-1, subnet: subnet-a}, {id: eni-1, subnet: subnet-a}]",
            ["interfaces[1] (eni-1)", "used twice"],
        ),
        ("interfaces: [{id: nonsense, subnet: subnet-a}]", ["nonsense", "should be 'eni-'"]),
        ("interfaces: [{subnet: subnet-a, attachment: {instance: i-9}}]", ["'i-9' does not exist", ""]),
        ("interfaces: [{subnet: subnet-b, attachment: {instance: i-1}}]", ["same availability zone", "eu-central-1b"]),
        (
            "interfaces: [{id: eni-1, subnet: subnet-a, attachment: {instance: i-1}}, {subnet: subnet-a, attachment: {instance: i-1}}]",
            ["already has an interface", "eni-1"],
        ),
        (
            "interfaces: [{subnet: subnet-a, secondary: 10, attachment: {instance: i-1}}]",
            ["will exceed limit", "11 of 10 that m5.large"],
        ),
        (
            "interfaces:
  - {subnet: subnet-a, attachment: {instance: i-2}}
  - {subnet: subnet-a, attachment: {instance: i-2, deviceIndex: 1}}
  - {subnet: subnet-a, attachment: {instance: i-2, deviceIndex: 2}}
  - {subnet: subnet-a, attachment: {instance: i-2, deviceIndex: 3}}",
            ["interfaces[3]", "exceeds the limit for t3.medium"],
        ),
        ("interfaces: [{subnet: subnet-a, attachment: {instance: i-1, cardIndex: 1}}]", ["1 network cards", "index 1"]),
        (
            "interfaces: [{subnet: subnet-a, kind: trunk, attachment: {instance: i-2, deviceIndex: 1}}]",
            ["t3.medium", "does not support trunk"],
        ),
        (
            "interfaces: [{id: eni-1, subnet: subnet-a}, {subnet: subnet-a, kind: branch, trunk: {trunk: eni-1, vlan: 1}}]",
            ["eni-1", "not trunk"],
        ),
        (
            "interfaces:
  - {id: eni-1, subnet: subnet-a, kind: trunk}
  - {id: eni-2, subnet: subnet-a, kind: branch, trunk: {trunk: eni-1, vlan: 1}}
  - {id: eni-3, subnet: subnet-a, kind: branch, trunk: {trunk: eni-1, vlan: 1}}",
            ["interfaces[2]", "VLAN 1 of eni-1 is already used by eni-2"],
        ),
        (
            "interfaces: [{id: eni-1, subnet: subnet-a, status: available, attachment: {instance: i-1}}]",
            ["status is available", "attached"],
        ),
        ("reservations: [{subnet: subnet-a, cidr: 10.0.1.0/28, kind: prefix}]", ["reservations[0]", "not inside"]),
        (
            "reservations: [{subnet: subnet-a, cidr: 10.0.0.16/28, kind: prefix}, {subnet: subnet-a, cidr: 10.0.0.16/29, kind: explicit}]",
            ["reservations[1]", "overlaps"],
        ),
    ] {
        let said = refusal(section);
        assert!(parts.iter().all(|part| said.contains(part)), "{section}\n{said}");
    }
}

#[test]
fn networks_are_checked_too() {
    let said = |yaml: &str| World::load(parse(yaml)).unwrap_err().to_string();
    for (yaml, part) in [
        ("vpcs: [{cidr: 10.0.0.0/8}]", "/16 to /28"),
        (
            "vpcs: [{id: vpc-1, cidr: 10.0.0.0/16}]\nsubnets: [{cidr: 10.1.0.0/24, zone: eu-central-1a}]",
            "inside a CIDR of vpc-1",
        ),
        (
            "vpcs: [{cidr: 10.0.0.0/16}]\nsubnets: [{cidr: 10.0.0.0/24, zone: eu-central-1a}, {cidr: 10.0.0.128/25, zone: eu-central-1a}]",
            "conflicts with another subnet",
        ),
        ("vpcs: [{cidr: 10.0.0.0/16}]\nsubnets: [{cidr: 10.0.0.0/24, zone: us-east-1a}]", "not in eu-central-1"),
        (
            "vpcs: [{cidr: 10.0.0.0/16}]\nsubnets: [{cidr: 10.0.0.0/24, zone: eu-central-1a, zoneId: x}, {cidr: 10.0.1.0/24, zone: eu-central-1a, zoneId: y}]",
            "has the id x",
        ),
        ("subnets: [{cidr: 10.0.0.0/24, zone: eu-central-1a}]", "VpcId"),
    ] {
        assert!(said(yaml).contains(part), "{yaml}\n{}", said(yaml));
    }
    assert!(
        serde_saphyr::from_str::<ipam_audit_testkit::ec2::Ec2Seed>("interfaces: [{subnet: a, secondry: 3}]").is_err()
    );
}

#[test]
fn a_trunk_carries_as_many_branches_as_its_type_allows() {
    let branches = |count: u16| {
        let mut yaml = String::from(
            "
vpcs: [{id: vpc-1, cidr: 10.0.0.0/16}]
subnets: [{id: subnet-a, cidr: 10.0.0.0/24, zone: eu-central-1a}]
instances: [{id: i-1, type: m5.large, subnet: subnet-a}]
interfaces:
  - {id: eni-t, subnet: subnet-a, kind: trunk, attachment: {instance: i-1, deviceIndex: 1}}
",
        );
        for vlan in 1..=count {
            yaml.push_str("  - {subnet: subnet-a, kind: branch, trunk: {trunk: eni-t, vlan: ");
            yaml.push_str(&vlan.to_string());
            yaml.push_str(
                "}}
",
            );
        }
        World::load(parse(&yaml))
    };
    assert!(branches(9).is_ok());
    let said = branches(10).unwrap_err().to_string();
    assert!(said.contains("9 branches, all that m5.large allows"), "{said}");
}

#[test]
fn cards_have_their_own_indexes_and_limits() {
    let yaml = "
vpcs: [{cidr: 10.0.0.0/16}]
subnets: [{id: subnet-a, cidr: 10.0.0.0/24, zone: eu-central-1a}]
instances: [{id: i-1, type: p5.48xlarge, subnet: subnet-a}, {id: i-2, type: brand.new, subnet: subnet-a}]
interfaces:
  - {subnet: subnet-a, attachment: {instance: i-1}}
  - {subnet: subnet-a, kind: efa, attachment: {instance: i-1, deviceIndex: 1}}
  - {subnet: subnet-a, kind: efa-only, attachment: {instance: i-1, deviceIndex: 1, cardIndex: 1}}
  - {subnet: subnet-a, secondary: 60, attachment: {instance: i-2, deviceIndex: 17}}
";
    let world = World::load(parse(yaml)).unwrap();
    assert_eq!(world.available("subnet-a"), Some(251 - 2 - 61), "efa-only has no address; an unknown type no limit");
    let third = "  - {subnet: subnet-a, attachment: {instance: i-1, deviceIndex: 2}}\n";
    let said = World::load(parse(&format!("{yaml}{third}"))).unwrap_err().to_string();
    assert!(said.contains("2 on card 0"), "{said}");
}
