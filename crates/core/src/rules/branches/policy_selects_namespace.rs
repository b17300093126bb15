//! IPAM317: a policy that selects every pod of its namespace.

use super::common;
use crate::{
    facts::{Facts, sgp},
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{Violations, sink},
    snapshot::{SecurityGroupPolicy, Selector},
    text,
};

rule! {
    /// The SecurityGroupPolicy selects every pod of its namespace.
    ///
    /// ## What it means
    ///
    /// An empty selector (`{}`) matches everything. Each new pod of the namespace takes a branch slot, jobs and sidecar
    /// injectors included.
    ///
    /// ## Why it happens
    ///
    /// It may be meant so. It may also be a selector whose content got lost in a template.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get securitygrouppolicy NAME -n NAMESPACE -o jsonpath='{.spec}'
    /// kubectl get pods -n NAMESPACE
    /// ```
    ///
    /// ## What to do
    ///
    /// Nothing if it is meant so; else name the pods in the selector.
    ///
    /// ## What it costs
    ///
    /// Nothing.
    ///
    /// ## When it fires
    ///
    /// The policy has groups, and each of its selectors is empty.
    pub PolicySelectsNamespace;
    code: "IPAM317",
    name: "policy-selects-namespace",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [Nodes],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    common::note_policies(facts, found);
    for policy in facts.pod_groups.effective().filter(|policy| selects_all(policy)) {
        let selected = facts.pod_groups.pods.iter().filter(|pod| pod.pod.namespace() == &*policy.namespace);
        let pods = common::number(selected.filter(|pod| !pod.pod.host_network()).count());
        let name = format!("{}/{}", policy.namespace, policy.name);
        let violation = sink::Violation {
            severity: Severity::Info,
            message: format!(
                "SecurityGroupPolicy {name} selects every pod of its namespace, now {}: each takes a branch slot",
                text::count(pods, "pod")
            ),
            remediation: "Name the pods in the selector, unless all are meant.".to_owned(),
            evidence: vec![sink::evidence("pods", pods)],
        };
        found.subject(Subject::SecurityGroupPolicy(name.into()), violation);
    }
}

fn selects_all(policy: &SecurityGroupPolicy) -> bool {
    sgp::has_effect(policy) && [&policy.pods, &policy.service_accounts].into_iter().flatten().all(Selector::is_empty)
}

#[cfg(test)]
mod tests {
    use crate::{outcome::RuleAnswer, snapshot::Selector, tests::branches::*};

    #[test]
    fn an_empty_selector_is_good_to_know() {
        let mut snapshot = cluster("m5.large", 1);
        assert_eq!(answer(&snapshot, "IPAM317"), RuleAnswer::Passed);
        edit(&mut snapshot.objects.security_group_policies)[0].pods = Some(Selector::default());
        assert_eq!(
            messages(&snapshot, "IPAM317"),
            [
                "SecurityGroupPolicy shop/db-access selects every pod of its namespace, now 2 pods: each takes a branch slot"
            ]
        );
        edit(&mut snapshot.objects.security_group_policies)[0].service_accounts = Some(selector("db"));
        assert_eq!(answer(&snapshot, "IPAM317"), RuleAnswer::Passed, "only pods of some accounts");
        snapshot.objects.security_group_policies = missing();
        assert!(matches!(answer(&snapshot, "IPAM317"), RuleAnswer::Inconclusive { .. }));
    }
}
