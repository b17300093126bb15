//! IPAM152: the VPC's network address usage comes near its quota.

use super::vpc;
use crate::{
    facts::{Facts, lookup::Map},
    finding::{Severity, Subject},
    ids::{SubnetId, VpcId},
    inventory::{Interface, InterfaceKind},
    policy::AuditPolicy,
    rows::Rows,
    rules::{Violations, sink},
    text,
};

/// Units that AWS allows by default.
const DEFAULT: u32 = 64_000;
/// Units that AWS allows at most.
const MOST: u32 = 256_000;
/// Units of an interface of a load balancer, an endpoint, a gateway, a function or a file system.
const OF_SERVICE: u32 = 6;
/// A larger share of the quota (percent) is near.
const NEAR: u32 = 70;
/// And a larger share than this will hurt.
const VERY_NEAR: u32 = 90;

rule! {
    /// The VPC comes near AWS' limit of network addresses in use.
    ///
    /// ## What it means
    ///
    /// AWS limits not only addresses per subnet but *network address usage* per VPC: one unit for each address of an
    /// instance's interface, one for each prefix and each further interface, six for interfaces of load balancers,
    /// endpoints and the like. At the limit no interface or address can be added in the whole VPC.
    ///
    /// ## Why it happens
    ///
    /// Warm pools count in full: an m6a.32xlarge with one pod takes 101 units. Prefixes count one instead of sixteen.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws service-quotas get-service-quota --service-code vpc --quota-code L-BB24F6E5 --query Quota.Value
    /// aws ec2 modify-vpc-attribute --vpc-id VPC --enable-network-address-usage-metrics
    /// aws cloudwatch get-metric-statistics --namespace AWS/EC2 --metric-name NetworkAddressUsage \
    ///     --dimensions 'Name=Per-VPC Metrics,Value=VPC' --statistics Maximum --period 86400 \
    ///     --start-time 2026-01-01T00:00:00Z --end-time 2026-01-03T00:00:00Z
    /// ```
    ///
    /// ## What to do
    ///
    /// Let nodes hold less (`WARM_IP_TARGET` with `MINIMUM_IP_TARGET`), or use prefix mode, which counts a sixteenth. Or
    /// ask for a higher quota (L-BB24F6E5, up to 256,000).
    ///
    /// ## What it costs
    ///
    /// A higher quota is free of charge; it may take days.
    ///
    /// ## When it fires
    ///
    /// The estimate from the interfaces that are visible is above 70 % of 64,000 units, the default quota: information;
    /// above 90 %: warning. Above 64,000 the quota has been raised, and 256,000 counts, the most there is. IPv6 addresses
    /// are not in the estimate.
    pub NetworkAddressUsage;
    code: "IPAM152",
    name: "network-address-usage",
    severity: Warning,
    condition: CapacityAvailable,
    sources: [Vpcs, Subnets, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let interfaces = facts.snapshot.ec2.interfaces.value().unwrap_or(Rows::NONE);
    // The sum over all VPCs is cheap and mostly below any line.
    let all: u32 = interfaces.iter().map(units).sum();
    if text::percent(all, DEFAULT) <= NEAR {
        return;
    }
    let subnets = facts.snapshot.ec2.subnets.value().into_iter().flatten();
    let homes: Map<&SubnetId, &VpcId> = subnets.map(|subnet| (&subnet.id, &subnet.vpc)).collect();
    for vpc in vpc::of_cluster(facts) {
        let inside = interfaces.iter().filter(|interface| homes.get(&interface.subnet) == Some(&&vpc.id));
        let used: u32 = inside.map(units).sum();
        let quota = if used <= DEFAULT { DEFAULT } else { MOST };
        let share = text::percent(used, quota);
        if share > NEAR {
            found.subject(Subject::Vpc(vpc.id.clone()), violation(&vpc.id, used, quota, share));
        }
    }
}

/// What an interface counts, without its IPv6 addresses.
fn units(interface: &Interface) -> u32 {
    match &interface.kind {
        InterfaceKind::Interface
        | InterfaceKind::Trunk
        | InterfaceKind::Branch
        | InterfaceKind::Efa
        | InterfaceKind::EfaOnly => {
            let further = interface.attachment.as_ref().is_some_and(|at| at.instance.is_some() && !at.is_primary());
            let counted =
                usize::from(interface.primary.is_some()) + interface.secondary.len() + interface.prefixes.len();
            u32::try_from(counted).unwrap_or(u32::MAX).saturating_add(u32::from(further))
        }
        InterfaceKind::Other(_) => OF_SERVICE,
    }
}

fn violation(vpc: &VpcId, used: u32, quota: u32, share: u32) -> sink::Violation {
    let most = if quota == DEFAULT { "AWS' default limit" } else { "the most that AWS allows" };
    sink::Violation {
        severity: if share > VERY_NEAR { Severity::Warning } else { Severity::Info },
        message: format!(
            "{vpc} uses about {} of {} network address units, {share} %, which is {most}",
            text::thousands(used),
            text::thousands(quota),
        ),
        remediation:
            "Let nodes hold less (IPAM210) or use prefixes, which count one unit for 16 addresses; or ask for a \
                      higher quota (L-BB24F6E5)."
                .to_owned(),
        evidence: vec![sink::evidence("units", used), sink::evidence("quota", quota)],
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
            subnets::{answers, interfaces, set_vpc},
        },
    };

    const CODE: &str = "IPAM152";

    /// One interface with so many addresses stands for many.
    fn cluster(addresses: u32) -> ClusterSnapshot {
        let mut snapshot = Cluster::new("10.0.0.0/14", &[]).node("m5.large", 29, &[addresses - 1], 3).snapshot();
        set_vpc(&mut snapshot, &["10.0.0.0/14"]);
        snapshot
    }

    #[test]
    fn the_share_of_the_default_quota_decides() {
        assert!(answers(&cluster(40_000), CODE).passed());
        let seen = answers(&cluster(48_000), CODE);
        assert_eq!(
            seen.messages(),
            ["vpc-1 uses about 48,000 of 64,000 network address units, 75 %, which is AWS' default limit"]
        );
        assert_eq!(seen.findings[0].severity, Severity::Info);
        assert_eq!(answers(&cluster(60_000), CODE).findings[0].severity, Severity::Warning);
        assert!(answers(&cluster(70_000), CODE).passed(), "the quota has been raised");
    }

    #[test]
    fn a_prefix_counts_one() {
        let mut snapshot = cluster(40_000);
        let prefixes = (0..8_000_u32).map(|at| crate::net::Prefix28::containing((0x0a02_0000 + at * 16).into()));
        interfaces(&mut snapshot)[0].prefixes = prefixes.collect();
        assert!(answers(&snapshot, CODE).messages()[0].contains("about 48,000"));
    }

    #[test]
    fn without_interfaces_it_cannot_tell() {
        let mut snapshot = cluster(48_000);
        snapshot.ec2.interfaces = Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::NetworkInterfaces]);
    }
}
