//! IPAM705: nodes that Karpenter cannot launch because a subnet has no address.

use std::{collections::BTreeMap, sync::Arc};

use jiff::SignedDuration;

use super::{can_tell, with_free};
use crate::{
    facts::Facts,
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{Violations, sink},
    snapshot::Event,
    source::Source,
    text,
};

/// EC2's word for it.
const ERROR: &str = "InsufficientFreeAddressesInSubnet";
/// Karpenter drops a NodeClaim that cannot be launched at once; its events stay for longer and are what remains.
const RECENT: SignedDuration = SignedDuration::from_mins(15);

rule! {
    /// Karpenter cannot launch nodes: a subnet has no free address.
    ///
    /// ## What it means
    ///
    /// EC2 refused an instance because not even its own address is left in the subnet. Pods that need a new node stay
    /// Pending.
    ///
    /// ## Why it happens
    ///
    /// The subnets that the `EC2NodeClass` selects are exhausted. Karpenter takes such a subnet for full until it reads
    /// the subnets again a minute later, and goes on with others if there are any.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get events -A --field-selector involvedObject.kind=NodeClaim | grep InsufficientFreeAddressesInSubnet
    /// kubectl get nodeclaims -o custom-columns=NAME:.metadata.name,LAUNCHED:.status.conditions[?(@.type=="Launched")].reason
    /// ```
    ///
    /// ## What to do
    ///
    /// Free addresses in the subnets of the node class (IPAM101 says how), or let its selector find others.
    ///
    /// ## What it costs
    ///
    /// A new subnet costs nothing.
    ///
    /// ## When it fires
    ///
    /// A NodeClaim is not launched with the reason `InsufficientFreeAddressesInSubnet`: critical; events of the last
    /// 15 minutes say so, and no NodeClaim does now: warning.
    pub KarpenterLaunchFailed;
    code: "IPAM705",
    name: "karpenter-launch-failed",
    severity: Critical,
    condition: CapacityAvailable,
    sources: [Nodes],
    check: check,
}

/// Launches of one NodePool that failed.
#[derive(Default)]
struct Failures {
    now: u32,
    recent: u32,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    if !can_tell(facts, found, &[Source::NodeClaims]) {
        return;
    }
    for (pool, failures) in failures(facts) {
        found.subject(Subject::Object("NodePool", Arc::clone(&pool)), violation(facts, &pool, &failures));
    }
}

/// By NodePool. A NodeClaim that fails now is not counted again for its events.
fn failures(facts: &Facts<'_>) -> BTreeMap<Arc<str>, Failures> {
    let objects = &facts.snapshot.objects;
    let mut by_pool: BTreeMap<Arc<str>, Failures> = BTreeMap::new();
    let mut counted: Vec<&str> = Vec::new();
    for claim in objects.node_claims.value().into_iter().flatten() {
        let failed = claim.launch_failure.as_ref();
        if failed.is_some_and(|(reason, message)| reason.contains(ERROR) || message.contains(ERROR)) {
            let pool = claim.node_pool.clone().unwrap_or_else(|| pool_of(&claim.name).into());
            by_pool.entry(pool).or_default().now += 1;
            counted.push(&claim.name);
        }
    }
    let taken_at = facts.snapshot.taken_at;
    let is_recent = |event: &Event| event.last_at.is_some_and(|at| taken_at.duration_since(at) <= RECENT);
    for event in objects.events.value().into_iter().flatten() {
        if &*event.kind != "NodeClaim" || !event.message.contains(ERROR) || !is_recent(event) {
            continue;
        }
        if !counted.contains(&&*event.name) {
            by_pool.entry(pool_of(&event.name).into()).or_default().recent += 1;
            counted.push(&event.name);
        }
    }
    by_pool
}

/// A NodeClaim has its pool's name and five random characters.
fn pool_of(claim: &str) -> &str {
    claim.rsplit_once('-').map_or(claim, |(pool, _)| pool)
}

