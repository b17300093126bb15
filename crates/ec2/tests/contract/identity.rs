//! Credentials that are given for a pod's token (IRSA): they are used, renewed, and what lacks is told by what to do.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use aws_config::{SdkConfig, timeout::TimeoutConfig};
use ipam_audit_core::inventory::ReadInventory;
use ipam_audit_core::source::{FaultCategory, SourceFault};
use ipam_audit_ec2::{Access, AwsInventory, Role};
use ipam_audit_testkit::ec2::Simulator;
use ipam_audit_testkit::issuer::{Issuer, Way};
use tempfile::TempDir;

use crate::rig::{REGION, all_of_small, loader, simulator, small};

const ROLE: &str = "arn:aws:iam::111122223333:role/ipam-audit";
const OTHER: &str = "arn:aws:iam::444455556666:role/ipam-audit";
const TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.first.signature";

/// A pod whose token is a file that may not be there yet.
struct Pod {
    simulator: Simulator,
    issuer: Issuer,
    dir: TempDir,
}

impl Pod {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { simulator: simulator(small()), issuer: Issuer::start().unwrap(), dir }
    }

    fn token(&self) -> std::path::PathBuf {
        self.dir.path().join("token")
    }

    fn write(&self, token: &str) {
        fs::write(self.token(), token).unwrap();
    }

    async fn inventory(&self) -> AwsInventory {
        AwsInventory::new(&self.config(&self.issuer.sts()).await)
    }

    async fn config(&self, sts: &str) -> SdkConfig {
        loader(&profile(&self.simulator.endpoint(), sts, &self.token())).load().await
    }

    fn keys_that_signed(&self) -> BTreeSet<String> {
        self.simulator.request_log().requests.into_iter().filter_map(|request| request.access_key).collect()
    }

    fn keys_given_to(&self, token: &str) -> BTreeSet<String> {
        self.issuer.given().into_iter().filter(|given| given.to == token).map(|given| given.key).collect()
    }
}

fn profile(ec2: &str, sts: &str, token: &Path) -> String {
    format!(
        "[default]\nregion = {REGION}\nservices = here\nrole_arn = {ROLE}\nweb_identity_token_file = {}\n\n\
         [services here]\nec2 =\n  endpoint_url = {ec2}\nsts =\n  endpoint_url = {sts}\n",
        token.display()
    )
}

async fn fault(inventory: &AwsInventory) -> SourceFault {
    let read = inventory.read(&all_of_small()).await;
    let faults = read.states().map(|state| state.fault.unwrap());
    assert!(faults.iter().all(|fault| *fault == faults[0]), "one cause, one text: {faults:?}");
    let [first, ..] = faults;
    assert!(!first.message.contains(TOKEN) && !first.message.contains("eyJ"), "{}", first.message);
    first
}

#[tokio::test]
async fn keys_for_a_token_sign_what_is_sent_and_a_new_token_is_taken_when_they_end() {
    let pod = Pod::new();
    pod.write(TOKEN);
    pod.issuer.take(TOKEN);
    // Shorter than the time before their end at which new ones are asked for.
    pod.issuer.lasting(Duration::from_millis(1));
    let inventory = pod.inventory().await;
    assert_eq!(inventory.read(&all_of_small()).await.subnets.fault, None);
    assert_eq!(pod.keys_that_signed(), pod.keys_given_to(TOKEN));
    assert!(pod.issuer.given().iter().all(|given| given.way == Way::Irsa && given.role.as_deref() == Some(ROLE)));

    pod.simulator.reset_request_log();
    pod.write("second");
    pod.issuer.take("second");
    pod.issuer.lasting(Duration::from_hours(1));
    assert_eq!(inventory.read(&all_of_small()).await.subnets.fault, None);
    assert_eq!(pod.keys_that_signed(), pod.keys_given_to("second"));
    assert_eq!((pod.keys_given_to("second").len(), pod.issuer.refused()), (1, 0), "these last for all calls");
}

#[tokio::test]
async fn a_token_that_is_not_there_is_told_and_found_as_soon_as_it_is() {
    let pod = Pod::new();
    pod.issuer.take(TOKEN);
    let inventory = pod.inventory().await;
    let fault = fault(&inventory).await;
    assert_eq!(fault.category, FaultCategory::Credentials);
    let says =
        "no credentials: the ServiceAccount's token cannot be read from the file that AWS_WEB_IDENTITY_TOKEN_FILE";
    assert!(fault.message.starts_with(says) && fault.message.contains("No such file"), "{}", fault.message);
    assert_eq!((pod.issuer.given().len(), pod.issuer.refused()), (0, 0), "nobody was asked");

    pod.write(TOKEN);
    assert_eq!(inventory.read(&all_of_small()).await.subnets.fault, None);
}

#[tokio::test]
async fn a_token_that_is_refused_is_told_with_what_to_check_and_no_role_above_is_blamed() {
    let role = Role { arn: OTHER.to_owned(), external_id: None, session_name: None };
    for access in [Access::default(), Access { role: Some(role), ..Access::default() }] {
        let pod = Pod::new();
        pod.write(TOKEN);
        let inventory = AwsInventory::through(&pod.config(&pod.issuer.sts()).await, &access).await;
        let SourceFault { category, message } = fault(&inventory).await;
        assert_eq!(category, FaultCategory::Credentials);
        assert!(message.contains("names the ServiceAccount") && !message.contains(OTHER), "{message}");
        let said = "(AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity)";
        assert!(message.ends_with(said), "and not the number of the request: {message}");
        assert_eq!(pod.simulator.request_log().total(), 0, "nothing is sent unsigned");
        pod.issuer.take(TOKEN);
        assert_eq!(inventory.read(&all_of_small()).await.subnets.fault, None);
    }
}

#[tokio::test]
async fn an_sts_that_does_not_answer_is_told_from_an_ec2_that_does_not() {
    let pod = Pod::new();
    pod.write(TOKEN);
    let refuses = pod.config("http://127.0.0.1:9").await;
    // It is connected to and never says a word.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mute = format!("http://{}", listener.local_addr().unwrap());
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(Duration::from_millis(200))
        .operation_timeout(Duration::from_secs(2))
        .build();
    let hangs = loader(&profile(&pod.simulator.endpoint(), &mute, &pod.token())).timeout_config(timeouts).load().await;
    for (config, says) in [(refuses, "refused"), (hangs, "in time")] {
        let fault = fault(&AwsInventory::new(&config)).await;
        assert_eq!(fault.category, FaultCategory::Unreachable, "it may pass: {}", fault.message);
        let words = "the VPC endpoint for sts";
        assert!(fault.message.contains(words) && fault.message.contains(says), "{}", fault.message);
    }
}
