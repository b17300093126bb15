//! IPAM501: nodes ask for an ENIConfig that does not exist.

use super::words;
use crate::{
    facts::{
        Facts, NodeFacts,
        eni_config::{Choice, ChosenBy, Use},
    },
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{Violations, sink},
    source::Source,
    text,
};

rule! {
    /// Nodes ask for an ENIConfig that does not exist.
    ///
    /// ## What it means
    ///
    /// Under custom networking the ENIConfig says in which subnet a node's next interface is made. Without the object no
    /// interface is made: a new node has no pod address at all, its `aws-node` restarts and it never becomes Ready. A node
    /// that already runs keeps what it has and cannot grow; when its `aws-node` restarts with an empty pool it fails too.
    ///
    /// ## Why it happens
    ///
    /// A zone was added and its ENIConfig was not; the label that `ENI_CONFIG_LABEL_DEF` names is missing on the nodes,
    /// so that they fall back to the name `default`; a name was mistyped; or the CRD was removed. A key counts as soon as
    /// it is present, even with an empty value. The order is: label `vpc.amazonaws.com/externalEniConfig`, the annotation
    /// of `ENI_CONFIG_ANNOTATION_DEF`, the label of `ENI_CONFIG_LABEL_DEF`, the name `default`.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get eniconfigs.crd.k8s.amazonaws.com
    /// kubectl get nodes -L topology.kubernetes.io/zone -L k8s.amazonaws.com/eniConfig
    /// kubectl set env ds/aws-node -n kube-system --list | grep ENI_CONFIG
    /// ```
    ///
    /// ## What to do
    ///
    /// Create the ENIConfig, one for each zone in use, or correct the key on the nodes. Running nodes take it up with
    /// their next interface; those that never became Ready recover by themselves.
    ///
    /// ## What it costs
    ///
    /// A pod subnet in each zone, if there is none yet.
    ///
    /// ## When it fires
    ///
    /// A node that the VPC CNI manages, with custom networking on, resolves to a name without an object. A node that has
    /// no key yet and is younger than `spec.thresholds.settleSeconds` is given time to get its labels. A warning only
    /// while all such nodes are cordoned.
    pub EniConfigMissing;
    code: "IPAM501",
    name: "eni-config-missing",
    severity: Critical,
    condition: ConfigurationConsistent,
    sources: [Nodes, AwsNode],
    check: check,
}

const CRD: &str = "eniconfigs.crd.k8s.amazonaws.com";

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let uses = words::uses(facts, found);
    if facts.custom_networking.is_not_installed() {
        not_installed(facts, uses, found);
        return;
    }
    let missing: Vec<&Use<'_>> = uses.iter().filter(|used| used.config.is_none()).collect();
    if !missing.is_empty() && facts.is_failing(Source::EniConfigs) {
        found.lacks(Source::EniConfigs);
        return;
    }
    for used in missing {
        // A node gets its labels within moments after it registers.
        let settled =
            |(node, choice): (&NodeFacts<'_>, &Choice<'_>)| choice.by != ChosenBy::Nothing || !facts.is_young(node);
        if used.choices(facts).any(settled) {
            found.subject(Subject::EniConfig(used.name.into()), violation(facts, used));
        }
    }
}

fn violation(facts: &Facts<'_>, used: &Use<'_>) -> sink::Violation {
    let empty = without_addresses(used.nodes(facts));
    let zones = words::zones(used.nodes(facts));
    sink::Violation {
        severity: severity(used.nodes(facts)),
        message: format!(
            "{} does not exist, and {}: no further interface is made for {}{}",
            words::config(used.name),
            words::who_asks(facts, used),
            text::verb(used.count(), "it", "them"),
            and_empty(empty),
        ),
        remediation: match by_zone(facts, used) {
            Some(advice) => advice,
            None => format!(
                "Create {} with a subnet in {zones}; nodes that run take it up with their next interface.",
                words::config(used.name)
            ),
        },
        evidence: vec![sink::evidence("nodes", used.count()), sink::evidence("nodesWithoutPodAddress", empty)],
    }
}

/// Nodes that fall back to `default` while there is an ENIConfig for each of their zones lack the setting, not the object.
fn by_zone(facts: &Facts<'_>, used: &Use<'_>) -> Option<String> {
    const ZONE: &str = "topology.kubernetes.io/zone";
    let configs = facts.custom_networking.configs()?;
    let named = |node: &NodeFacts<'_>| {
        let zone = node.node.zone.as_ref();
        zone.is_some_and(|zone| configs.iter().any(|config| *config.name == *zone.as_str()))
    };
    let falls_back = |(_, choice): (_, &Choice<'_>)| choice.by == ChosenBy::Nothing;
    let all = used.choices(facts).all(falls_back) && used.nodes(facts).all(named);
    all.then(|| format!("Set ENI_CONFIG_LABEL_DEF={ZONE}: there is an ENIConfig for each of their zones."))
}

