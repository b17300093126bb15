//! IPAM208: an interface that somebody else attached and the CNI took over.

use crate::{
    facts::{Facts, NodeFacts},
    finding::{Severity, Subject},
    inventory::{Interface, InterfaceKind},
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

rule! {
    /// The CNI gives addresses of an interface to pods that it did not attach.
    ///
    /// ## What it means
    ///
    /// The interface carries no tag of the CNI: a launch template, an operator or a person attached it, likely for a
    /// purpose of its own. The CNI takes over every interface that does not say otherwise: it fills it with addresses,
    /// gives them to pods, and may detach it when no pod uses it.
    ///
    /// ## Why it happens
    ///
    /// `MANAGE_UNTAGGED_ENI` is true by default. An interface is left alone only if it is tagged
    /// `node.k8s.amazonaws.com/no_manage=true`.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-network-interfaces --network-interface-ids INTERFACE --query 'NetworkInterfaces[].[Description,TagSet]'
    /// kubectl set env ds/aws-node -n kube-system --list | grep MANAGE_UNTAGGED_ENI
    /// ```
    ///
    /// ## What to do
    ///
    /// If it is not for pods, tag it `node.k8s.amazonaws.com/no_manage=true` before it is attached to new nodes, and lower
    /// max-pods by one interface (IPAM202 gives the number). If it is for pods, leave it.
    ///
    /// ## What it costs
    ///
    /// An interface less for pods on each node.
    ///
    /// ## When it fires
    ///
    /// A secondary interface of the default network card has neither tag, other interfaces of the cluster do have the
    /// CNI's, it is older than the node's settling time, and its description is not the CNI's.
    pub InterfaceAdopted;
    code: "IPAM208",
    name: "interface-adopted",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [Nodes, Pods, AwsNode, NetworkInterfaces],
    check: check,
}

/// Tag of an interface that ipamd made: the instance it is for.
const MADE_FOR: &str = "node.k8s.amazonaws.com/instance_id";
const MADE_BY_CNI: &str = "aws-K8S-";

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let attached = || facts.nodes.iter().flat_map(|node| node.interfaces.iter().flatten());
    // Where no interface shows the tag, tags cannot be seen here, or nobody sets them.
    if !attached().any(|interface| interface.tag(MADE_FOR).is_some()) {
        return;
    }
    for (node, pool) in super::settled_pools(facts) {
        for on in pool.interfaces.iter().filter(|on| is_foreign(on.interface)) {
            let place = sink::Place::on_node(node, Subject::Interface(on.interface.id.clone()));
            found.at(place, violation(node, on.interface, on.used()));
        }
    }
}

fn is_foreign(interface: &Interface) -> bool {
    interface.kind == InterfaceKind::Interface
        && interface.attachment.as_ref().is_some_and(|at| !at.is_primary())
        && interface.tag(MADE_FOR).is_none()
        && !interface.description.starts_with(MADE_BY_CNI)
}

fn violation(node: &NodeFacts<'_>, interface: &Interface, pods: u32) -> sink::Violation {
    let described = if interface.description.is_empty() { "without a description" } else { &interface.description };
    sink::Violation {
        severity: Severity::Info,
        message: format!(
            "{} ({described}) on {} is not of the CNI, which gives its addresses to pods: {} to {} so far",
            interface.id,
            node.node.name,
            text::count(interface.pod_addresses(), "address"),
            text::count(pods, "pod"),
        ),
        remediation:
            "Tag it node.k8s.amazonaws.com/no_manage=true if it is not for pods, on new nodes from their start."
                .to_owned(),
        evidence: vec![
            sink::evidence("interface", &interface.id),
            sink::evidence("addresses", interface.pod_addresses()),
            sink::evidence("pods", pods),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::MADE_FOR;
    use crate::{
        outcome::RuleAnswer,
        snapshot::ClusterSnapshot,
        source::{FaultCategory, Reading, Source},
        tests::{
            fixtures::Cluster,
            nodes::{answer, findings},
        },
    };

    fn cluster(tagged: &[usize]) -> ClusterSnapshot {
        let mut snapshot =
            Cluster::new("10.0.0.0/20", &[("WARM_ENI_TARGET", "1")]).node("m5.large", 29, &[9, 9, 9], 12).snapshot();
        let interfaces = &mut snapshot.ec2.interfaces.last_good.as_mut().unwrap().value;
        for &at in tagged {
            interfaces[at].tags = [(MADE_FOR.into(), "i-0".into())].into();
        }
        interfaces[2].description = "appliance".into();
        snapshot
    }

    #[test]
    fn an_interface_of_somebody_else_is_named() {
        let found = findings("IPAM208", &cluster(&[1]));
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].message,
            "eni-0-2 (appliance) on node-0 is not of the CNI, which gives its addresses to pods: 9 addresses to 0 pods so \
             far"
        );
    }

    #[test]
    fn its_own_are_not_nor_are_tags_that_nobody_sees() {
        assert!(findings("IPAM208", &cluster(&[1, 2])).is_empty());
        assert!(findings("IPAM208", &cluster(&[])).is_empty());
    }

    #[test]
    fn without_interfaces_it_cannot_tell() {
        let mut snapshot = cluster(&[1]);
        snapshot.ec2.interfaces = Reading::missing(FaultCategory::Denied, "not allowed");
        let missing = vec![Source::NetworkInterfaces];
        assert_eq!(answer("IPAM208", &snapshot), RuleAnswer::Inconclusive { missing, suspects: 0 });
    }
}
