//! IPAM632: an aws-node pod that restarts again and again.

use jiff::{SignedDuration, Timestamp};

use crate::{
    facts::Facts,
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
    /// The node's aws-node pod restarts again and again.
    ///
    /// ## What it means
    ///
    /// Each restart drops what ipamd knew and reads it anew; in between pods get no address. It is ready between the
    /// ends, so nothing else shows it.
    ///
    /// ## Why it happens
    ///
    /// The instance metadata, the API server or EC2 do not answer in time, a right is missing, the probes are too tight
    /// (IPAM635), or the container runs out of memory.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get pods -n kube-system -l k8s-app=aws-node -o wide
    /// kubectl logs -n kube-system AWS_NODE_POD -c aws-node --tail=20 --previous
    /// ```
    ///
    /// ## What to do
    ///
    /// Look at what the container says before it ends, and at the reason of its last state.
    ///
    /// ## What it costs
    ///
    /// Nothing.
    ///
    /// ## When it fires
    ///
    /// The pod is ready, its container ended within the last hour, and over the pod's life it ended more than three
    /// times an hour. Warning. A pod that is not ready is IPAM631.
    pub AwsNodeRestarts;
    code: "IPAM632",
    name: "aws-node-restarts",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [Nodes, AwsNode],
    check: check,
}

const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// More ends in an hour are too many.
const MOST: i64 = 3;

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let Some(installation) = &facts.installation else { return };
    for node in &facts.nodes {
        let Some(pod) = node.aws_node.filter(|pod| restarts_often(pod, facts.snapshot.taken_at)) else {
            continue;
        };
        let ended = pod.last_ended_at.map_or_else(String::new, |at| at.strftime(", the last at %H:%M:%SZ").to_string());
        let violation = Violation {
            severity: Severity::Warning,
            message: format!("its aws-node pod was restarted {}{ended}", times(pod.restarts)),
            remediation: format!(
                "Look at why it ended: `kubectl logs -n {} {} -c aws-node --previous`.",
                installation.place().0,
                if pod.name.is_empty() { "AWS_NODE_POD" } else { &pod.name },
            ),
            evidence: vec![sink::evidence("restarts", pod.restarts)],
        };
        found.node(node, violation);
    }
}

fn times(number: u32) -> String {
    text::count(number, "time")
}

fn restarts_often(pod: &AwsNodePod, now: Timestamp) -> bool {
    let recently = pod.last_ended_at.is_some_and(|at| now.duration_since(at) <= HOUR);
    let hours = pod.started_at.map_or(1, |at| now.duration_since(at).as_hours() + 1);
    pod.ready && recently && i64::from(pod.restarts) > MOST.saturating_mul(hours.max(1))
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        tests::configuration::{self as cluster, answer, is_inconclusive, minutes_ago, only},
    };

    const CODE: &str = "IPAM632";

    fn restarted(restarts: u32, ended: i64, started: i64) -> crate::snapshot::ClusterSnapshot {
        let mut snapshot = cluster::with(&[]);
        let pod = cluster::pod(&mut snapshot, 0);
        (pod.restarts, pod.last_ended_at, pod.started_at) =
            (restarts, Some(minutes_ago(ended)), Some(minutes_ago(started)));
        snapshot
    }

    #[test]
    fn many_restarts_in_an_hour_are_told() {
        let finding = only(&restarted(4, 10, 50), CODE);
        assert_eq!((finding.severity, finding.subject.name()), (Severity::Warning, "node-0"));
        assert_eq!(finding.message, "its aws-node pod was restarted 4 times, the last at 11:50:00Z");
    }

    #[test]
    fn few_old_or_long_past_restarts_are_left_alone() {
        assert!(cluster::found(&restarted(3, 10, 50), CODE).is_empty());
        assert!(cluster::found(&restarted(9, 90, 100), CODE).is_empty());
        assert!(cluster::found(&restarted(9, 10, 60 * 24 * 30), CODE).is_empty());
    }

    #[test]
    fn without_the_daemon_set_it_cannot_tell() {
        assert!(is_inconclusive(&answer(&cluster::without_daemon_set(), CODE)));
    }
}
