//! IPAM314: a pod whose branch EC2 does not have.

use jiff::{SignedDuration, Timestamp};

use super::common;
use crate::{
    facts::Facts,
    finding::{POD_UID, Severity},
    policy::AuditPolicy,
    rules::{Violations, sink},
    snapshot::{BranchUse, Pod},
    source::Source,
};

rule! {
    /// The branch interface that the pod was given is not in EC2.
    ///
    /// ## What it means
    ///
    /// The pod's annotation names a branch interface that EC2 does not list. The pod has no network, though it may
    /// still be shown as running.
    ///
    /// ## Why it happens
    ///
    /// Somebody deleted the interface, or the resource controller did after it took the pod for finished.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get pod POD -n NAMESPACE -o jsonpath='{.metadata.annotations.vpc\.amazonaws\.com/pod-eni}'
    /// aws ec2 describe-network-interfaces --network-interface-ids BRANCH
    /// ```
    ///
    /// ## What to do
    ///
    /// Delete the pod: its successor gets a new branch.
    ///
    /// ## What it costs
    ///
    /// A restart of the pod.
    ///
    /// ## When it fires
    ///
    /// The interface of the annotation is in none of two readings of EC2, at least `spec.thresholds.suspicionSeconds`
    /// (default 60) apart. Pods that are as young as that are left out.
    pub BranchGone;
    code: "IPAM314",
    name: "branch-gone",
    severity: Critical,
    condition: BranchCapacityAvailable,
    sources: [Nodes, Pods, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations<'_>) {
    let apart = SignedDuration::from_secs(policy.thresholds.suspicion_seconds.into());
    let Some(seen_at) = facts.as_of(Source::NetworkInterfaces) else { return };
    for (node, pod) in facts.pod_groups.on_nodes(&facts.nodes) {
        let BranchUse::Has(branch) = &pod.pod.branch() else { continue };
        // A pod that is going loses its branch before it is gone.
        if pod.pod.terminating || is_newer(pod.pod, seen_at - apart) || facts.pod_groups.interface(branch).is_some() {
            continue;
        }
        let violation = sink::Violation {
            severity: Severity::Critical,
            message: format!("pod {} has branch {branch}, which EC2 does not have", pod.pod.full_name()),
            remediation: "Delete the pod, so that its successor gets a new branch.".to_owned(),
            evidence: vec![sink::evidence("branch", branch), sink::evidence(POD_UID, pod.pod.uid())],
        };
        let identity = format!("{} {branch}", pod.pod.uid());
        found.suspicion(common::pod_place(node, pod.pod), &identity, seen_at, apart, violation);
    }
}

/// A branch that was made about when EC2 was read may not be in that reading.
fn is_newer(pod: &Pod, than: Timestamp) -> bool {
    pod.scheduled_at().or_else(|| pod.created_at()).is_some_and(|at| at > than)
}

#[cfg(test)]
mod tests {
    use crate::{
        outcome::RuleAnswer,
        tests::{branches::*, fixtures::now},
    };

    #[test]
    fn a_branch_that_two_readings_lack_is_gone() {
        let mut snapshot = cluster("m5.large", 1);
        branch_pod(&mut snapshot, 0, "db-1");
        assert_eq!(answer(&snapshot, "IPAM314"), RuleAnswer::Passed);
        drop_interface(&mut snapshot, "eni-branch-db-1");
        assert_eq!(answer(&snapshot, "IPAM314"), RuleAnswer::Inconclusive { missing: Vec::new(), suspects: 1 });
        assert_eq!(
            second_look(&snapshot, "IPAM314")[0].message,
            "pod shop/db-1 has branch eni-branch-db-1, which EC2 does not have"
        );
        edit_pod(&mut snapshot, "db-1", |pod| pod.scheduled_at = Some(now()));
        assert_eq!(answer(&snapshot, "IPAM314"), RuleAnswer::Passed, "EC2's reading may be older than the branch");
        edit_pod(&mut snapshot, "db-1", |pod| (pod.scheduled_at, pod.terminating) = (None, true));
        assert_eq!(answer(&snapshot, "IPAM314"), RuleAnswer::Passed);
        snapshot.ec2.interfaces = missing();
        assert!(matches!(answer(&snapshot, "IPAM314"), RuleAnswer::Inconclusive { suspects: 0, .. }));
    }
}
