//! IPAM316: a policy that the resource controller ignores.

use super::common;
use crate::{
    facts::{Facts, sgp},
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{Violations, sink},
};

rule! {
    /// The SecurityGroupPolicy has no effect: it lacks selectors or groups.
    ///
    /// ## What it means
    ///
    /// The resource controller ignores the policy without an error. The pods that it was meant for run with the
    /// security groups of their nodes.
    ///
    /// ## Why it happens
    ///
    /// Both selectors are absent (an absent selector is not an empty one: `{}` selects everything), or the list of
    /// groups is empty.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get securitygrouppolicy NAME -n NAMESPACE -o jsonpath='{.spec}'
    /// ```
    ///
    /// ## What to do
    ///
    /// Add a selector or groups, or delete the policy.
    ///
    /// ## What it costs
    ///
    /// Nothing; pods get the groups when they are created anew.
    ///
    /// ## When it fires
    ///
    /// `spec.podSelector` and `spec.serviceAccountSelector` are both absent, or `spec.securityGroups.groupIds` is
    /// empty.
    pub PolicyWithoutEffect;
    code: "IPAM316",
    name: "policy-without-effect",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [Nodes],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    common::note_policies(facts, found);
    for policy in facts.pod_groups.policies.unwrap_or_default().iter().filter(|policy| !sgp::has_effect(policy)) {
        let name = format!("{}/{}", policy.namespace, policy.name);
        let (lack, remedy) = if policy.groups.is_empty() {
            ("names no security group", "Add groups to spec.securityGroups.groupIds")
        } else {
            ("has no selector", "Add a podSelector or a serviceAccountSelector")
        };
        let violation = sink::Violation {
            severity: Severity::Warning,
            message: format!("SecurityGroupPolicy {name} {lack}: it is ignored"),
            remediation: format!("{remedy}, or delete the policy."),
            evidence: vec![sink::evidence("groups", policy.groups.len())],
        };
        found.subject(Subject::SecurityGroupPolicy(name.into()), violation);
    }
}

#[cfg(test)]
mod tests {
    use crate::{outcome::RuleAnswer, source::Source, tests::branches::*};

    #[test]
    fn a_policy_without_selectors_or_groups_is_ignored_and_said() {
        let mut snapshot = cluster("m5.large", 1);
        assert_eq!(answer(&snapshot, "IPAM316"), RuleAnswer::Passed);
        edit(&mut snapshot.objects.security_group_policies)[0].pods = None;
        edit(&mut snapshot.objects.security_group_policies).push(policy("web", &[]));
        assert_eq!(
            messages(&snapshot, "IPAM316"),
            [
                "SecurityGroupPolicy shop/db-access has no selector: it is ignored",
                "SecurityGroupPolicy shop/web-access names no security group: it is ignored"
            ]
        );
        snapshot.objects.security_group_policies = missing();
        let lacks = RuleAnswer::Inconclusive { missing: vec![Source::SecurityGroupPolicies], suspects: 0 };
        assert_eq!(answer(&snapshot, "IPAM316"), lacks);
    }
}
