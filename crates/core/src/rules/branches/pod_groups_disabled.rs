//! IPAM302: policies ask for security groups of pods, and no node gives them.

use super::common;
use crate::{
    facts::{Facts, sgp::GroupedPod},
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{Violations, sink},
    snapshot::{BranchUse, Platform},
    text,
};

rule! {
    /// SecurityGroupPolicies exist, but security groups for pods are off on every node.
    ///
    /// ## What it means
    ///
    /// The control plane's webhook puts a request for a branch on every pod that a policy selects, whatever the CNI's
    /// settings are. No node has branches to give, so new pods of these workloads stay Pending; those that run already
    /// have the security groups of their node.
    ///
    /// ## Why it happens
    ///
    /// The policies were created before `ENABLE_POD_ENI` was set, or an upgrade of the add-on put the variable back.
    /// Policies for pods on Fargate need no setting.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get securitygrouppolicies -A
    /// kubectl set env daemonset/aws-node -n kube-system --list | grep ENABLE_POD_ENI
    /// ```
    ///
    /// ## What to do
    ///
    /// Set `ENABLE_POD_ENI=true` on aws-node and replace nodes whose interface slots are all in use, or delete the
    /// policies.
    ///
    /// ## What it costs
    ///
    /// One interface slot of each node goes to the trunk: the pod addresses of one interface.
    ///
    /// ## When it fires
    ///
    /// `ENABLE_POD_ENI` is on nowhere and a policy with selector and groups exists. Critical while a pod waits for a
    /// branch, a warning while a policy selects pods on nodes, else information; silent if no such pod is seen and the
    /// cluster has Fargate or Auto Mode nodes.
    pub PodGroupsDisabled;
    code: "IPAM302",
    name: "pod-groups-disabled",
    severity: Critical,
    condition: ConfigurationConsistent,
    sources: [Nodes, Pods, AwsNode],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let groups = &facts.pod_groups;
    let policies = common::number(groups.effective().count());
    let Some(aws_node) = facts.snapshot.aws_node.value() else { return };
    if !groups.is_off_despite_policies() || facts.nodes.is_empty() {
        return;
    }
    let on_nodes = |pod: &&GroupedPod<'_>| pod.node.is_some() || pod.platform.is_none();
    let waits = |pod: &&GroupedPod<'_>| *pod.pod.branch() == BranchUse::Wanted && pod.pod.address.is_none();
    let waiting = common::number(groups.pods.iter().filter(on_nodes).filter(waits).count());
    // A pod that has a branch from before has its groups, too: its trunk is IPAM332.
    let lacks = |pod: &GroupedPod<'_>| pod.is_selected() && !matches!(pod.pod.branch(), BranchUse::Has(_));
    let selected = common::number(groups.on_nodes(&facts.nodes).filter(|(_, pod)| lacks(pod)).count());
    let severity = match (waiting, selected) {
        (0, 0) if serves_others(facts) => return,
        (0, 0) => Severity::Info,
        (0, _) => Severity::Warning,
        _ => Severity::Critical,
    };
    let violation = sink::Violation {
        severity,
        message: format!(
            "ENABLE_POD_ENI is on for no node, but {} {}: {} {} for a branch that no node has, {} on nodes {} without \
             the groups",
            common::policies(policies),
            text::verb(policies, "exists", "exist"),
            text::count(waiting, "pod"),
            text::verb(waiting, "waits", "wait"),
            text::count(selected, "selected pod"),
            text::verb(selected, "runs", "run"),
        ),
        remediation: "Set ENABLE_POD_ENI=true on aws-node, or delete the policies.".to_owned(),
        evidence: vec![
            sink::evidence("policies", policies),
            sink::evidence("waitingPods", waiting),
            sink::evidence("selectedPods", selected),
        ],
    };
    found.subject(Subject::DaemonSet(aws_node.daemon_set.clone()), violation);
}

/// Whether the cluster has nodes to which policies speak without the CNI.
fn serves_others(facts: &Facts<'_>) -> bool {
    let nodes = facts.snapshot.nodes.value().into_iter().flatten();
    nodes.map(|node| node.platform).any(|platform| matches!(platform, Platform::Fargate | Platform::AutoMode))
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        outcome::RuleAnswer,
        snapshot::{BranchUse, Platform},
        tests::branches::*,
    };

    #[test]
    fn a_policy_without_the_feature_leaves_pods_waiting() {
        let mut snapshot = cluster("m5.large", 1);
        set_env(&mut snapshot, "ENABLE_POD_ENI", "false");
        branch_pod(&mut snapshot, 0, "db-1");
        edit_pod(&mut snapshot, "db-1", |pod| {
            (pod.branch, pod.address, pod.node) = (BranchUse::Wanted, None, None);
        });
        edit_traits(&mut snapshot, "db-1", |traits| traits.lacks_branch_slot = true);
        assert_eq!(answer(&snapshot, "IPAM310"), RuleAnswer::Passed, "the cause is this one");
        let found = findings(&snapshot, "IPAM302");
        assert_eq!(found[0].severity, Severity::Critical);
        assert_eq!(
            found[0].message,
            "ENABLE_POD_ENI is on for no node, but 1 SecurityGroupPolicy exists: 1 pod waits for a branch that no node \
             has, 0 selected pods on nodes run without the groups"
        );
    }

    #[test]
    fn a_pod_with_a_branch_from_before_has_its_groups() {
        let mut snapshot = cluster("m5.large", 1);
        set_env(&mut snapshot, "ENABLE_POD_ENI", "false");
        branch_pod(&mut snapshot, 0, "db-1");
        let found = findings(&snapshot, "IPAM302");
        assert!(found[0].message.ends_with("0 selected pods on nodes run without the groups"), "{}", found[0].message);
        assert_eq!(found[0].severity, Severity::Info);
        assert_eq!(findings(&snapshot, "IPAM332")[0].severity, Severity::Warning);
        edit_pod(&mut snapshot, "db-1", |pod| pod.branch = BranchUse::No);
        assert_eq!(findings(&snapshot, "IPAM302")[0].severity, Severity::Warning);
    }

    #[test]
    fn policies_for_fargate_need_no_setting() {
        let mut snapshot = cluster("m5.large", 2);
        set_env(&mut snapshot, "ENABLE_POD_ENI", "false");
        assert_eq!(findings(&snapshot, "IPAM302")[0].severity, Severity::Info);
        edit_node(&mut snapshot, 1, |node| node.platform = Platform::Fargate);
        assert_eq!(answer(&snapshot, "IPAM302"), RuleAnswer::Passed);
    }

    #[test]
    fn without_the_daemon_set_nothing_is_claimed() {
        let mut snapshot = cluster("m5.large", 1);
        snapshot.aws_node = missing();
        assert!(matches!(answer(&snapshot, "IPAM302"), RuleAnswer::Inconclusive { .. }));
    }
}
