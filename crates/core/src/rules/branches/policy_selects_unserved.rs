//! IPAM320: a policy that selects pods it cannot serve.

use super::common;
use crate::{
    facts::{Facts, sgp::GroupedPod},
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{Violations, sink},
    snapshot::Platform,
    text,
};

rule! {
    /// The SecurityGroupPolicy selects pods that never get its groups.
    ///
    /// ## What it means
    ///
    /// Pods on the host's network have the node's interface, pods on Windows nodes have no branches, and Auto Mode has
    /// rules of its own. The policy does not protect them.
    ///
    /// ## Why it happens
    ///
    /// The selector matches more than the pods it was written for, often a DaemonSet with the same label.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get pods -n NAMESPACE -l LABELS \
    ///     -o custom-columns='POD:.metadata.name,HOST:.spec.hostNetwork,NODE:.spec.nodeName'
    /// ```
    ///
    /// ## What to do
    ///
    /// Narrow the selector, so that the policy says what it does.
    ///
    /// ## What it costs
    ///
    /// Nothing.
    ///
    /// ## When it fires
    ///
    /// A policy selects unfinished pods on the host's network, on Windows nodes or on Auto Mode nodes.
    pub PolicySelectsUnserved;
    code: "IPAM320",
    name: "policy-selects-unserved",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [Nodes, Pods],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    common::note_unresolved(facts, found);
    for policy in facts.pod_groups.effective() {
        let selected = || facts.pod_groups.pods.iter().filter(|pod| pod.is_selected_by(policy));
        let on = |platform: Platform| {
            let there = |pod: &&GroupedPod<'_>| !pod.pod.host_network() && pod.platform == Some(platform);
            common::number(selected().filter(there).count())
        };
        let counts = [
            (common::number(selected().filter(|pod| pod.pod.host_network()).count()), "on the host's network"),
            (on(Platform::Windows), "on Windows nodes"),
            (on(Platform::AutoMode), "on Auto Mode nodes"),
        ];
        let kinds = counts.iter().filter(|(count, _)| *count > 0);
        let kinds: Vec<String> =
            kinds.map(|(count, place)| format!("{} {place}", text::count(*count, "pod"))).collect();
        if kinds.is_empty() {
            continue;
        }
        let name = format!("{}/{}", policy.namespace, policy.name);
        let violation = sink::Violation {
            severity: Severity::Info,
            message: format!(
                "SecurityGroupPolicy {name} selects {}: such pods never get its groups",
                text::list(&kinds, "and", common::NAMED)
            ),
            remediation: "Narrow the selector to the pods that can have a branch.".to_owned(),
            evidence: vec![sink::evidence("pods", counts.iter().map(|(count, _)| count).sum::<u32>())],
        };
        found.subject(Subject::SecurityGroupPolicy(name.into()), violation);
    }
}

#[cfg(test)]
mod tests {
    use crate::{outcome::RuleAnswer, snapshot::BranchUse, tests::branches::*};

    #[test]
    fn pods_on_the_hosts_network_are_counted() {
        let mut snapshot = cluster("m5.large", 1);
        branch_pod(&mut snapshot, 0, "db-1");
        assert_eq!(answer(&snapshot, "IPAM320"), RuleAnswer::Passed);
        edit_pod(&mut snapshot, "db-1", |pod| (pod.host_network, pod.branch) = (true, BranchUse::No));
        assert_eq!(
            messages(&snapshot, "IPAM320"),
            ["SecurityGroupPolicy shop/db-access selects 1 pod on the host's network: such pods never get its groups"]
        );
        snapshot.objects.security_group_policies = missing();
        assert!(matches!(answer(&snapshot, "IPAM320"), RuleAnswer::Inconclusive { .. }));
    }
}
