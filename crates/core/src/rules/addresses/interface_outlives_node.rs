//! IPAM432: an attached interface that stays when its instance ends.

use jiff::SignedDuration;

use crate::{
    facts::{Facts, NodeFacts, owner},
    finding::{Severity, Subject},
    inventory::{Attachment, Interface},
    policy::AuditPolicy,
    rules::{
        Violations,
        sink::{self, Place},
    },
    source::Source,
    text,
};

rule! {
    /// An interface of the node stays, with its addresses, when the instance ends.
    ///
    /// ## What it means
    ///
    /// Its attachment says that it is not deleted with the instance. Once the node is gone the interface is a leak.
    ///
    /// ## Why it happens
    ///
    /// The CNI attaches an interface first and sets this in a second call, which failed: a missing right
    /// (`ec2:ModifyNetworkInterfaceAttribute`) or an end in between. Interfaces that a user or a launch template
    /// attaches have what these say.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-network-interfaces --network-interface-ids INTERFACE --query 'NetworkInterfaces[0].Attachment'
    /// ```
    ///
    /// ## What to do
    ///
    /// Set the attribute with the command of the finding; in a launch template set `DeleteOnTermination` to `true`.
    ///
    /// ## What it costs
    ///
    /// Nothing.
    ///
    /// ## When it fires
    ///
    /// `DeleteOnTermination` of an attached interface is `false`, longer than `spec.thresholds.settleSeconds` (default 300)
    /// after it was attached, in two readings as far apart. Warning for an interface that the CNI made, info for others; those with the tag
    /// `node.k8s.amazonaws.com/no_manage=true` are not judged.
    pub InterfaceOutlivesNode;
    code: "IPAM432",
    name: "interface-outlives-node",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [Nodes, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations<'_>) {
    let Some(seen_at) = facts.as_of(Source::NetworkInterfaces) else { return };
    for node in &facts.nodes {
        let settle = SignedDuration::from_secs(policy.for_node(node.node).settle_seconds.into());
        let outlives = |attachment: &Attachment| {
            let young = attachment.attached_at.is_some_and(|at| seen_at.duration_since(at) < settle);
            attachment.delete_on_termination == Some(false) && !young
        };
        for interface in node.interfaces.iter().flatten().chain(&node.other_cards) {
            let lasting = interface.attachment.as_ref().is_some_and(outlives);
            if lasting && !owner::is_users(interface) {
                let place = Place::on_node(node, Subject::Interface(interface.id.clone()));
                found.suspicion(place, "", seen_at, settle, violation(node, interface));
            }
        }
    }
}

fn violation(node: &NodeFacts<'_>, interface: &Interface) -> sink::Violation {
    let by_cni = owner::is_made(interface);
    let addresses = text::count(interface.addresses(), "address");
    sink::Violation {
        severity: if by_cni { Severity::Warning } else { Severity::Info },
        message: format!(
            "{} with {addresses} stays when {} ends: DeleteOnTermination of its attachment is false",
            interface.id, node.node.name
        ),
        remediation: format!(
            "aws ec2 modify-network-interface-attribute --network-interface-id {0} --attachment AttachmentId=$(aws ec2 \
             describe-network-interfaces --network-interface-ids {0} --query \
             'NetworkInterfaces[0].Attachment.AttachmentId' --output text),DeleteOnTermination=true",
            interface.id
        ),
        evidence: vec![
            sink::evidence("addresses", interface.addresses()),
            sink::evidence("madeByCni", by_cni),
            sink::evidence("node", &node.node.name),
        ],
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use crate::{
        finding::Severity,
        outcome::RuleAnswer,
        snapshot::ClusterSnapshot,
        source::{FaultCategory, Reading, Source},
        tests::{
            addresses::{answer, cluster, interfaces, of, once, proven, twice},
            fixtures::now,
        },
    };

    const CODE: &str = "IPAM432";

    fn lasting(description: &str) -> ClusterSnapshot {
        let mut snapshot = cluster();
        let row = &mut interfaces(&mut snapshot)[1];
        row.description = description.into();
        row.attachment.as_mut().unwrap().delete_on_termination = Some(false);
        snapshot
    }

    #[test]
    fn an_interface_of_the_cni_that_stays_is_a_warning() {
        for (description, severity) in [("aws-K8S-i-1", Severity::Warning), ("mine", Severity::Info)] {
            let finding = of(&twice(&lasting(description), 300), CODE).remove(0);
            assert_eq!(finding.severity, severity);
            assert_eq!(
                finding.message,
                "eni-1-0 with 7 addresses stays when node-1 ends: DeleteOnTermination of its attachment is false"
            );
        }
    }

    #[test]
    fn one_that_was_just_attached_or_is_the_users_is_not_judged() {
        let mut young = lasting("aws-K8S-i-1");
        let soon = now() + SignedDuration::from_secs(800);
        interfaces(&mut young)[1].attachment.as_mut().unwrap().attached_at = Some(soon);
        assert_eq!(proven(&young, CODE), Vec::<String>::new());
        let mut kept = lasting("mine");
        interfaces(&mut kept)[1].tags = [("node.k8s.amazonaws.com/no_manage".into(), "true".into())].into();
        assert_eq!(proven(&kept, CODE), Vec::<String>::new());
        assert_eq!(proven(&cluster(), CODE), Vec::<String>::new());
    }

    #[test]
    fn without_interfaces_it_cannot_tell() {
        let mut snapshot = cluster();
        snapshot.ec2.interfaces = Reading::missing(FaultCategory::Denied, "denied");
        let answer = answer(&once(&snapshot), CODE);
        assert_eq!(answer, RuleAnswer::Inconclusive { missing: vec![Source::NetworkInterfaces], suspects: 0 });
    }
}
