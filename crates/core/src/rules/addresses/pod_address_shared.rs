//! IPAM403: pods that have one address.

use jiff::SignedDuration;

use super::pods;
use crate::{
    facts::{Facts, lookup::Set},
    finding::{Home, Severity, Subject},
    policy::AuditPolicy,
    rules::{
        Violations,
        sink::{self, Place},
    },
    snapshot::Pod,
    source::Source,
    text,
};

/// Pods that a message names.
const NAMED: usize = 3;

rule! {
    /// Running pods have the same address.
    ///
    /// ## What it means
    ///
    /// Only one of them gets what is sent to the address, now this one and now that one. Services send requests of one
    /// to the other.
    ///
    /// ## Why it happens
    ///
    /// The CNI gave away an address that a pod still had: it lost its record of it, or the pod outlived a clean-up. On
    /// two nodes: the address moved from one to the other while a pod used it.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get pods -A -o wide --field-selector status.phase=Running | grep -w ADDRESS
    /// ```
    ///
    /// ## What to do
    ///
    /// Delete all of them: each successor gets an address of its own. Keep the CNI's log of the nodes
    /// (`/var/log/aws-routed-eni/ipamd.log`) for a report to the CNI's project.
    ///
    /// ## What it costs
    ///
    /// A restart of the pods.
    ///
    /// ## When it fires
    ///
    /// The same two or more running pods that use no host network have one address, in two looks at least
    /// `spec.thresholds.suspicionSeconds` (default 60) apart. Pods that are younger than two minutes or on their way out are not
    /// judged, nor are those on nodes without the VPC CNI.
    pub PodAddressShared;
    code: "IPAM403",
    name: "pod-address-shared",
    severity: Critical,
    condition: AddressesReconciled,
    sources: [Nodes, Pods, AwsNode],
    check: check,
}

fn check(facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations<'_>) {
    let Some(seen_at) = facts.as_of(Source::Pods) else { return };
    let apart = SignedDuration::from_secs(policy.thresholds.suspicion_seconds.into());
    for pods in shared(facts) {
        let settled: Vec<&Pod> = pods.into_iter().filter(|pod| is_judged(facts, pod, seen_at)).collect();
        if settled.len() > 1 {
            found.suspicion(place(&settled), &pods::identity(&settled), seen_at, apart, violation(&settled));
        }
    }
}

/// Pods by address, where there is more than one.
fn shared<'a>(facts: &Facts<'a>) -> Vec<Vec<&'a Pod>> {
    let all = facts.snapshot.pods.value().into_iter().flatten();
    let pods = all.filter(|pod: &&Pod| !pod.host_network() && !pod.terminating);
    let addressed: Vec<(u32, &Pod)> = pods.filter_map(|pod| Some((u32::from(pod.address?), pod))).collect();
    // Nearly always there are none, and to see that needs no order.
    let mut seen = Set::default();
    seen.reserve(addressed.len());
    let twice: Set<u32> =
        addressed.iter().map(|(address, _)| *address).filter(|address| !seen.insert(*address)).collect();
    let mut addressed: Vec<_> = addressed.into_iter().filter(|(address, _)| twice.contains(address)).collect();
    addressed.sort_unstable_by_key(|(address, _)| *address);
    let same = addressed.chunk_by(|(one, _), (other, _)| one == other).filter(|pods| pods.len() > 1);
    let named = same.map(|pods| {
        let mut pods: Vec<&Pod> = pods.iter().map(|(_, pod)| *pod).collect();
        pods.sort_by(|a, b| (&a.namespace(), &a.name()).cmp(&(&b.namespace(), &b.name())));
        pods
    });
    named.collect()
}

fn is_judged(facts: &Facts<'_>, pod: &Pod, seen_at: jiff::Timestamp) -> bool {
    let node = pod.node().and_then(|name| {
        let at = facts.nodes.binary_search_by(|node| node.node.name.cmp(name)).ok()?;
        facts.nodes.get(at)
    });
    pods::is_settled(pod, seen_at) && node.is_some_and(|node| node.cni.is_some())
}

