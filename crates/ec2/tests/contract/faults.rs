//! What goes wrong is said in a category and a sentence, in the part it befalls and in no other.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener};

use ipam_audit_core::inventory::{Inventory, InventoryScope, ReadInventory};
use ipam_audit_core::source::{FaultCategory, Source, SourceFault};
use ipam_audit_ec2::AwsInventory;
use ipam_audit_testkit::ec2::{Effect, Fault, Simulator};

use crate::rig::{REGION, all_of_small, config, impatient, loader, profile, read, simulator, small};

/// A reading of the small account where something goes wrong.
async fn read_with(faults: impl IntoIterator<Item = Fault>) -> (Inventory, Simulator, AwsInventory) {
    let simulator = simulator(small());
    for fault in faults {
        simulator.faults().add(fault);
    }
    let inventory = AwsInventory::new(&config(&simulator.endpoint(), REGION).await);
    let read = inventory.read(&all_of_small()).await;
    (read, simulator, inventory)
}

/// The faults by source, for a reading in which nothing is left of a part that has one.
fn faults(inventory: &Inventory) -> Vec<(Source, SourceFault)> {
    let states = inventory.states().into_iter().filter(|state| !state.is_not_collected());
    let faulty = states.filter_map(|state| {
        assert_eq!(state.is_missing(), state.fault.is_some(), "{state:?}");
        Some((state.source, state.fault?))
    });
    faulty.collect()
}

/// One and the same fault of every part.
fn shared_fault(inventory: &Inventory) -> FaultCategory {
    let faults = faults(inventory);
    assert_eq!(faults.len(), 8, "{faults:?}");
    let category = faults[0].1.category;
    assert!(faults.iter().all(|(_, fault)| fault.category == category), "{faults:?}");
    category
}

#[tokio::test]
async fn a_missing_right_is_named_and_costs_only_its_own_part() {
    for source in Source::ALL {
        let Some(right) = source.iam_action() else { continue };
        let action = right.trim_start_matches("ec2:");
        let (read, simulator, _) = read_with([Fault::new(Effect::UnauthorizedOperation).on(action)]).await;

        let faults = faults(&read);
        let fault = faults.iter().find(|(befallen, _)| *befallen == source).map(|(_, fault)| fault).unwrap();
        assert_eq!(fault.category, FaultCategory::Denied);
        assert!(
            fault.message.starts_with(&format!("AWS denies {right} in eu-central-1: allow it")),
            "{}",
            fault.message
        );
        // Which subnets are in use is read off the interfaces.
        let befallen = if source == Source::NetworkInterfaces { 2 } else { 1 };
        assert_eq!(faults.len(), befallen, "{source}: {faults:?}");
        assert_eq!(simulator.request_log().count(action), 1, "a denial is not tried again");
    }
}

#[tokio::test]
async fn without_any_right_every_one_of_them_is_named_at_once() {
    for vpc in [None, Some("vpc-1".into())] {
        let simulator = simulator(small());
        simulator.faults().add(Fault::new(Effect::UnauthorizedOperation));
        let scope = InventoryScope { vpc, ..all_of_small() };
        let read = read(&config(&simulator.endpoint(), REGION).await, &scope).await;
        let faults = faults(&read);
        assert_eq!(faults.len(), 8, "{faults:?}");
        for (source, fault) in faults {
            let right = source.iam_action().unwrap();
            let says = format!("AWS denies {right} in eu-central-1: allow it");
            assert!(fault.category == FaultCategory::Denied && fault.message.starts_with(&says), "{}", fault.message);
        }
    }
}

#[tokio::test]
async fn a_denial_says_the_same_at_every_reading() {
    let (first, _simulator, inventory) =
        read_with([Fault::new(Effect::UnauthorizedOperation).on("DescribeSubnets")]).await;
    let second = inventory.read(&all_of_small()).await;
    assert!(first.subnets.fault.is_some());
    assert_eq!(first.subnets.fault, second.subnets.fault, "EC2 words it anew each time");
}

