//! IPAM519: an ENIConfig that no node asks for.

use std::collections::BTreeSet;

use super::{default_config_with_groups::CONTROLLER_LABEL, words};
use crate::{
    facts::Facts,
    finding::{Severity, Subject},
    ids::Zone,
    policy::AuditPolicy,
    rules::{
        Violations,
        sink::{self, Place},
    },
    snapshot::EniConfig,
    text,
};

rule! {
    /// No node asks for this ENIConfig.
    ///
    /// ## What it means
    ///
    /// The object has no effect. If it was meant for nodes that exist, they ask for another one.
    ///
    /// ## Why it happens
    ///
    /// Its node group is gone or scaled to zero, its name matches no key of any node, or it was made for a test.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get eniconfigs -o custom-columns=NAME:.metadata.name,SUBNET:.spec.subnet
    /// kubectl get nodes -L topology.kubernetes.io/zone -L k8s.amazonaws.com/eniConfig
    /// ```
    ///
    /// ## What to do
    ///
    /// Delete it, or correct the name on the nodes or on the object.
    ///
    /// ## What it costs
    ///
    /// Nothing.
    ///
    /// ## When it fires
    ///
    /// Custom networking is on and no node resolves to the object, names it for its branch interfaces or is of the zone
    /// that it is named after. An object that is named after a zone of the VPC's subnets waits for nodes there and is no
    /// finding. Information only; all such objects are one problem.
    pub EniConfigUnused;
    code: "IPAM519",
    name: "eni-config-unused",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [Nodes, AwsNode],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let used: BTreeSet<&str> = words::uses(facts, found).iter().map(|used| used.name).collect();
    if used.is_empty() || facts.custom_networking.is_unknown() {
        return;
    }
    let told = told_to_the_controller(facts);
    let zones: BTreeSet<&Zone> =
        facts.snapshot.ec2.subnets.value().into_iter().flatten().map(|subnet| &subnet.zone).collect();
    let waits = |config: &EniConfig| zones.contains(&Zone::from(&*config.name));
    for config in facts.custom_networking.configs().unwrap_or_default() {
        if used.contains(&*config.name) || told.contains(&*config.name) || waits(config) {
            continue;
        }
        let names: Vec<String> = used.iter().map(|name| (*name).to_owned()).collect();
        let violation = sink::Violation {
            severity: Severity::Info,
            message: format!(
                "ENIConfig {} serves no node: those with custom networking ask for {}",
                config.name,
                text::list(&names, "and", words::NAMED)
            ),
            remediation: format!("Delete ENIConfig {}, or let nodes ask for it.", config.name),
            evidence: vec![sink::evidence("subnet", &config.subnet)],
        };
        let subject = Subject::EniConfig(config.name.clone());
        found.at(Place { group: "eni-configs".into(), ..Place::audit(subject) }, violation);
    }
}

/// Names by which branch interfaces are made.
fn told_to_the_controller<'a>(facts: &Facts<'a>) -> BTreeSet<&'a str> {
    let cni_nodes = facts.snapshot.cni_nodes.value().into_iter().flatten();
    let by_cni_node = cni_nodes.filter_map(|row| row.eni_config.as_deref());
    by_cni_node.chain(facts.nodes.iter().filter_map(|node| node.node.label(CONTROLLER_LABEL))).collect()
}

#[cfg(test)]
mod tests {
    use crate::{
        outcome::RuleAnswer,
        source::{FaultCategory, Reading, Source},
        tests::{
            custom_networking::{add_subnets, answer, custom, eni_config, findings, subnet},
            fixtures::now,
        },
    };

    const CODE: &str = "IPAM519";

    fn with_another(name: &str) -> crate::snapshot::ClusterSnapshot {
        let mut snapshot = custom(1, |_| {});
        let configs = vec![eni_config("eu-central-1a", "subnet-pods"), eni_config(name, "subnet-pods")];
        snapshot.objects.eni_configs = Reading::fresh(configs, now());
        add_subnets(&mut snapshot, [subnet("subnet-b", "eu-central-1b", 100, &[])]);
        snapshot
    }

    #[test]
    fn an_object_that_nobody_asks_for_is_worth_knowing() {
        assert_eq!(
            findings(&with_another("test"), CODE)[0].message,
            "ENIConfig test serves no node: those with custom networking ask for eu-central-1a"
        );
    }

    #[test]
    fn one_for_a_zone_waits_for_its_nodes() {
        assert_eq!(answer(&with_another("eu-central-1b"), CODE), RuleAnswer::Passed);
    }

    #[test]
    fn without_the_objects_it_cannot_tell() {
        let mut snapshot = custom(1, |_| {});
        snapshot.objects.eni_configs = Reading::missing(FaultCategory::NotCollected, "not collected");
        let missing = vec![Source::EniConfigs];
        assert_eq!(answer(&snapshot, CODE), RuleAnswer::Inconclusive { missing, suspects: 0 });
    }
}
