//! Faults, throttling, the request log and the control API.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use ipam_audit_testkit::ec2::{Clock, Effect, Fault, Simulator, Throttling, World};

use super::support::{SMALL, call, call_as, http, parse, start};

fn json(reply: &super::support::Reply) -> serde_json::Value {
    serde_json::from_str(&reply.body).unwrap()
}

#[test]
fn errors_have_their_status_and_code_and_end() {
    let ec2 = start(SMALL);
    for (effect, status, code) in [
        (Effect::RequestLimitExceeded, 503, "RequestLimitExceeded"),
        (Effect::UnauthorizedOperation, 403, "UnauthorizedOperation"),
        (Effect::AuthFailure, 401, "AuthFailure"),
        (Effect::RequestExpired, 400, "RequestExpired"),
        (Effect::InternalError, 500, "InternalError"),
        (Effect::ServiceUnavailable, 503, "ServiceUnavailable"),
        (Effect::Error { status: 400, code: "OptInRequired".into(), message: "x".into() }, 400, "OptInRequired"),
    ] {
        ec2.faults().add(Fault::new(effect).on("DescribeSubnets").times(1));
        assert_eq!(call(&ec2, "DescribeVpcs").status, 200);
        let reply = call(&ec2, "DescribeSubnets");
        assert_eq!((reply.status, reply.code()), (status, code));
        assert_eq!(call(&ec2, "DescribeSubnets").status, 200);
    }
}

#[test]
fn denial_can_be_for_one_caller() {
    let ec2 = start(SMALL);
    let id = ec2.faults().add(Fault::new(Effect::UnauthorizedOperation).on("DescribeSubnets").of("AKIAOPERATOR"));
    let denied = call_as(&ec2, "AKIAOPERATOR", "eu-central-1", "DescribeSubnets&DryRun=true");
    assert_eq!(denied.code(), "UnauthorizedOperation", "a trial call is denied as the real one");
    assert!(denied.one("Message").contains("ec2:DescribeSubnets"));
    assert_eq!(call_as(&ec2, "AKIAOTHER", "eu-central-1", "DescribeSubnets").status, 200);
    ec2.faults().remove(id);
    assert_eq!(call_as(&ec2, "AKIAOPERATOR", "eu-central-1", "DescribeSubnets").status, 200);
}

#[test]
fn replies_can_be_html_late_or_cut() {
    let ec2 = start(SMALL);
    ec2.faults().add(Fault::new(Effect::HtmlError).times(1));
    let html = call(&ec2, "DescribeVpcs");
    assert!(html.status == 500 && html.head.contains("text/html") && html.body.starts_with("<html>"));

    ec2.faults().add(Fault::new(Effect::Latency { millis: 150 }).times(1));
    let before = Instant::now();
    call(&ec2, "DescribeVpcs").ok();
    assert!(before.elapsed() >= Duration::from_millis(150));

    let whole = call(&ec2, "DescribeVpcs").ok().body;
    ec2.faults().add(Fault::new(Effect::CutReply { after_bytes: 100 }).times(1));
    let cut = call(&ec2, "DescribeVpcs");
    assert_eq!(cut.status, 200, "the head and some of the body arrive");
    assert!(cut.body.contains(&whole[..60]) && !cut.body.contains("</DescribeVpcsResponse>"));
    assert!(!cut.body.ends_with("0\r\n\r\n"), "the body does not end properly");
}

#[test]
fn stale_reads_show_the_account_as_it_was() {
    let ec2 = start(SMALL);
    ec2.faults().add(Fault::new(Effect::StaleReads).on("DescribeSubnets"));
    call(&ec2, "CreateNetworkInterface&SubnetId=subnet-c").ok();
    let counts = |ec2: &Simulator| {
        call(ec2, "DescribeSubnets&SubnetId.1=subnet-c").ok().one("availableIpAddressCount").to_owned()
    };
    assert_eq!(counts(&ec2), "59");
    ec2.faults().clear();
    assert_eq!(counts(&ec2), "58");
}

#[test]
fn tokens_expire_on_the_page_that_was_chosen() {
    let ec2 = start(SMALL);
    ec2.faults().add(Fault::new(Effect::ExpiredToken { page: 3 }).times(1));
    let page = |token: &str| call(&ec2, &format!("DescribeInstanceTypes&MaxResults=50{token}"));
    let mut token = String::new();
    for _ in 0..2 {
        token = format!("&NextToken={}", page(&token).ok().one("nextToken"));
    }
    assert_eq!(page(&token).code(), "InvalidPaginationToken");
    assert_eq!(page(&token).ok().all("instanceType").len(), 50, "only once");
}

#[test]
fn pages_can_be_empty_though_there_is_more() {
    let ec2 = start(SMALL);
    let plain: Vec<usize> =
        super::support::pages(&ec2, "DescribeInstanceTypes").iter().map(|p| p.all("instanceType").len()).collect();
    ec2.faults().add(Fault::new(Effect::EmptyPage { page: 1 }).on("DescribeInstanceTypes"));
    let odd: Vec<usize> =
        super::support::pages(&ec2, "DescribeInstanceTypes").iter().map(|p| p.all("instanceType").len()).collect();
    assert_eq!(odd[0], 0);
    assert_eq!(odd[1..], plain);
}

