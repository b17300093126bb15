//! IPAM506: ENIConfigs that change nothing, because custom networking is off.

use std::collections::BTreeSet;

use super::words;
use crate::{
    facts::{Cni, Facts},
    finding::Severity,
    ids::SubnetId,
    policy::AuditPolicy,
    rules::{Violations, sink},
    source::Source,
    text,
};

rule! {
    /// ENIConfigs exist and custom networking is off.
    ///
    /// ## What it means
    ///
    /// No node looks at the ENIConfigs: pods get addresses of their nodes' own subnets. If interfaces of nodes are still
    /// in the ENIConfigs' subnets, the switch was on when those were made and has been lost since: new pods move to the
    /// node subnets, which may be small.
    ///
    /// ## Why it happens
    ///
    /// An update of the CNI's manifest or add-on reset its environment, or the ENIConfigs were left behind on purpose.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get eniconfigs.crd.k8s.amazonaws.com
    /// kubectl set env ds/aws-node -n kube-system --list | grep CUSTOM_NETWORK_CFG
    /// ```
    ///
    /// ## What to do
    ///
    /// Set `AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG=true` where the environment is kept (the add-on's configuration values, the
    /// chart's values) and replace the nodes that came meanwhile; or delete the ENIConfigs.
    ///
    /// ## What it costs
    ///
    /// Custom networking costs each node the pod addresses of its primary interface.
    ///
    /// ## When it fires
    ///
    /// There are ENIConfigs, and neither a running `aws-node` pod nor the DaemonSet's template has custom networking on.
    /// Information; a warning if interfaces of nodes are in subnets that only the ENIConfigs explain.
    pub EniConfigsUnheeded;
    code: "IPAM506",
    name: "eni-configs-unheeded",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [Nodes, AwsNode],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let networking = &facts.custom_networking;
    if networking.is_on() || !facts.nodes.iter().any(|node| node.cni.is_some()) || template_is_on(facts) {
        return;
    }
    if networking.is_unknown() {
        found.lacks(Source::AwsNode);
        return;
    }
    let Some(configs) = networking.configs() else {
        found.lacks(Source::EniConfigs);
        return;
    };
    let (Some(daemon_set), false) = (words::daemon_set(facts), configs.is_empty()) else { return };
    let number = u32::try_from(configs.len()).unwrap_or(u32::MAX);
    let names: Vec<String> = configs.iter().map(|config| config.name.to_string()).collect();
    let left = interfaces_left(facts, configs.iter().map(|config| &config.subnet).collect());
    let violation = sink::Violation {
        severity: if left > 0 { Severity::Warning } else { Severity::Info },
        message: format!(
            "custom networking is off, and {} ({}) {} nothing{}",
            text::count(number, "ENIConfig"),
            text::list(&names, "and", words::NAMED),
            text::verb(number, "changes", "change"),
            match left {
                0 => String::new(),
                _ => format!(
                    ", while {} of nodes {} still in their subnets: it was on before",
                    text::count(left, "interface"),
                    text::verb(left, "is", "are")
                ),
            },
        ),
        remediation: "Set AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG=true and replace the nodes, or delete the ENIConfigs."
            .to_owned(),
        evidence: vec![sink::evidence("eniConfigs", number), sink::evidence("interfacesInTheirSubnets", left)],
    };
    found.subject(daemon_set, violation);
}

/// A rollout of the switch is on its way.
fn template_is_on(facts: &Facts<'_>) -> bool {
    let aws_node = facts.snapshot.aws_node.value();
    aws_node.is_some_and(|aws_node| Cni::of(&aws_node.template).config().custom_networking.value_or(false))
}

/// Interfaces of nodes in the ENIConfigs' subnets that neither the node nor subnet discovery explains.
fn interfaces_left(facts: &Facts<'_>, mut subnets: BTreeSet<&SubnetId>) -> u32 {
    for outlook in facts.discovery.outlooks() {
        for tried in &outlook.tried {
            subnets.remove(&tried.id);
        }
    }
    let pools = facts.nodes.iter().filter_map(|node| Some((node.home()?, node.pool.as_ref()?)));
    let left = pools.flat_map(|(home, pool)| pool.interfaces.iter().filter(move |on| on.interface.subnet != *home));
    u32::try_from(left.filter(|on| subnets.contains(&on.interface.subnet)).count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        outcome::RuleAnswer,
        source::{FaultCategory, Reading},
        tests::{
            custom_networking::{DISCOVERY, answer, custom, discovering, findings, set},
            fixtures::now,
        },
    };

    const CODE: &str = "IPAM506";

    #[test]
    fn a_lost_switch_is_told_from_leftovers() {
        let mut lost = custom(2, |_| {});
        set(&mut lost, "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "false");
        let found = findings(&lost, CODE);
        assert_eq!(
            found[0].message,
            "custom networking is off, and 1 ENIConfig (eu-central-1a) changes nothing, while 2 interfaces of nodes are \
             still in their subnets: it was on before"
        );
        assert_eq!(found[0].severity, Severity::Warning);

        let mut left_behind = discovering("1.23.1", DISCOVERY, []);
        left_behind.objects.eni_configs = lost.objects.eni_configs.clone();
        assert_eq!(findings(&left_behind, CODE)[0].severity, Severity::Info);
    }

    #[test]
    fn custom_networking_that_is_on_heeds_them_and_none_are_none() {
        assert_eq!(answer(&custom(2, |_| {}), CODE), RuleAnswer::Passed);
        let mut none = discovering("1.23.1", DISCOVERY, []);
        none.objects.eni_configs = Reading::fresh(Vec::new(), now());
        assert_eq!(answer(&none, CODE), RuleAnswer::Passed);
        none.objects.eni_configs = Reading::missing(FaultCategory::NotFound, "ENIConfig is not installed");
        assert_eq!(answer(&none, CODE), RuleAnswer::Passed);
    }

    #[test]
    fn without_the_objects_it_cannot_tell() {
        let mut snapshot = discovering("1.23.1", DISCOVERY, []);
        snapshot.objects.eni_configs = Reading::missing(FaultCategory::Denied, "may not list eniconfigs");
        let missing = vec![Source::EniConfigs];
        assert_eq!(answer(&snapshot, CODE), RuleAnswer::Inconclusive { missing, suspects: 0 });
    }
}
