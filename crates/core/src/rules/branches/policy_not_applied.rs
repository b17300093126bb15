//! IPAM313: a pod that a policy selects and that has no branch.

use super::common;
use crate::{
    facts::Facts,
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink},
    snapshot::BranchUse,
    text,
};

rule! {
    /// A SecurityGroupPolicy selects the pod, but the pod does not ask for a branch.
    ///
    /// ## What it means
    ///
    /// The pod runs with the security groups of its node instead of those of the policy. Whoever relies on the policy
    /// is mistaken.
    ///
    /// ## Why it happens
    ///
    /// The request is put on a pod when it is created. The pod is older than the policy or than its labels, or the
    /// webhook did not answer at that moment, in which case the pod is created without it.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get pod POD -n NAMESPACE -o jsonpath='{.spec.containers[0].resources.limits}'
    /// kubectl get securitygrouppolicy -n NAMESPACE -o yaml
    /// ```
    ///
    /// ## What to do
    ///
    /// Restart the workload.
    ///
    /// ## What it costs
    ///
    /// A restart, and one branch slot per pod.
    ///
    /// ## When it fires
    ///
    /// `ENABLE_POD_ENI` is on at the pod's node, a policy with selector and groups selects the pod by its labels or by
    /// those of its service account (all selectors of the policy must match), the pod is not on the host's network, and
    /// no container asks for `vpc.amazonaws.com/pod-eni`.
    pub PolicyNotApplied;
    code: "IPAM313",
    name: "policy-not-applied",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [Nodes, Pods, AwsNode],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    common::note_unresolved(facts, found);
    for (node, pod) in facts.pod_groups.on_nodes(&facts.nodes) {
        let asks = *pod.pod.branch() != BranchUse::No;
        if asks || !pod.is_selected() || pod.pod.host_network() || pod.pod.terminating {
            continue;
        }
        if node.signals.intended != Some(true) {
            continue;
        }
        let violation = sink::Violation {
            severity: Severity::Warning,
            message: format!(
                "pod {} runs with its node's security groups, although {} {} it",
                pod.pod.full_name(),
                text::list(&pod.policy_names(), "and", common::NAMED),
                text::verb(common::number(pod.policy_names().len()), "selects", "select"),
            ),
            remediation: format!("Restart {}: the policy counts for new pods only.", pod.owner()),
            evidence: vec![sink::evidence("policies", text::list(&pod.policy_names(), "and", common::NAMED))],
        };
        found.at(common::pod_place(node, pod.pod), violation);
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        outcome::RuleAnswer,
        snapshot::{BranchUse, ClusterSnapshot, Selector, ServiceAccount},
        source::Source,
        tests::branches::*,
    };

    fn older_than_policy() -> ClusterSnapshot {
        let mut snapshot = cluster("m5.large", 1);
        branch_pod(&mut snapshot, 0, "db-1");
        edit_pod(&mut snapshot, "db-1", |pod| pod.branch = BranchUse::No);
        snapshot
    }

    #[test]
    fn a_pod_older_than_its_policy_is_named() {
        let found = findings(&older_than_policy(), "IPAM313");
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].message,
            "pod shop/db-1 runs with its node's security groups, although db-access selects it"
        );
    }

    #[test]
    fn the_host_network_and_other_namespaces_are_not_selected() {
        let mut snapshot = older_than_policy();
        edit_pod(&mut snapshot, "db-1", |pod| pod.host_network = true);
        assert_eq!(answer(&snapshot, "IPAM313"), RuleAnswer::Passed);
        let mut snapshot = older_than_policy();
        edit(&mut snapshot.objects.security_group_policies)[0].namespace = "other".into();
        assert_eq!(answer(&snapshot, "IPAM313"), RuleAnswer::Passed);
    }

    #[test]
    fn both_selectors_must_match_and_an_empty_one_matches_all() {
        let mut snapshot = older_than_policy();
        let account = |label: &str| ServiceAccount {
            namespace: "shop".into(),
            name: "default".into(),
            labels: [("app".into(), label.into())].into(),
            role: None,
        };
        edit(&mut snapshot.objects.security_group_policies)[0].service_accounts = Some(selector("db"));
        assert_eq!(answer(&snapshot, "IPAM313"), RuleAnswer::Passed, "there is no such account");
        edit(&mut snapshot.objects.service_accounts).push(account("web"));
        assert_eq!(answer(&snapshot, "IPAM313"), RuleAnswer::Passed, "the account has other labels");
        edit(&mut snapshot.objects.service_accounts)[0] = account("db");
        assert!(matches!(answer(&snapshot, "IPAM313"), RuleAnswer::Violated { findings: 1 }));
        edit(&mut snapshot.objects.security_group_policies)[0].pods = Some(Selector::default());
        assert!(matches!(answer(&snapshot, "IPAM313"), RuleAnswer::Violated { findings: 3 }));
        snapshot.objects.service_accounts = missing();
        let lacks = RuleAnswer::Inconclusive { missing: vec![Source::ServiceAccounts], suspects: 0 };
        assert_eq!(answer(&snapshot, "IPAM313"), lacks);
    }

    #[test]
    fn a_policy_without_selectors_or_groups_selects_nothing() {
        let mut snapshot = older_than_policy();
        edit(&mut snapshot.objects.security_group_policies)[0].groups = Box::default();
        assert_eq!(answer(&snapshot, "IPAM313"), RuleAnswer::Passed);
        let mut snapshot = older_than_policy();
        edit(&mut snapshot.objects.security_group_policies)[0].pods = None;
        assert_eq!(answer(&snapshot, "IPAM313"), RuleAnswer::Passed);
    }

    #[test]
    fn unknown_labels_are_not_other_labels() {
        let mut snapshot = older_than_policy();
        edit_pod(&mut snapshot, "db-1", |pod| pod.traits = None);
        let lacks = RuleAnswer::Inconclusive { missing: vec![Source::Pods], suspects: 0 };
        assert_eq!(answer(&snapshot, "IPAM313"), lacks);
    }
}