#[tokio::test]
async fn the_vpc_is_found_by_instances_where_interfaces_are_denied() {
    let simulator = simulator(small());
    simulator.faults().add(Fault::new(Effect::UnauthorizedOperation).on("DescribeNetworkInterfaces"));
    let scope = InventoryScope { vpc: None, ..all_of_small() };
    let read = read(&config(&simulator.endpoint(), REGION).await, &scope).await;
    assert_eq!(read.subnets.value().map(Vec::len), Some(2));
    let denied: Vec<Source> = faults(&read).into_iter().map(|(source, _)| source).collect();
    assert_eq!(denied, [Source::NetworkInterfaces, Source::CidrReservations], "the latter depends on the former");
}

#[tokio::test]
async fn what_passes_by_itself_is_tried_again_and_leaves_no_fault() {
    for (effect, throttles) in [
        (Effect::RequestLimitExceeded, 2),
        (Effect::InternalError, 0),
        (Effect::ServiceUnavailable, 0),
        (Effect::HtmlError, 0),
        (Effect::CutReply { after_bytes: 300 }, 0),
    ] {
        let (read, _, inventory) = read_with([Fault::new(effect.clone()).on("DescribeSubnets").times(2)]).await;
        assert_eq!(faults(&read), [], "{effect:?}");
        assert_eq!(read.subnets.value().map(Vec::len), Some(2));
        let stats = inventory.stats();
        let stats = stats.iter().find(|stats| stats.action == "DescribeSubnets").unwrap();
        assert_eq!(
            (stats.requests, stats.retries, stats.throttles, stats.failures),
            (3, 2, throttles, 0),
            "{effect:?}"
        );
    }
}

