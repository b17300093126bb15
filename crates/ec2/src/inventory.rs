//! The inventory: which parts are read, in which order, and what one failed part means for the others.

use std::time::Duration;

use aws_config::{BehaviorVersion, ConfigLoader, SdkConfig, timeout::TimeoutConfig};
use aws_sdk_ec2::{Client, config::AppName};
use ipam_audit_core::{
    ids::{SubnetId, VpcId},
    inventory::{CidrReservation, Interface, InterfaceKind, Inventory, InventoryScope, ReadInventory},
    rows::Rows,
    source::{FaultCategory, Reading, SourceFault},
};

use crate::{access::Access, action::Action, call::Caller, memory::Memory, meter::ActionStats};

/// The longest that one request may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(12);
/// The longest that one call may take with its retries; a reading of an EC2 that is down ends after it.
const CALL_TIMEOUT: Duration = Duration::from_secs(18);
const APP_NAME: &str = "ipam-audit";

/// EC2 as AWS serves it, or whatever `AWS_ENDPOINT_URL` points at.
#[derive(Debug)]
pub struct AwsInventory {
    /// The client; none when no region is known, and so no endpoint.
    pub(crate) caller: Option<Caller>,
    pub(crate) memory: Memory,
    region_from: &'static str,
}

impl AwsInventory {
    /// Takes what is not stated from the SDK's standard environment and files.
    ///
    /// Nothing is read yet and nothing fails here: what is missing shows as the faults of the first reading.
    pub async fn connect(access: &Access) -> Self {
        let loader = Self::loader().region(access.region.provider());
        let config = Box::pin(loader.load()).await;
        let region_from = access.region.told_by().await;
        Self { region_from, ..Self::through(&config, access).await }
    }

    /// Endpoint and role as stated, everything else from a configuration of the SDK's.
    #[doc(hidden)]
    pub async fn through(config: &SdkConfig, access: &Access) -> Self {
        let endpoint = access.endpoint.clone();
        match &access.role {
            Some(role) => Self::with(&role.assume(config).await, endpoint, Some(role.arn.clone())),
            None => Self::with(config, endpoint, None),
        }
    }

    /// The configuration that [`AwsInventory::connect`] starts from.
    #[doc(hidden)]
    pub fn loader() -> ConfigLoader {
        let timeouts =
            TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).operation_timeout(CALL_TIMEOUT).build();
        aws_config::defaults(BehaviorVersion::v2026_01_12()).timeout_config(timeouts)
    }

    /// From a configuration of the SDK's, for tests that must not depend on the environment they run in.
    #[doc(hidden)]
    pub fn new(config: &SdkConfig) -> Self {
        Self::with(config, None, None)
    }

    fn with(config: &SdkConfig, endpoint: Option<String>, role: Option<String>) -> Self {
        let mut builder = aws_sdk_ec2::config::Builder::from(config);
        if endpoint.is_some() {
            builder.set_endpoint_url(endpoint);
        }
        if config.app_name().is_none() {
            builder.set_app_name(AppName::new(APP_NAME).ok());
        }
        let region = config.region().map(ToString::to_string);
        Self {
            caller: region.map(|region| Caller::new(Client::from_conf(builder.build()), region, role)),
            memory: Memory::default(),
            region_from: "a configuration",
        }
    }

    /// The region that is read, and what told it.
    pub fn region(&self) -> Option<(&str, &'static str)> {
        self.caller.as_ref().map(|caller| (caller.region(), self.region_from))
    }

    /// Whether the environment, its files or the caller named a region.
    pub fn has_region(&self) -> bool {
        self.caller.is_some()
    }

    /// What was sent to EC2 so far, by action.
    pub fn stats(&self) -> Vec<ActionStats> {
        self.caller.as_ref().map_or_else(Vec::new, |caller| caller.stats().to_vec())
    }
}

impl ReadInventory for AwsInventory {
    async fn read(&self, scope: &InventoryScope) -> Inventory {
        let Some(caller) = &self.caller else {
            return all_missing(&SourceFault {
                category: FaultCategory::Unreachable,
                message: "no region is known, and so no endpoint of EC2: set spec.aws.region or AWS_REGION".to_owned(),
            });
        };
        let reader = Reader { caller, memory: &self.memory };
        let types = Box::pin(reader.instance_types(&scope.instance_types));
        let (instance_types, network) = tokio::join!(types, Box::pin(reader.network(scope)));
        let inventory = Inventory { instance_types, ..network };
        tracing::debug!(
            interfaces = inventory.interfaces.value().map(Rows::len),
            subnets = inventory.subnets.value().map(Vec::len),
            faults = inventory.states().iter().filter(|state| state.fault.is_some()).count(),
            "EC2 was read"
        );
        inventory
    }
}

/// One reading under way.
pub(crate) struct Reader<'a> {
    pub(crate) caller: &'a Caller,
    pub(crate) memory: &'a Memory,
}

