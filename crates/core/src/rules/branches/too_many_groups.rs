//! IPAM318: more security groups than an interface can have.

use std::collections::BTreeMap;

use super::common;
use crate::{
    facts::{Facts, sgp::GroupedPod},
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{Violations, sink},
    snapshot::{BranchUse, Platform},
    text,
};

/// Groups of one interface unless the account's quota was raised; Fargate has no more.
const USUAL: usize = 5;
/// Groups of one interface whatever the quota.
const MOST: usize = 16;

rule! {
    /// Policies give a pod more security groups than an interface can have.
    ///
    /// ## What it means
    ///
    /// The groups of all policies that select a pod add up. An interface takes 5 by default and 16 at most; EC2 refuses
    /// a branch with more, and the pod does not start.
    ///
    /// ## Why it happens
    ///
    /// Several policies select the same pod, each with a few groups.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get securitygrouppolicy -n NAMESPACE \
    ///     -o custom-columns='NAME:.metadata.name,GROUPS:.spec.securityGroups.groupIds'
    /// aws service-quotas get-service-quota --service-code vpc --quota-code L-2AFB9258
    /// ```
    ///
    /// ## What to do
    ///
    /// Merge rules into fewer groups. Between 6 and 16, the account's quota can be raised instead, except for Fargate.
    ///
    /// ## What it costs
    ///
    /// A raised quota lowers how many rules each group may have.
    ///
    /// ## When it fires
    ///
    /// Unfinished pods get more than 16 groups (critical), or more than 5 while none of them has a branch with so many,
    /// which would prove a raised quota (warning). One finding for each set of policies.
    pub TooManyGroups;
    code: "IPAM318",
    name: "too-many-groups",
    severity: Critical,
    condition: ConfigurationConsistent,
    sources: [Nodes, Pods],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    common::note_unresolved(facts, found);
    let mut sets: BTreeMap<(&str, Vec<String>), Vec<&GroupedPod<'_>>> = BTreeMap::new();
    // Most pods have few groups: counting them twice is cheaper than merging them for each pod.
    let may_exceed = |pod: &&GroupedPod<'_>| {
        let policies = pod.policies.as_deref().unwrap_or_default();
        !pod.pod.host_network() && policies.iter().map(|policy| policy.groups.len()).sum::<usize>() > USUAL
    };
    for pod in facts.pod_groups.pods.iter().filter(may_exceed).filter(|pod| pod.groups().len() > USUAL) {
        sets.entry((pod.pod.namespace(), pod.policy_names())).or_default().push(pod);
    }
    let granted = largest_branch(facts);
    for ((namespace, policies), pods) in sets {
        let groups = pods.first().map_or(0, |pod| pod.groups().len());
        let on_fargate = pods.iter().any(|pod| pod.platform == Some(Platform::Fargate));
        if groups <= granted.max(USUAL) && !on_fargate {
            continue;
        }
        let limit = if groups > MOST { MOST } else { USUAL };
        let first = policies.first().map_or("", String::as_str);
        let violation = sink::Violation {
            severity: if groups > MOST { Severity::Critical } else { Severity::Warning },
            message: format!(
                "{} in namespace {namespace} {} {groups} security groups together from {}: an interface takes {limit}{}",
                text::count(common::number(pods.len()), "pod"),
                text::verb(common::number(pods.len()), "gets", "get"),
                text::list(&policies, "and", common::NAMED),
                if limit == USUAL { " by default" } else { "" },
            ),
            remediation: if groups > MOST || on_fargate {
                format!("Merge the rules into {limit} groups or fewer.")
            } else {
                format!("Merge the rules into {limit} groups, or raise the quota of security groups per interface.")
            },
            evidence: vec![sink::evidence("groups", groups), sink::evidence("pods", pods.len())],
        };
        found.subject(Subject::SecurityGroupPolicy(format!("{namespace}/{first}").into()), violation);
    }
}

/// The most groups that any pod's branch has: what the account's quota grants for sure.
fn largest_branch(facts: &Facts<'_>) -> usize {
    let branches = facts.pod_groups.pods.iter().filter_map(|pod| match &pod.pod.branch() {
        BranchUse::Has(branch) => facts.pod_groups.interface(branch),
        BranchUse::No | BranchUse::Wanted => None,
    });
    branches.map(|branch| branch.groups.len()).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crate::{finding::Severity, outcome::RuleAnswer, snapshot::ClusterSnapshot, tests::branches::*};

    fn with_groups(count: usize) -> ClusterSnapshot {
        let mut snapshot = cluster("m5.large", 1);
        branch_pod(&mut snapshot, 0, "db-1");
        let ids: Vec<String> = (0..count).map(|at| format!("sg-{at}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let (one, other) = ids.split_at(count / 2);
        let mut second = policy("db", other);
        second.name = "db-more".into();
        *edit(&mut snapshot.objects.security_group_policies) = vec![policy("db", one), second];
        snapshot
    }

    #[test]
    fn groups_of_all_policies_add_up() {
        let found = findings(&with_groups(6), "IPAM318");
        assert_eq!(found[0].severity, Severity::Warning);
        assert_eq!(
            found[0].message,
            "1 pod in namespace shop gets 6 security groups together from db-access and db-more: an interface takes 5 by \
             default"
        );
        assert_eq!(findings(&with_groups(17), "IPAM318")[0].severity, Severity::Critical);
    }

    #[test]
    fn a_branch_with_so_many_proves_a_raised_quota() {
        let mut snapshot = with_groups(6);
        edit_interface(&mut snapshot, "eni-branch-db-1", |branch| {
            branch.groups = (0..6).map(|at| format!("sg-{at}").into()).collect();
        });
        assert_eq!(answer(&snapshot, "IPAM318"), RuleAnswer::Passed);
        snapshot.objects.security_group_policies = missing();
        assert!(matches!(answer(&snapshot, "IPAM318"), RuleAnswer::Inconclusive { .. }));
    }
}
