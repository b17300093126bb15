//! IPAM402: a running pod whose address is on another node's interface.

use jiff::SignedDuration;

use super::pods::{self, Carriers};
use crate::{
    facts::{Facts, NodeFacts, Owner},
    finding::{POD_UID, Severity, Subject},
    inventory::Interface,
    policy::AuditPolicy,
    rules::{
        Violations,
        sink::{self, Place},
    },
    snapshot::Pod,
};

rule! {
    /// A running pod has an address that is on an interface of another node.
    ///
    /// ## What it means
    ///
    /// What is sent to the pod arrives at the other node, which knows nothing of it or has given the address to a pod
    /// of its own. The pod looks well and is not reached.
    ///
    /// ## Why it happens
    ///
    /// The address, or the interface with it, moved while the CNI on the pod's node still counted it as its own: by
    /// hand, by another tool, or by a CNI that gave it back too early.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get pod -n NAMESPACE POD -o jsonpath='{.status.podIP} {.spec.nodeName}'
    /// aws ec2 describe-network-interfaces --network-interface-ids INTERFACE \
    ///     --query 'NetworkInterfaces[0].[Attachment.InstanceId,PrivateIpAddresses[].PrivateIpAddress,Ipv4Prefixes]'
    /// ```
    ///
    /// ## What to do
    ///
    /// Delete the pod. If its node has more of them, cordon and replace the node.
    ///
    /// ## What it costs
    ///
    /// A restart of the pod.
    ///
    /// ## When it fires
    ///
    /// The address of a running pod is on no interface of its node and on one of another node, in two readings at
    /// least `spec.thresholds.suspicionSeconds` (default 60) apart. Pods that are younger than two minutes or on their way out are
    /// not judged.
    pub PodAddressElsewhere;
    code: "IPAM402",
    name: "pod-address-elsewhere",
    severity: Critical,
    condition: AddressesReconciled,
    sources: [Nodes, Pods, AwsNode, Subnets, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations<'_>) {
    let Some(seen_at) = pods::seen_at(facts) else { return };
    let apart = SignedDuration::from_secs(policy.thresholds.suspicion_seconds.into());
    let mut carriers = None;
    for (node, pod) in pods::strays(facts, seen_at) {
        let Some((at, interface)) = carriers.get_or_insert_with(|| Carriers::of(facts)).find(pod) else { continue };
        let Some(Owner::Node(other)) = facts.owners.get(at) else { continue };
        let Some(other) = facts.nodes.get(*other).filter(|other| other.node.name != node.node.name) else { continue };
        let subject = Subject::Pod(pod.full_name().into());
        if pods::may_accuse(facts, found, &subject) {
            let place = Place { group: node.node.name.as_str().into(), ..Place::on_node(node, subject) };
            let violation = violation(node, pod, other, interface);
            found.suspicion(place, &pods::identity(&[pod]), seen_at, apart, violation);
        }
    }
}

fn violation(node: &NodeFacts<'_>, pod: &Pod, other: &NodeFacts<'_>, interface: &Interface) -> sink::Violation {
    let address = pod.address.map_or_else(|| "?".to_owned(), |address| address.to_string());
    sink::Violation {
        severity: Severity::Critical,
        message: format!(
            "{} has the address {address}, which is on {} of {}: what is sent to it arrives there",
            pod.full_name(),
            interface.id,
            other.node.name
        ),
        remediation: format!(
            "kubectl delete pod -n {} {} lets its successor get an address of {}; if other pods of the node follow, \
             replace it.",
            pod.namespace(),
            pod.name(),
            node.node.name
        ),
        evidence: vec![
            sink::evidence("address", address),
            sink::evidence(POD_UID, pod.uid()),
            sink::evidence("interface", &interface.id),
            sink::evidence("otherNode", &other.node.name),
        ],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        outcome::RuleAnswer,
        source::{FaultCategory, Reading, Source},
        tests::addresses::{answer, cluster, once, pod_mut, proven},
    };

    const CODE: &str = "IPAM402";

    #[test]
    fn an_address_of_another_node_is_a_finding_of_this_rule_alone() {
        let mut snapshot = cluster();
        // The last address of node 1, which no pod has.
        pod_mut(&mut snapshot, "resizer-0-1").address = Some([10, 0, 0, 17].into());
        let messages = proven(&snapshot, CODE);
        assert_eq!(
            messages,
            [
                "shop/resizer-0-1 has the address 10.0.0.17, which is on eni-1-0 of node-1: what is sent to it arrives there"
            ]
        );
        assert_eq!(proven(&snapshot, "IPAM401"), Vec::<String>::new());
    }

    #[test]
    fn addresses_of_the_own_node_are_right() {
        assert_eq!(proven(&cluster(), CODE), Vec::<String>::new());
    }

    #[test]
    fn without_pods_it_cannot_tell() {
        let mut snapshot = cluster();
        snapshot.pods = Reading::missing(FaultCategory::Denied, "denied");
        let answer = answer(&once(&snapshot), CODE);
        assert_eq!(answer, RuleAnswer::Inconclusive { missing: vec![Source::Pods], suspects: 0 });
    }
}
