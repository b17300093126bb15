//! The calls themselves, one method each: what is asked, how much at a time, and nothing about what it means.

use std::{
    error::Error,
    future::Future,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use aws_sdk_ec2::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    types as sdk,
};
use ipam_audit_core::{
    ids::{InstanceId, InstanceType, SubnetId, VpcId},
    source::{FaultCategory, SourceFault},
};

use crate::{
    action::Action,
    apart::Apart,
    budget::Budget,
    convert,
    failure::{Failure, Place},
    listing::Page,
    meter::{ActionStats, Counters, Meter},
    sieve::Sieve,
};

/// The most that EC2 answers at once, except for instance types and route tables.
const PAGE: i32 = 1000;
/// The most route tables that EC2 answers at once.
const PAGE_OF_TABLES: i32 = 100;
/// A subnet that cannot be: to ask whether a call would be allowed.
const NO_SUBNET: &str = "subnet-00000000000000000";

/// A client of EC2 with its budget and its counters.
#[derive(Debug)]
pub(crate) struct Caller {
    client: Client,
    apart: Apart,
    region: String,
    /// The role that is assumed.
    role: Option<String>,
    budget: Budget,
    counters: Arc<Counters>,
}

impl Caller {
    pub(crate) fn new(client: Client, region: String, role: Option<String>) -> Self {
        Self { client, apart: Apart::new(), region, role, budget: Budget::full(), counters: Arc::default() }
    }

    pub(crate) fn region(&self) -> &str {
        &self.region
    }

    pub(crate) fn stats(&self) -> [ActionStats; Action::ALL.len()] {
        self.counters.stats(&self.budget)
    }

    /// A failure in words, with the place it happened at.
    pub(crate) fn fault(&self, action: Action, failure: &Failure) -> SourceFault {
        let place = Place { region: &self.region, endpoint: self.counters.endpoint(), role: self.role.as_deref() };
        failure.fault(action, place)
    }

    pub(crate) async fn vpcs(&self, vpc: &VpcId, token: Option<String>) -> Result<Page<sdk::Vpc>, Failure> {
        let request = self.client.describe_vpcs().filters(filter("vpc-id", [vpc.as_str()]));
        let request = request.max_results(PAGE).set_next_token(token).customize();
        let send = |meter| request.interceptor(meter).send();
        let answer = self.send(Action::DescribeVpcs, send).await?;
        Ok(Page::new(answer.vpcs, answer.next_token))
    }

    pub(crate) async fn subnets(&self, vpc: &VpcId, token: Option<String>) -> Result<Page<sdk::Subnet>, Failure> {
        let request = self.client.describe_subnets().filters(filter("vpc-id", [vpc.as_str()]));
        let request = request.max_results(PAGE).set_next_token(token).customize();
        let send = |meter| request.interceptor(meter).send();
        let answer = self.send(Action::DescribeSubnets, send).await?;
        Ok(Page::new(answer.subnets, answer.next_token))
    }

    pub(crate) async fn interfaces(
        &self,
        vpc: &VpcId,
        token: Option<String>,
    ) -> Result<Page<sdk::NetworkInterface>, Failure> {
        self.interfaces_by(filter("vpc-id", [vpc.as_str()]), token).await
    }

    pub(crate) async fn interfaces_of(
        &self,
        instances: &[InstanceId],
        token: Option<String>,
    ) -> Result<Page<sdk::NetworkInterface>, Failure> {
        let instances = instances.iter().map(InstanceId::as_str);
        self.interfaces_by(filter("attachment.instance-id", instances), token).await
    }

    async fn interfaces_by(
        &self,
        filter: sdk::Filter,
        token: Option<String>,
    ) -> Result<Page<sdk::NetworkInterface>, Failure> {
        let sieve = Sieve(convert::UNREAD_OF_INTERFACE);
        // Interfaces of managed instances (EKS Auto Mode) take addresses too, even where the account hides them.
        let request = self.client.describe_network_interfaces().filters(filter).include_managed_resources(true);
        let request = request.max_results(PAGE).set_next_token(token).customize().interceptor(sieve);
        let send = |meter| request.interceptor(meter).send();
        let answer = self.send(Action::DescribeNetworkInterfaces, send).await?;
        Ok(Page::new(answer.network_interfaces, answer.next_token))
    }

    /// Instances of the VPC, launch by launch. Those that are gone for long are not among them.
    pub(crate) async fn instances(&self, vpc: &VpcId, token: Option<String>) -> Result<Page<sdk::Instance>, Failure> {
        self.instances_by(filter("vpc-id", [vpc.as_str()]), token).await
    }

    pub(crate) async fn instances_by_id(
        &self,
        instances: &[InstanceId],
        token: Option<String>,
    ) -> Result<Page<sdk::Instance>, Failure> {
        // By filter: a list of ids fails as a whole when one of them is gone.
        self.instances_by(filter("instance-id", instances.iter().map(InstanceId::as_str)), token).await
    }

