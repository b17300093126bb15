//! IPAM631: a node without a serving aws-node pod.

use jiff::{SignedDuration, Timestamp};

use crate::{
    facts::{Facts, NodeFacts, installation::Installation},
    finding::Severity,
    policy::AuditPolicy,
    rules::{
        Violations,
        sink::{self, Violation},
    },
    snapshot::AwsNodePod,
    text,
};

rule! {
    /// The node has no aws-node pod that serves.
    ///
    /// ## What it means
    ///
    /// New pods on the node get no address, and addresses of ended ones do not come back. Pods that run keep running. A
    /// new node does not become ready.
    ///
    /// ## Why it happens
    ///
    /// The pod was never made (a taint that the DaemonSet does not tolerate, a webhook that refuses it), its container
    /// ends at once for its settings (IPAM601 to IPAM604), it cannot reach the instance metadata or EC2, or it lacks a
    /// right (IPAM633).
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get pods -n kube-system -l k8s-app=aws-node -o wide
    /// kubectl logs -n kube-system AWS_NODE_POD -c aws-node --tail=20 --previous
    /// kubectl describe node NODE | grep -A4 Ready
    /// ```
    ///
    /// ## What to do
    ///
    /// Look at what the container says before it ends. IPAM601 to IPAM604 name settings that stop it, IPAM633 missing
    /// rights.
    ///
    /// ## What it costs
    ///
    /// Nothing, or what the cause costs.
    ///
    /// ## When it fires
    ///
    /// The node is older than `spec.thresholds.settleSeconds`, is not being deleted, and either the DaemonSet wants
    /// more pods than are seen and none is on this node, or the node's pod is not ready although it has had that time.
    /// A rollout under way is left alone, and so are nodes that the DaemonSet does not want. Critical.
    pub AwsNodeNotServing;
    code: "IPAM631",
    name: "aws-node-not-serving",
    severity: Critical,
    condition: ConfigurationConsistent,
    sources: [Nodes, AwsNode],
    check: check,
}

fn check(facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations<'_>) {
    let Some(installation) = &facts.installation else { return };
    if installation.is_switched_off() {
        return;
    }
    let now = facts.snapshot.taken_at;
    let absence = Absence::of(facts, installation, now, policy);
    for node in &facts.nodes {
        let settle = SignedDuration::from_secs(i64::from(policy.for_node(node.node).settle_seconds));
        if node.node.state.deleted_at.is_some() || is_young(node.node.created_at, now, settle) {
            continue;
        }
        let state = match node.aws_node {
            None if absence.proves => absence.state.clone(),
            Some(pod) if !pod.ready && !is_starting(pod, now, settle) => unready(pod),
            _ => continue,
        };
        found.node(node, violation(node, installation, &state));
    }
}

/// What it means that a node has no pod.
struct Absence {
    proves: bool,
    state: String,
}

impl Absence {
    /// A DaemonSet that has all its pods does not want one here; one that replaces them has just deleted some.
    fn of(facts: &Facts<'_>, installation: &Installation<'_>, now: Timestamp, policy: &AuditPolicy) -> Self {
        let settle = SignedDuration::from_secs(i64::from(policy.thresholds.settle_seconds));
        let seen = u32::try_from(installation.aws_node.pods.len()).unwrap_or(u32::MAX);
        let desired = installation.aws_node.manifest.desired;
        let missing = desired.is_none_or(|desired| seen < desired);
        let state = match desired {
            Some(desired) => {
                format!("no aws-node pod is on the node; {seen} of {} are seen", text::count(desired, "pod"))
            }
            None => format!("no aws-node pod is on the node; {} have one", text::count(seen, "other node")),
        };
        let unproven = facts.is_failing(crate::source::Source::AwsNode);
        Self { proves: missing && !unproven && !installation.is_rolling_out(now, settle), state }
    }
}

fn is_young(since: Option<Timestamp>, now: Timestamp, settle: SignedDuration) -> bool {
    since.is_some_and(|since| now.duration_since(since) < settle)
}