#[test]
fn documented_throttling_refuses_and_recovers() {
    let clock = Clock::manual();
    let world = World::load(parse(SMALL)).unwrap();
    let ec2 = Simulator::start_on((Ipv4Addr::LOCALHOST, 0).into(), world, clock.clone()).unwrap();
    ec2.throttle(Throttling::Documented);
    let refused = |tries: u32| {
        (0..tries).filter(|_| call(&ec2, "CreateSubnetCidrReservation").code() == "RequestLimitExceeded").count()
    };
    assert_eq!(refused(8), 3, "a bucket of five");
    clock.advance(Duration::from_secs(2));
    assert_eq!(refused(3), 1, "one a second");
    ec2.throttle(Throttling::Off);
    assert_eq!(refused(10), 0);
}

#[test]
fn the_log_counts_and_keeps_what_was_asked() {
    let ec2 = start(SMALL);
    call_as(
        &ec2,
        "AKIA",
        "eu-central-1",
        "DescribeNetworkInterfaces&MaxResults=1000&Filter.1.Name=vpc-id&Filter.1.Value.1=vpc-1",
    )
    .ok();
    call(&ec2, "DescribeSubnets&SubnetId.1=subnet-9");
    let log = ec2.request_log();
    assert_eq!((log.total(), log.count("DescribeNetworkInterfaces"), log.count("DescribeVpcs")), (2, 1, 0));
    assert_eq!(log.counts["DescribeSubnets"].errors, 1);
    assert_eq!(log.requests[0].params["MaxResults"], "1000");
    assert_eq!(log.requests[0].access_key.as_deref(), Some("AKIA"));
    assert_eq!(log.requests[1].error.as_deref(), Some("InvalidSubnetID.NotFound"));
    ec2.reset_request_log();
    assert_eq!(ec2.request_log().total(), 0);
}

#[test]
fn everything_can_be_controlled_over_http() {
    let ec2 = start("{}");
    assert!(http(&ec2, "GET /_sim/health", "", "").ok().body.contains("111122223333"));
    let seed = serde_json::to_string(&parse(SMALL)).unwrap();
    assert_eq!(http(&ec2, "PUT /_sim/seed", "", &seed).status, 204);
    let state = json(&http(&ec2, "GET /_sim/state", "", "").ok());
    assert_eq!(state["available"]["subnet-c"], 59);
    assert_eq!(state["seed"]["interfaces"].as_array().unwrap().len(), 6);

    let fault = r#"{"action":"DescribeVpcs","effect":"internalError"}"#;
    let set = json(&http(&ec2, "POST /_sim/faults", "", fault));
    assert_eq!(call(&ec2, "DescribeVpcs").code(), "InternalError");
    assert_eq!(json(&http(&ec2, "GET /_sim/faults", "", "")).as_array().unwrap().len(), 1);
    assert_eq!(http(&ec2, &format!("DELETE /_sim/faults/{}", set["id"]), "", "").status, 204);
    assert_eq!(call(&ec2, "DescribeVpcs").status, 200);
    http(&ec2, "POST /_sim/faults", "", fault);
    assert_eq!(http(&ec2, "DELETE /_sim/faults", "", "").status, 204);
    assert_eq!(call(&ec2, "DescribeVpcs").status, 200);

    let log = json(&http(&ec2, "GET /_sim/requests", "", ""));
    assert_eq!(log["counts"]["DescribeVpcs"]["requests"], 3);
    assert_eq!(http(&ec2, "DELETE /_sim/requests", "", "").status, 204);
    assert_eq!(ec2.request_log().total(), 0);

    assert_eq!(http(&ec2, "PUT /_sim/throttling", "", r#"{"throttling":"documented"}"#).status, 204);
    let refused =
        (0..12).filter(|_| call(&ec2, "CreateSubnetCidrReservation").code() == "RequestLimitExceeded").count();
    assert!(refused > 0, "a bucket of five");
}

#[test]
fn what_cannot_be_read_is_refused_and_changes_nothing() {
    let ec2 = start(SMALL);
    for (line, body, part) in [
        ("PUT /_sim/seed", "{", "EOF"),
        ("PUT /_sim/seed", r#"{"vpcs":[{"cidr":"10.0.0.0/8"}]}"#, "vpcs[0]"),
        ("POST /_sim/faults", r#"{"effect":"earthquake"}"#, "earthquake"),
        ("PUT /_sim/throttling", r#"{"throttling":"always"}"#, "always"),
    ] {
        let reply = http(&ec2, line, "", body);
        assert_eq!(reply.status, 400, "{line}");
        assert!(json(&reply)["error"].as_str().unwrap().contains(part), "{}", reply.body);
    }
    assert_eq!(ec2.available("subnet-c"), Some(59));
}

#[test]
fn the_port_is_free_again_after_the_drop() {
    let ec2 = start("{}");
    let address = ec2.endpoint().trim_start_matches("http://").to_owned();
    drop(ec2);
    assert!(std::net::TcpStream::connect(address).is_err());
}
