//! IPAM120: IPv4 addresses run out where IPv6 is already set up.

use crate::{
    facts::Facts,
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

rule! {
    /// Subnets run out of IPv4 addresses, and all of them have IPv6 already.
    ///
    /// ## What it means
    ///
    /// In an IPv6 cluster pods get addresses that do not run out. The VPC and the nodes' subnets have IPv6 ranges
    /// already, which is the larger part of the preparation.
    ///
    /// ## Why it happens
    ///
    /// A cluster's address family is chosen when it is made and cannot be changed.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-subnets --filters Name=vpc-id,Values=VPC \
    ///     --query 'Subnets[].[SubnetId,AvailableIpAddressCount,Ipv6CidrBlockAssociationSet[].Ipv6CidrBlock]' --output text
    /// aws eks describe-cluster --name CLUSTER --query cluster.kubernetesNetworkConfig.ipFamily
    /// ```
    ///
    /// ## What to do
    ///
    /// Consider an IPv6 cluster for the next one. It does not help this one today: see IPAM101 and IPAM102 for that.
    ///
    /// ## What it costs
    ///
    /// A new cluster and the move of its workloads.
    ///
    /// ## When it fires
    ///
    /// A subnet is full or low, the cluster's CNI runs with IPv4, and the VPC and every subnet with nodes have an IPv6
    /// range.
    pub Ipv6Possible;
    code: "IPAM120",
    name: "ipv6-possible",
    severity: Info,
    condition: CapacityAvailable,
    sources: [Nodes, AwsNode, Vpcs, Subnets, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let short: Vec<String> = facts
        .every_subnet()
        .filter(|subnet| subnet.is_full() || subnet.is_low())
        .map(|subnet| subnet.subnet.id.to_string())
        .collect();
    let all_have_it = facts.subnets.iter().all(|subnet| {
        let vpc = facts.snapshot.ec2.vpcs.value().into_iter().flatten().find(|vpc| vpc.id == subnet.subnet.vpc);
        subnet.subnet.ipv6 && vpc.is_some_and(|vpc| vpc.ipv6)
    });
    let is_ipv6 = facts.nodes.iter().filter_map(|node| node.cni.as_ref()).any(|cni| cni.is_ipv6());
    if short.is_empty() || !all_have_it || is_ipv6 {
        return;
    }
    let number = u32::try_from(short.len()).unwrap_or(u32::MAX);
    let violation = sink::Violation {
        severity: Severity::Info,
        message: format!(
            "{} {} short of IPv4 addresses, and the VPC and all nodes' subnets have IPv6 ranges",
            text::list(&short, "and", 3),
            text::verb(number, "is", "are"),
        ),
        remediation: "Consider an IPv6 cluster for the next one: its pods' addresses do not run out.".to_owned(),
        evidence: vec![
            sink::evidence("subnetsShort", short.len()),
            sink::evidence("subnetsWithIpv6", facts.subnets.len()),
        ],
    };
    found.subject(Subject::Cluster, violation);
}

#[cfg(test)]
mod tests {
    use crate::{
        snapshot::ClusterSnapshot,
        source::{Reading, Source},
        tests::{
            fixtures::Cluster,
            subnets::{answers, set_vpc, subnets},
        },
    };

    const CODE: &str = "IPAM120";

    fn cluster(free: u32) -> ClusterSnapshot {
        let mut snapshot = Cluster::new("10.0.0.0/24", &[]).node("m5.large", 29, &[9, 9], 5).with_free(free).snapshot();
        set_vpc(&mut snapshot, &["10.0.0.0/16"]).ipv6 = true;
        subnets(&mut snapshot)[0].ipv6 = true;
        snapshot
    }

    #[test]
    fn a_short_subnet_with_ipv6_is_worth_a_word() {
        assert_eq!(
            answers(&cluster(5), CODE).messages(),
            ["subnet-1 is short of IPv4 addresses, and the VPC and all nodes' subnets have IPv6 ranges"]
        );
    }

    #[test]
    fn enough_addresses_or_a_subnet_without_ipv6_are_no_reason() {
        assert!(answers(&cluster(200), CODE).passed());
        let mut snapshot = cluster(5);
        subnets(&mut snapshot)[0].ipv6 = false;
        assert!(answers(&snapshot, CODE).passed());
    }

    #[test]
    fn without_the_vpc_it_cannot_tell() {
        let mut snapshot = cluster(5);
        snapshot.ec2.vpcs = Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::Vpcs]);
    }
}
