//! IPAM412: a branch interface that no pod has.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::{branches, pods};
use crate::{
    facts::{Facts, NodeFacts, Owner},
    finding::{Severity, Subject},
    ids::EniId,
    inventory::Interface,
    policy::AuditPolicy,
    rules::{
        Violations,
        sink::{self, Place},
    },
    snapshot::{BranchUse, PodPhase},
    text,
};

rule! {
    /// A branch interface on a node's trunk belongs to no pod.
    ///
    /// ## What it means
    ///
    /// The branch keeps an address and one of the node's branch slots. At the limit of its type the node refuses pods
    /// although fewer run on it than it can carry.
    ///
    /// ## Why it happens
    ///
    /// The resource controller deletes a branch once its pod is gone and the cool-down (`branch-eni-cooldown`, 60 s by
    /// default) is over. If EC2 refuses that three times it forgets the branch until it starts anew. It also never
    /// looks for branches in the subnet of an ENIConfig that is no longer in use.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get pods -A -o json | grep INTERFACE
    /// aws ec2 describe-network-interfaces --network-interface-ids INTERFACE --query 'NetworkInterfaces[0].[Status,TagSet]'
    /// ```
    ///
    /// ## What to do
    ///
    /// Replace the node: with it the controller deletes all branches of its trunk. It is part of the control plane and
    /// cannot be restarted by hand.
    ///
    /// ## What it costs
    ///
    /// The pods of the node are started elsewhere.
    ///
    /// ## When it fires
    ///
    /// No pod that has not finished names the branch, in two readings whose distance is the cool-down and
    /// `spec.thresholds.leakSeconds` (default 600). Only branches on trunks of nodes of this audit are judged. Warning; critical
    /// when the node's branch slots are used up.
    pub BranchWithoutPod;
    code: "IPAM412",
    name: "branch-without-pod",
    severity: Critical,
    condition: AddressesReconciled,
    sources: [Nodes, Pods, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations<'_>) {
    let Some(seen_at) = pods::seen_at(facts) else { return };
    let branches = branches::with_owner(facts, Owner::Branch);
    if branches.is_empty() {
        return;
    }
    let apart = SignedDuration::from_secs(policy.thresholds.leak_seconds.into()) + branches::cool_down(facts);
    let named = named_by_pods(facts);
    let trunks = branches::trunks(facts);
    for branch in branches.into_iter().filter(|branch| !named.contains(&branch.id)) {
        let node = branches::trunk_of(branch).and_then(|trunk| trunks.get(trunk));
        let Some(node) = node.and_then(|at| facts.nodes.get(*at)) else { continue };
        let place = Place::in_subnet(&branch.subnet, Subject::Interface(branch.id.clone()));
        let place = Place { group: node.node.name.as_str().into(), ..place };
        found.suspicion(place, "", seen_at, apart, violation(node, branch));
    }
}

fn named_by_pods<'a>(facts: &Facts<'a>) -> BTreeSet<&'a EniId> {
    let pods = facts.pods.iter().flat_map(|pods| pods.with_branch.iter().copied());
    let pods = pods.filter(|pod| pod.phase != PodPhase::Finished);
    let branch = |pod: &'a crate::snapshot::Pod| match &pod.branch() {
        BranchUse::Has(id) => Some(id),
        BranchUse::No | BranchUse::Wanted => None,
    };
    pods.filter_map(branch).collect()
}

fn violation(node: &NodeFacts<'_>, branch: &Interface) -> sink::Violation {
    let slots = node.trunk.and_then(|trunk| Some((trunk.branches, trunk.limit?)));
    let used_up = slots.is_some_and(|(used, limit)| used >= limit);
    let of = slots.map_or_else(String::new, |(used, limit)| {
        format!("; {} of its {} are in use", text::thousands(used), text::count(limit, "branch slot"))
    });
    sink::Violation {
        severity: if used_up { Severity::Critical } else { Severity::Warning },
        message: format!("branch interface {} on the trunk of {} belongs to no pod{of}", branch.id, node.node.name),
        remediation: format!(
            "Drain and replace {}: with the node the resource controller deletes the branches of its trunk, and {} comes \
             back for each.",
            node.node.name,
            text::count(branch.addresses(), "address"),
        ),
        evidence: vec![
            sink::evidence("node", &node.node.name),
            sink::evidence("trunk", branches::trunk_of(branch).unwrap_or("?")),
            sink::evidence("vlan", branch.tag("vpcresources.k8s.aws/vlan-id").unwrap_or("?")),
        ],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        outcome::RuleAnswer,
        snapshot::PodPhase,
        source::{FaultCategory, Reading, Source},
        tests::addresses::{answer, cluster, of, once, pod_mut, proven, twice, with_branch},
    };

    const CODE: &str = "IPAM412";

    #[test]
    fn a_branch_that_no_pod_names_is_a_finding_after_its_cool_down() {
        let mut snapshot = cluster();
        with_branch(&mut snapshot, false);
        assert_eq!(of(&twice(&snapshot, 600), CODE), [], "the cool-down comes on top");
        let finding = of(&twice(&snapshot, 660), CODE).remove(0);
        assert_eq!(
            (finding.message.as_str(), finding.severity),
            (
                "branch interface eni-branch on the trunk of node-0 belongs to no pod; 1 of its 9 branch slots are in use",
                Severity::Warning
            )
        );
    }

    #[test]
    fn a_branch_of_a_pod_is_right_until_the_pod_has_finished() {
        let mut snapshot = cluster();
        with_branch(&mut snapshot, true);
        assert_eq!(proven(&snapshot, CODE), Vec::<String>::new());
        pod_mut(&mut snapshot, "resizer-0-0").phase = PodPhase::Finished;
        assert_eq!(proven(&snapshot, CODE).len(), 1);
    }

    #[test]
    fn without_pods_it_cannot_tell() {
        let mut snapshot = cluster();
        snapshot.pods = Reading::missing(FaultCategory::Denied, "denied");
        let answer = answer(&once(&snapshot), CODE);
        assert_eq!(answer, RuleAnswer::Inconclusive { missing: vec![Source::Pods], suspects: 0 });
    }
}
