//! IPAM517: a pod subnet without routes that its nodes' subnet has.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ipnet::Ipv4Net;

use super::words;
use crate::{
    facts::{Facts, NodeFacts, installation::Variant, routes::Routes},
    finding::{Severity, Subject},
    ids::SubnetId,
    inventory::{RouteTable, Subnet},
    policy::AuditPolicy,
    rules::{
        Violations,
        sink::{self, Place},
    },
    source::Source,
    text,
};

rule! {
    /// A pod subnet lacks routes that its nodes' subnet has.
    ///
    /// ## What it means
    ///
    /// As a rule a pod's traffic out of the VPC leaves with its node's address, by the node's routes. With external SNAT,
    /// and for ranges that are excluded from SNAT, it leaves with the pod's own address, by the routes of the pod's subnet.
    /// Destinations without a route there cannot be reached from these pods, while their nodes reach them.
    ///
    /// ## Why it happens
    ///
    /// The pod subnets were added later with a route table of their own, or with the VPC's main table.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-route-tables --filters Name=association.subnet-id,Values=SUBNET \
    ///     --query 'RouteTables[].Routes[].[DestinationCidrBlock,State,NatGatewayId,TransitGatewayId,VpcPeeringConnectionId]' --output text
    /// kubectl set env ds/aws-node -n kube-system --list | grep SNAT
    /// ```
    ///
    /// ## What to do
    ///
    /// Add the routes to the pod subnet's table (a NAT gateway for the internet, the peering or transit gateway for the
    /// others, and the way back there), or set `AWS_VPC_K8S_CNI_EXTERNALSNAT=false`.
    ///
    /// ## What it costs
    ///
    /// Nothing but what the gateways cost for the traffic.
    ///
    /// ## When it fires
    ///
    /// A node has `AWS_VPC_K8S_CNI_EXTERNALSNAT` on, or a destination is within `AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS`; its
    /// pods get addresses of another subnet, by ENIConfig or by discovery; and a destination of the route table of its own
    /// subnet has no route in the other's. A default route to a transit gateway or the like stands for every destination,
    /// one to a NAT or internet gateway only for the internet.
    pub PodSubnetRoutesMissing;
    code: "IPAM517",
    name: "pod-subnet-routes-missing",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [Nodes, AwsNode],
    check: check,
}

/// Ranges to which pods speak with their own addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
enum OwnAddress {
    Everywhere,
    To(Vec<Ipv4Net>),
}

/// A pod subnet and the subnet of nodes whose pods are there.
type Pair<'a> = (&'a SubnetId, &'a SubnetId);

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let mut pairs: BTreeMap<Pair<'_>, OwnAddress> = BTreeMap::new();
    for variant in facts.installation.iter().flat_map(|installation| &installation.variants) {
        if variant.cni.lacks(&["AWS_VPC_K8S_CNI_EXTERNALSNAT", "AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS"]) {
            found.lacks(Source::AwsNode);
        }
        if let Some(own) = own_address(variant) {
            pairs.extend(pairs_of(facts, variant).into_iter().map(|pair| (pair, own.clone())));
        }
    }
    let needed = [Source::Subnets, Source::NetworkInterfaces, Source::RouteTables];
    if pairs.is_empty() || !needed.into_iter().all(|source| words::has(facts, found, source)) {
        return;
    }
    let routes = Routes::of(facts.snapshot.ec2.route_tables.value().map_or(&[], Vec::as_slice));
    let mut told: BTreeSet<&SubnetId> = BTreeSet::new();
    for ((pods, home), own) in &pairs {
        let (Some(pods), Some(home)) = (facts.subnet_row(pods), facts.subnet_row(home)) else { continue };
        let (Some(of_pods), Some(of_home)) = (routes.table(pods), routes.table(home)) else { continue };
        let missing = missing(of_pods, of_home, own);
        if !missing.is_empty() && told.insert(&pods.id) {
            report(found, pods, of_pods, home, &missing);
        }
    }
}

/// None where pods speak with their nodes' addresses to everyone outside the VPC.
fn own_address(variant: &Variant<'_>) -> Option<OwnAddress> {
    if variant.is_on("AWS_VPC_K8S_CNI_EXTERNALSNAT") {
        return Some(OwnAddress::Everywhere);
    }
    let ranges = variant.text("AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS")?;
    let ranges: Vec<Ipv4Net> = ranges.split(',').filter_map(|range| range.trim().parse().ok()).collect();
    (!ranges.is_empty()).then_some(OwnAddress::To(ranges))
}

fn pairs_of<'a>(facts: &'a Facts<'_>, variant: &Variant<'_>) -> BTreeSet<Pair<'a>> {
    let mut pairs = BTreeSet::new();
    for &at in &variant.nodes {
        let config = facts.custom_networking.of_node(at).and_then(|choice| choice.config);
        if let (Some(config), Some(home)) = (config, facts.nodes.get(at).and_then(NodeFacts::home)) {
            pairs.insert((&config.subnet, home));
        }
    }
    for outlook in facts
        .discovery
        .outlooks()
        .iter()
        .filter(|outlook| Arc::ptr_eq(&outlook.cni, &variant.cni) || *outlook.cni == *variant.cni)
    {
        pairs.extend(outlook.tried.iter().map(|subnet| (&subnet.id, &outlook.home.id)));
    }
    pairs.retain(|(pods, home)| pods != home);
    pairs
}

