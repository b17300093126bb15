//! How much is asked: pages, tokens, what is remembered, and the budget. On the simulator, for moto has no pages.

use std::collections::BTreeSet;

use ipam_audit_core::inventory::{Interface, InterfaceKind, InventoryScope, ReadInventory};
use ipam_audit_core::rights;
use ipam_audit_core::rows::Rows;
use ipam_audit_core::source::FaultCategory;
use ipam_audit_ec2::AwsInventory;
use ipam_audit_testkit::ec2::{Ec2Seed, Effect, Fault, Simulator, Throttling, seed};

use crate::rig::{REGION, all_of_small, config, simulator, small, subnet};

async fn inventory_of(simulator: &Simulator) -> AwsInventory {
    AwsInventory::new(&config(&simulator.endpoint(), REGION).await)
}

/// The small account with so many loose interfaces more, of ten addresses each, in a subnet of their own.
fn with_interfaces(count: usize) -> Ec2Seed {
    let mut account = small();
    account.subnets.push(subnet("subnet-3", "10.0.128.0/17"));
    account.interfaces.extend(
        (0..count).map(|_| seed::Interface { secondary: seed::Assigned::Count(9), ..seed::Interface::new("subnet-3") }),
    );
    account
}

#[tokio::test]
async fn every_page_is_read_and_no_page_more() {
    let simulator = simulator(with_interfaces(2_400));
    let read = inventory_of(&simulator).await.read(&all_of_small()).await;

    assert_eq!(read.interfaces.fault, None);
    let interfaces = read.interfaces.value().unwrap();
    assert_eq!(interfaces.len(), 2_402);
    assert_eq!(interfaces.iter().map(Interface::addresses).sum::<u32>(), 24_020);
    assert!(interfaces.iter().is_sorted_by(|a, b| a.id < b.id), "sorted by id, none twice");
    let log = simulator.request_log();
    assert_eq!(log.count("DescribeNetworkInterfaces"), 3);
    for request in log.requests.iter().filter(|request| request.action == "DescribeNetworkInterfaces") {
        assert_eq!(request.params.get("MaxResults").map(String::as_str), Some("1000"));
    }
}

#[tokio::test]
async fn a_reading_costs_as_many_calls_as_there_are_pages_and_the_next_one_fewer() {
    let simulator = simulator(small());
    let inventory = inventory_of(&simulator).await;
    let mut scope = all_of_small();
    scope.vpc = None;

    for (round, want) in [
        // The interfaces twice: once to find the VPC, once to read it. What changes rarely is not read again so soon.
        [("DescribeNetworkInterfaces", 2), ("DescribeInstanceTypes", 1), ("GetSubnetCidrReservations", 2), ("rare", 1)],
        [("DescribeNetworkInterfaces", 1), ("DescribeInstanceTypes", 0), ("GetSubnetCidrReservations", 0), ("rare", 0)],
    ]
    .into_iter()
    .enumerate()
    {
        simulator.reset_request_log();
        let read = inventory.read(&scope).await;
        assert!(
            read.states().iter().all(|state| state.fault.is_none() || state.is_not_collected()),
            "{:?}",
            read.states()
        );
        assert_eq!(read.instance_types.value().map(Vec::len), Some(1));
        let log = simulator.request_log();
        for (action, count) in want.into_iter().chain([("DescribeVpcs", 1), ("DescribeSubnets", 1)]) {
            let actions: &[&str] = if action == "rare" { &RARE } else { &[action] };
            for action in actions {
                assert_eq!(log.count(action), count, "{action} in round {round}");
            }
        }
        let rare = [
            read.instances.value().map(Rows::len),
            read.security_groups.value().map(Vec::len),
            read.route_tables.value().map(Vec::len),
        ];
        assert_eq!(rare, if round == 0 { [Some(1); 3] } else { [None; 3] }, "what the caller has still stands");
    }
    let requests: u64 = inventory.stats().iter().map(|stats| stats.requests).sum();
    assert_eq!(requests, 10 + 3);
}

/// Read now and then.
const RARE: [&str; 3] = ["DescribeInstances", "DescribeSecurityGroups", "DescribeRouteTables"];

