//! As whom and where EC2 is asked, if the user says so. STS is moto's, and so are the roles: whoever asks gets one.

use ipam_audit_core::inventory::ReadInventory;
use ipam_audit_core::source::FaultCategory;
use ipam_audit_ec2::{Access, AwsInventory, Role};

use crate::faults::serve;
use crate::rig::{REGION, all_of_small, both, config, loader, simulator, small};

/// The key of the profile that everybody here starts from.
const OWN_KEY: &str = "AKIAIOSFODNN7EXAMPLE";
const ROLE: &str = "arn:aws:iam::210987654321:role/path/ipam-audit";

fn access(endpoint: &str, role: Option<&str>) -> Access {
    let role = role.map(|arn| Role {
        arn: arn.to_owned(),
        external_id: Some("a-shared-secret".to_owned()),
        session_name: None,
    });
    Access { endpoint: Some(endpoint.to_owned()), role, ..Access::default() }
}

#[tokio::test]
async fn a_role_of_another_account_is_assumed_and_its_keys_sign_what_is_sent() {
    let [moto, _] = both();
    let simulator = simulator(small());
    // All services are at moto, but for EC2.
    let own = config(moto.endpoint(), REGION).await;
    let inventory = AwsInventory::through(&own, &access(&simulator.endpoint(), Some(ROLE))).await;
    let read = inventory.read(&all_of_small()).await;
    assert_eq!(read.interfaces.fault, None);
    assert_eq!(read.interfaces.value().map(ipam_audit_core::rows::Rows::len), Some(2));
    let log = simulator.request_log();
    assert!(log.total() > 5);
    for request in log.requests {
        let key = request.access_key.unwrap();
        assert!(key.starts_with("ASIA"), "{} is signed with {key}, no key of an assumed role", request.action);
    }
}

#[tokio::test]
async fn a_role_is_assumed_once_for_many_calls() {
    let [moto, _] = both();
    let simulator = simulator(small());
    let own = config(moto.endpoint(), REGION).await;
    let inventory = AwsInventory::through(&own, &access(&simulator.endpoint(), Some(ROLE))).await;
    for _ in 0..3 {
        inventory.read(&all_of_small()).await;
    }
    let log = simulator.request_log();
    let keys: std::collections::BTreeSet<_> = log.requests.iter().map(|request| request.access_key.clone()).collect();
    assert_eq!(keys.len(), 1, "{keys:?}");
}

#[tokio::test]
async fn a_role_that_cannot_be_assumed_is_named_with_what_to_change() {
    let endpoint = serve(
        "403 Forbidden",
        None,
        "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code>\
         <Message>User: arn:aws:iam::111122223333:role/own is not authorized to perform: sts:AssumeRole</Message>\
         </Error></ErrorResponse>",
    );
    let simulator = simulator(small());
    let own = config(&endpoint, REGION).await;
    let inventory = AwsInventory::through(&own, &access(&simulator.endpoint(), Some(ROLE))).await;
    let fault = inventory.read(&all_of_small()).await.subnets.fault.unwrap();
    assert_eq!(fault.category, FaultCategory::Credentials);
    assert!(fault.message.starts_with(&format!("{ROLE} cannot be assumed: its trust policy")), "{}", fault.message);
    assert!(fault.message.contains("is not authorized to perform: sts:AssumeRole"), "{}", fault.message);
    assert_eq!(simulator.request_log().total(), 0, "nothing is sent as somebody else");
}

#[tokio::test]
async fn without_own_credentials_no_role_is_blamed() {
    let simulator = simulator(small());
    let profile = format!("[default]\nregion = {REGION}\nec2_metadata_service_endpoint = http://127.0.0.1:9\n");
    let own = loader(&profile).load().await;
    let inventory = AwsInventory::through(&own, &access(&simulator.endpoint(), Some(ROLE))).await;
    let fault = inventory.read(&all_of_small()).await.subnets.fault.unwrap();
    assert_eq!(fault.category, FaultCategory::Credentials);
    assert!(fault.message.starts_with("no credentials: give the ServiceAccount a role"), "{}", fault.message);
}

#[tokio::test]
async fn an_endpoint_that_is_stated_goes_before_that_of_the_environment() {
    let simulator = simulator(small());
    let own = config("http://127.0.0.1:9", REGION).await;
    let inventory = AwsInventory::through(&own, &access(&simulator.endpoint(), None)).await;
    let read = inventory.read(&all_of_small()).await;
    assert_eq!(read.subnets.fault, None);
    let log = simulator.request_log();
    assert!(log.requests.iter().all(|request| request.access_key.as_deref() == Some(OWN_KEY)));
}
