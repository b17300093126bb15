//! IPAM513: the resource controller was told another ENIConfig than the CNI uses.

use std::collections::BTreeMap;

use super::{default_config_with_groups::CONTROLLER_LABEL, words};
use crate::{
    facts::{
        Facts, NodeFacts,
        eni_config::{Choice, DEFAULT_NAME},
    },
    finding::Severity,
    ids::NodeName,
    policy::AuditPolicy,
    rules::{Violations, sink},
    snapshot::CniNode,
    source::{FaultCategory, Source},
};

rule! {
    /// Branch interfaces of a node follow another ENIConfig than its other pods.
    ///
    /// ## What it means
    ///
    /// The CNI resolves a node's ENIConfig for each new interface. The VPC resource controller, which makes the branch
    /// interfaces, goes by the node's label `vpc.amazonaws.com/eniConfig`, else by what the CNI wrote into the CNINode when
    /// it started. Here the two differ: pods with a branch get addresses and security groups that were not meant for them.
    ///
    /// ## Why it happens
    ///
    /// The label or annotation that chooses the ENIConfig, or the variable that names its key, was changed after
    /// `aws-node` had started on the node; or custom networking was switched on under a running node.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get cninode NODE -o jsonpath='{.spec.features}{"\n"}'
    /// kubectl get node NODE --show-labels
    /// kubectl get events -A --field-selector reason=EniConfigNameNotFound
    /// ```
    ///
    /// ## What to do
    ///
    /// Replace the node. Restarting its `aws-node` pod writes the CNINode anew, but the trunk stays in the subnet in which
    /// it was made.
    ///
    /// ## What it costs
    ///
    /// A new node.
    ///
    /// ## When it fires
    ///
    /// A node with custom networking and `ENABLE_POD_ENI` on, older than `spec.thresholds.settleSeconds`, whose CNINode
    /// asks for a trunk, and whose label or CNINode names another ENIConfig, with another subnet or other groups, than the
    /// one that the CNI resolves, or none. The ENIConfig `default`, which is never told, is IPAM512.
    pub EniConfigOfBranchesDiffers;
    code: "IPAM513",
    name: "eni-config-of-branches-differs",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [Nodes, AwsNode],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let choices = words::uses(facts, found).iter().flat_map(|used| used.choices(facts));
    let with_branches: Vec<_> = choices.filter(|(node, _)| makes_branches(node)).collect();
    if with_branches.is_empty() {
        return;
    }
    let reading = &facts.snapshot.cni_nodes;
    let Some(cni_nodes) = reading.value() else {
        // Without the CRD there is no controller that makes branches.
        if reading.fault.as_ref().is_none_or(|fault| fault.category != FaultCategory::NotFound) {
            found.lacks(Source::CniNodes);
        }
        return;
    };
    let by_name: BTreeMap<&NodeName, &CniNode> = cni_nodes.iter().map(|row| (&row.name, row)).collect();
    for (node, choice) in with_branches {
        let Some(cni_node) = by_name.get(&node.node.name) else { continue };
        if cni_node.wants_trunk && !facts.is_young(node) {
            compare(facts, node, choice, cni_node, found);
        }
    }
}

fn makes_branches(node: &NodeFacts<'_>) -> bool {
    node.cni.as_ref().is_some_and(|cni| cni.config().pod_eni.value_or(false))
}

fn compare(
    facts: &Facts<'_>,
    node: &NodeFacts<'_>,
    choice: &Choice<'_>,
    cni_node: &CniNode,
    found: &mut Violations<'_>,
) {
    let label = node.node.label(CONTROLLER_LABEL);
    let told = label.or(cni_node.eni_config.as_deref());
    if told == Some(choice.name)
        || (told.is_none() && choice.name == DEFAULT_NAME)
        || come_to_the_same(facts, choice, told)
    {
        return;
    }
    let who = if label.is_some() { format!("its label {CONTROLLER_LABEL}") } else { "its CNINode".to_owned() };
    let names = match told {
        None => "no ENIConfig".to_owned(),
        Some(name) => words::config(name),
    };
    let violation = sink::Violation {
        severity: Severity::Warning,
        message: format!(
            "{who} names {names} for its branch interfaces, and the CNI uses {} for all others",
            words::config(choice.name),
        ),
        remediation: "Replace the node: its trunk and its branches are not moved.".to_owned(),
        evidence: vec![sink::evidence("told", told.unwrap_or("nothing")), sink::evidence("used", choice.name)],
    };
    found.node(node, violation);
}

/// Two names for one subnet and the same groups make no difference.
fn come_to_the_same(facts: &Facts<'_>, choice: &Choice<'_>, told: Option<&str>) -> bool {
    let configs = facts.custom_networking.configs().unwrap_or_default();
    let told = told.and_then(|name| configs.iter().find(|config| *config.name == *name));
    told.zip(choice.config)
        .is_some_and(|(told, used)| told.subnet == used.subnet && told.security_groups == used.security_groups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        outcome::RuleAnswer,
        snapshot::ClusterSnapshot,
        source::Reading,
        tests::{
            custom_networking::{answer, custom, findings, set},
            fixtures::now,
        },
    };

    const CODE: &str = "IPAM513";

    fn told(eni_config: Option<&str>) -> ClusterSnapshot {
        let mut snapshot = custom(1, |_| {});
        set(&mut snapshot, "ENABLE_POD_ENI", "true");
        let row = CniNode { eni_config: eni_config.map(Into::into), ..CniNode::new("node-0".into(), true) };
        snapshot.cni_nodes = Reading::fresh(vec![row], now());
        snapshot
    }

    #[test]
    fn what_the_controller_was_told_and_what_the_cni_uses_are_named() {
        let message = |eni_config| findings(&told(eni_config), CODE)[0].message.clone();
        assert_eq!(
            message(Some("eu-central-1b")),
            "its CNINode names ENIConfig eu-central-1b for its branch interfaces, and the CNI uses ENIConfig \
             eu-central-1a for all others"
        );
        assert!(message(None).starts_with("its CNINode names no ENIConfig for its branch interfaces"));
    }

    #[test]
    fn agreement_passes_and_so_does_a_node_without_a_trunk() {
        assert_eq!(answer(&told(Some("eu-central-1a")), CODE), RuleAnswer::Passed);
        let mut no_trunk = told(None);
        no_trunk.cni_nodes = Reading::fresh(vec![CniNode::new("node-0".into(), false)], now());
        assert_eq!(answer(&no_trunk, CODE), RuleAnswer::Passed);
    }

    #[test]
    fn without_cni_nodes_it_cannot_tell_unless_there_is_no_controller() {
        let mut snapshot = told(None);
        snapshot.cni_nodes = Reading::missing(FaultCategory::Denied, "may not list cninodes");
        assert_eq!(answer(&snapshot, CODE), RuleAnswer::Inconclusive { missing: vec![Source::CniNodes], suspects: 0 });
        snapshot.cni_nodes = Reading::missing(FaultCategory::NotFound, "CNINode is not installed");
        assert_eq!(answer(&snapshot, CODE), RuleAnswer::Passed);
    }
}
