//! IPAM510: a node's pods have addresses outside the subnet of its ENIConfig.

use super::words;
use crate::{
    facts::{Facts, NodeFacts},
    finding::Severity,
    ids::SubnetId,
    policy::AuditPolicy,
    rules::{Violations, sink},
    snapshot::EniConfig,
    source::Source,
    text,
};

rule! {
    /// A node gives its pods addresses outside the subnet of its ENIConfig.
    ///
    /// ## What it means
    ///
    /// Some pods of the node are in the pod subnet and some are not: security groups, routes and address plans that were
    /// made for the pod subnet do not hold for the others. The node does not heal: addresses that it has stay in its
    /// pool and are given to new pods.
    ///
    /// ## Why it happens
    ///
    /// The node is older than custom networking, or than the last change of its ENIConfig or of the key that chooses it.
    /// Neither changes an interface that exists. The primary interface gets no new addresses then, but those that it has
    /// remain in use.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-network-interfaces --filters Name=attachment.instance-id,Values=INSTANCE \
    ///     --query 'NetworkInterfaces[].[Attachment.DeviceIndex,SubnetId,length(PrivateIpAddresses)]' --output text
    /// kubectl get pods -A -o wide --field-selector spec.nodeName=NODE
    /// ```
    ///
    /// ## What to do
    ///
    /// Replace the node: drain it and let its group make a new one. Restarting `aws-node` is not enough.
    ///
    /// ## What it costs
    ///
    /// One rolling replacement of the nodes concerned.
    ///
    /// ## When it fires
    ///
    /// With custom networking on, a node's primary interface holds secondary addresses or serves pods from a prefix, or
    /// another of its interfaces holds addresses for pods in another subnet than its ENIConfig says. Not for an ENIConfig that names
    /// the node's own subnet, and not while IPAM501 finds that there is no ENIConfig. Information on a cordoned node: it
    /// is on its way out.
    pub PodsInWrongSubnet;
    code: "IPAM510",
    name: "pods-in-wrong-subnet",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [Nodes, AwsNode],
    check: check,
}

/// What is outside the ENIConfig's subnet.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outside<'a> {
    /// Pods with addresses of the primary interface.
    pods_on_primary: u32,
    /// Addresses there that pods can get.
    on_primary: u32,
    /// Pods on other interfaces.
    pods_elsewhere: u32,
    /// Subnets of those interfaces, one for each.
    elsewhere: Vec<&'a SubnetId>,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for (node, choice) in words::uses(facts, found).iter().flat_map(|used| used.choices(facts)) {
        if ![Source::NetworkInterfaces, Source::Pods].into_iter().all(|source| words::has(facts, found, source)) {
            return;
        }
        // Where the ENIConfig itself is wrong, replacing nodes would not help: IPAM503 says so.
        let Some(config) = choice.config.filter(|config| !facts.is_out_of_reach(node, config)) else { continue };
        let Some(outside) = outside(node, config).filter(|outside| *outside != Outside::default()) else { continue };
        let violation = sink::Violation {
            severity: if node.node.cordoned { Severity::Info } else { Severity::Warning },
            message: message(node, config, &outside),
            remediation: "Replace the node: interfaces and addresses that it has stay where they are.".to_owned(),
            evidence: vec![
                sink::evidence("podsOutside", outside.pods_on_primary + outside.pods_elsewhere),
                sink::evidence("addressesOnPrimary", outside.on_primary),
                sink::evidence("interfacesElsewhere", outside.elsewhere.len()),
            ],
        };
        found.node(node, violation);
    }
}

