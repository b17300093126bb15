//! The two implementations, and clients of them that depend on nothing in the environment they run in.

use std::sync::OnceLock;
use std::time::Duration;

use aws_config::{ConfigLoader, SdkConfig, timeout::TimeoutConfig};
use ipam_audit_core::inventory::{Inventory, InventoryScope, ReadInventory};
use ipam_audit_ec2::AwsInventory;
use ipam_audit_testkit::ec2::{Ec2Seed, Simulator, World, seed};
use ipam_audit_testkit::moto::Moto;

pub(crate) const REGION: &str = "eu-central-1";
pub(crate) const ZONES: [&str; 3] = ["eu-central-1a", "eu-central-1b", "eu-central-1c"];

/// Who plays EC2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Actor {
    Moto,
    Simulator,
}

/// A running EC2. moto is shared by all tests, for it takes seconds to start and VPCs keep tests apart.
pub(crate) struct Ec2 {
    pub(crate) actor: Actor,
    endpoint: String,
    _simulator: Option<Simulator>,
}

/// Both implementations.
pub(crate) fn both() -> [Ec2; 2] {
    static MOTO: OnceLock<Moto> = OnceLock::new();
    let moto = MOTO.get_or_init(|| Moto::start().unwrap_or_else(|error| panic!("moto cannot be started: {error:#}")));
    let simulator = simulator(Ec2Seed::default());
    [
        Ec2 { actor: Actor::Moto, endpoint: moto.endpoint().to_owned(), _simulator: None },
        Ec2 { actor: Actor::Simulator, endpoint: simulator.endpoint(), _simulator: Some(simulator) },
    ]
}

/// The project's own EC2 with an account in it.
pub(crate) fn simulator(seed: Ec2Seed) -> Simulator {
    Simulator::start(World::load(seed).unwrap()).unwrap()
}

impl Ec2 {
    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(crate) async fn config(&self) -> SdkConfig {
        config(&self.endpoint, REGION).await
    }

    pub(crate) async fn read(&self, scope: &InventoryScope) -> Inventory {
        read(&self.config().await, scope).await
    }
}

pub(crate) async fn read(config: &SdkConfig, scope: &InventoryScope) -> Inventory {
    AwsInventory::new(config).read(scope).await
}

/// The configuration of a user whose profile says all this; the environment of the test is not looked at.
pub(crate) async fn config(endpoint: &str, region: &str) -> SdkConfig {
    loader(&profile(endpoint, region)).load().await
}

/// The same, for a user with no patience: to see what a time-out looks like without waiting for the real ones.
pub(crate) async fn impatient(endpoint: &str) -> SdkConfig {
    let timeouts = TimeoutConfig::builder()
        .operation_attempt_timeout(Duration::from_millis(200))
        .operation_timeout(Duration::from_secs(2))
        .build();
    loader(&profile(endpoint, REGION)).timeout_config(timeouts).load().await
}

pub(crate) fn profile(endpoint: &str, region: &str) -> String {
    format!(
        "[default]\nregion = {region}\nendpoint_url = {endpoint}\n\
         aws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = wJalrXUtnFEMIexample\n"
    )
}

/// The shipped configuration with a profile in the place of files and an empty environment.
#[expect(deprecated, reason = "the new names are in a crate that nothing else here needs")]
pub(crate) fn loader(profile: &str) -> ConfigLoader {
    use aws_config::profile::profile_file::{ProfileFileKind, ProfileFiles};
    let files = ProfileFiles::builder().with_contents(ProfileFileKind::Config, profile).build();
    AwsInventory::loader().empty_test_environment().profile_files(files)
}

/// An account with one VPC of two subnets, one of which holds a node with two interfaces.
pub(crate) fn small() -> Ec2Seed {
    let mut seed = Ec2Seed {
        vpcs: vec![seed::Vpc {
            id: Some("vpc-1".to_owned()),
            cidr: "10.0.0.0/16".parse().unwrap(),
            associations: Vec::new(),
            tags: seed::Tags::new(),
        }],
        subnets: vec![subnet("subnet-1", "10.0.0.0/20"), subnet("subnet-2", "10.0.16.0/24")],
        instances: vec![seed::Instance {
            id: Some("i-1".to_owned()),
            instance_type: "m6a.32xlarge".to_owned(),
            subnet: "subnet-1".to_owned(),
            zone: None,
            state: "running".to_owned(),
            tags: seed::Tags::new(),
        }],
        ..Ec2Seed::default()
    };
    for (id, index) in [("eni-1", 0), ("eni-2", 1)] {
        seed.interfaces.push(seed::Interface {
            id: Some(id.to_owned()),
            secondary: seed::Assigned::Count(9),
            attachment: Some(seed::Attachment::new("i-1", index)),
            ..seed::Interface::new("subnet-1")
        });
    }
    seed
}

pub(crate) fn subnet(id: &str, cidr: &str) -> seed::Subnet {
    seed::Subnet {
        id: Some(id.to_owned()),
        vpc: Some("vpc-1".to_owned()),
        cidr: cidr.parse().unwrap(),
        zone: ZONES[0].to_owned(),
        zone_id: None,
        tags: seed::Tags::new(),
        state: "available".to_owned(),
        owner: None,
    }
}

/// Everything of that account.
pub(crate) fn all_of_small() -> InventoryScope {
    InventoryScope {
        vpc: Some("vpc-1".into()),
        instances: vec!["i-1".into()],
        instance_types: vec!["m6a.32xlarge".into()],
        reservation_subnets: vec!["subnet-1".into(), "subnet-2".into()],
    }
}
