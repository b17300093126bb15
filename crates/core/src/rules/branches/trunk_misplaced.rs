//! IPAM309: a trunk in another subnet, or with other groups, than the node's ENIConfig says.

use std::collections::BTreeSet;

use crate::{
    facts::{Facts, NodeFacts},
    finding::Severity,
    inventory::Interface,
    policy::AuditPolicy,
    rules::{
        Violations,
        sink::{self, Place},
    },
    snapshot::EniConfig,
    source::Source,
    text,
};

/// The legacy label, which the resource controller prefers to the CNINode.
const LEGACY_LABEL: &str = "vpc.amazonaws.com/eniConfig";
/// Groups that a message names.
const NAMED: usize = 5;

rule! {
    /// The trunk is not where the node's ENIConfig wants it.
    ///
    /// ## What it means
    ///
    /// Branches take their addresses from the trunk's subnet. With custom networking that is meant to be the
    /// ENIConfig's subnet; here the trunk, and with it every pod that has a branch, is elsewhere or has other security
    /// groups.
    ///
    /// ## Why it happens
    ///
    /// The ENIConfig was changed after the node was made, or the trunk was made before the resource controller knew of
    /// the ENIConfig (CNI 1.16.0 to 1.16.3). The controller sees the difference and does not repair it.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get cninode NODE -o jsonpath='{.spec.features}'
    /// kubectl get eniconfig NAME -o jsonpath='{.spec}'
    /// aws ec2 describe-network-interfaces --filters Name=attachment.instance-id,Values=INSTANCE \
    ///     Name=interface-type,Values=trunk --query 'NetworkInterfaces[].[SubnetId,Groups[].GroupId]'
    /// ```
    ///
    /// ## What to do
    ///
    /// Replace the node. Nothing else moves a trunk.
    ///
    /// ## What it costs
    ///
    /// The replacement of the nodes concerned.
    ///
    /// ## When it fires
    ///
    /// The node's CNINode (or the legacy label `vpc.amazonaws.com/eniConfig`) names an ENIConfig that exists, and the
    /// trunk's subnet differs from its subnet, or the trunk's groups from its groups; an ENIConfig without groups means
    /// those of the primary interface.
    pub TrunkMisplaced;
    code: "IPAM309",
    name: "trunk-misplaced",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [Nodes, AwsNode, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for node in &facts.nodes {
        let Some(trunk) = node.signals.interface else { continue };
        let apart = node.cni.as_ref().is_some_and(|cni| cni.networks_apart());
        if apart && facts.is_missing(Source::CniNodes) {
            found.lacks(Source::CniNodes);
        }
        let Some(name) = eni_config(node) else { continue };
        let Some(configs) = facts.snapshot.objects.eni_configs.value() else {
            found.lacks(Source::EniConfigs);
            continue;
        };
        // Where the ENIConfig itself is wrong, the trunk is where it can be: IPAM503 says so.
        let config = configs.iter().find(|config| *config.name == *name && !facts.is_out_of_reach(node, config));
        if let Some((config, state)) = config.and_then(|config| Some((config, difference(node, trunk, config)?))) {
            let place = Place { group: config.name.clone(), ..Place::node(node) };
            found.at(place, violation(trunk, config, &state));
        }
    }
}

/// The ENIConfig as the resource controller knows it.
fn eni_config<'a>(node: &NodeFacts<'a>) -> Option<&'a str> {
    let by_feature = || node.signals.cni_node.and_then(|cni_node| cni_node.eni_config.as_deref());
    node.node.label(LEGACY_LABEL).or_else(by_feature).filter(|name| !name.is_empty())
}

fn difference(node: &NodeFacts<'_>, trunk: &Interface, config: &EniConfig) -> Option<String> {
    if trunk.subnet != config.subnet {
        return Some(format!("is in {}, where ENIConfig {} says {}", trunk.subnet, config.name, config.subnet));
    }
    let primary = node.interfaces.as_ref().and_then(|list| list.first());
    let meant = if config.security_groups.is_empty() { &*primary?.groups } else { &*config.security_groups };
    let set = |groups: &[std::sync::Arc<str>]| groups.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let (has, meant) = (set(&trunk.groups), set(meant));
    let words = |groups: &BTreeSet<String>| match groups.len() {
        0 => "no group".to_owned(),
        _ => text::list(&groups.iter().cloned().collect::<Vec<_>>(), "and", NAMED),
    };
    (has != meant).then(|| format!("has {}, where ENIConfig {} says {}", words(&has), config.name, words(&meant)))
}

fn violation(trunk: &Interface, config: &EniConfig, state: &str) -> sink::Violation {
    sink::Violation {
        severity: Severity::Warning,
        message: format!("the trunk {} {state}", trunk.id),
        remediation: "Replace the node: the resource controller does not move a trunk.".to_owned(),
        evidence: vec![
            sink::evidence("trunk", &trunk.id),
            sink::evidence("subnet", &trunk.subnet),
            sink::evidence("eniConfigSubnet", &config.subnet),
        ],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        outcome::RuleAnswer,
        snapshot::{ClusterSnapshot, EniConfig},
        source::Source,
        tests::branches::*,
    };

    fn configured(subnet: &str, groups: &[&str]) -> ClusterSnapshot {
        let mut snapshot = cluster("m5.large", 1);
        edit(&mut snapshot.cni_nodes)[0].eni_config = Some("zone-a".into());
        let security_groups = groups.iter().map(|group| (*group).into()).collect();
        edit(&mut snapshot.objects.eni_configs).push(EniConfig {
            name: "zone-a".into(),
            subnet: subnet.into(),
            security_groups,
        });
        snapshot
    }

    #[test]
    fn another_subnet_or_other_groups_are_named() {
        assert_eq!(
            messages(&configured("subnet-2", &[]), "IPAM309"),
            ["the trunk eni-trunk-0 is in subnet-1, where ENIConfig zone-a says subnet-2"]
        );
        assert_eq!(
            messages(&configured("subnet-1", &["sg-9"]), "IPAM309"),
            ["the trunk eni-trunk-0 has no group, where ENIConfig zone-a says sg-9"]
        );
    }

    #[test]
    fn an_eni_config_without_groups_means_those_of_the_primary() {
        assert_eq!(answer(&configured("subnet-1", &[]), "IPAM309"), RuleAnswer::Passed);
    }

    #[test]
    fn without_eni_configs_it_cannot_tell() {
        let mut snapshot = configured("subnet-2", &[]);
        snapshot.objects.eni_configs = missing();
        let lacks = RuleAnswer::Inconclusive { missing: vec![Source::EniConfigs], suspects: 0 };
        assert_eq!(answer(&snapshot, "IPAM309"), lacks);
    }
}