fn outside<'a>(node: &NodeFacts<'a>, config: &EniConfig) -> Option<Outside<'a>> {
    let home = node.home()?;
    if *home == config.subnet {
        return None;
    }
    let mut outside = Outside::default();
    for on in &node.pool.as_ref()?.interfaces {
        let interface = on.interface;
        if interface.attachment.as_ref().is_some_and(crate::inventory::Attachment::is_primary) {
            outside.pods_on_primary = on.used();
            outside.on_primary = u32::try_from(interface.secondary.len()).unwrap_or(u32::MAX);
        } else if interface.subnet != config.subnet && interface.pod_addresses() > 0 {
            outside.pods_elsewhere += on.used();
            outside.elsewhere.push(&interface.subnet);
        }
    }
    Some(outside)
}

fn message(node: &NodeFacts<'_>, config: &EniConfig, outside: &Outside<'_>) -> String {
    let pods = outside.pods_on_primary + outside.pods_elsewhere;
    let mut places: Vec<String> = Vec::new();
    if outside.on_primary + outside.pods_on_primary > 0 {
        let home = node.home().map(ToString::to_string).unwrap_or_default();
        let addresses = outside.on_primary.max(outside.pods_on_primary);
        places.push(format!("its primary interface in {home} has {} for pods", text::count(addresses, "address")));
    }
    if !outside.elsewhere.is_empty() {
        let number = u32::try_from(outside.elsewhere.len()).unwrap_or(u32::MAX);
        let mut subnets: Vec<String> = outside.elsewhere.iter().map(ToString::to_string).collect();
        subnets.sort_unstable();
        subnets.dedup();
        places.push(format!(
            "{} {} in {}",
            text::count(number, "interface"),
            text::verb(number, "is", "are"),
            text::list(&subnets, "and", words::NAMED)
        ));
    }
    format!(
        "{} {} outside {} of ENIConfig {}: {}",
        text::count(pods, "pod"),
        text::verb(pods, "is", "are"),
        config.subnet,
        config.name,
        text::list(&places, "and", words::NAMED),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        outcome::RuleAnswer,
        snapshot::ClusterSnapshot,
        source::{FaultCategory, Reading},
        tests::{
            custom_networking::{CUSTOM, answer, custom, eni_config, findings, named, subnet},
            fixtures::{Cluster, now},
        },
    };

    const CODE: &str = "IPAM510";

    /// A node that was full before custom networking came: all in its own subnet.
    fn older() -> ClusterSnapshot {
        let cluster = Cluster::new("10.0.0.0/20", CUSTOM)
            .node("m5.large", 29, &[9, 9], 14)
            .tweak(|node| node.labels = named("topology.kubernetes.io/zone", "eu-central-1a"));
        let mut snapshot = cluster.snapshot();
        snapshot.objects.eni_configs = Reading::fresh(vec![eni_config("eu-central-1a", "subnet-pods")], now());
        let pods = subnet("subnet-pods", "eu-central-1a", 8000, &[]);
        snapshot.ec2.subnets.last_good.as_mut().unwrap().value.push(pods);
        snapshot
    }

    #[test]
    fn a_node_older_than_the_switch_says_where_its_pods_are() {
        let found = findings(&older(), CODE);
        assert_eq!(
            found[0].message,
            "14 pods are outside subnet-pods of ENIConfig eu-central-1a: its primary interface in subnet-1 has 9 \
             addresses for pods and 1 interface is in subnet-1"
        );
    }

    #[test]
    fn a_node_made_under_it_passes_and_so_does_a_config_for_its_own_subnet() {
        assert_eq!(answer(&custom(2, |_| {}), CODE), RuleAnswer::Passed);
        let mut own = older();
        own.objects.eni_configs = Reading::fresh(vec![eni_config("eu-central-1a", "subnet-1")], now());
        assert_eq!(answer(&own, CODE), RuleAnswer::Passed);
    }

    #[test]
    fn without_interfaces_nobody_knows_where_pods_are() {
        let mut snapshot = older();
        snapshot.ec2.interfaces = Reading::missing(FaultCategory::Denied, "not allowed");
        let missing = vec![Source::NetworkInterfaces];
        assert_eq!(answer(&snapshot, CODE), RuleAnswer::Inconclusive { missing, suspects: 0 });
    }
}
