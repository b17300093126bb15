//! IPAM323: branches in a subnet whose way out is an internet gateway.

use std::collections::BTreeMap;

use super::strict;
use crate::{
    facts::Facts,
    finding::Severity,
    ids::SubnetId,
    inventory::RouteTable,
    policy::AuditPolicy,
    rules::{Violations, sink},
    snapshot::BranchUse,
    source::Source,
    text,
};

rule! {
    /// Pods with branches are in a public subnet and do not reach the internet.
    ///
    /// ## What it means
    ///
    /// In strict mode the node does not translate the addresses of pods that have a branch. An internet gateway passes
    /// public addresses only, and branches have none: these pods reach nothing outside the VPC.
    ///
    /// ## Why it happens
    ///
    /// The nodes, or the ENIConfig's subnet, are in a subnet whose default route leads to an internet gateway.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-route-tables --filters Name=association.subnet-id,Values=SUBNET \
    ///     --query 'RouteTables[].Routes[]'
    /// ```
    ///
    /// ## What to do
    ///
    /// Run these pods on nodes in private subnets with a NAT gateway, or set the enforcing mode to `standard`.
    ///
    /// ## What it costs
    ///
    /// A NAT gateway per zone; or that security groups are checked only for traffic that leaves the node.
    ///
    /// ## When it fires
    ///
    /// Pods with a branch in strict mode have it in a subnet whose route table (its own, else the VPC's main table)
    /// sends `0.0.0.0/0` to an internet gateway.
    pub BranchInPublicSubnet;
    code: "IPAM323",
    name: "branch-in-public-subnet",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [Nodes, Pods, AwsNode, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let mut subnets: BTreeMap<&SubnetId, u32> = BTreeMap::new();
    for (_, pod) in strict::pods(facts) {
        if let BranchUse::Has(branch) = &pod.pod.branch()
            && let Some(branch) = facts.pod_groups.interface(branch)
        {
            *subnets.entry(&branch.subnet).or_default() += 1;
        }
    }
    if subnets.is_empty() {
        return;
    }
    let Some(tables) = facts.snapshot.ec2.route_tables.value() else {
        return found.lacks(Source::RouteTables);
    };
    for (subnet, pods) in subnets {
        let Some(gateway) = table_of(facts, tables, subnet).and_then(internet_gateway) else { continue };
        let violation = sink::Violation {
            severity: Severity::Warning,
            message: format!(
                "{subnet} sends its traffic to {gateway}, which passes nothing of the {} with a branch there",
                text::count(pods, "pod")
            ),
            remediation: "Run these pods in private subnets with a NAT gateway, or use standard mode.".to_owned(),
            evidence: vec![sink::evidence("pods", pods), sink::evidence("gateway", gateway)],
        };
        found.subnet(subnet, violation);
    }
}

/// The subnet's own table, else the main one of its VPC.
fn table_of<'a>(facts: &Facts<'_>, tables: &'a [RouteTable], subnet: &SubnetId) -> Option<&'a RouteTable> {
    let own = tables.iter().find(|table| table.subnets.contains(subnet));
    own.or_else(|| {
        let subnets = facts.snapshot.ec2.subnets.value()?;
        let vpc = &subnets.iter().find(|row| row.id == *subnet)?.vpc;
        tables.iter().find(|table| table.main && table.vpc == *vpc)
    })
}

fn internet_gateway(table: &RouteTable) -> Option<&str> {
    let default = table.routes.iter().find(|(to, _)| to.prefix_len() == 0);
    default.map(|(_, target)| &**target).filter(|target| target.starts_with("igw-"))
}

#[cfg(test)]
mod tests {
    use crate::{outcome::RuleAnswer, snapshot::ClusterSnapshot, source::Source, tests::branches::*};

    fn strict() -> ClusterSnapshot {
        let mut snapshot = cluster("m5.large", 1);
        branch_pod(&mut snapshot, 0, "db-1");
        set_env(&mut snapshot, "POD_SECURITY_GROUP_ENFORCING_MODE", "strict");
        snapshot
    }

    #[test]
    fn an_internet_gateway_is_no_way_out_for_branches() {
        let mut snapshot = strict();
        default_route(&mut snapshot, "igw-1");
        assert_eq!(
            messages(&snapshot, "IPAM323"),
            ["subnet-1 sends its traffic to igw-1, which passes nothing of the 1 pod with a branch there"]
        );
        default_route(&mut snapshot, "nat-1");
        assert_eq!(answer(&snapshot, "IPAM323"), RuleAnswer::Passed);
    }

    #[test]
    fn without_route_tables_it_cannot_tell() {
        let mut snapshot = strict();
        snapshot.ec2.route_tables = missing();
        let lacks = RuleAnswer::Inconclusive { missing: vec![Source::RouteTables], suspects: 0 };
        assert_eq!(answer(&snapshot, "IPAM323"), lacks);
    }
}