fn violation(facts: &Facts<'_>, pool: &str, failures: &Failures) -> sink::Violation {
    let class = facts.karpenter.class_of_pool(pool);
    let subnets = class.map(|class| with_free(class.zones.values().flatten().copied())).unwrap_or_default();
    let (count, when) = match failures.now {
        0 => (failures.recent, "was refused in the last 15 minutes"),
        now => (now, "waits"),
    };
    let verb = if failures.now == 0 { "were refused in the last 15 minutes" } else { "wait" };
    let lie = if subnets.is_empty() { String::new() } else { format!("; its subnets are {subnets}") };
    sink::Violation {
        severity: if failures.now > 0 { Severity::Critical } else { Severity::Warning },
        message: format!(
            "NodePool {pool}: {} {} because EC2 has no free address for {} ({ERROR}){lie}",
            text::count(count, "new node"),
            text::verb(count, when, verb),
            text::verb(count, "it", "them"),
        ),
        remediation: match class {
            Some(class) => format!(
                "Let spec.subnetSelectorTerms of EC2NodeClass {} find subnets with room, or free addresses in these.",
                class.class.name
            ),
            None => "Let its EC2NodeClass find subnets with room, or free addresses in those it finds.".to_owned(),
        },
        evidence: vec![
            sink::evidence("nodesNotLaunched", failures.now),
            sink::evidence("refusedRecently", failures.recent),
        ],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        snapshot::{Event, NodeClaim},
        source::{Reading, Source},
        tests::{
            fixtures::now,
            karpenter::{Setup, answers},
        },
    };

    const CODE: &str = "IPAM705";

    fn setup() -> Setup {
        let setup = Setup::new(&[]).class("default", None).pool("general", "default", &[]);
        setup.subnet("default", "subnet-2", "eu-central-1b", 0)
    }

    fn claim(reason: &str) -> NodeClaim {
        NodeClaim {
            name: "general-abcde".into(),
            node_pool: Some("general".into()),
            node: None,
            launch_failure: Some((reason.into(), "".into())),
        }
    }

    fn event(seconds_ago: i64) -> Event {
        Event {
            kind: "NodeClaim".into(),
            namespace: "".into(),
            name: "general-vwxyz".into(),
            reason: "InsufficientCapacityError".into(),
            severity: "Warning".into(),
            action: None,
            message: "InsufficientFreeAddressesInSubnet: not enough free addresses in subnet-2".into(),
            last_at: Some(now() - jiff::SignedDuration::from_secs(seconds_ago)),
        }
    }

    #[test]
    fn a_claim_that_waits_is_critical_and_an_event_of_late_a_warning() {
        let claims = vec![claim("InsufficientFreeAddressesInSubnet")];
        let waits = setup().change(|snapshot| snapshot.objects.node_claims = Reading::fresh(claims, now()));
        let seen = answers(&waits.snapshot(), CODE);
        assert_eq!(
            seen.messages(),
            ["NodePool general: 1 new node waits because EC2 has no free address for it \
                 (InsufficientFreeAddressesInSubnet); its subnets are subnet-2 (0 free)"]
        );
        let past = setup().change(|snapshot| snapshot.objects.events = Reading::fresh(vec![event(60)], now()));
        let seen = answers(&past.snapshot(), CODE);
        assert_eq!(seen.findings[0].severity, Severity::Warning);
        assert!(seen.messages()[0].contains("1 new node was refused in the last 15 minutes"));
    }

    #[test]
    fn other_faults_and_old_events_are_none() {
        let other = setup().change(|snapshot| {
            snapshot.objects.node_claims = Reading::fresh(vec![claim("InsufficientInstanceCapacity")], now());
            snapshot.objects.events = Reading::fresh(vec![event(3600)], now());
        });
        assert!(answers(&other.snapshot(), CODE).passed());
    }

    #[test]
    fn without_claims_it_cannot_tell() {
        let mut snapshot = setup().snapshot();
        snapshot.objects.node_claims = Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::NodeClaims]);
    }
}