/// A pod that is new, or whose container ended a moment ago, needs some time; one that waits to be started again after
/// many ends has had it.
fn is_starting(pod: &AwsNodePod, now: Timestamp, settle: SignedDuration) -> bool {
    let crashes = pod.waiting.as_deref() == Some("CrashLoopBackOff");
    !crashes && (is_young(pod.started_at, now, settle) || is_young(pod.last_ended_at, now, settle))
}

fn unready(pod: &AwsNodePod) -> String {
    let why = pod.waiting.as_deref().map_or_else(String::new, |why| format!(" ({why})"));
    let restarts = match pod.restarts {
        0 => String::new(),
        restarts => format!(" after {}", text::count(restarts, "restart")),
    };
    format!("its aws-node pod is not ready{restarts}{why}")
}

fn violation(node: &NodeFacts<'_>, installation: &Installation<'_>, state: &str) -> Violation {
    let (namespace, _) = installation.place();
    Violation {
        severity: Severity::Critical,
        message: format!("{state}: new pods on the node get no address"),
        remediation: format!(
            "Look at the pod: `kubectl get pods -n {namespace} -l k8s-app=aws-node --field-selector spec.nodeName={} -o wide`, \
             then at the last lines of its log with `--previous`.",
            node.node.name
        ),
        evidence: vec![sink::evidence("waitingPods", node.waiting.len())],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        tests::configuration::{self as cluster, answer, aws_node, is_inconclusive, minutes_ago, only},
    };

    const CODE: &str = "IPAM631";

    #[test]
    fn a_crash_loop_is_told_with_its_restarts() {
        let mut snapshot = cluster::with(&[]);
        let pod = cluster::pod(&mut snapshot, 1);
        (pod.ready, pod.restarts, pod.waiting) = (false, 12, Some("CrashLoopBackOff".into()));
        pod.last_ended_at = Some(minutes_ago(1));
        let finding = only(&snapshot, CODE);
        assert_eq!((finding.severity, finding.subject.name()), (Severity::Critical, "node-1"));
        assert_eq!(
            finding.message,
            "its aws-node pod is not ready after 12 restarts (CrashLoopBackOff): new pods on the node get no address"
        );
    }

    #[test]
    fn a_missing_pod_is_told_with_how_many_are_seen() {
        let mut snapshot = cluster::with(&[]);
        aws_node(&mut snapshot).manifest.desired = Some(2);
        aws_node(&mut snapshot).pods.remove(0);
        assert_eq!(
            only(&snapshot, CODE).message,
            "no aws-node pod is on the node; 1 of 2 pods are seen: new pods on the node get no address"
        );
    }

    #[test]
    fn young_unwanted_and_starting_ones_are_left_alone() {
        let mut unwanted = cluster::with(&[]);
        aws_node(&mut unwanted).manifest.desired = Some(1);
        aws_node(&mut unwanted).pods.remove(0);
        assert!(cluster::found(&unwanted, CODE).is_empty(), "its selector leaves the node out");
        let mut young = cluster::with(&[]);
        aws_node(&mut young).pods.remove(0);
        cluster::node(&mut young, 0).created_at = Some(minutes_ago(2));
        assert!(cluster::found(&young, CODE).is_empty());
        let mut starting = cluster::with(&[]);
        let pod = cluster::pod(&mut starting, 0);
        (pod.ready, pod.last_ended_at) = (false, Some(minutes_ago(1)));
        assert!(cluster::found(&starting, CODE).is_empty());
        let mut off = cluster::with(&[]);
        aws_node(&mut off).manifest.desired = Some(0);
        aws_node(&mut off).pods.clear();
        assert!(cluster::found(&off, CODE).is_empty(), "another CNI has taken over");
    }

    #[test]
    fn without_the_daemon_set_it_cannot_tell() {
        assert!(is_inconclusive(&answer(&cluster::without_daemon_set(), CODE)));
    }
}
