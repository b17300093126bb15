//! IPAM706: Karpenter launches nodes for pods whose branch interfaces no node will ever offer.

use super::{can_tell, new_nodes_use};
use crate::{
    facts::{Facts, karpenter::Feature},
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{Violations, sink},
    snapshot::{BranchUse, Pod, PodPhase},
    source::Source,
    text,
};

rule! {
    /// Karpenter launches nodes for pods with security groups, and the CNI does not offer branch interfaces.
    ///
    /// ## What it means
    ///
    /// The pods ask for `vpc.amazonaws.com/pod-eni`. Karpenter takes every type that can carry a trunk for one that
    /// offers it, and launches a node. With `ENABLE_POD_ENI` off the resource never appears: the node is never
    /// initialized, the pods stay Pending, and Karpenter replaces the node by another of its kind.
    ///
    /// ## Why it happens
    ///
    /// A SecurityGroupPolicy was applied, or the resource was requested, before the feature was switched on.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl set env -n kube-system daemonset/aws-node --list | grep ENABLE_POD_ENI
    /// kubectl get nodeclaims -o custom-columns=NAME:.metadata.name,INITIALIZED:.status.conditions[?(@.type=="Initialized")].message
    /// ```
    ///
    /// ## What to do
    ///
    /// Set `ENABLE_POD_ENI=true` on the DaemonSet (the cluster's role needs `AmazonEKSVPCResourceController`), or delete
    /// the SecurityGroupPolicies that select the pods and start the pods anew.
    ///
    /// ## What it costs
    ///
    /// The feature takes one interface of every node that can carry a trunk.
    ///
    /// ## When it fires
    ///
    /// The cluster has a Karpenter, the DaemonSet's template does not enable the feature, and pods that ask for a branch
    /// have waited for a node for longer than a new object's time to settle (`settleSeconds`, 300). Silent where a
    /// SecurityGroupPolicy is the reason and the cluster has nodes: that is IPAM302.
    pub KarpenterBranchesOff;
    code: "IPAM706",
    name: "karpenter-branches-off",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [Nodes, Pods],
    check: check,
}

fn check(facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations<'_>) {
    if !can_tell(facts, found, &[Source::AwsNode])
        || new_nodes_use(facts, found, Feature::BranchInterfaces) != Some(false)
    {
        return;
    }
    // With a policy that asks for the branches, IPAM302 names the cause and counts these pods.
    if facts.pod_groups.is_off_despite_policies() && !facts.nodes.is_empty() {
        return;
    }
    let settle = jiff::SignedDuration::from_secs(i64::from(policy.thresholds.settle_seconds));
    let now = facts.snapshot.taken_at;
    let waits = |pod: &&Pod| {
        let old = pod.created_at().is_some_and(|at| now.duration_since(at) > settle);
        old && *pod.branch() == BranchUse::Wanted && pod.node().is_none() && pod.phase == PodPhase::Pending
    };
    let pods = facts.pods.iter().flat_map(|pods| pods.with_branch.iter().copied());
    let mut names: Vec<String> = pods.filter(waits).map(Pod::full_name).collect();
    let Some(aws_node) = facts.snapshot.aws_node.value().filter(|_| !names.is_empty()) else { return };
    names.sort();
    let count = u32::try_from(names.len()).unwrap_or(u32::MAX);
    let violation = sink::Violation {
        severity: Severity::Warning,
        message: format!(
            "ENABLE_POD_ENI of {} is not true, and {} {} for a node with branch interfaces: {}; Karpenter launches nodes \
             for {} that never become ready for use",
            aws_node.daemon_set,
            text::count(count, "pod"),
            text::verb(count, "waits", "wait"),
            text::list(&names, "and", super::NAMED),
            text::verb(count, "it", "them"),
        ),
        remediation: "Set ENABLE_POD_ENI=true on the DaemonSet, or delete the SecurityGroupPolicies that select these \
                      pods and start them anew."
            .to_owned(),
        evidence: vec![sink::evidence("waitingPods", count)],
    };
    found.subject(Subject::DaemonSet(aws_node.daemon_set.clone()), violation);
}

#[cfg(test)]
mod tests {

    use crate::{
        snapshot::{BranchUse, ClusterSnapshot, PodPhase},
        source::Source,
        tests::{
            fixtures::now,
            karpenter::{Setup, answers},
        },
    };

    const CODE: &str = "IPAM706";

    fn with_waiting_pod(env: &[(&str, &str)], seconds: i64) -> ClusterSnapshot {
        let setup = Setup::new(env).class("default", None).change(|snapshot| {
            let pods = &mut snapshot.pods.last_good.as_mut().unwrap().value;
            pods[0].edit(|pod| {
                (pod.node, pod.address, pod.phase, pod.branch) = (None, None, PodPhase::Pending, BranchUse::Wanted);
                pod.created_at = Some(now() - jiff::SignedDuration::from_secs(seconds));
            });
        });
        setup.snapshot()
    }

    #[test]
    fn pods_that_wait_for_branches_that_never_come() {
        let seen = answers(&with_waiting_pod(&[], 600), CODE);
        assert!(
            seen.messages()[0].starts_with(
                "ENABLE_POD_ENI of kube-system/aws-node is not true, and 1 pod waits for a node with branch interfaces: \
                 shop/resizer-0-0"
            ),
            "{:?}",
            seen.messages()
        );
    }

    #[test]
    fn where_a_policy_asks_for_them_the_policy_is_the_finding() {
        let mut snapshot = with_waiting_pod(&[], 600);
        let policies = vec![crate::tests::branches::policy("db", &["sg-1"])];
        snapshot.objects.security_group_policies = crate::source::Reading::fresh(policies, now());
        assert!(answers(&snapshot, CODE).passed());
        assert_eq!(answers(&snapshot, "IPAM302").messages().len(), 1);
    }

    #[test]
    fn young_pods_and_the_feature_on_are_none() {
        assert!(answers(&with_waiting_pod(&[], 60), CODE).passed());
        assert!(answers(&with_waiting_pod(&[("ENABLE_POD_ENI", "true")], 600), CODE).passed());
    }

    #[test]
    fn without_the_cni_it_cannot_tell() {
        let mut snapshot = with_waiting_pod(&[], 600);
        snapshot.aws_node = crate::source::Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::AwsNode]);
    }
}