/// In the report of their node, if it is one.
fn place(pods: &[&Pod]) -> Place {
    let address = pods.first().and_then(|pod| pod.address).map_or_else(String::new, |address| address.to_string());
    let place = Place::audit(Subject::Object("Address", address.into()));
    let node = pods.first().and_then(|pod| pod.node().cloned());
    match node.filter(|node| pods.iter().all(|pod| pod.node() == Some(node))) {
        Some(node) => Place { home: Home::Node(node), ..place },
        None => place,
    }
}

fn violation(pods: &[&Pod]) -> sink::Violation {
    let address =
        pods.first().and_then(|pod| pod.address).map_or_else(|| "?".to_owned(), |address| address.to_string());
    let where_ = |pod: &&Pod| format!("{} on {}", pod.full_name(), pod.node().map_or("?", |node| node.as_str()));
    let names: Vec<String> = pods.iter().map(where_).collect();
    let number = u32::try_from(pods.len()).unwrap_or(u32::MAX);
    let deletions: Vec<String> =
        pods.iter().map(|pod| format!("kubectl delete pod -n {} {}", pod.namespace(), pod.name())).collect();
    sink::Violation {
        severity: Severity::Critical,
        message: format!(
            "{address} is the address of {}: {}",
            text::count(number, "running pod"),
            text::list(&names, "and", NAMED)
        ),
        remediation: format!("Give each an address of its own: {}.", deletions.join("; ")),
        evidence: vec![sink::evidence("address", address), sink::evidence("pods", number)],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        outcome::RuleAnswer,
        source::{FaultCategory, Reading, Source},
        tests::addresses::{answer, cluster, of, once, pod_mut, proven, twice},
    };

    const CODE: &str = "IPAM403";

    #[test]
    fn two_pods_of_one_address_are_named_even_without_ec2() {
        let mut snapshot = cluster();
        let address = pod_mut(&mut snapshot, "resizer-0-0").address;
        pod_mut(&mut snapshot, "resizer-0-1").address = address;
        snapshot.ec2.interfaces = Reading::missing(FaultCategory::Denied, "denied");
        let findings = of(&twice(&snapshot, 60), CODE);
        assert_eq!(
            findings[0].message,
            "10.0.0.5 is the address of 2 running pods: shop/resizer-0-0 on node-0 and shop/resizer-0-1 on node-0"
        );
        assert!(findings[0].remediation.contains("kubectl delete pod -n shop resizer-0-1"));
    }

    #[test]
    fn another_pod_at_the_second_look_proves_nothing() {
        let mut snapshot = cluster();
        let address = pod_mut(&mut snapshot, "resizer-0-0").address;
        pod_mut(&mut snapshot, "resizer-0-1").address = address;
        let memory = once(&snapshot).memory;
        pod_mut(&mut snapshot, "resizer-0-1").uid = "another".into();
        let later = crate::tests::addresses::later(&snapshot, 900);
        let outcome = crate::engine::evaluate(&later, &crate::policy::AuditPolicy::default(), &memory);
        assert_eq!(of(&outcome, CODE), []);
    }

    #[test]
    fn a_pod_on_its_way_out_shares_nothing() {
        let mut snapshot = cluster();
        let address = pod_mut(&mut snapshot, "resizer-0-0").address;
        let mut leaving = pod_mut(&mut snapshot, "resizer-0-1");
        (leaving.address, leaving.terminating) = (address, true);
        drop(leaving);
        assert_eq!(proven(&snapshot, CODE), Vec::<String>::new());
    }

    #[test]
    fn without_pods_it_cannot_tell() {
        let mut snapshot = cluster();
        snapshot.pods = Reading::missing(FaultCategory::Denied, "denied");
        let answer = answer(&once(&snapshot), CODE);
        assert_eq!(answer, RuleAnswer::Inconclusive { missing: vec![Source::Pods], suspects: 0 });
    }
}