#[tokio::test]
async fn what_is_read_rarely_is_tried_at_every_reading_while_it_fails() {
    let simulator = simulator(small());
    let inventory = inventory_of(&simulator).await;
    for action in RARE {
        simulator.faults().add(Fault::new(Effect::UnauthorizedOperation).on(action).times(2));
    }
    for (round, denied) in [true, true, false].into_iter().enumerate() {
        let read = inventory.read(&all_of_small()).await;
        assert_eq!(read.instances.fault.is_some(), denied, "{round}");
        assert_eq!(read.route_tables.value().is_none(), denied, "{round}");
    }
    assert_eq!(RARE.map(|action| simulator.request_log().count(action)), [3; 3]);
}

#[tokio::test]
async fn instances_and_route_tables_are_read_page_by_page() {
    let mut account = small();
    account.subnets.push(subnet("subnet-3", "10.0.128.0/17"));
    for number in 0..1_200 {
        account.instances.push(seed::Instance {
            id: Some(format!("i-{number:017x}")),
            tags: seed::Tags::from([
                ("Name".to_owned(), format!("worker-{number}")),
                ("kubernetes.io/cluster/shop".to_owned(), "owned".to_owned()),
            ]),
            subnet: "subnet-3".to_owned(),
            ..account.instances[0].clone()
        });
    }
    let table = |number: usize| seed::RouteTable {
        id: Some(format!("rtb-{number:03}")),
        vpc: None,
        main: false,
        subnets: Vec::new(),
        routes: Vec::new(),
        tags: seed::Tags::new(),
    };
    account.route_tables.extend((0..130).map(table));
    let simulator = simulator(account);
    let read = inventory_of(&simulator).await.read(&all_of_small()).await;
    let instances = read.instances.value().unwrap();
    assert_eq!(instances.len(), 1_201);
    assert!(instances.iter().is_sorted_by(|a, b| a.id < b.id), "sorted by id, none twice");
    let names_kept = instances.iter().filter(|one| one.tags.get("Name").is_some()).count();
    assert_eq!(names_kept, 0, "only tags that name a cluster are kept");
    assert_eq!(read.route_tables.value().map(Vec::len), Some(131), "its own, and the main one");
    let log = simulator.request_log();
    assert_eq!((log.count("DescribeInstances"), log.count("DescribeRouteTables")), (2, 2));
}

#[tokio::test]
async fn a_complete_reading_uses_the_rights_of_the_policy_all_of_them_and_no_other() {
    let simulator = simulator(small());
    let mut scope = all_of_small();
    scope.vpc = None;
    inventory_of(&simulator).await.read(&scope).await;

    let used: BTreeSet<String> = simulator.request_log().counts.keys().map(|action| format!("ec2:{action}")).collect();
    let allowed: BTreeSet<String> = rights::EC2.iter().map(|right| right.action.to_owned()).collect();
    assert_eq!(used, allowed);
}

#[tokio::test]
async fn types_are_asked_for_a_hundred_at_a_time_and_an_unknown_one_costs_few_calls_more() {
    let table = include_str!("../../../testkit/data/instance-types.csv");
    let types: Vec<&str> = table.lines().skip(1).filter_map(|line| line.split(',').next()).take(250).collect();
    let scope = |extra: &[&'static str]| InventoryScope {
        instance_types: types.iter().chain(extra).copied().map(Into::into).collect(),
        ..InventoryScope::default()
    };
    let simulator = simulator(small());

    let read = inventory_of(&simulator).await.read(&scope(&[])).await;
    assert_eq!(read.instance_types.value().map(Vec::len), Some(250));
    assert_eq!(simulator.request_log().count("DescribeInstanceTypes"), 3);

    simulator.reset_request_log();
    let read = inventory_of(&simulator).await.read(&scope(&["zz9.unheard-of"])).await;
    assert_eq!(read.instance_types.value().map(Vec::len), Some(250));
    // The batch it was in is halved six times or so; singly it would have been fifty calls.
    let calls = simulator.request_log().count("DescribeInstanceTypes");
    assert!((4..=16).contains(&calls), "{calls} calls");
}