#[tokio::test]
async fn what_does_not_pass_is_a_fault_of_its_part_alone() {
    for (effect, category, says) in [
        (Effect::RequestLimitExceeded, FaultCategory::Throttled, "EC2 throttles DescribeSubnets in eu-central-1"),
        (Effect::InternalError, FaultCategory::ServerFault, "EC2 failed to answer DescribeSubnets"),
        (Effect::ServiceUnavailable, FaultCategory::ServerFault, "EC2 failed to answer DescribeSubnets"),
        (Effect::HtmlError, FaultCategory::ServerFault, "HTTP 500 without a code of EC2's"),
        (Effect::CutReply { after_bytes: 300 }, FaultCategory::Unreachable, "no answer of EC2 to DescribeSubnets from"),
        (Effect::AuthFailure, FaultCategory::Credentials, "AWS refuses the credentials in eu-central-1"),
        (Effect::RequestExpired, FaultCategory::Credentials, "AWS refuses the credentials in eu-central-1"),
    ] {
        let (read, _, inventory) = read_with([Fault::new(effect.clone()).on("DescribeSubnets")]).await;
        let faults = faults(&read);
        assert_eq!(faults.len(), 1, "{effect:?}: {faults:?}");
        let (source, fault) = &faults[0];
        assert_eq!((*source, fault.category), (Source::Subnets, category), "{effect:?}: {}", fault.message);
        assert!(fault.message.contains(says), "{effect:?}: {}", fault.message);
        let stats = inventory.stats();
        assert_eq!(stats.iter().map(|stats| stats.failures).sum::<u64>(), 1, "{effect:?}");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_in_the_middle_is_not_a_shorter_answer() {
    let endpoint = serve("200 OK", Some(5000), "<DescribeNetworkInterfacesResponse><networkInterfaceSet>");
    let read = read(&config(&endpoint, REGION).await, &all_of_small()).await;
    assert_eq!(shared_fault(&read), FaultCategory::Unreachable);
    let message = read.interfaces.fault.unwrap().message;
    assert!(message.contains("the answer broke off"), "{message}");
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_no_answer() {
    let simulator = simulator(small());
    simulator.faults().add(Fault::new(Effect::Latency { millis: 60_000 }).on("DescribeNetworkInterfaces"));
    let read = read(&impatient(&simulator.endpoint()).await, &all_of_small()).await;
    let fault = read.interfaces.fault.clone().unwrap();
    assert_eq!(fault.category, FaultCategory::Unreachable);
    assert!(fault.message.contains("no complete answer in time"), "{}", fault.message);
    assert_eq!(read.subnets.fault, None);
}

#[tokio::test]
async fn an_endpoint_that_is_not_there_is_named() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let endpoint = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let read = read(&config(&endpoint, REGION).await, &all_of_small()).await;
    assert_eq!(shared_fault(&read), FaultCategory::Unreachable);
    let message = read.interfaces.fault.unwrap().message;
    let says = format!("no answer of EC2 to DescribeNetworkInterfaces from {endpoint} in eu-central-1: check");
    assert!(message.starts_with(&says) && message.contains("refused"), "{message}");
}

#[tokio::test]
async fn without_credentials_the_message_says_how_to_give_some() {
    let simulator = simulator(small());
    // Nothing answers where the node's own role would be asked for, as in a pod that may not reach it.
    let profile = format!(
        "[default]\nregion = {REGION}\nendpoint_url = {}\nec2_metadata_service_endpoint = http://127.0.0.1:9\n",
        simulator.endpoint()
    );
    let read = read(&loader(&profile).load().await, &all_of_small()).await;
    assert_eq!(shared_fault(&read), FaultCategory::Credentials);
    let message = read.subnets.fault.unwrap().message;
    assert!(
        message.starts_with("no credentials: give the ServiceAccount a role (IRSA or EKS Pod Identity)"),
        "{message}"
    );
    assert_eq!(simulator.request_log().total(), 0);
}

#[tokio::test]
async fn without_a_region_the_message_says_where_to_set_one() {
    let profile = "[default]\nec2_metadata_service_endpoint = http://127.0.0.1:9\n";
    let read = read(&loader(profile).load().await, &all_of_small()).await;
    assert_eq!(shared_fault(&read), FaultCategory::Unreachable);
    assert!(read.vpcs.fault.unwrap().message.contains("set spec.aws.region or AWS_REGION"));
}

#[tokio::test]
async fn an_endpoint_of_ec2_alone_goes_before_that_of_all_services() {
    let simulator = simulator(small());
    let profile = format!(
        "{}services = here\n\n[services here]\nec2 =\n  endpoint_url = {}\n",
        profile("http://127.0.0.1:9", REGION),
        simulator.endpoint()
    );
    let read = read(&loader(&profile).load().await, &all_of_small()).await;
    assert_eq!(faults(&read), []);
}

#[tokio::test]
async fn a_page_of_html_from_a_wrong_endpoint_makes_no_sense() {
    let endpoint = answer_always("<html><body>Welcome</body></html>");
    let read = read(&config(&endpoint, REGION).await, &all_of_small()).await;
    assert_eq!(shared_fault(&read), FaultCategory::Malformed);
    let message = read.vpcs.fault.unwrap().message;
    assert!(message.contains(&endpoint) && message.contains("check that the endpoint is EC2's"), "{message}");
}

#[tokio::test]
async fn an_item_without_its_count_is_left_out_and_named() {
    let item = |id: &str, count: &str| {
        format!(
            "<item><subnetId>{id}</subnetId><vpcId>vpc-1</vpcId><state>available</state>\
             <cidrBlock>10.0.0.0/24</cidrBlock><availabilityZone>eu-central-1a</availabilityZone>{count}</item>"
        )
    };
    let endpoint = answer_always(&format!(
        "<DescribeSubnetsResponse><subnetSet>{}{}</subnetSet></DescribeSubnetsResponse>",
        item("subnet-1", "<availableIpAddressCount>0</availableIpAddressCount>"),
        item("subnet-2", "")
    ));
    let read = read(&config(&endpoint, REGION).await, &all_of_small()).await;
    let subnets = read.subnets.value().unwrap();
    assert_eq!(
        subnets.iter().map(|subnet| (subnet.id.as_str(), subnet.available)).collect::<Vec<_>>(),
        [("subnet-1", 0)]
    );
    let fault = read.subnets.fault.unwrap();
    assert_eq!(fault.category, FaultCategory::Malformed);
    assert!(fault.message.contains("subnet-2 has no readable availableIpAddressCount"), "{}", fault.message);
}

/// An HTTP server that gives everybody the same complete answer.
fn answer_always(body: &str) -> String {
    serve("200 OK", None, body)
}

/// An HTTP server that gives everybody the same answer and hangs up, maybe before the length it has promised.
pub(crate) fn serve(status: &str, promised: Option<usize>, body: &str) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let length = promised.unwrap_or(body.len());
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // A client that goes away early has its answer or wants none. All that it sends is read, for closing on
            // unread bytes would reset the connection and take the answer back.
            let mut start = [0; 1024];
            let _ = stream.read(&mut start);
            let _ = stream.write_all(answer.as_bytes());
            let _ = stream.shutdown(Shutdown::Write);
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    });
    endpoint
}
