//! IPAM329: a pod's branch is tagged for a trunk that is not its node's.

use jiff::SignedDuration;

use super::common;
use crate::{
    facts::{Facts, trunk::TRUNK_OF_BRANCH},
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink},
    snapshot::BranchUse,
    source::Source,
};

rule! {
    /// The pod's branch belongs to the trunk of another node.
    ///
    /// ## What it means
    ///
    /// The pod's annotation names a branch interface, and EC2's tag on that branch names a trunk that is not on the
    /// pod's node. Packets of the branch arrive elsewhere: the pod has no network.
    ///
    /// ## Why it happens
    ///
    /// The node lost its trunk and got another one, or the annotation was copied from another pod.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get pod POD -n NAMESPACE -o jsonpath='{.metadata.annotations.vpc\.amazonaws\.com/pod-eni}'
    /// aws ec2 describe-network-interfaces --network-interface-ids BRANCH --query 'NetworkInterfaces[].TagSet'
    /// ```
    ///
    /// ## What to do
    ///
    /// Delete the pod, so that its successor gets a branch of its node. Replace the node if it happens again.
    ///
    /// ## What it costs
    ///
    /// A restart of the pod.
    ///
    /// ## When it fires
    ///
    /// The tag `vpcresources.k8s.aws/trunk-eni-id` of the pod's branch and the trunk of its node differ in two looks,
    /// at least `spec.thresholds.suspicionSeconds` (default 60) apart.
    pub BranchOnOtherTrunk;
    code: "IPAM329",
    name: "branch-on-other-trunk",
    severity: Warning,
    condition: BranchCapacityAvailable,
    sources: [Nodes, Pods, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations<'_>) {
    let Some(seen_at) = facts.as_of(Source::NetworkInterfaces) else { return };
    for (node, pod) in facts.pod_groups.on_nodes(&facts.nodes) {
        let (BranchUse::Has(branch), Some(trunk)) = (&pod.pod.branch(), node.signals.interface) else { continue };
        let carrier = facts.pod_groups.interface(branch).and_then(|branch| branch.tag(TRUNK_OF_BRANCH));
        let Some(carrier) = carrier.filter(|carrier| *carrier != trunk.id.as_str()) else { continue };
        let violation = sink::Violation {
            severity: Severity::Warning,
            message: format!(
                "pod {} has branch {branch}, which is on trunk {carrier}; its node's trunk is {}",
                pod.pod.full_name(),
                trunk.id
            ),
            remediation: "Delete the pod, so that its successor gets a branch of its node.".to_owned(),
            evidence: vec![sink::evidence("branch", branch), sink::evidence("trunk", carrier)],
        };
        let apart = SignedDuration::from_secs(policy.for_node(node.node).suspicion_seconds.into());
        found.suspicion(common::pod_place(node, pod.pod), &pod.pod.uid().to_string(), seen_at, apart, violation);
    }
}

#[cfg(test)]
mod tests {
    use crate::{outcome::RuleAnswer, tests::branches::*};

    #[test]
    fn a_branch_on_another_trunk_is_proven_by_a_second_look() {
        let mut snapshot = cluster("m5.large", 2);
        branch_pod(&mut snapshot, 0, "db-1");
        assert_eq!(answer(&snapshot, "IPAM329"), RuleAnswer::Passed);
        let tag = ("vpcresources.k8s.aws/trunk-eni-id".into(), "eni-trunk-1".into());
        edit_interface(&mut snapshot, "eni-branch-db-1", |branch| branch.tags = [tag].into());
        assert_eq!(answer(&snapshot, "IPAM329"), RuleAnswer::Inconclusive { missing: Vec::new(), suspects: 1 });
        assert_eq!(
            second_look(&snapshot, "IPAM329")[0].message,
            "pod shop/db-1 has branch eni-branch-db-1, which is on trunk eni-trunk-1; its node's trunk is eni-trunk-0"
        );
        snapshot.ec2.interfaces = missing();
        assert!(matches!(answer(&snapshot, "IPAM329"), RuleAnswer::Inconclusive { suspects: 0, .. }));
    }
}
