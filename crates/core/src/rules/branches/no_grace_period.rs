//! IPAM324: pods with a branch that end without a grace period.

use super::common;
use crate::{
    facts::Facts,
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink},
    snapshot::BranchUse,
    source::Source,
};

rule! {
    /// The pod has a branch and no grace period when it ends.
    ///
    /// ## What it means
    ///
    /// Kubernetes removes the pod object at once, and the CNI, which reads it to undo the pod's network, may not find
    /// it any more: interfaces and rules are left on the node.
    ///
    /// ## Why it happens
    ///
    /// `terminationGracePeriodSeconds: 0` in the template, often copied from a job.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get pod POD -n NAMESPACE -o jsonpath='{.spec.terminationGracePeriodSeconds}'
    /// ```
    ///
    /// ## What to do
    ///
    /// Set `terminationGracePeriodSeconds` to 1 or more; 30 is the default.
    ///
    /// ## What it costs
    ///
    /// Pods that ignore the signal end that many seconds later.
    ///
    /// ## When it fires
    ///
    /// A pod with a branch has a grace period of 0 seconds.
    pub NoGracePeriod;
    code: "IPAM324",
    name: "no-grace-period",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [Nodes, Pods],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for (node, pod) in facts.pod_groups.on_nodes(&facts.nodes).filter(|(_, pod)| *pod.pod.branch() != BranchUse::No) {
        let Some(traits) = pod.traits() else {
            found.lacks(Source::Pods);
            continue;
        };
        if traits.grace_seconds != Some(0) {
            continue;
        }
        let violation = sink::Violation {
            severity: Severity::Info,
            message: format!("pod {} has a branch and a grace period of 0 seconds", pod.pod.full_name()),
            remediation: format!("Set terminationGracePeriodSeconds of {} to 1 or more.", pod.owner()),
            evidence: vec![sink::evidence("graceSeconds", 0)],
        };
        found.at(common::pod_place(node, pod.pod), violation);
    }
}

#[cfg(test)]
mod tests {
    use crate::{outcome::RuleAnswer, source::Source, tests::branches::*};

    #[test]
    fn a_grace_period_of_zero_is_said() {
        let mut snapshot = cluster("m5.large", 1);
        branch_pod(&mut snapshot, 0, "db-1");
        assert_eq!(answer(&snapshot, "IPAM324"), RuleAnswer::Passed);
        edit_traits(&mut snapshot, "db-1", |traits| traits.grace_seconds = Some(0));
        assert_eq!(messages(&snapshot, "IPAM324"), ["pod shop/db-1 has a branch and a grace period of 0 seconds"]);
        edit_pod(&mut snapshot, "db-1", |pod| pod.traits = None);
        let lacks = RuleAnswer::Inconclusive { missing: vec![Source::Pods], suspects: 0 };
        assert_eq!(answer(&snapshot, "IPAM324"), lacks);
    }
}