fn not_installed(facts: &Facts<'_>, uses: &[Use<'_>], found: &mut Violations<'_>) {
    let nodes: u32 = uses.iter().map(Use::count).sum();
    if nodes == 0 {
        return;
    }
    let all = || uses.iter().flat_map(|used| used.nodes(facts));
    let empty = without_addresses(all());
    let names: Vec<String> = uses.iter().map(|used| used.name.to_owned()).collect();
    let violation = sink::Violation {
        severity: severity(all()),
        message: format!(
            "{CRD} is not installed, and {} {} with custom networking: no further interface is made for {}{}",
            text::count(nodes, "node"),
            text::verb(nodes, "runs", "run"),
            text::verb(nodes, "it", "them"),
            and_empty(empty),
        ),
        remediation: format!(
            "Apply the manifest or the add-on of the VPC CNI, which brings the CRD, and create the ENIConfigs {}.",
            text::list(&names, "and", words::NAMED),
        ),
        evidence: vec![sink::evidence("nodes", nodes), sink::evidence("nodesWithoutPodAddress", empty)],
    };
    found.subject(Subject::Object("CustomResourceDefinition", CRD.into()), violation);
}

fn severity<'f, 'a: 'f>(nodes: impl Iterator<Item = &'f NodeFacts<'a>>) -> Severity {
    if words::take_pods(nodes) { Severity::Critical } else { Severity::Warning }
}

fn without_addresses<'f, 'a: 'f>(nodes: impl Iterator<Item = &'f NodeFacts<'a>>) -> u32 {
    let empty = nodes.filter(|node| node.pool.as_ref().is_some_and(|pool| pool.held == 0));
    u32::try_from(empty.count()).unwrap_or(u32::MAX)
}

fn and_empty(nodes: u32) -> String {
    match nodes {
        0 => String::new(),
        _ => format!(", and {} {} no pod address at all", text::thousands(nodes), text::verb(nodes, "has", "have")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        outcome::RuleAnswer,
        source::{FaultCategory, Reading},
        tests::custom_networking::{answer, custom, findings, named},
    };

    const CODE: &str = "IPAM501";

    #[test]
    fn a_zone_without_its_object_is_one_problem_however_many_nodes_ask() {
        let snapshot = custom(3, |node| node.labels = named("topology.kubernetes.io/zone", "eu-central-1c"));
        let found = findings(&snapshot, CODE);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].severity, Severity::Critical);
        assert_eq!(
            found[0].message,
            "ENIConfig eu-central-1c does not exist, and 3 nodes ask for it by their label \
             topology.kubernetes.io/zone: no further interface is made for them"
        );
    }

    #[test]
    fn nodes_that_fall_back_to_default_need_the_setting_not_the_object() {
        let snapshot = custom(2, |node| node.labels = crate::tags::Tags::default());
        let found = findings(&snapshot, CODE);
        assert_eq!(
            found[0].message,
            "ENIConfig default does not exist, and 2 nodes ask for it for want of a label \
             topology.kubernetes.io/zone: no further interface is made for them"
        );
        assert!(found[0].remediation.contains("Set ENI_CONFIG_LABEL_DEF="), "{}", found[0].remediation);
    }

    #[test]
    fn a_node_that_has_no_labels_yet_is_given_time() {
        let snapshot = custom(1, |node| {
            node.labels = crate::tags::Tags::default();
            node.created_at = Some(crate::tests::fixtures::now() - jiff::SignedDuration::from_secs(20));
        });
        assert_eq!(findings(&snapshot, CODE), []);
    }

    #[test]
    fn every_zone_with_its_object_passes() {
        assert_eq!(answer(&custom(2, |_| {}), CODE), RuleAnswer::Passed);
    }

    #[test]
    fn without_the_crd_no_node_has_one() {
        let mut snapshot = custom(2, |_| {});
        snapshot.objects.eni_configs = Reading::missing(FaultCategory::NotFound, "ENIConfig is not installed");
        let found = findings(&snapshot, CODE);
        assert_eq!(found.len(), 1);
        assert!(found[0].message.starts_with("eniconfigs.crd.k8s.amazonaws.com is not installed, and 2 nodes run"));
    }

    #[test]
    fn objects_that_cannot_be_read_are_not_absent() {
        let mut snapshot = custom(2, |_| {});
        snapshot.objects.eni_configs = Reading::missing(FaultCategory::Denied, "may not list eniconfigs");
        let missing = vec![Source::EniConfigs];
        assert_eq!(answer(&snapshot, CODE), RuleAnswer::Inconclusive { missing, suspects: 0 });
    }
}
