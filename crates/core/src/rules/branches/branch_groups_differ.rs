//! IPAM315: a branch with other security groups than the policies say now.

use std::collections::BTreeSet;

use super::common;
use crate::{
    facts::Facts,
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink},
    snapshot::BranchUse,
    text,
};

/// Groups that a message names.
const NAMED: usize = 5;

rule! {
    /// The pod's branch has other security groups than its policies say.
    ///
    /// ## What it means
    ///
    /// A policy was changed, and the pod runs with the groups of the time when it was made. Groups of running pods are
    /// never updated.
    ///
    /// ## Why it happens
    ///
    /// The groups of a policy, its selectors or the pod's labels changed after the pod was created; or somebody changed
    /// the interface in EC2.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-network-interfaces --network-interface-ids BRANCH --query 'NetworkInterfaces[].Groups'
    /// kubectl get securitygrouppolicy -n NAMESPACE -o yaml
    /// ```
    ///
    /// ## What to do
    ///
    /// Restart the workload.
    ///
    /// ## What it costs
    ///
    /// A restart of its pods.
    ///
    /// ## When it fires
    ///
    /// The groups of the pod's branch in EC2 are not the groups of all policies that select the pod now. Pods that no
    /// policy selects any more are left out.
    pub BranchGroupsDiffer;
    code: "IPAM315",
    name: "branch-groups-differ",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [Nodes, Pods, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    common::note_unresolved(facts, found);
    for (node, pod) in facts.pod_groups.on_nodes(&facts.nodes) {
        let BranchUse::Has(branch) = &pod.pod.branch() else { continue };
        let Some(interface) = facts.pod_groups.interface(branch).filter(|_| pod.is_selected()) else { continue };
        let has: BTreeSet<&str> = interface.groups.iter().map(|group| &**group).collect();
        let meant = pod.groups();
        if has == meant || pod.pod.terminating {
            continue;
        }
        let violation = sink::Violation {
            severity: Severity::Warning,
            message: format!(
                "pod {} runs with {}, where its policies say {}",
                pod.pod.full_name(),
                words(&has),
                words(&meant)
            ),
            remediation: format!("Restart {}: groups of running pods are not updated.", pod.owner()),
            evidence: vec![
                sink::evidence("branch", branch),
                sink::evidence("policies", text::list(&pod.policy_names(), "and", common::NAMED)),
            ],
        };
        found.at(common::pod_place(node, pod.pod), violation);
    }
}

fn words(groups: &BTreeSet<&str>) -> String {
    if groups.is_empty() {
        return "no group".to_owned();
    }
    let names: Vec<String> = groups.iter().map(ToString::to_string).collect();
    text::list(&names, "and", NAMED)
}

#[cfg(test)]
mod tests {
    use crate::{outcome::RuleAnswer, snapshot::ClusterSnapshot, source::Source, tests::branches::*};

    fn labelled() -> ClusterSnapshot {
        let mut snapshot = cluster("m5.large", 1);
        branch_pod(&mut snapshot, 0, "db-1");
        snapshot
    }

    #[test]
    fn groups_of_running_pods_stay_what_they_were() {
        let mut snapshot = labelled();
        assert_eq!(answer(&snapshot, "IPAM315"), RuleAnswer::Passed);
        edit(&mut snapshot.objects.security_group_policies).push(policy("db", &["sg-2", "sg-1"]));
        assert_eq!(
            messages(&snapshot, "IPAM315"),
            ["pod shop/db-1 runs with sg-1, where its policies say sg-1 and sg-2"]
        );
    }

    #[test]
    fn a_pod_that_no_policy_selects_any_more_is_left_out() {
        let mut snapshot = labelled();
        edit(&mut snapshot.objects.security_group_policies)[0] = policy("web", &["sg-2"]);
        assert_eq!(answer(&snapshot, "IPAM315"), RuleAnswer::Passed);
        snapshot.objects.security_group_policies = missing();
        let lacks = RuleAnswer::Inconclusive { missing: vec![Source::SecurityGroupPolicies], suspects: 0 };
        assert_eq!(answer(&snapshot, "IPAM315"), lacks);
    }
}
