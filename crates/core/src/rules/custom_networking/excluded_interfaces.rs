//! IPAM554: interfaces of nodes in subnets that are not for them.

use std::collections::{BTreeMap, BTreeSet};

use super::words;
use crate::{
    facts::{
        Cni, Facts,
        discovery::{self, Exclusion, ROLE_TAG},
    },
    finding::Severity,
    ids::{NodeName, SubnetId},
    inventory::{Interface, InterfaceKind, Subnet},
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

rule! {
    /// Interfaces of nodes are in a subnet that its tags keep from them.
    ///
    /// ## What it means
    ///
    /// Since version 1.22 the CNI gives the pods no new addresses of such an interface and gives unused ones back; the
    /// interface keeps its slot, so that the node carries fewer pods. Older versions go on using a subnet that is meant
    /// for other clusters.
    ///
    /// ## Why it happens
    ///
    /// The subnet was tagged after the interfaces had been made, or the tags name other clusters and the CNI was too old,
    /// or had no `CLUSTER_NAME`, to heed them.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-subnets --subnet-ids SUBNET --query 'Subnets[].Tags' --output table
    /// aws ec2 describe-network-interfaces --filters Name=subnet-id,Values=SUBNET \
    ///     --query 'NetworkInterfaces[].[Description,Attachment.InstanceId]' --output text
    /// ```
    ///
    /// ## What to do
    ///
    /// If the subnet is for this cluster, tag it `cni.networking.k8s.aws/cluster/NAME` with the cluster's name, or remove
    /// the tags that keep it out. Otherwise replace the nodes to get their slots back.
    ///
    /// ## What it costs
    ///
    /// Nothing, or new nodes.
    ///
    /// ## When it fires
    ///
    /// An interface of a node, not its primary one, is in another subnet than the primary's, and that subnet has the tag
    /// `kubernetes.io/role/cni` and names clusters, this one not among them: a warning. With value `0` and a CNI of 1.22 or
    /// newer: information, the subnet was opted out on purpose.
    pub InterfacesInExcludedSubnet;
    code: "IPAM554",
    name: "interfaces-in-excluded-subnet",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [Nodes, AwsNode, Subnets, NetworkInterfaces],
    check: check,
}

/// Interfaces in one subnet.
#[derive(Debug)]
struct There<'a> {
    why: Exclusion,
    nodes: BTreeSet<&'a NodeName>,
    interfaces: u32,
    /// Those of CNIs that do not heed the tags.
    unheeded: u32,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let outlooks = words::outlooks(facts, found);
    let subnets = facts.snapshot.ec2.subnets.value().into_iter().flatten();
    let tagged: BTreeMap<&SubnetId, &Subnet> =
        subnets.filter(|subnet| subnet.tag(ROLE_TAG).is_some()).map(|subnet| (&subnet.id, subnet)).collect();
    if tagged.is_empty() {
        return;
    }
    let mut there: BTreeMap<&SubnetId, There<'_>> = BTreeMap::new();
    for outlook in outlooks {
        for node in outlook.nodes(facts) {
            for interface in node.interfaces.iter().flatten().filter(|one| is_made_for_pods(one, &outlook.home.id)) {
                let Some(subnet) = tagged.get(&interface.subnet) else { continue };
                let Some((why, heeded)) = kept_from(&outlook.cni, subnet) else { continue };
                let here = there.entry(&subnet.id);
                let here = here.or_insert(There { why, nodes: BTreeSet::new(), interfaces: 0, unheeded: 0 });
                here.nodes.insert(&node.node.name);
                here.interfaces += 1;
                here.unheeded += u32::from(!heeded);
            }
        }
    }
    for (id, here) in there {
        found.subnet(id, violation(id, &here));
    }
}

fn is_made_for_pods(interface: &Interface, home: &SubnetId) -> bool {
    let primary = interface.attachment.as_ref().is_some_and(crate::inventory::Attachment::is_primary);
    !primary && interface.kind == InterfaceKind::Interface && interface.subnet != *home
}

