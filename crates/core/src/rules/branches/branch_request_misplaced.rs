//! IPAM312: a request for a branch on a container that the CNI does not look at.

use super::common;
use crate::{
    facts::Facts,
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

rule! {
    /// The pod asks for its branch on a container that is not the first.
    ///
    /// ## What it means
    ///
    /// The resource controller makes a branch for the pod, and the CNI gives it an ordinary address all the same: it
    /// looks at the first container only. The pod runs with the security groups of its node, and the branch is wasted.
    ///
    /// ## Why it happens
    ///
    /// The webhook puts the request on the first container. Another webhook, which came later, put a sidecar before it.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get pod POD -n NAMESPACE \
    ///     -o jsonpath='{range .spec.containers[*]}{.name}{"\t"}{.resources.limits}{"\n"}{end}'
    /// kubectl get mutatingwebhookconfigurations
    /// ```
    ///
    /// ## What to do
    ///
    /// Let the sidecar's webhook append its container instead of putting it first, then restart the workload.
    ///
    /// ## What it costs
    ///
    /// A restart of the workload.
    ///
    /// ## When it fires
    ///
    /// Containers of the pod ask for `vpc.amazonaws.com/pod-eni`, and the first is not among them.
    pub BranchRequestMisplaced;
    code: "IPAM312",
    name: "branch-request-misplaced",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [Nodes, Pods],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for (node, pod) in facts.pod_groups.on_nodes(&facts.nodes) {
        let containers = pod.traits().map_or(&[][..], |traits| &traits.branch_containers);
        let Some(first) = containers.iter().min().filter(|first| **first > 0) else { continue };
        let violation = sink::Violation {
            severity: Severity::Warning,
            message: format!(
                "pod {} asks for its branch on container {}, not on the first: it runs with its node's security groups",
                pod.pod.full_name(),
                text::thousands(first + 1),
            ),
            remediation: "Let no webhook put a container before the first, then restart the workload.".to_owned(),
            evidence: vec![sink::evidence("container", first + 1)],
        };
        found.at(common::pod_place(node, pod.pod), violation);
    }
}

#[cfg(test)]
mod tests {
    use crate::{outcome::RuleAnswer, tests::branches::*};

    #[test]
    fn a_sidecar_before_the_first_container_undoes_the_groups() {
        let mut snapshot = cluster("m5.large", 1);
        branch_pod(&mut snapshot, 0, "db-1");
        assert_eq!(answer(&snapshot, "IPAM312"), RuleAnswer::Passed);
        edit_traits(&mut snapshot, "db-1", |traits| traits.branch_containers = [1].into());
        let found = findings(&snapshot, "IPAM312");
        assert_eq!(
            found[0].message,
            "pod shop/db-1 asks for its branch on container 2, not on the first: it runs with its node's security groups"
        );
        assert_eq!(&*found[0].group, "shop/db");
        snapshot.pods = missing();
        assert!(matches!(answer(&snapshot, "IPAM312"), RuleAnswer::Inconclusive { .. }));
    }
}
