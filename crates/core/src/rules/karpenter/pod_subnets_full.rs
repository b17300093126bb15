//! IPAM709: Karpenter launches where nodes have room and their pods have none.

use std::collections::BTreeMap;

use super::{can_tell, new_nodes_use, node_class, with_free};
use crate::{
    facts::{
        Facts,
        karpenter::{ClassFacts, Feature},
    },
    finding::Severity,
    ids::Zone,
    inventory::Subnet,
    policy::AuditPolicy,
    rules::{Violations, sink},
    source::Source,
    text,
};

/// Free addresses below which a subnet of pods whose nodes are not known counts as full: one prefix and the
/// interface's own.
const FULL_BELOW: u32 = 17;

rule! {
    /// Karpenter launches nodes in a zone whose pod subnets are full.
    ///
    /// ## What it means
    ///
    /// Under custom networking pods have their addresses from the subnet of an ENIConfig, nodes from those of the
    /// `EC2NodeClass`. Karpenter knows only the latter: it goes on launching where nodes have room, and the new nodes
    /// get no addresses for their pods.
    ///
    /// ## Why it happens
    ///
    /// The pod subnet of the zone is exhausted; nothing tells Karpenter.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get eniconfigs -o custom-columns=NAME:.metadata.name,SUBNET:.spec.subnet
    /// kubectl get ec2nodeclass NAME -o jsonpath='{range .status.subnets[*]}{.zone}{"\t"}{.id}{"\n"}{end}'
    /// ```
    ///
    /// ## What to do
    ///
    /// Add a secondary range and a larger pod subnet for the zone, and name it in the ENIConfig; new nodes use it. Until
    /// then take the zone out of the NodePool's requirements.
    ///
    /// ## What it costs
    ///
    /// A secondary range costs nothing; nodes have to be replaced to use it.
    ///
    /// ## When it fires
    ///
    /// Custom networking is on, every subnet that an ENIConfig names in a zone is full, and a subnet of the node class
    /// in that zone is not.
    pub KarpenterPodSubnetsFull;
    code: "IPAM709",
    name: "karpenter-pod-subnets-full",
    severity: Warning,
    condition: CapacityAvailable,
    sources: [Nodes],
    check: check,
}

/// A zone in which nodes have room and pods have none.
struct Blind<'a> {
    zone: &'a Zone,
    pods: &'a [&'a Subnet],
    node_free: u32,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    if facts.karpenter.new_nodes_use(Feature::CustomNetworking) == Some(false) {
        return;
    }
    let sources =
        [Source::AwsNode, Source::NodeClasses, Source::EniConfigs, Source::Subnets, Source::NetworkInterfaces];
    if !can_tell(facts, found, &sources) || new_nodes_use(facts, found, Feature::CustomNetworking) != Some(true) {
        return;
    }
    let pod_subnets = pod_subnets(facts);
    for class in &facts.karpenter.classes {
        let blind: Vec<Blind<'_>> = class
            .zones
            .iter()
            .filter_map(|(zone, subnets)| {
                let pods = pod_subnets.get(zone).filter(|pods| pods.iter().all(|subnet| is_full(facts, subnet)))?;
                let node_free = subnets.iter().map(|subnet| subnet.available).max()?;
                (node_free >= FULL_BELOW).then_some(Blind { zone, pods, node_free })
            })
            .collect();
        if let Some(violation) = violation(class, &blind) {
            found.subject(node_class(class), violation);
        }
    }
}

/// Subnets that ENIConfigs name, by zone.
fn pod_subnets<'a>(facts: &Facts<'a>) -> BTreeMap<&'a Zone, Vec<&'a Subnet>> {
    let (objects, ec2) = (&facts.snapshot.objects, &facts.snapshot.ec2);
    let named: Vec<_> = objects.eni_configs.value().into_iter().flatten().map(|config| &config.subnet).collect();
    let mut by_zone: BTreeMap<&Zone, Vec<&Subnet>> = BTreeMap::new();
    for subnet in ec2.subnets.value().into_iter().flatten().filter(|subnet| named.contains(&&subnet.id)) {
        by_zone.entry(&subnet.zone).or_default().push(subnet);
    }
    by_zone
}

fn is_full(facts: &Facts<'_>, subnet: &Subnet) -> bool {
    let known = facts.subnet(&subnet.id).filter(|known| known.new_node_takes.is_some());
    known.map_or(subnet.available < FULL_BELOW, crate::facts::SubnetFacts::is_full)
}

fn violation(class: &ClassFacts<'_>, blind: &[Blind<'_>]) -> Option<sink::Violation> {
    let first = blind.first()?;
    let zones: Vec<String> = blind.iter().map(|one| one.zone.to_string()).collect();
    let others = u32::try_from(blind.len() - 1).ok()?;
    let more = if others == 0 { String::new() } else { format!("; the same in {}", text::count(others, "other zone")) };
    Some(sink::Violation {
        severity: Severity::Warning,
        message: format!(
            "EC2NodeClass {} launches nodes in {}, where they have room ({} free) and their pods have none: their \
             ENIConfigs name {}{more}",
            class.class.name,
            first.zone,
            text::count(first.node_free, "address"),
            with_free(first.pods.iter().copied()),
        ),
        remediation: format!(
            "Give pods in {} a larger subnet and name it in the ENIConfig; until then keep Karpenter out of there by a \
             requirement of its NodePools.",
            text::list(&zones, "and", super::NAMED),
        ),
        evidence: vec![sink::evidence("zones", blind.len()), sink::evidence("nodeSubnetFree", first.node_free)],
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        snapshot::EniConfig,
        source::{Reading, Source},
        tests::{
            fixtures::now,
            karpenter::{Setup, answers},
        },
    };

    const CODE: &str = "IPAM709";
    const CUSTOM: (&str, &str) = ("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true");

    fn setup(env: &[(&str, &str)], pods_free: u32) -> Setup {
        let setup = Setup::new(env).class("pods", None).subnet("pods", "subnet-pods", "eu-central-1b", pods_free);
        let setup = setup.class("default", None).subnet("default", "subnet-nodes", "eu-central-1b", 3000);
        setup.change(|snapshot| {
            let config = EniConfig { name: "b".into(), subnet: "subnet-pods".into(), security_groups: Box::default() };
            snapshot.objects.eni_configs = Reading::fresh(vec![config], now());
        })
    }

    #[test]
    fn nodes_have_room_and_pods_have_none() {
        assert_eq!(
            answers(&setup(&[CUSTOM], 3).snapshot(), CODE).messages(),
            ["EC2NodeClass default launches nodes in eu-central-1b, where they have room (3,000 addresses free) and \
                 their pods have none: their ENIConfigs name subnet-pods (3 free)"]
        );
    }

    #[test]
    fn room_for_pods_or_the_feature_off_are_none() {
        assert!(answers(&setup(&[CUSTOM], 300).snapshot(), CODE).passed());
        assert!(answers(&setup(&[], 3).snapshot(), CODE).passed());
    }

    #[test]
    fn without_eni_configs_it_cannot_tell() {
        let mut snapshot = setup(&[CUSTOM], 3).snapshot();
        snapshot.objects.eni_configs = Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::EniConfigs]);
    }
}
