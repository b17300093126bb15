//! IPAM201: pods that kubelet could not start because the CNI had no address.

use jiff::SignedDuration;

use super::no_growth;
use crate::{
    facts::{Facts, NodeFacts, Pool},
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink},
    snapshot::Pod,
    text,
};

/// Pods that a message names.
const NAMED: usize = 3;
/// A pod that waits longer is not only faster than the pool.
const PATIENCE: SignedDuration = SignedDuration::from_mins(2);

rule! {
    /// Pods on the node wait for an address.
    ///
    /// ## What it means
    ///
    /// The scheduler placed the pods, and kubelet cannot start them: the CNI on the node answered that it has no
    /// address to give (`failed to assign an IP address to container`). They stay in `ContainerCreating`.
    ///
    /// ## Why it happens
    ///
    /// The node's pool is empty and does not grow. The finding names the first of these that applies: aws-node is not
    /// ready; it is told to take no addresses; the node is at the limit of its instance type (IPAM202); the settings
    /// freeze the pool (IPAM212); the node is cordoned; the subnet has too few addresses, or no whole /28 block
    /// (IPAM101); interfaces are attached that ipamd lost sight of (IPAM216); aws-node lacks a right; all free addresses
    /// cool down after their pods ended. If it is none of them, EC2 refuses or throttles the calls.
    ///
    /// Pods with security groups of their own wait for a branch interface instead and are not counted here.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get events -A --field-selector reason=FailedCreatePodSandBox | grep 'failed to assign an IP address'
    /// kubectl get pods -A --field-selector spec.nodeName=NODE,status.phase=Pending
    /// kubectl get pods -n kube-system -l k8s-app=aws-node --field-selector spec.nodeName=NODE
    /// ```
    ///
    /// ## What to do
    ///
    /// What the finding says of its cause: free addresses in the node's subnet (IPAM101, IPAM210), correct the settings
    /// (IPAM212), lower max-pods (IPAM202), mend aws-node. Pods start by themselves within seconds once the node gets an
    /// address.
    ///
    /// ## What it costs
    ///
    /// Nothing beyond what the change of the cause's own finding costs.
    ///
    /// ## When it fires
    ///
    /// A pod without an address is on the node, and kubelet's event FailedCreatePodSandBox says that no address was
    /// assigned. Severity is critical; it is warning for the first two minutes of pods whose cause ends by itself as a
    /// rule, and information for those two minutes where the node is younger than `spec.thresholds.settleSeconds`: its
    /// CNI is just starting.
    pub PodsWaiting;
    code: "IPAM201",
    name: "pods-waiting",
    severity: Critical,
    condition: CapacityAvailable,
    sources: [Nodes, Pods],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for node in facts.nodes.iter().filter(|node| !node.waiting.is_empty()) {
        found.node(node, violation(facts, node));
    }
}

/// Whether a pod has just come: pools take a few seconds to follow.
fn is_new(facts: &Facts<'_>, pod: &Pod) -> bool {
    let came = pod.scheduled_at().or_else(|| pod.created_at());
    came.is_some_and(|came| facts.snapshot.taken_at.duration_since(came) < PATIENCE)
}

fn violation(facts: &Facts<'_>, node: &NodeFacts<'_>) -> sink::Violation {
    let names: Vec<String> = node.waiting.iter().map(|pod| format!("{}/{}", pod.namespace(), pod.name())).collect();
    let waiting = u32::try_from(names.len()).unwrap_or(u32::MAX);
    let cause = no_growth::why(facts, node, waiting);
    let pool = node.pool.as_ref().map_or_else(String::new, |pool| {
        format!(" ({} of {} free)", text::thousands(pool.spare()), text::count(pool.held, "pod address"))
    });
    let starts = facts.is_young(node) && no_growth::cni_is_down(facts, node).is_some();
    let passes = (starts || !cause.lasts) && node.waiting.iter().all(|pod| is_new(facts, pod));
    sink::Violation {
        severity: match passes {
            true if facts.is_young(node) => Severity::Info,
            true => Severity::Warning,
            false => Severity::Critical,
        },
        message: format!(
            "{} {} for an address{pool}: {}; {}",
            text::count(waiting, "pod"),
            text::verb(waiting, "waits", "wait"),
            text::list(&names, "and", NAMED),
            cause.state,
        ),
        remediation: cause.remedy,
        evidence: vec![
            sink::evidence("waitingPods", waiting),
            sink::evidence("idle", text::known(node.pool.as_ref().map(Pool::spare))),
        ],
    }
}

#[cfg(test)]
mod tests {

    use jiff::SignedDuration;

    use crate::{
        finding::Severity,
        outcome::RuleAnswer,
        snapshot::{BranchUse, ClusterSnapshot},
        source::{FaultCategory, Reading, Source},
        tests::{
            fixtures::{Cluster, now},
            nodes::{answer, findings},
        },
    };

    fn two_pods_wait() -> ClusterSnapshot {
        let cluster = Cluster::new("10.0.0.0/20", &[("WARM_ENI_TARGET", "1")]).node("m5.large", 29, &[9, 9], 18);
        cluster.waiting_pod().waiting_pod().with_free(0).snapshot()
    }

    #[test]
    fn pods_that_wait_are_named_with_the_cause() {
        assert_eq!(
            findings("IPAM201", &two_pods_wait())[0].message,
            "2 pods wait for an address (0 of 18 pod addresses free): shop/waiting-18 and shop/waiting-19; subnet-1 has 0 \
             free addresses"
        );
    }

    #[test]
    fn pods_that_wait_for_a_branch_are_not_counted() {
        let mut snapshot = two_pods_wait();
        for pod in snapshot.pods.last_good.as_mut().unwrap().value.iter_mut() {
            pod.edit(|pod| pod.branch = BranchUse::Wanted);
        }
        assert!(findings("IPAM201", &snapshot).is_empty());
    }

    #[test]
    fn a_node_that_just_joined_has_two_minutes() {
        let severity = |minutes: i64| {
            let cluster = Cluster::new("10.0.0.0/20", &[]).node("m5.large", 29, &[0], 0).waiting_pod();
            let since = Some(now() - SignedDuration::from_mins(minutes));
            let mut snapshot = cluster.tweak(|node| node.created_at = since).snapshot();
            snapshot.aws_node.last_good.as_mut().unwrap().value.pods.clear();
            for pod in snapshot.pods.last_good.as_mut().unwrap().value.iter_mut() {
                pod.edit(|pod| pod.scheduled_at = since);
            }
            findings("IPAM201", &snapshot)[0].severity
        };
        assert_eq!((severity(1), severity(3)), (Severity::Info, Severity::Critical));
    }

    #[test]
    fn without_pods_it_cannot_tell() {
        let mut snapshot = two_pods_wait();
        snapshot.pods = Reading::missing(FaultCategory::Denied, "not allowed");
        let missing = vec![Source::Pods];
        assert_eq!(answer("IPAM201", &snapshot), RuleAnswer::Inconclusive { missing, suspects: 0 });
    }
}