/// Destinations of the nodes' table that pods in the other cannot reach.
fn missing(of_pods: &RouteTable, of_home: &RouteTable, own: &OwnAddress) -> Vec<Ipv4Net> {
    if of_pods.id == of_home.id {
        return Vec::new();
    }
    let concerns = |destination: &Ipv4Net| match own {
        OwnAddress::Everywhere => true,
        OwnAddress::To(ranges) => ranges.iter().any(|range| range.contains(destination)),
    };
    let mut missing: Vec<Ipv4Net> = of_home
        .routes
        .iter()
        .filter(|(destination, target)| {
            &**target != "local" && concerns(destination) && !reaches(of_pods, *destination)
        })
        .map(|(destination, _)| *destination)
        .collect();
    missing.sort_unstable();
    missing.dedup();
    missing
}

fn reaches(table: &RouteTable, destination: Ipv4Net) -> bool {
    let routes = table.routes.iter().filter(|(range, _)| range.contains(&destination));
    let Some((range, target)) = routes.max_by_key(|(range, _)| range.prefix_len()) else { return false };
    let to_internet = ["nat-", "igw-"].iter().any(|gateway| target.starts_with(gateway));
    destination.prefix_len() == 0 || range.prefix_len() > 0 || !to_internet
}

fn report(found: &mut Violations<'_>, pods: &Subnet, table: &RouteTable, home: &Subnet, missing: &[Ipv4Net]) {
    let names: Vec<String> = missing.iter().map(ToString::to_string).collect();
    let names = text::list(&names, "and", words::NAMED);
    let number = u32::try_from(missing.len()).unwrap_or(u32::MAX);
    let violation = sink::Violation {
        severity: Severity::Warning,
        message: format!(
            "{} has no route to {names}, which the nodes' subnet {} has: pods there speak with their own addresses and \
             do not reach {}",
            pods.id,
            home.id,
            text::verb(number, "it", "them"),
        ),
        remediation: format!(
            "Add {} to {names} to route table {}, or set AWS_VPC_K8S_CNI_EXTERNALSNAT=false.",
            text::verb(number, "a route", "routes"),
            table.id
        ),
        evidence: vec![sink::evidence("routeTable", &table.id), sink::evidence("missing", number)],
    };
    let place = Place::in_subnet(&pods.id, Subject::Subnet(pods.id.clone()));
    found.at(Place { group: table.id.clone(), ..place }, violation);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        outcome::RuleAnswer,
        snapshot::ClusterSnapshot,
        source::Reading,
        tests::{
            custom_networking::{answer, custom, findings, set},
            fixtures::now,
        },
    };

    const CODE: &str = "IPAM517";

    fn table(id: &str, subnet: &str, routes: &[(&str, &str)]) -> RouteTable {
        let routes = routes.iter().map(|(range, target)| (range.parse().unwrap(), (*target).into())).collect();
        RouteTable { id: id.into(), vpc: "vpc-1".into(), main: false, subnets: [subnet.into()].into(), routes }
    }

    fn with(of_pods: &[(&str, &str)]) -> ClusterSnapshot {
        let of_home = [("10.0.0.0/16", "local"), ("0.0.0.0/0", "nat-1"), ("10.8.0.0/16", "tgw-1")];
        let mut snapshot = custom(2, |_| {});
        let tables = vec![table("rtb-home", "subnet-1", &of_home), table("rtb-pods", "subnet-pods", of_pods)];
        snapshot.ec2.route_tables = Reading::fresh(tables, now());
        set(&mut snapshot, "AWS_VPC_K8S_CNI_EXTERNALSNAT", "true");
        snapshot
    }

    #[test]
    fn destinations_that_only_nodes_reach_are_named() {
        assert_eq!(
            findings(&with(&[("0.0.0.0/0", "nat-1")]), CODE)[0].message,
            "subnet-pods has no route to 10.8.0.0/16, which the nodes' subnet subnet-1 has: pods there speak with their \
             own addresses and do not reach it"
        );
        let none = &findings(&with(&[("10.0.0.0/16", "local")]), CODE)[0];
        assert!(none.message.starts_with("subnet-pods has no route to 0.0.0.0/0 and 10.8.0.0/16"), "{}", none.message);
    }

    #[test]
    fn a_wider_route_or_a_transit_default_reaches_them() {
        assert_eq!(answer(&with(&[("0.0.0.0/0", "nat-1"), ("10.0.0.0/8", "tgw-1")]), CODE), RuleAnswer::Passed);
        assert_eq!(answer(&with(&[("0.0.0.0/0", "tgw-1")]), CODE), RuleAnswer::Passed);
    }

    #[test]
    fn with_their_nodes_addresses_pods_go_their_nodes_ways() {
        let mut snapshot = with(&[]);
        set(&mut snapshot, "AWS_VPC_K8S_CNI_EXTERNALSNAT", "false");
        assert_eq!(answer(&snapshot, CODE), RuleAnswer::Passed);
        set(&mut snapshot, "AWS_VPC_K8S_CNI_EXCLUDE_SNAT_CIDRS", "10.8.0.0/14, 192.168.0.0/16");
        let message = &findings(&snapshot, CODE)[0].message;
        assert!(message.starts_with("subnet-pods has no route to 10.8.0.0/16, which"), "{message}");
    }

    #[test]
    fn without_route_tables_it_cannot_tell() {
        let mut snapshot = with(&[]);
        snapshot.ec2.route_tables = custom(1, |_| {}).ec2.route_tables;
        let missing = vec![Source::RouteTables];
        assert_eq!(answer(&snapshot, CODE), RuleAnswer::Inconclusive { missing, suspects: 0 });
    }
}