#[tokio::test]
async fn empty_pages_in_the_middle_do_not_end_a_listing() {
    let simulator = simulator(with_interfaces(1_500));
    simulator.faults().add(Fault::new(Effect::EmptyPage { page: 1 }).on("DescribeNetworkInterfaces").times(1));
    let read = inventory_of(&simulator).await.read(&all_of_small()).await;
    assert_eq!(read.interfaces.fault, None);
    assert_eq!(read.interfaces.value().map(Rows::len), Some(1_502));
}

#[tokio::test]
async fn an_expired_token_begins_the_listing_anew() {
    let simulator = simulator(with_interfaces(1_500));
    simulator.faults().add(Fault::new(Effect::ExpiredToken { page: 2 }).on("DescribeNetworkInterfaces").times(1));
    let read = inventory_of(&simulator).await.read(&all_of_small()).await;
    assert_eq!(read.interfaces.fault, None);
    assert_eq!(read.interfaces.value().map(Rows::len), Some(1_502));
    assert_eq!(simulator.request_log().count("DescribeNetworkInterfaces"), 4);
}

#[tokio::test]
async fn a_token_that_always_expires_is_a_fault_after_few_attempts() {
    let simulator = simulator(with_interfaces(1_500));
    simulator.faults().add(Fault::new(Effect::ExpiredToken { page: 2 }).on("DescribeNetworkInterfaces"));
    let read = inventory_of(&simulator).await.read(&all_of_small()).await;
    let fault = read.interfaces.fault.unwrap();
    assert_eq!((fault.category, read.interfaces.last_good), (FaultCategory::Malformed, None));
    assert!(fault.message.contains("InvalidPaginationToken"), "{}", fault.message);
    assert_eq!(simulator.request_log().count("DescribeNetworkInterfaces"), 6);
    assert_eq!(read.subnets.fault, None);
}

#[tokio::test]
async fn interfaces_that_the_account_hides_are_read_for_they_take_addresses_too() {
    let mut account = small();
    account.interfaces.push(seed::Interface {
        id: Some("eni-hidden".to_owned()),
        operator: Some(seed::Operator { principal: "eks.amazonaws.com".to_owned(), hidden: true }),
        ..seed::Interface::new("subnet-1")
    });
    let simulator = simulator(account);
    let read = inventory_of(&simulator).await.read(&all_of_small()).await;
    let interfaces = read.interfaces.value().unwrap();
    assert!(interfaces.iter().any(|eni| eni.id.as_str() == "eni-hidden"));
}

#[tokio::test]
async fn interfaces_of_services_keep_their_kind_and_their_requester() {
    let mut account = small();
    account.interfaces.push(seed::Interface {
        id: Some("eni-nat".to_owned()),
        kind: seed::InterfaceKind::Other("nat_gateway".to_owned()),
        requester_id: Some("amazon-nat".to_owned()),
        requester_managed: true,
        attachment: Some(seed::Attachment {
            instance: None,
            instance_owner: Some("amazon-aws".to_owned()),
            ..seed::Attachment::new("", 1)
        }),
        ..seed::Interface::new("subnet-2")
    });
    let simulator = simulator(account);
    let mut scope = all_of_small();
    scope.reservation_subnets.clear();
    let read = inventory_of(&simulator).await.read(&scope).await;

    let interfaces = read.interfaces.value().unwrap();
    let nat = interfaces.iter().find(|eni| eni.id.as_str() == "eni-nat").unwrap();
    assert_eq!(nat.kind, InterfaceKind::Other("nat_gateway".into()));
    assert_eq!((nat.requester.as_deref(), nat.requester_managed), (Some("amazon-nat"), true));
    assert_eq!(nat.attachment.as_ref().unwrap().instance, None);
    // Reservations matter where nodes are: not in the NAT gateway's subnet.
    assert_eq!(simulator.request_log().count("GetSubnetCidrReservations"), 1);
}

#[tokio::test]
async fn readings_in_a_row_stay_below_the_accounts_buckets() {
    let simulator = simulator(with_interfaces(3_000));
    simulator.throttle(Throttling::Documented);
    let inventory = inventory_of(&simulator).await;
    for _ in 0..4 {
        inventory.read(&all_of_small()).await;
    }
    for stats in inventory.stats() {
        assert_eq!((stats.throttles, stats.retries, stats.failures), (0, 0, 0), "{}", stats.action);
    }
}