impl Reader<'_> {
    /// Everything but the instance types.
    ///
    /// The two large listings are not read at the same time, so that no more than one page of them is held at once.
    async fn network(&self, scope: &InventoryScope) -> Inventory {
        let vpc = match self.vpc(scope).await {
            Ok(vpc) => vpc,
            Err(fault) => return self.nothing_for(&fault).await,
        };
        let (vpcs, subnets, interfaces) = tokio::join!(self.vpcs(&vpc), self.subnets(&vpc), self.interfaces(&vpc));
        let mut inventory = Inventory { vpcs, subnets, interfaces, ..Inventory::default() };
        self.check_that_it_exists(&vpc, &mut inventory);
        inventory.instances = self.instances(&vpc).await;
        (inventory.reservations, inventory.security_groups, inventory.route_tables) =
            tokio::join!(self.reservations_for(scope, &inventory), self.security_groups(&vpc), self.route_tables(&vpc));
        self.remember(&vpc, &inventory);
        inventory
    }

    /// Reservations of the subnets that matter, which the interfaces tell.
    async fn reservations_for(&self, scope: &InventoryScope, inventory: &Inventory) -> Reading<Vec<CidrReservation>> {
        match (&inventory.interfaces.fault, inventory.interfaces.value()) {
            (_, Some(interfaces)) => self.reservations(&wanted_subnets(scope, interfaces)).await,
            // Without an answer to the larger question there is none to the smaller ones.
            (Some(fault), None) => missing(&self.own_denial(Action::GetSubnetCidrReservations, fault).await),
            (None, None) => Reading::default(),
        }
    }

    /// Nothing, because it is not known which VPC to read. Where that is for want of a right, every other right that is
    /// missing is named as well: whoever adds one shall not have to come back for the next.
    async fn nothing_for(&self, fault: &SourceFault) -> Inventory {
        if fault.category != FaultCategory::Denied {
            return all_missing(fault);
        }
        let mut inventory = all_missing(fault);
        inventory.vpcs = missing(&self.own_denial(Action::DescribeVpcs, fault).await);
        inventory.subnets = missing(&self.own_denial(Action::DescribeSubnets, fault).await);
        inventory.interfaces = missing(&self.own_denial(Action::DescribeNetworkInterfaces, fault).await);
        inventory.reservations = missing(&self.own_denial(Action::GetSubnetCidrReservations, fault).await);
        inventory.instances = missing(&self.own_denial(Action::DescribeInstances, fault).await);
        inventory.security_groups = missing(&self.own_denial(Action::DescribeSecurityGroups, fault).await);
        inventory.route_tables = missing(&self.own_denial(Action::DescribeRouteTables, fault).await);
        inventory
    }

    /// The denial of an action itself, if it is denied as well; the other fault if not. Only a denial makes it ask.
    async fn own_denial(&self, action: Action, other: &SourceFault) -> SourceFault {
        if other.category != FaultCategory::Denied {
            return other.clone();
        }
        match self.caller.denial(action).await {
            Some(failure) => self.caller.fault(action, &failure),
            None => other.clone(),
        }
    }

    /// EC2 answers filters that match nothing with an empty list: a VPC without subnets is one that is not there.
    fn check_that_it_exists(&self, vpc: &VpcId, inventory: &mut Inventory) {
        let fault = SourceFault {
            category: FaultCategory::NotFound,
            message: format!(
                "{vpc} is not in {}, or these credentials do not see its subnets: \
                 check the VPC and the region of the audit, and the account of the credentials",
                self.caller.region()
            ),
        };
        let exists = is_some_and_filled(&inventory.vpcs) || is_some_and_filled(&inventory.subnets);
        let seen = &inventory.interfaces;
        if !exists && seen.fault.is_none() && seen.value().is_some_and(Rows::is_empty) {
            inventory.interfaces = missing(&fault);
        }
        if is_empty(&inventory.vpcs) {
            inventory.vpcs = missing(&fault);
        }
        if is_empty(&inventory.subnets) {
            inventory.subnets = missing(&fault);
            *self.memory.vpc() = None;
        }
    }
}

/// The subnets whose reservations matter: those that were asked for, or else those that hold an instance's interface
/// or a branch.
fn wanted_subnets(scope: &InventoryScope, interfaces: &Rows<Interface>) -> Vec<SubnetId> {
    let in_use = |interface: &&Interface| {
        interface.kind == InterfaceKind::Branch
            || interface.attachment.as_ref().is_some_and(|attachment| attachment.instance.is_some())
    };
    let mut subnets = scope.reservation_subnets.clone();
    if subnets.is_empty() {
        subnets = interfaces.iter().filter(in_use).map(|interface| interface.subnet.clone()).collect();
    }
    subnets.sort_unstable();
    subnets.dedup();
    subnets
}

fn all_missing(fault: &SourceFault) -> Inventory {
    Inventory {
        vpcs: missing(fault),
        subnets: missing(fault),
        interfaces: missing(fault),
        instance_types: missing(fault),
        reservations: missing(fault),
        instances: missing(fault),
        security_groups: missing(fault),
        route_tables: missing(fault),
    }
}

fn missing<T>(fault: &SourceFault) -> Reading<T> {
    Reading::missing(fault.category, fault.message.clone())
}

fn is_empty<T>(reading: &Reading<Vec<T>>) -> bool {
    reading.fault.is_none() && reading.value().is_some_and(Vec::is_empty)
}

fn is_some_and_filled<T>(reading: &Reading<Vec<T>>) -> bool {
    reading.value().is_some_and(|rows| !rows.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_of_an_ec2_that_is_down_ends_within_twenty_seconds() {
        assert!(ATTEMPT_TIMEOUT < CALL_TIMEOUT && CALL_TIMEOUT <= Duration::from_secs(20));
    }

    #[test]
    fn the_app_name_is_one_that_the_sdk_accepts() {
        assert!(AppName::new(APP_NAME).is_ok());
    }
}
