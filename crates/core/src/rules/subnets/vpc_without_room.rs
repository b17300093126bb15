//! IPAM151: subnets run short and the VPC has no room for another.

use super::vpc;
use crate::{
    facts::Facts,
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

/// The subnet (length of its prefix) that there should be room for.
const WANTED: u8 = 24;
/// The range that can be added to any VPC that does not have it.
const SPARE: &str = "100.64.0.0/10";

rule! {
    /// Subnets run short of addresses, and the VPC has no room for another subnet.
    ///
    /// ## What it means
    ///
    /// The obvious way out, another subnet in the zone, is closed: every range of the VPC is cut into subnets already. A
    /// secondary CIDR comes first.
    ///
    /// ## Why it happens
    ///
    /// The whole VPC was cut into subnets when it was made, which is usual and right until one of them runs out.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-vpcs --vpc-ids VPC --query 'Vpcs[].CidrBlockAssociationSet[].CidrBlock' --output text
    /// aws ec2 describe-subnets --filters Name=vpc-id,Values=VPC --query 'Subnets[].[CidrBlock,AvailableIpAddressCount]' --output text
    /// ```
    ///
    /// ## What to do
    ///
    /// Associate a secondary CIDR, make a subnet of it in each zone, and let pods use these: by custom networking or by
    /// the tag `kubernetes.io/role/cni`. The range 100.64.0.0/10 can be added to any VPC. Ranges of RFC 1918 can be added
    /// only within the VPC's own family, and 198.19.0.0/16 only where the VPC is not of RFC 1918.
    ///
    /// ## What it costs
    ///
    /// A secondary CIDR is free of charge. Its routes have to reach where pods need to go, and networks that are peered
    /// must not use it.
    ///
    /// ## When it fires
    ///
    /// A subnet of the cluster is full or low (IPAM101, IPAM102), and no aligned /24 is free in any range of its VPC.
    pub VpcWithoutRoom;
    code: "IPAM151",
    name: "vpc-without-room",
    severity: Warning,
    condition: CapacityAvailable,
    sources: [Nodes, Vpcs, Subnets, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for vpc in vpc::of_cluster(facts) {
        let short = facts.every_subnet().filter(|subnet| subnet.subnet.vpc == vpc.id);
        let short =
            u32::try_from(short.filter(|subnet| subnet.is_full() || subnet.is_low()).count()).unwrap_or(u32::MAX);
        let subnets = vpc::subnets(facts, vpc);
        if short == 0 || vpc.cidrs.is_empty() || vpc::first_free(vpc, &subnets, WANTED).is_some() {
            continue;
        }
        let has_spare = SPARE.parse().is_ok_and(|spare| vpc.cidrs.iter().any(|cidr| vpc::overlap(*cidr, spare)));
        let range = if has_spare { "another part of 100.64.0.0/10" } else { "100.64.0.0/16" };
        let violation = sink::Violation {
            severity: Severity::Warning,
            message: format!(
                "{} has no free /24 for another subnet in its {}, and {} {} short of addresses",
                vpc.id,
                text::count(u32::try_from(vpc.cidrs.len()).unwrap_or(u32::MAX), "range"),
                text::count(short, "subnet"),
                text::verb(short, "is", "are"),
            ),
            remediation: format!(
                "Associate a secondary CIDR, for example {range}, unless a peered network uses it, and let pods use \
                 subnets of it."
            ),
            evidence: vec![
                sink::evidence("ranges", vpc.cidrs.len()),
                sink::evidence("subnets", subnets.len()),
                sink::evidence("subnetsShort", short),
            ],
        };
        found.subject(Subject::Vpc(vpc.id.clone()), violation);
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        snapshot::ClusterSnapshot,
        source::{Reading, Source},
        tests::{
            fixtures::Cluster,
            subnets::{answers, set_vpc},
        },
    };

    const CODE: &str = "IPAM151";

    fn cluster(free: u32, cidr: &str) -> ClusterSnapshot {
        let mut snapshot = Cluster::new("10.0.0.0/24", &[]).node("m5.large", 29, &[9, 9], 5).with_free(free).snapshot();
        set_vpc(&mut snapshot, &[cidr]);
        snapshot
    }

    #[test]
    fn a_short_subnet_in_a_vpc_that_is_cut_up_needs_a_new_range() {
        let seen = answers(&cluster(5, "10.0.0.0/24"), CODE);
        assert_eq!(
            seen.messages(),
            ["vpc-1 has no free /24 for another subnet in its 1 range, and 1 subnet is short of addresses"]
        );
        assert!(seen.findings[0].remediation.contains("100.64.0.0/16"));
    }

    #[test]
    fn room_for_a_subnet_or_no_need_for_one_is_fine() {
        assert!(answers(&cluster(5, "10.0.0.0/23"), CODE).passed());
        assert!(answers(&cluster(200, "10.0.0.0/24"), CODE).passed());
    }

    #[test]
    fn without_the_vpc_it_cannot_tell() {
        let mut snapshot = cluster(5, "10.0.0.0/24");
        snapshot.ec2.vpcs = Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::Vpcs]);
    }
}