    async fn instances_by(&self, filter: sdk::Filter, token: Option<String>) -> Result<Page<sdk::Instance>, Failure> {
        let request = self.client.describe_instances().filters(filter).include_managed_resources(true);
        let sieve = Sieve(convert::UNREAD_OF_INSTANCE);
        let request = request.max_results(PAGE).set_next_token(token).customize().interceptor(sieve);
        let send = |meter| request.interceptor(meter).send();
        let answer = self.send(Action::DescribeInstances, send).await?;
        let launches = answer.reservations.unwrap_or_default().into_iter();
        Ok(Page::new(
            Some(launches.flat_map(|launch| launch.instances.unwrap_or_default()).collect()),
            answer.next_token,
        ))
    }

    pub(crate) async fn security_groups(
        &self,
        vpc: &VpcId,
        token: Option<String>,
    ) -> Result<Page<sdk::SecurityGroup>, Failure> {
        let request = self.client.describe_security_groups().filters(filter("vpc-id", [vpc.as_str()]));
        let request = request.max_results(PAGE).set_next_token(token).customize();
        let send = |meter| request.interceptor(meter).send();
        let answer = self.send(Action::DescribeSecurityGroups, send).await?;
        Ok(Page::new(answer.security_groups, answer.next_token))
    }

    pub(crate) async fn route_tables(
        &self,
        vpc: &VpcId,
        token: Option<String>,
    ) -> Result<Page<sdk::RouteTable>, Failure> {
        let request = self.client.describe_route_tables().filters(filter("vpc-id", [vpc.as_str()]));
        let request = request.max_results(PAGE_OF_TABLES).set_next_token(token).customize();
        let send = |meter| request.interceptor(meter).send();
        let answer = self.send(Action::DescribeRouteTables, send).await?;
        Ok(Page::new(answer.route_tables, answer.next_token))
    }

    /// At most 100 types, of which EC2 has to know each.
    pub(crate) async fn instance_types(
        &self,
        types: &[InstanceType],
        token: Option<String>,
    ) -> Result<Page<sdk::InstanceTypeInfo>, Failure> {
        let types = types.iter().map(|name| sdk::InstanceType::from(name.as_str())).collect();
        let request = self.client.describe_instance_types().set_instance_types(Some(types));
        let request = request.set_next_token(token).customize();
        let send = |meter| request.interceptor(meter).send();
        let answer = self.send(Action::DescribeInstanceTypes, send).await?;
        Ok(Page::new(answer.instance_types, answer.next_token))
    }

    pub(crate) async fn reservations(
        &self,
        subnet: &SubnetId,
        token: Option<String>,
    ) -> Result<Page<sdk::SubnetCidrReservation>, Failure> {
        let request = self.client.get_subnet_cidr_reservations().subnet_id(subnet.as_str());
        let request = request.max_results(PAGE).set_next_token(token).customize();
        let send = |meter| request.interceptor(meter).send();
        let answer = self.send(Action::GetSubnetCidrReservations, send).await?;
        Ok(Page::new(answer.subnet_ipv4_cidr_reservations, answer.next_token))
    }

    /// Why a call of this action would be denied, without making it; none if it would not, or if EC2 does not tell.
    pub(crate) async fn denial(&self, action: Action) -> Option<Failure> {
        let failure = self.try_out(action).await?;
        (failure.category == FaultCategory::Denied).then_some(failure)
    }

    /// The answer to a call that is not made. It always is a failure: that of a call that would have worked says so.
    async fn try_out(&self, action: Action) -> Option<Failure> {
        macro_rules! refused {
            ($request:expr) => {{
                let request = $request.dry_run(true).customize();
                self.send(action, |meter| request.interceptor(meter).send()).await.err()
            }};
        }
        let client = &self.client;
        match action {
            Action::DescribeVpcs => refused!(client.describe_vpcs()),
            Action::DescribeSubnets => refused!(client.describe_subnets()),
            Action::DescribeNetworkInterfaces => refused!(client.describe_network_interfaces().max_results(PAGE)),
            Action::DescribeInstanceTypes => refused!(client.describe_instance_types()),
            Action::GetSubnetCidrReservations => {
                refused!(client.get_subnet_cidr_reservations().subnet_id(NO_SUBNET))
            }
            Action::DescribeInstances => refused!(client.describe_instances().max_results(PAGE)),
            Action::DescribeSecurityGroups => refused!(client.describe_security_groups().max_results(PAGE)),
            Action::DescribeRouteTables => refused!(client.describe_route_tables()),
        }
    }

    /// Sends when the budget allows it, and accounts for what the SDK sent on top.
    async fn send<T, E, Fut>(&self, action: Action, send: impl FnOnce(Meter<E>) -> Fut) -> Result<T, Failure>
    where
        T: Send + 'static,
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
        Fut: Future<Output = Result<T, SdkError<E>>> + Send + 'static,
    {
        self.budget.acquire(action).await;
        let (meter, attempts) = Meter::new(action, Arc::clone(&self.counters));
        let answer = self.apart.run(send(meter)).await;
        let attempts = attempts.load(Relaxed);
        self.budget.owe(action, attempts.saturating_sub(1));
        let answer = answer
            .map_err(|_| Failure::given_up())
            .and_then(|answer| answer.map_err(|error| Failure::classify(&error, attempts > 0)));
        answer.inspect_err(|_| self.counters.count_failure(action))
    }
}

fn filter<'a>(name: &str, values: impl IntoIterator<Item = &'a str>) -> sdk::Filter {
    let values = values.into_iter().map(str::to_owned).collect();
    sdk::Filter::builder().name(name).set_values(Some(values)).build()
}
