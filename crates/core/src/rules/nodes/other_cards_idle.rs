//! IPAM217: interfaces on further network cards whose addresses no pod can have.

use crate::{
    facts::{Cni, Facts, NodeFacts},
    finding::Severity,
    inventory::{Interface, InterfaceKind},
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

rule! {
    /// Interfaces on the node's further network cards take addresses that no pod can have.
    ///
    /// ## What it means
    ///
    /// The CNI gives pods addresses of the first network card only. The interfaces on the other cards are ordinary ones;
    /// what they take from the subnet is used by nothing that the CNI knows of.
    ///
    /// ## Why it happens
    ///
    /// A launch template attaches an interface to each card of a large instance type. `ENABLE_MULTI_NIC`, which lets pods
    /// ask for them, is off.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-network-interfaces --filters Name=attachment.instance-id,Values=INSTANCE \
    ///     --query 'NetworkInterfaces[].[NetworkInterfaceId,Attachment.NetworkCardIndex,InterfaceType,length(PrivateIpAddresses)]' --output text
    /// kubectl set env ds/aws-node -n kube-system --list | grep MULTI_NIC
    /// ```
    ///
    /// ## What to do
    ///
    /// If nothing on the node uses them, take them out of the launch template, or use the type `efa-only`, which takes no
    /// address. Switch on `ENABLE_MULTI_NIC` only for pods that ask for several interfaces.
    ///
    /// ## What it costs
    ///
    /// Nothing, if nothing uses them.
    ///
    /// ## When it fires
    ///
    /// An ordinary interface is attached to a network card other than the first, and `ENABLE_MULTI_NIC` is not on.
    pub OtherCardsIdle;
    code: "IPAM217",
    name: "other-cards-idle",
    severity: Info,
    condition: WarmPoolSized,
    sources: [Nodes, AwsNode, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let off = |cni: &Cni| !cni.config().multi_nic.value_or(false) && !cni.lacks(&["ENABLE_MULTI_NIC"]);
    for node in facts.nodes.iter().filter(|node| node.cni.as_ref().is_some_and(|cni| off(cni))) {
        let ordinary = node.other_cards.iter().filter(|interface| interface.kind == InterfaceKind::Interface);
        let (count, addresses) =
            ordinary.fold((0, 0), |(count, sum), interface: &&Interface| (count + 1, sum + interface.addresses()));
        if addresses > 0 {
            found.node(node, violation(node, count, addresses));
        }
    }
}

fn violation(node: &NodeFacts<'_>, interfaces: u32, addresses: u32) -> sink::Violation {
    let kind = node.node.instance_type.as_ref().map_or("?", |kind| kind.as_str());
    sink::Violation {
        severity: Severity::Info,
        message: format!(
            "{} on further network cards of {kind} {} {} that no pod can have",
            text::count(interfaces, "interface"),
            text::verb(interfaces, "takes", "take"),
            text::count(addresses, "address"),
        ),
        remediation: "Take them out of the launch template if nothing on the node uses them.".to_owned(),
        evidence: vec![sink::evidence("interfaces", interfaces), sink::evidence("addresses", addresses)],
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
            nodes::{answer, findings},
        },
    };

    fn second_card(env: &[(&str, &str)], card: u32) -> ClusterSnapshot {
        let mut snapshot = Cluster::new("10.0.0.0/20", env).node("c6in.32xlarge", 250, &[49, 49], 12).snapshot();
        let interfaces = &mut snapshot.ec2.interfaces.last_good.as_mut().unwrap().value;
        interfaces[1].attachment.as_mut().unwrap().card_index = card;
        snapshot
    }

    #[test]
    fn ordinary_interfaces_on_a_second_card_are_waste() {
        let found = findings("IPAM217", &second_card(&[], 1));
        assert_eq!(
            found[0].message,
            "1 interface on further network cards of c6in.32xlarge takes 50 addresses that no pod can have"
        );
    }

    #[test]
    fn the_first_card_and_pods_with_several_interfaces_are_not() {
        assert!(findings("IPAM217", &second_card(&[], 0)).is_empty());
        assert!(findings("IPAM217", &second_card(&[("ENABLE_MULTI_NIC", "true")], 1)).is_empty());
    }

    #[test]
    fn without_interfaces_it_cannot_tell() {
        let mut snapshot = second_card(&[], 1);
        snapshot.ec2.interfaces = Reading::missing(FaultCategory::Denied, "not allowed");
        let missing = vec![Source::NetworkInterfaces];
        assert_eq!(answer("IPAM217", &snapshot), RuleAnswer::Inconclusive { missing, suspects: 0 });
    }
}
