//! IPAM704: a node class that selects public subnets beside private ones.

use super::{can_tell, node_class};
use crate::{
    facts::{Facts, karpenter::ClassFacts, routes::Routes},
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink},
    source::Source,
    text,
};

rule! {
    /// An `EC2NodeClass` selects public subnets beside private ones.
    ///
    /// ## What it means
    ///
    /// Karpenter takes, per zone, the subnet with most free addresses. Where public and private subnets are both
    /// selected, that choice alone decides whether a node, and its pods, are reached through a NAT gateway or through an
    /// internet gateway without a public address of their own, which leads nowhere.
    ///
    /// ## Why it happens
    ///
    /// The selector's tag is on all subnets of the VPC: `kubernetes.io/cluster/NAME`, for example, is also on those of
    /// load balancers.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get ec2nodeclass NAME -o jsonpath='{range .status.subnets[*]}{.id}{"\n"}{end}'
    /// aws ec2 describe-route-tables --filters Name=association.subnet-id,Values=SUBNET \
    ///     --query 'RouteTables[].Routes[].[DestinationCidrBlock,GatewayId,NatGatewayId]' --output text
    /// ```
    ///
    /// ## What to do
    ///
    /// Tag the private subnets with a tag of their own (`karpenter.sh/discovery`) and select by that.
    ///
    /// ## What it costs
    ///
    /// Nothing; nodes in public subnets are replaced when Karpenter sees the drift.
    ///
    /// ## When it fires
    ///
    /// Some subnets of a node class have a default route to an internet gateway and some have not. A class with nothing
    /// but public subnets is deliberate.
    pub KarpenterPublicSubnets;
    code: "IPAM704",
    name: "karpenter-public-subnets",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [Nodes],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    if !can_tell(facts, found, &[Source::NodeClasses, Source::Subnets, Source::RouteTables]) {
        return;
    }
    let routes = Routes::of(facts.snapshot.ec2.route_tables.value().map_or(&[], Vec::as_slice));
    for class in &facts.karpenter.classes {
        if let Some(violation) = violation(class, &routes) {
            found.subject(node_class(class), violation);
        }
    }
}

fn violation(class: &ClassFacts<'_>, routes: &Routes<'_>) -> Option<sink::Violation> {
    let all: Vec<_> = class.zones.values().flatten().collect();
    let public: Vec<String> =
        all.iter().filter(|subnet| routes.is_public(subnet)).map(|subnet| subnet.id.to_string()).collect();
    if public.is_empty() || public.len() == all.len() {
        return None;
    }
    let (count, all) = (u32::try_from(public.len()).ok()?, u32::try_from(all.len()).ok()?);
    Some(sink::Violation {
        severity: Severity::Info,
        message: format!(
            "EC2NodeClass {} selects {}, of which {} {} public: {}",
            class.class.name,
            text::count(all, "subnet"),
            text::thousands(count),
            text::verb(count, "is", "are"),
            text::list(&public, "and", super::NAMED),
        ),
        remediation: "Give the private subnets a tag of their own and select by it.".to_owned(),
        evidence: vec![sink::evidence("subnets", all), sink::evidence("public", count)],
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::{
        inventory::RouteTable,
        snapshot::ClusterSnapshot,
        source::{Reading, Source},
        tests::{
            fixtures::now,
            karpenter::{Setup, answers},
        },
    };

    const CODE: &str = "IPAM704";

    /// Two subnets, the first associated with a table, the second with the main one.
    fn setup(first: &str, main: &str) -> ClusterSnapshot {
        let setup = Setup::new(&[]).class("default", None).subnet("default", "subnet-1", "eu-central-1a", 500);
        let mut snapshot = setup.subnet("default", "subnet-2", "eu-central-1b", 500).snapshot();
        let table = |id: &str, main: bool, subnets: &[&str], target: &str| RouteTable {
            id: id.into(),
            vpc: "vpc-1".into(),
            main,
            subnets: subnets.iter().map(|subnet| (*subnet).into()).collect(),
            routes: vec![
                ("10.0.0.0/16".parse().unwrap(), Arc::from("local")),
                ("0.0.0.0/0".parse().unwrap(), target.into()),
            ],
        };
        let tables = vec![table("rtb-1", false, &["subnet-1"], first), table("rtb-2", true, &[], main)];
        snapshot.ec2.route_tables = Reading::fresh(tables, now());
        snapshot
    }

    #[test]
    fn a_public_subnet_beside_a_private_one() {
        assert_eq!(
            answers(&setup("igw-1", "nat-1"), CODE).messages(),
            ["EC2NodeClass default selects 2 subnets, of which 1 is public: subnet-1"]
        );
        assert_eq!(
            answers(&setup("nat-1", "igw-1"), CODE).messages(),
            ["EC2NodeClass default selects 2 subnets, of which 1 is public: subnet-2"]
        );
    }

    #[test]
    fn all_of_one_kind_is_deliberate() {
        assert!(answers(&setup("nat-1", "nat-2"), CODE).passed());
        assert!(answers(&setup("igw-1", "igw-1"), CODE).passed());
    }

    #[test]
    fn without_route_tables_it_cannot_tell() {
        let mut snapshot = setup("igw-1", "nat-1");
        snapshot.ec2.route_tables = Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::RouteTables]);
    }
}
