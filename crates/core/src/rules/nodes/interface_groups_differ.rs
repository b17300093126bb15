//! IPAM209: an interface for pods whose security groups are not those of the node.

use std::{collections::BTreeSet, sync::Arc};

use jiff::SignedDuration;

use crate::{
    facts::{Facts, Kind, NodeFacts, Pool},
    finding::{Severity, Subject},
    inventory::{Interface, InterfaceKind},
    policy::AuditPolicy,
    rules::{Violations, sink},
    source::Source,
    text,
};

rule! {
    /// An interface for pods has other security groups than the node's primary interface.
    ///
    /// ## What it means
    ///
    /// Pods of one node are behind different security groups, by chance of the address they got: one reaches the database
    /// and its neighbour does not. The CNI copies the groups of the primary interface to all others every 30 seconds;
    /// here it did not.
    ///
    /// ## Why it happens
    ///
    /// aws-node lacks `ec2:ModifyNetworkInterfaceAttribute`, or something else sets the groups of this interface again and
    /// again.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-network-interfaces --filters Name=attachment.instance-id,Values=INSTANCE \
    ///     --query 'NetworkInterfaces[].[NetworkInterfaceId,Attachment.DeviceIndex,Groups[].GroupId]' --output json
    /// kubectl get events -n kube-system --field-selector reason=MissingIAMPermissions
    /// ```
    ///
    /// ## What to do
    ///
    /// Give aws-node the managed policy `AmazonEKS_CNI_Policy` or its equivalent; tag interfaces that shall have groups of
    /// their own with `node.k8s.amazonaws.com/no_manage=true`.
    ///
    /// ## What it costs
    ///
    /// Nothing.
    ///
    /// ## When it fires
    ///
    /// Two looks show an interface that serves pods, in the subnet of the primary one, with other groups than it. Under
    /// custom networking the groups are the ENIConfig's, and the rule says nothing.
    pub InterfaceGroupsDiffer;
    code: "IPAM209",
    name: "interface-groups-differ",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [Nodes, Pods, AwsNode, NetworkInterfaces],
    check: check,
}

/// Groups of an interface that a message names.
const NAMED: usize = 5;

fn check(facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations<'_>) {
    let seen_at = facts.as_of(Source::NetworkInterfaces).unwrap_or(facts.snapshot.taken_at);
    for (node, pool) in super::settled_pools(facts) {
        if Kind::of(node).is_none_or(|kind| kind.lost().custom_networking) {
            continue;
        }
        let apart = SignedDuration::from_secs(policy.for_node(node.node).suspicion_seconds.into());
        for (primary, other) in differing(node, pool) {
            let place = sink::Place::on_node(node, Subject::Interface(other.id.clone()));
            let identity = names(other).join(" ");
            found.suspicion(place, &identity, seen_at, apart, violation(node, primary, other));
        }
    }
}

/// The primary interface with each that serves pods beside it and has other groups.
fn differing<'a>(node: &NodeFacts<'a>, pool: &Pool<'a>) -> Vec<(&'a Interface, &'a Interface)> {
    let Some(primary) = node.interfaces.as_ref().and_then(|list| list.first().copied()) else { return Vec::new() };
    let set = |interface: &'a Interface| interface.groups.iter().collect::<BTreeSet<&Arc<str>>>();
    let differs = |other: &&'a Interface| {
        other.groups != primary.groups
            && !other.groups.is_empty()
            && other.id != primary.id
            && other.kind == InterfaceKind::Interface
            && other.subnet == primary.subnet
            && set(other) != set(primary)
    };
    if primary.groups.is_empty() {
        return Vec::new();
    }
    pool.interfaces.iter().map(|on| on.interface).filter(differs).map(|other| (primary, other)).collect()
}

fn names(interface: &Interface) -> Vec<String> {
    let sorted: BTreeSet<String> = interface.groups.iter().map(ToString::to_string).collect();
    sorted.into_iter().collect()
}

fn violation(node: &NodeFacts<'_>, primary: &Interface, other: &Interface) -> sink::Violation {
    let (own, wanted) = (text::list(&names(other), "and", NAMED), text::list(&names(primary), "and", NAMED));
    sink::Violation {
        severity: Severity::Info,
        message: format!("{} on {} has {own}, the primary interface {} {wanted}", other.id, node.node.name, primary.id),
        remediation:
            "Look for MissingIAMPermissions events of aws-node: the CNI makes the groups equal every 30 seconds."
                .to_owned(),
        evidence: vec![
            sink::evidence("interface", &other.id),
            sink::evidence("groups", own),
            sink::evidence("groupsOfPrimary", wanted),
        ],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        outcome::RuleAnswer,
        snapshot::ClusterSnapshot,
        source::{FaultCategory, Reading, Source},
        tests::{
            fixtures::Cluster,
            nodes::{answer, later},
        },
    };

    fn groups(of_primary: &[&str], of_second: &[&str]) -> ClusterSnapshot {
        let cluster = Cluster::new("10.0.0.0/20", &[("WARM_ENI_TARGET", "1")]).node("m5.large", 29, &[9, 9], 12);
        let mut snapshot = cluster.snapshot();
        let interfaces = &mut snapshot.ec2.interfaces.last_good.as_mut().unwrap().value;
        let boxed = |names: &[&str]| names.iter().map(|name| (*name).into()).collect();
        interfaces[0].groups = boxed(of_primary);
        interfaces[1].groups = boxed(of_second);
        snapshot
    }

    #[test]
    fn other_groups_at_two_looks_are_a_finding() {
        let snapshot = groups(&["sg-1"], &["sg-1", "sg-2"]);
        assert_eq!(answer("IPAM209", &snapshot), RuleAnswer::Inconclusive { missing: vec![], suspects: 1 });
        let found = later("IPAM209", &snapshot, 60);
        assert_eq!(found[0].message, "eni-0-1 on node-0 has sg-1 and sg-2, the primary interface eni-0-0 sg-1");
    }

    #[test]
    fn equal_groups_in_any_order_and_unknown_ones_are_none() {
        assert!(later("IPAM209", &groups(&["sg-1", "sg-2"], &["sg-2", "sg-1"]), 60).is_empty());
        assert!(later("IPAM209", &groups(&["sg-1"], &[]), 60).is_empty());
    }

    #[test]
    fn without_interfaces_it_cannot_tell() {
        let mut snapshot = groups(&["sg-1"], &["sg-2"]);
        snapshot.ec2.interfaces = Reading::missing(FaultCategory::Denied, "not allowed");
        let missing = vec![Source::NetworkInterfaces];
        assert_eq!(answer("IPAM209", &snapshot), RuleAnswer::Inconclusive { missing, suspects: 0 });
    }
}