/// Why a subnet is not for the nodes of a CNI, and whether the CNI heeds that.
fn kept_from(cni: &Cni, subnet: &Subnet) -> Option<(Exclusion, bool)> {
    if let Some(why) = discovery::excludes_interfaces(cni, subnet) {
        return Some((why, true));
    }
    let offers = subnet.tag(ROLE_TAG).is_some_and(|value| !value.is_empty() && value != "0");
    (offers && !discovery::is_offered(cni, subnet)).then_some((Exclusion::OtherClusters, false))
}

fn violation(id: &SubnetId, here: &There<'_>) -> sink::Violation {
    let There { why, nodes, interfaces, unheeded } = here;
    let number = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
    let consequence = if *unheeded > 0 {
        "their CNI does not heed that".to_owned()
    } else {
        format!(
            "{} no new pods and {} a slot",
            text::verb(*interfaces, "it serves", "they serve"),
            text::verb(*interfaces, "keeps", "keep")
        )
    };
    sink::Violation {
        severity: if *why == Exclusion::OptedOut { Severity::Info } else { Severity::Warning },
        message: format!(
            "{id} has {} of {} although {why}: {consequence}",
            text::count(*interfaces, "interface"),
            text::count(number, "node"),
        ),
        remediation: match why {
            Exclusion::OptedOut => "Replace the nodes to get the slots back, or remove the tag.".to_owned(),
            _ => format!(
                "Tag {id} {}NAME with this cluster's name if it may use the subnet; else replace the nodes.",
                discovery::CLUSTER_PREFIX
            ),
        },
        evidence: vec![sink::evidence("interfaces", interfaces), sink::evidence("nodes", number)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        outcome::RuleAnswer,
        snapshot::ClusterSnapshot,
        source::{FaultCategory, Reading, Source},
        tests::custom_networking::{DISCOVERY, answer, discovering, findings, subnet},
    };

    const CODE: &str = "IPAM554";

    fn with(version: &str, tags: &[(&str, &str)]) -> ClusterSnapshot {
        let other = subnet("subnet-2", "eu-central-1a", 900, tags);
        let mut snapshot = discovering(version, DISCOVERY, [other]);
        snapshot.ec2.interfaces.last_good.as_mut().unwrap().value[1].subnet = "subnet-2".into();
        snapshot
    }

    const FOREIGN: &[(&str, &str)] = &[("cni.networking.k8s.aws/cluster/other", ""), (ROLE_TAG, "1")];

    #[test]
    fn interfaces_among_others_lose_their_slots() {
        let found = findings(&with("1.23.1", FOREIGN), CODE);
        assert_eq!(
            found[0].message,
            "subnet-2 has 1 interface of 1 node although its tags name other clusters only: it serves no new pods and \
             keeps a slot"
        );
        assert_eq!(found[0].severity, Severity::Warning);
        let older = findings(&with("1.20.1", FOREIGN), CODE);
        assert!(older[0].message.ends_with("their CNI does not heed that"), "{}", older[0].message);
    }

    #[test]
    fn an_opt_out_on_purpose_is_information() {
        assert_eq!(findings(&with("1.23.1", &[(ROLE_TAG, "0")]), CODE)[0].severity, Severity::Info);
        assert_eq!(answer(&with("1.20.1", &[(ROLE_TAG, "0")]), CODE), RuleAnswer::Passed, "IPAM551 says that");
    }

    #[test]
    fn a_subnet_for_this_cluster_or_for_all_passes() {
        let own = [("cni.networking.k8s.aws/cluster/shop", ""), (ROLE_TAG, "1")];
        assert_eq!(answer(&with("1.23.1", &own), CODE), RuleAnswer::Passed);
        assert_eq!(answer(&with("1.23.1", &[(ROLE_TAG, "1")]), CODE), RuleAnswer::Passed);
    }

    #[test]
    fn without_interfaces_it_cannot_tell() {
        let mut snapshot = with("1.23.1", FOREIGN);
        snapshot.ec2.interfaces = Reading::missing(FaultCategory::Denied, "not allowed");
        let missing = vec![Source::NetworkInterfaces];
        assert_eq!(answer(&snapshot, CODE), RuleAnswer::Inconclusive { missing, suspects: 0 });
    }
}
