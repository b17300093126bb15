//! Each partition has names of its own: where EC2 and STS are asked there, for which region, and as whom.
//!
//! What is meant for AWS is led to who plays it here; to whom it was meant is kept.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use ipam_audit_core::inventory::ReadInventory;
use ipam_audit_ec2::{Access, AwsInventory, Role};
use ipam_audit_testkit::ec2::{Ec2Seed, Simulator};
use ipam_audit_testkit::issuer::{Issuer, Way};

use crate::rig::{all_of_small, loader, simulator, small};

/// Leads what is meant for STS to one place and everything else to another.
#[derive(Debug, Clone)]
struct Detour {
    ec2: String,
    sts: String,
    meant: Arc<Mutex<BTreeSet<String>>>,
    plain: SharedHttpClient,
}

#[derive(Debug)]
struct Road {
    detour: Detour,
    ahead: SharedHttpConnector,
}

impl HttpClient for Detour {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(Road { detour: self.clone(), ahead: self.plain.http_connector(settings, components) })
    }
}

impl HttpConnector for Road {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        let origin = request.uri().split('/').take(3).collect::<Vec<_>>().join("/");
        let is_sts = origin.starts_with("https://sts");
        self.detour.meant.lock().unwrap().insert(origin);
        let to = if is_sts { &self.detour.sts } else { &self.detour.ec2 };
        request.uri_mut().set_endpoint(to).unwrap();
        self.ahead.call(request)
    }
}

/// An account in a region, who gives keys for the token `token`, and the way to both.
struct Abroad {
    simulator: Simulator,
    issuer: Issuer,
    token: tempfile::NamedTempFile,
    detour: Detour,
}

impl Abroad {
    fn in_region(region: &str) -> Self {
        let mut seed = Ec2Seed { region: region.to_owned(), ..small() };
        for subnet in &mut seed.subnets {
            subnet.zone = format!("{region}a");
        }
        let (simulator, issuer) = (simulator(seed), Issuer::start().unwrap());
        issuer.take("token");
        let token = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(token.path(), "token").unwrap();
        let plain = aws_smithy_http_client::Builder::new().build_http();
        let detour = Detour { ec2: simulator.endpoint(), sts: issuer.sts(), meant: Arc::default(), plain };
        Self { simulator, issuer, token, detour }
    }

    /// Reads everything as a pod with a role by IRSA, and gives the places that were asked.
    async fn read(&self, region: &str, own: &str, further: &str, assumed: Option<&str>) -> Vec<String> {
        let token = self.token.path().display();
        let profile =
            format!("[default]\nregion = {region}\nrole_arn = {own}\nweb_identity_token_file = {token}\n{further}\n");
        let own = loader(&profile).http_client(self.detour.clone()).load().await;
        let role = assumed.map(|arn| Role { arn: arn.to_owned(), external_id: None, session_name: None });
        let inventory = AwsInventory::through(&own, &Access { role, ..Access::default() }).await;
        let read = inventory.read(&all_of_small()).await;
        assert_eq!(read.subnets.fault, None, "{region}");
        assert_eq!(read.subnets.value().map(Vec::len), Some(2), "an account has its subnets in its own region alone");
        assert_eq!(inventory.region().map(|(region, _)| region), Some(region));
        self.detour.meant.lock().unwrap().iter().cloned().collect()
    }
}

#[tokio::test]
async fn ec2_and_sts_are_asked_where_the_partition_of_the_region_has_them() {
    for (region, partition, suffix) in [
        ("eu-central-1", "aws", "amazonaws.com"),
        ("cn-north-1", "aws-cn", "amazonaws.com.cn"),
        ("cn-northwest-1", "aws-cn", "amazonaws.com.cn"),
        ("us-gov-west-1", "aws-us-gov", "amazonaws.com"),
        ("us-iso-east-1", "aws-iso", "c2s.ic.gov"),
        ("us-isob-east-1", "aws-iso-b", "sc2s.sgov.gov"),
        ("eu-isoe-west-1", "aws-iso-e", "cloud.adc-e.uk"),
        ("us-isof-south-1", "aws-iso-f", "csp.hci.ic.gov"),
        ("eusc-de-east-1", "aws-eusc", "amazonaws.eu"),
    ] {
        let abroad = Abroad::in_region(region);
        let [own, assumed] =
            ["111122223333", "444455556666"].map(|account| format!("arn:{partition}:iam::{account}:role/ipam-audit"));
        let asked = abroad.read(region, &own, "", Some(&assumed)).await;
        assert_eq!(asked, [format!("https://ec2.{region}.{suffix}"), format!("https://sts.{region}.{suffix}")]);

        let given = abroad.issuer.given();
        let roles: Vec<(Way, Option<&str>)> = given.iter().map(|given| (given.way, given.role.as_deref())).collect();
        assert_eq!(roles, [(Way::Irsa, Some(own.as_str())), (Way::AssumeRole, Some(assumed.as_str()))]);
        for request in abroad.simulator.request_log().requests {
            assert_eq!(request.region.as_deref(), Some(region), "signed for its region");
            assert_eq!(request.access_key.as_ref(), Some(&given[1].key), "and with the keys of the role");
        }
    }
}

#[tokio::test]
async fn the_switches_of_the_sdk_for_fips_and_ipv6_hold_for_both() {
    for (region, switch, ec2, sts) in [
        ("us-east-1", "use_fips_endpoint", "ec2-fips.us-east-1.amazonaws.com", "sts-fips.us-east-1.amazonaws.com"),
        ("us-gov-west-1", "use_fips_endpoint", "ec2.us-gov-west-1.amazonaws.com", "sts.us-gov-west-1.amazonaws.com"),
        (
            "us-iso-east-1",
            "use_fips_endpoint",
            "ec2-fips.us-iso-east-1.c2s.ic.gov",
            "sts-fips.us-iso-east-1.c2s.ic.gov",
        ),
        ("eu-central-1", "use_dualstack_endpoint", "ec2.eu-central-1.api.aws", "sts.eu-central-1.api.aws"),
        (
            "cn-north-1",
            "use_dualstack_endpoint",
            "ec2.cn-north-1.api.amazonwebservices.com.cn",
            "sts.cn-north-1.api.amazonwebservices.com.cn",
        ),
    ] {
        let abroad = Abroad::in_region(region);
        let own = "arn:aws:iam::111122223333:role/ipam-audit";
        let asked = abroad.read(region, own, &format!("{switch} = true"), None).await;
        assert_eq!(asked, [format!("https://{ec2}"), format!("https://{sts}")]);
    }
}
