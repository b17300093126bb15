//! IPAM150: the VPC has nearly as many address ranges as AWS allows.

use super::vpc;
use crate::{
    facts::Facts,
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

/// Ranges that AWS allows by default, the primary included.
const DEFAULT: usize = 5;
/// Ranges that AWS allows at most.
const MOST: usize = 50;

rule! {
    /// The VPC has nearly as many address ranges as AWS allows.
    ///
    /// ## What it means
    ///
    /// When subnets run out, a secondary CIDR of the VPC is the usual way to more space. One more, or none, can be added
    /// before the quota has to be raised.
    ///
    /// ## Why it happens
    ///
    /// Ranges were added over time, often small ones.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-vpcs --vpc-ids VPC --query 'Vpcs[].CidrBlockAssociationSet[].[CidrBlock,CidrBlockState.State]' --output text
    /// aws service-quotas get-service-quota --service-code vpc --quota-code L-83CA0A9D --query Quota.Value
    /// ```
    ///
    /// ## What to do
    ///
    /// Ask for a higher quota (L-83CA0A9D) before you need it: up to 50 ranges are possible. Or add one large range
    /// (100.64.0.0/16) instead of several small ones.
    ///
    /// ## What it costs
    ///
    /// A higher quota is free of charge; it may take a day.
    ///
    /// ## When it fires
    ///
    /// A VPC of the cluster has 4 or 5 IPv4 ranges (5 is the default quota), or at least 49 (50 is the most). With 6 to
    /// 48 the quota has been raised, to what is not known here.
    pub VpcRangesNearQuota;
    code: "IPAM150",
    name: "vpc-ranges-near-quota",
    severity: Info,
    condition: CapacityAvailable,
    sources: [Vpcs, Subnets],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for vpc in vpc::of_cluster(facts) {
        let ranges = vpc.cidrs.len();
        let quota = if ranges <= DEFAULT { DEFAULT } else { MOST };
        if ranges + 1 < quota {
            continue;
        }
        let left = u32::try_from(quota.saturating_sub(ranges)).unwrap_or_default();
        let by_default = if quota == DEFAULT { " by default" } else { "" };
        let violation = sink::Violation {
            severity: Severity::Info,
            message: format!(
                "{} has {ranges} of the {quota} address ranges that AWS allows{by_default}: {} more can be added",
                vpc.id,
                text::thousands(left),
            ),
            remediation: if quota == DEFAULT {
                "Ask for a higher quota (L-83CA0A9D, up to 50) before you need it.".to_owned()
            } else {
                "Plan another VPC: no more ranges are possible here.".to_owned()
            },
            evidence: vec![sink::evidence("ranges", ranges), sink::evidence("quota", quota)],
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

    const CODE: &str = "IPAM150";

    fn cluster(ranges: u8) -> ClusterSnapshot {
        let mut snapshot = Cluster::new("10.0.0.0/24", &[]).node("m5.large", 29, &[9], 3).snapshot();
        let cidrs: Vec<String> = (0..ranges).map(|at| format!("10.{at}.0.0/16")).collect();
        let cidrs: Vec<&str> = cidrs.iter().map(String::as_str).collect();
        set_vpc(&mut snapshot, &cidrs);
        snapshot
    }

    #[test]
    fn four_of_five_ranges_are_nearly_all() {
        assert_eq!(
            answers(&cluster(4), CODE).messages(),
            ["vpc-1 has 4 of the 5 address ranges that AWS allows by default: 1 more can be added"]
        );
        assert!(answers(&cluster(3), CODE).passed());
        assert!(answers(&cluster(6), CODE).passed(), "the quota has been raised");
        assert_eq!(answers(&cluster(49), CODE).findings.len(), 1);
    }

    #[test]
    fn without_the_vpc_it_cannot_tell() {
        let mut snapshot = cluster(4);
        snapshot.ec2.vpcs = Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::Vpcs]);
    }
}
