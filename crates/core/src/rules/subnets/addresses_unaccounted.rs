//! IPAM117: addresses that EC2 counts as taken and no visible interface has.

use jiff::SignedDuration;

use crate::{
    facts::{Facts, SubnetFacts},
    finding::Severity,
    policy::AuditPolicy,
    rules::{
        Violations,
        sink::{self, Place},
        subnets::words,
    },
    source::Source,
    text,
};

/// A larger share of the subnet (percent) is more than reads that overlap.
const SHARE: u64 = 2;
/// And so are more addresses than this, in a small subnet.
const FEW: u64 = 3;

rule! {
    /// EC2 counts addresses as taken that no visible interface has.
    ///
    /// ## What it means
    ///
    /// Somebody takes addresses from the subnet whom this audit cannot see. What it says of the subnet's users is
    /// incomplete, and fewer whole /28 blocks may be free than it counts.
    ///
    /// ## Why it happens
    ///
    /// The VPC is shared and the interfaces belong to another account; interfaces that AWS manages are hidden from this
    /// account's view; or a policy lets the audit see some interfaces only.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-subnets --subnet-ids SUBNET --query 'Subnets[].[OwnerId,CidrBlock,AvailableIpAddressCount]' --output text
    /// aws ec2 describe-network-interfaces --filters Name=subnet-id,Values=SUBNET --include-managed-resources \
    ///     --query 'length(NetworkInterfaces)'
    /// aws sts get-caller-identity
    /// ```
    ///
    /// ## What to do
    ///
    /// In a shared VPC, ask its owner who uses the subnet. In your own, look for a policy or boundary that hides
    /// interfaces from the audit's role.
    ///
    /// ## What it costs
    ///
    /// Nothing.
    ///
    /// ## When it fires
    ///
    /// Two looks, at least `spec.thresholds.suspicionSeconds` apart, find more than two in a hundred of the subnet's
    /// addresses, and more than three, taken by nobody visible. What reservations keep is accounted for.
    pub AddressesUnaccounted;
    code: "IPAM117",
    name: "addresses-unaccounted",
    severity: Info,
    condition: AddressesReconciled,
    sources: [Nodes, Subnets, NetworkInterfaces, CidrReservations],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let Some(seen_at) = facts.as_of(Source::Subnets).min(facts.as_of(Source::NetworkInterfaces)) else { return };
    for subnet in facts.every_subnet() {
        let Some(invisible) = subnet.invisible.and_then(|invisible| u32::try_from(invisible).ok()) else { continue };
        let many = u64::from(invisible) * 100 > u64::from(subnet.usable.unwrap_or_default()) * SHARE;
        if many && u64::from(invisible) > FEW {
            let apart = SignedDuration::from_secs(i64::from(subnet.thresholds.suspicion_seconds));
            found.suspicion(Place::subnet(&subnet.subnet.id), "", seen_at, apart, violation(facts, subnet, invisible));
        }
    }
}

fn violation(facts: &Facts<'_>, subnet: &SubnetFacts<'_>, invisible: u32) -> sink::Violation {
    let mut ours = facts.nodes.iter().flat_map(|node| node.interfaces.iter().flatten());
    let ours = ours.find_map(|interface| interface.owner.as_ref());
    let shared = subnet.subnet.owner.as_ref().zip(ours).is_some_and(|(owner, ours)| owner != ours);
    let why = if shared { "; another account owns it" } else { "" };
    let remediation = if shared {
        "Ask the account that owns the subnet who uses it: its interfaces are not visible from here."
    } else {
        "Look for a policy that hides interfaces from the audit's role, or ask who shares the VPC."
    };
    sink::Violation {
        severity: Severity::Info,
        message: format!(
            "{} has {} in use that no visible interface has, {} % of it{why}",
            words::name(subnet),
            text::count(invisible, "address"),
            text::percent(invisible, subnet.usable.unwrap_or_default()),
        ),
        remediation: remediation.to_owned(),
        evidence: vec![
            sink::evidence("unaccounted", invisible),
            sink::evidence("usable", subnet.usable.unwrap_or_default()),
            sink::evidence("free", subnet.subnet.available),
        ],
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use crate::{
        engine,
        memory::Memory,
        policy::AuditPolicy,
        snapshot::ClusterSnapshot,
        source::{Reading, Source},
        tests::{
            fixtures::{Cluster, now},
            subnets::answers,
        },
    };

    const CODE: &str = "IPAM117";

    /// 20 of 251 are visible.
    fn cluster(free: u32) -> ClusterSnapshot {
        Cluster::new("10.0.0.0/24", &[]).node("m5.large", 29, &[9, 9], 5).with_free(free).snapshot()
    }

    #[test]
    fn two_looks_apart_prove_an_invisible_user() {
        let mut snapshot = cluster(200);
        let policy = AuditPolicy::default();
        let first = engine::evaluate(&snapshot, &policy, &Memory::default());
        assert!(first.subnets[0].findings.is_empty());
        assert_eq!(first.suspects.iter().filter(|one| one.finding.code == CODE).count(), 1);
        let later = now() + SignedDuration::from_secs(90);
        snapshot.taken_at = later;
        snapshot.ec2.subnets.last_good.as_mut().unwrap().as_of = later;
        snapshot.ec2.interfaces.last_good.as_mut().unwrap().as_of = later;
        let second = engine::evaluate(&snapshot, &policy, &first.memory);
        let messages: Vec<_> = second.subnets[0].findings.iter().map(|finding| finding.message.as_str()).collect();
        assert_eq!(
            messages,
            ["subnet-1 (eu-central-1a) has 31 addresses in use that no visible interface has, 12 % of it"]
        );
    }

    #[test]
    fn a_few_addresses_are_reads_that_overlap() {
        assert!(answers(&cluster(226), CODE).passed());
    }

    #[test]
    fn without_reservations_it_cannot_tell() {
        let mut snapshot = cluster(200);
        snapshot.ec2.reservations = Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::CidrReservations]);
    }
}
