//! IPAM308: the node publishes another number of branch slots than the table has.

use super::common;
use crate::{
    facts::{Facts, trunk},
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

rule! {
    /// The node publishes another number of branch slots than its type's table has.
    ///
    /// ## What it means
    ///
    /// The resource controller and this program have tables of different dates. The scheduler follows the controller,
    /// and so do all figures here: the node's number counts.
    ///
    /// ## Why it happens
    ///
    /// The number is not in any EC2 call. It is generated into the controller, and copied by Karpenter and the CNI,
    /// which can disagree until all are upgraded.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get node NODE -o jsonpath='{.status.allocatable.vpc\.amazonaws\.com/pod-eni}'
    /// ```
    ///
    /// ## What to do
    ///
    /// Nothing. If Karpenter places pods with policies on nodes that turn out too small, upgrade Karpenter.
    ///
    /// ## What it costs
    ///
    /// Nothing.
    ///
    /// ## When it fires
    ///
    /// Allocatable `vpc.amazonaws.com/pod-eni` is above zero and not the number of the type in the embedded table.
    pub BranchSlotsDiffer;
    code: "IPAM308",
    name: "branch-slots-differ",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [Nodes],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for node in &facts.nodes {
        let published = node.node.branch_slots.filter(|slots| *slots > 0);
        let Some((published, of_type)) = published.zip(trunk::slots_of_type(node.limits.as_ref())) else { continue };
        if published == of_type {
            continue;
        }
        let kind = common::type_name(node);
        let violation = sink::Violation {
            severity: Severity::Info,
            message: format!(
                "{} published, where the table has {of_type} for {kind}",
                text::count(published, "branch slot")
            ),
            remediation: format!("Nothing: {published} counts. Upgrade Karpenter if it plans with another number."),
            evidence: vec![sink::evidence("published", published), sink::evidence("table", of_type)],
        };
        found.at(common::type_place(node), violation);
    }
}

#[cfg(test)]
mod tests {
    use crate::{outcome::RuleAnswer, tests::branches::*};

    #[test]
    fn tables_of_different_dates_are_good_to_know() {
        let mut snapshot = cluster("m5.large", 1);
        assert_eq!(answer(&snapshot, "IPAM308"), RuleAnswer::Passed);
        edit_node(&mut snapshot, 0, |node| node.branch_slots = Some(12));
        assert_eq!(messages(&snapshot, "IPAM308"), ["12 branch slots published, where the table has 9 for m5.large"]);
        snapshot.nodes = missing();
        assert!(matches!(answer(&snapshot, "IPAM308"), RuleAnswer::Inconclusive { .. }));
    }
}
