//! IPAM552: nodes for whose next interface no subnet is left to choose.

use std::collections::BTreeMap;

use super::words;
use crate::{
    facts::{
        Facts,
        discovery::{self, Exclusion, Outlook, ROLE_TAG},
    },
    finding::Severity,
    ids::SubnetId,
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

rule! {
    /// The nodes' own subnet is excluded by tag, and no other is offered.
    ///
    /// ## What it means
    ///
    /// Since version 1.22 the CNI heeds the tag `kubernetes.io/role/cni` of the nodes' own subnet as well. With every subnet
    /// of the zone excluded no further interface can be made, and the primary interface is given no more pod addresses:
    /// new pods wait, new nodes never become Ready.
    ///
    /// ## Why it happens
    ///
    /// The subnet was tagged `0` to keep pods out of it, and the subnet that shall have them is not tagged in this zone;
    /// or discovery is off, so that no other one is looked at; or the subnets are tagged for other clusters.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-subnets --filters Name=availability-zone,Values=ZONE Name=vpc-id,Values=VPC \
    ///     --query 'Subnets[].[SubnetId,AvailableIpAddressCount,Tags[?contains(Key, `cni`)]]' --output json
    /// kubectl set env ds/aws-node -n kube-system --list | grep -e SUBNET_DISCOVERY -e CLUSTER_NAME
    /// ```
    ///
    /// ## What to do
    ///
    /// Tag a subnet of the zone `kubernetes.io/role/cni=1` and have discovery on, or remove the tag from the nodes' subnet.
    ///
    /// ## What it costs
    ///
    /// Nothing.
    ///
    /// ## When it fires
    ///
    /// By the tags and the rules of the running version, none of the subnets of the zone is left for the next interface of
    /// a node. A warning only while all such nodes are cordoned. Custom networking chooses by ENIConfig: see IPAM508.
    pub NoSubnetLeftToChoose;
    code: "IPAM552",
    name: "no-subnet-left-to-choose",
    severity: Critical,
    condition: ConfigurationConsistent,
    sources: [Nodes, AwsNode, Subnets, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let mut stuck: BTreeMap<&SubnetId, Vec<&Outlook<'_>>> = BTreeMap::new();
    for outlook in words::outlooks(facts, found).iter().filter(|outlook| outlook.tried.is_empty()) {
        stuck.entry(&outlook.home.id).or_default().push(outlook);
    }
    for (id, outlooks) in stuck {
        let Some(first) = outlooks.first() else { continue };
        let nodes: u32 = outlooks.iter().map(|outlook| outlook.count()).sum();
        let others = u32::try_from(first.excluded.len().saturating_sub(1)).unwrap_or(u32::MAX);
        let own = discovery::excludes_interfaces(&first.cni, first.home).unwrap_or(Exclusion::OptedOut);
        let hurts = words::take_pods(outlooks.iter().flat_map(|outlook| outlook.nodes(facts)));
        let violation = sink::Violation {
            severity: if hurts { Severity::Critical } else { Severity::Warning },
            message: format!(
                "{id} gives {} no further interface since {own}, and {}",
                text::count(nodes, "node"),
                elsewhere(first, others),
            ),
            remediation: remediation(first),
            evidence: vec![sink::evidence("nodes", nodes), sink::evidence("otherSubnetsInZone", others)],
        };
        found.subnet(id, violation);
    }
}

fn elsewhere(outlook: &Outlook<'_>, others: u32) -> String {
    let zone = &outlook.home.zone;
    match others {
        _ if !outlook.regime.discovers() => "subnet discovery is off".to_owned(),
        0 => format!("the VPC has no other subnet in {zone}"),
        1 => format!("the other subnet in {zone} is not offered"),
        _ => format!("none of the {others} other subnets in {zone} is offered"),
    }
}

fn remediation(outlook: &Outlook<'_>) -> String {
    let home = &outlook.home.id;
    let roomiest = outlook.excluded.iter().find(|(subnet, why)| subnet.id != *home && *why == Exclusion::Untagged);
    if !outlook.regime.discovers() {
        return format!(
            "Remove the tag {ROLE_TAG} from {home}, or set ENABLE_SUBNET_DISCOVERY=true and tag another one."
        );
    }
    match roomiest {
        Some((subnet, _)) => format!(
            "Tag a pod subnet of {} {ROLE_TAG}=1 ({} has most free addresses, {}), or remove the tag from {home}.",
            subnet.zone,
            subnet.id,
            text::thousands(subnet.available)
        ),
        None => format!("Remove the tag {ROLE_TAG} from {home}, or add a pod subnet in {}.", outlook.home.zone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        inventory::Subnet,
        outcome::RuleAnswer,
        snapshot::ClusterSnapshot,
        source::{FaultCategory, Reading, Source},
        tests::custom_networking::{DISCOVERY, answer, discovering, findings, home, named, set, subnet},
    };

    const CODE: &str = "IPAM552";

    fn opted_out(version: &str, others: impl IntoIterator<Item = Subnet>) -> ClusterSnapshot {
        let mut snapshot = discovering(version, DISCOVERY, others);
        home(&mut snapshot).tags = named(ROLE_TAG, "0");
        snapshot
    }

    fn other(tags: &[(&str, &str)]) -> Subnet {
        subnet("subnet-2", "eu-central-1a", 3900, tags)
    }

    #[test]
    fn an_excluded_home_without_an_offer_stops_the_zone() {
        let found = findings(&opted_out("1.23.1", [other(&[])]), CODE);
        assert_eq!(
            found[0].message,
            "subnet-1 gives 1 node no further interface since its tag kubernetes.io/role/cni=0 opts it out, and the other \
             subnet in eu-central-1a is not offered"
        );
        assert!(found[0].remediation.contains("subnet-2 has most free addresses, 3,900"), "{}", found[0].remediation);
        assert_eq!(found[0].severity, Severity::Critical);
    }

    #[test]
    fn discovery_that_is_off_offers_nothing_but_heeds_the_tag() {
        let mut snapshot = opted_out("1.23.1", [other(&[(ROLE_TAG, "1")])]);
        assert_eq!(answer(&snapshot, CODE), RuleAnswer::Passed);
        set(&mut snapshot, "ENABLE_SUBNET_DISCOVERY", "false");
        assert!(findings(&snapshot, CODE)[0].message.ends_with("and subnet discovery is off"));
    }

    #[test]
    fn a_home_for_other_clusters_is_excluded_like_one_that_is_opted_out() {
        let mut snapshot = discovering("1.23.1", DISCOVERY, []);
        home(&mut snapshot).tags =
            [("cni.networking.k8s.aws/cluster/other".into(), "".into()), (ROLE_TAG.into(), "1".into())].into();
        assert!(findings(&snapshot, CODE)[0].message.contains("its tags name other clusters only"));
        home(&mut snapshot).tags = named("cni.networking.k8s.aws/cluster/other", "");
        assert_eq!(answer(&snapshot, CODE), RuleAnswer::Passed, "an untagged home ignores the clusters");
    }

    #[test]
    fn older_versions_use_their_own_subnet_always() {
        assert_eq!(answer(&opted_out("1.21.1", []), CODE), RuleAnswer::Passed);
    }

    #[test]
    fn without_subnets_it_cannot_tell() {
        let mut snapshot = opted_out("1.23.1", []);
        snapshot.ec2.subnets = Reading::missing(FaultCategory::Denied, "not allowed");
        assert_eq!(answer(&snapshot, CODE), RuleAnswer::Inconclusive { missing: vec![Source::Subnets], suspects: 0 });
    }
}
