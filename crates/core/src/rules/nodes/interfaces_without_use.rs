//! IPAM216: interfaces that are full of addresses and that the CNI does not give away while pods wait.

use super::no_growth;
use crate::{
    facts::{Facts, NodeFacts},
    finding::Severity,
    inventory::Interface,
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

rule! {
    /// Pods wait on the node while attached interfaces full of addresses serve none.
    ///
    /// ## What it means
    ///
    /// EC2 shows the interfaces on the instance with all their addresses, and the CNI on the node does not give these
    /// away: it does not know of the interfaces. It has no place for another one either, so that it tries to attach in
    /// vain again and again.
    ///
    /// ## Why it happens
    ///
    /// The instance metadata did not show the interface in time after it was attached, and the CNI gave up on it; or the
    /// CNI takes a wrong number for the limit of the instance type (IPAM206).
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-network-interfaces --filters Name=attachment.instance-id,Values=INSTANCE \
    ///     --query 'NetworkInterfaces[].[NetworkInterfaceId,Attachment.AttachTime,length(PrivateIpAddresses)]' --output text
    /// kubectl logs -n kube-system AWS-NODE-POD -c aws-node | grep -i AttachmentLimitExceeded
    /// ```
    ///
    /// ## What to do
    ///
    /// Restart the aws-node pod of the node: at its start it reads the interfaces anew. If they stay unused, replace the
    /// node, and upgrade the CNI.
    ///
    /// ## What it costs
    ///
    /// A restart of aws-node takes seconds; running pods keep their addresses.
    ///
    /// ## When it fires
    ///
    /// Pods wait for an address, the node has as many interfaces as its type allows, and at least one that was attached
    /// more than ten minutes ago is full and serves no pod; no other interface has a free address.
    pub InterfacesWithoutUse;
    code: "IPAM216",
    name: "interfaces-without-use",
    severity: Warning,
    condition: CapacityAvailable,
    sources: [Nodes, Pods, AwsNode, NetworkInterfaces],
    check: check,
}

/// Interfaces that a message names.
const NAMED: usize = 3;

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for (node, _) in super::settled_pools(facts) {
        let unseen = no_growth::unseen_by_ipamd(facts, node);
        if !unseen.is_empty() {
            found.node(node, violation(node, &unseen));
        }
    }
}

fn violation(node: &NodeFacts<'_>, unseen: &[&Interface]) -> sink::Violation {
    let names: Vec<String> = unseen.iter().map(|interface| interface.id.to_string()).collect();
    let addresses: u32 = unseen.iter().map(|interface| interface.pod_addresses()).sum();
    let waiting = u32::try_from(node.waiting.len()).unwrap_or(u32::MAX);
    sink::Violation {
        severity: Severity::Warning,
        message: format!(
            "{} {} while {} on {} {} to no pod",
            text::count(waiting, "pod"),
            text::verb(waiting, "waits", "wait"),
            text::count(addresses, "address"),
            text::list(&names, "and", NAMED),
            text::verb(addresses, "belongs", "belong"),
        ),
        remediation: "Restart the aws-node pod of this node; replace the node if the interfaces stay unused."
            .to_owned(),
        evidence: vec![sink::evidence("interfaces", names.len()), sink::evidence("addresses", addresses)],
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use crate::{
        outcome::RuleAnswer,
        snapshot::ClusterSnapshot,
        source::{FaultCategory, Reading, Source},
        tests::{
            fixtures::{Cluster, now},
            nodes::{answer, findings},
        },
    };

    fn node(interfaces: &[u32], attached_before: SignedDuration) -> ClusterSnapshot {
        let cluster = Cluster::new("10.0.0.0/20", &[("WARM_ENI_TARGET", "1")]).node("m5.large", 29, interfaces, 9);
        let mut snapshot = cluster.waiting_pod().snapshot();
        for interface in snapshot.ec2.interfaces.last_good.as_mut().unwrap().value.iter_mut() {
            interface.attachment.as_mut().unwrap().attached_at = Some(now() - attached_before);
        }
        snapshot
    }

    #[test]
    fn old_full_interfaces_that_serve_nobody_are_lost_to_the_cni() {
        let snapshot = node(&[9, 9, 9], SignedDuration::from_hours(1));
        let found = findings("IPAM216", &snapshot);
        assert_eq!(found[0].message, "1 pod waits while 18 addresses on eni-0-1 and eni-0-2 belong to no pod");
        let waiting = &findings("IPAM201", &snapshot)[0].message;
        assert!(waiting.ends_with("2 interfaces full of addresses serve no pod"), "{waiting}");
    }

    #[test]
    fn young_interfaces_and_a_place_for_another_one_are_normal() {
        assert!(findings("IPAM216", &node(&[9, 9, 9], SignedDuration::from_mins(5))).is_empty());
        assert!(findings("IPAM216", &node(&[9, 9], SignedDuration::from_hours(1))).is_empty());
        let elsewhere = node(&[10, 9, 9], SignedDuration::from_hours(1));
        assert!(findings("IPAM216", &elsewhere).is_empty(), "an address is free on an interface in use");
    }

    #[test]
    fn without_interfaces_it_cannot_tell() {
        let mut snapshot = node(&[9, 9, 9], SignedDuration::from_hours(1));
        snapshot.ec2.interfaces = Reading::missing(FaultCategory::Denied, "not allowed");
        let missing = vec![Source::NetworkInterfaces];
        assert_eq!(answer("IPAM216", &snapshot), RuleAnswer::Inconclusive { missing, suspects: 0 });
    }
}
