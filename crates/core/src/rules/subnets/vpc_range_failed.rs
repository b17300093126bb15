//! IPAM154: an address range of the VPC that did not become, or no longer is, part of it.

use super::vpc;
use crate::{
    facts::Facts,
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

rule! {
    /// An address range of the VPC failed to be added, or is on its way out.
    ///
    /// ## What it means
    ///
    /// No subnet can be made of the range. Whoever planned pods in it waits for nothing.
    ///
    /// ## Why it happens
    ///
    /// The range collides with a peered network or a route, belongs to a family that cannot be mixed with the VPC's
    /// primary range, or the quota of ranges is used up. `disassociating` means that somebody removes it.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-vpcs --vpc-ids VPC \
    ///     --query 'Vpcs[].CidrBlockAssociationSet[].[CidrBlock,CidrBlockState.State,CidrBlockState.StatusMessage]' --output text
    /// ```
    ///
    /// ## What to do
    ///
    /// Remove the failed association and add a range that fits: 100.64.0.0/10 can be added to any VPC.
    ///
    /// ## What it costs
    ///
    /// Nothing: a failed range has no subnets.
    ///
    /// ## When it fires
    ///
    /// A VPC of the cluster has an IPv4 range in state `failing` or `failed`: warning; in state `disassociating`:
    /// information, and a warning if subnets of the cluster are in it.
    pub VpcRangeFailed;
    code: "IPAM154",
    name: "vpc-range-failed",
    severity: Warning,
    condition: CapacityAvailable,
    sources: [Vpcs, Subnets],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for vpc in vpc::of_cluster(facts) {
        let troubled =
            vpc.troubled_cidrs.iter().filter(|(_, state)| !matches!(&**state, "associating" | "disassociated"));
        let in_use = |range| {
            let mut ours = facts.every_subnet().filter_map(|subnet| subnet.subnet.cidr);
            ours.any(|cidr| vpc::overlap(cidr, range))
        };
        let ranges: Vec<_> = troubled.map(|(range, state)| (range, &**state, in_use(*range))).collect();
        if ranges.is_empty() {
            continue;
        }
        let harmless = ranges.iter().all(|(_, state, in_use)| *state == "disassociating" && !in_use);
        let named: Vec<String> = ranges.iter().map(|(range, state, _)| format!("{range} ({state})")).collect();
        let number = u32::try_from(named.len()).unwrap_or(u32::MAX);
        let violation = sink::Violation {
            severity: if harmless { Severity::Info } else { Severity::Warning },
            message: format!(
                "{} has {} that no subnet can be made of: {}",
                vpc.id,
                text::count(number, "address range"),
                text::list(&named, "and", 5),
            ),
            remediation: "Remove the failed association, and add a range that fits the VPC's primary one.".to_owned(),
            evidence: vec![sink::evidence("ranges", named.join(", "))],
        };
        found.subject(Subject::Vpc(vpc.id.clone()), violation);
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        snapshot::ClusterSnapshot,
        source::{Reading, Source},
        tests::{
            fixtures::Cluster,
            subnets::{answers, set_vpc},
        },
    };

    const CODE: &str = "IPAM154";

    fn cluster(state: &str) -> ClusterSnapshot {
        let mut snapshot = Cluster::new("10.0.0.0/24", &[]).node("m5.large", 29, &[9], 3).snapshot();
        let vpc = set_vpc(&mut snapshot, &["10.0.0.0/16"]);
        vpc.troubled_cidrs = vec![("100.64.0.0/16".parse().unwrap(), state.into())];
        snapshot
    }

    #[test]
    fn a_failed_range_is_a_warning_and_one_that_goes_information() {
        let seen = answers(&cluster("failed"), CODE);
        assert_eq!(
            seen.messages(),
            ["vpc-1 has 1 address range that no subnet can be made of: 100.64.0.0/16 (failed)"]
        );
        assert_eq!(seen.findings[0].severity, Severity::Warning);
        assert_eq!(answers(&cluster("disassociating"), CODE).findings[0].severity, Severity::Info);
    }

    #[test]
    fn a_range_on_its_way_in_is_fine() {
        assert!(answers(&cluster("associating"), CODE).passed());
    }

    #[test]
    fn without_the_vpc_it_cannot_tell() {
        let mut snapshot = cluster("failed");
        snapshot.ec2.vpcs = Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::Vpcs]);
    }
}
