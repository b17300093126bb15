//! IPAM512: the ENIConfig `default` together with security groups for pods.

use super::words;
use crate::{
    facts::{Facts, NodeFacts, eni_config},
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

rule! {
    /// The ENIConfig `default` does not reach pods of security groups for pods.
    ///
    /// ## What it means
    ///
    /// The CNI tells the VPC resource controller which ENIConfig a node uses, except when its name is `default`. Branch
    /// interfaces are then made in the node's own subnet, while all other pods of the node are in the ENIConfig's subnet.
    ///
    /// ## Why it happens
    ///
    /// `default` is the name that nodes without any key ask for.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get cninode NODE -o jsonpath='{.spec.features}{"\n"}'
    /// aws ec2 describe-network-interfaces --filters Name=interface-type,Values=branch \
    ///     --query 'NetworkInterfaces[].[SubnetId,PrivateIpAddress]' --output text
    /// ```
    ///
    /// ## What to do
    ///
    /// Use ENIConfigs with other names, best those of the zones, with `ENI_CONFIG_LABEL_DEF=topology.kubernetes.io/zone`;
    /// or label the nodes `vpc.amazonaws.com/eniConfig`, which the resource controller reads first. Then replace the
    /// nodes: trunks and branches are never moved.
    ///
    /// ## What it costs
    ///
    /// One rolling replacement of the nodes concerned.
    ///
    /// ## When it fires
    ///
    /// A node with custom networking and `ENABLE_POD_ENI` on resolves to the ENIConfig `default`, which exists and names
    /// another subnet than the node's own, and has no label `vpc.amazonaws.com/eniConfig`. A warning as soon as such a
    /// node has branches, information until then.
    pub DefaultEniConfigWithGroups;
    code: "IPAM512",
    name: "default-eni-config-with-groups",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [Nodes, AwsNode],
    check: check,
}

/// The label by which the resource controller is told in spite of the name.
pub(super) const CONTROLLER_LABEL: &str = "vpc.amazonaws.com/eniConfig";

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let uses = words::uses(facts, found);
    let Some(asked) = uses.iter().find(|one| one.name == eni_config::DEFAULT_NAME) else { return };
    let Some(config) = asked.config else { return };
    let untold = |node: &&NodeFacts<'_>| {
        let pod_eni = node.cni.as_ref().is_some_and(|cni| cni.config().pod_eni.value_or(false));
        pod_eni && node.node.label(CONTROLLER_LABEL).is_none() && node.home() != Some(&config.subnet)
    };
    let nodes: Vec<&NodeFacts<'_>> = asked.nodes(facts).filter(untold).collect();
    let number = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
    if number == 0 {
        return;
    }
    let branches: u32 = nodes.iter().filter_map(|node| node.trunk.as_ref()).map(|trunk| trunk.branches).sum();
    let violation = sink::Violation {
        severity: if branches > 0 { Severity::Warning } else { Severity::Info },
        message: format!(
            "ENIConfig default is not told to the VPC resource controller: {} on {} {} in the nodes' own subnets and not \
             in {}",
            text::count(branches, "branch interface"),
            text::count(number, "node"),
            text::verb(branches, "is", "are"),
            config.subnet,
        ),
        remediation:
            "Use ENIConfigs named like their zones with ENI_CONFIG_LABEL_DEF=topology.kubernetes.io/zone, and \
                      replace the nodes."
                .to_owned(),
        evidence: vec![sink::evidence("nodes", number), sink::evidence("branches", branches)],
    };
    found.subject(Subject::EniConfig(config.name.clone()), violation);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        outcome::RuleAnswer,
        snapshot::ClusterSnapshot,
        source::{FaultCategory, Reading, Source},
        tests::{
            custom_networking::{answer, custom, eni_config, findings, named, set},
            fixtures::now,
        },
    };

    const CODE: &str = "IPAM512";

    fn by_default(label: Option<&str>) -> ClusterSnapshot {
        let mut snapshot = custom(2, |node| {
            node.labels = label.map(|key| named(key, "default")).unwrap_or_default();
            node.branch_slots = Some(9);
        });
        snapshot.objects.eni_configs = Reading::fresh(vec![eni_config("default", "subnet-pods")], now());
        set(&mut snapshot, "ENABLE_POD_ENI", "true");
        snapshot
    }

    #[test]
    fn branches_are_made_in_the_nodes_subnet() {
        let mut snapshot = by_default(None);
        assert_eq!(findings(&snapshot, CODE)[0].severity, Severity::Info);
        let pods = &mut snapshot.pods.last_good.as_mut().unwrap().value;
        pods[0].edit(|pod| pod.branch = crate::snapshot::BranchUse::Has("eni-branch".into()));
        let found = findings(&snapshot, CODE);
        assert_eq!(
            found[0].message,
            "ENIConfig default is not told to the VPC resource controller: 1 branch interface on 2 nodes is in the \
             nodes' own subnets and not in subnet-pods"
        );
        assert_eq!(found[0].severity, Severity::Warning);
    }

    #[test]
    fn the_controllers_own_label_tells_it() {
        assert_eq!(answer(&by_default(Some(CONTROLLER_LABEL)), CODE), RuleAnswer::Passed);
    }

    #[test]
    fn without_the_objects_it_cannot_tell() {
        let mut snapshot = by_default(None);
        snapshot.objects.eni_configs = Reading::missing(FaultCategory::NotCollected, "not collected");
        let missing = vec![Source::EniConfigs];
        assert_eq!(answer(&snapshot, CODE), RuleAnswer::Inconclusive { missing, suspects: 0 });
    }
}
