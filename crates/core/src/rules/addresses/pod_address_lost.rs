//! IPAM401: a running pod whose address no interface has.

use jiff::{SignedDuration, Timestamp};

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
    snapshot::{BranchUse, Pod},
};

rule! {
    /// A running pod has an address that is on no interface of its node.
    ///
    /// ## What it means
    ///
    /// The pod looks well, and nothing reaches it: the VPC delivers packets for an address to the interface that has
    /// it, and none does, or one of something else. Its probes still pass, because kubelet talks to it inside the node.
    ///
    /// ## Why it happens
    ///
    /// The CNI's own record of addresses and EC2's went apart: an interface or an address was taken away behind the
    /// CNI's back, an old version gave a prefix back while pods used it, or a state file outlived a restart of the
    /// node.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get pod -n NAMESPACE POD -o jsonpath='{.status.podIP} {.spec.nodeName}'
    /// aws ec2 describe-network-interfaces --filters Name=addresses.private-ip-address,Values=ADDRESS
    /// aws ec2 describe-network-interfaces --filters Name=attachment.instance-id,Values=INSTANCE \
    ///     --query 'NetworkInterfaces[].[NetworkInterfaceId,PrivateIpAddresses[].PrivateIpAddress,Ipv4Prefixes]'
    /// ```
    ///
    /// ## What to do
    ///
    /// Delete the pod: its successor gets an address that exists. If more pods of the node follow, cordon and replace
    /// the node, and keep the CNI's log of it (`/var/log/aws-routed-eni/ipamd.log`).
    ///
    /// ## What it costs
    ///
    /// A restart of the pod.
    ///
    /// ## When it fires
    ///
    /// The address of a running pod is neither a secondary address nor in a prefix of any interface of its node (for a
    /// pod with a branch interface: not the branch's own), in two readings at least
    /// `spec.thresholds.suspicionSeconds` (default 60) apart. Pods that are younger than two minutes or on their way out, and
    /// addresses outside of the VPC's subnets, are not judged.
    pub PodAddressLost;
    code: "IPAM401",
    name: "pod-address-lost",
    severity: Critical,
    condition: AddressesReconciled,
    sources: [Nodes, Pods, AwsNode, Subnets, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations<'_>) {
    let Some(seen_at) = pods::seen_at(facts) else { return };
    let apart = SignedDuration::from_secs(policy.thresholds.suspicion_seconds.into());
    let mut suspect = |node: &NodeFacts<'_>, pod: &Pod, whose: String| {
        let subject = Subject::Pod(pod.full_name().into());
        if pods::may_accuse(facts, found, &subject) {
            let place = Place { group: node.node.name.as_str().into(), ..Place::on_node(node, subject) };
            found.suspicion(place, &pods::identity(&[pod]), seen_at, apart, violation(node, pod, &whose));
        }
    };
    let mut carriers = None;
    for (node, pod) in pods::strays(facts, seen_at) {
        match carriers.get_or_insert_with(|| Carriers::of(facts)).find(pod) {
            None => suspect(node, pod, "which no interface has".to_owned()),
            Some((at, interface)) => match facts.owners.get(at) {
                // Another node's: a finding of its own.
                Some(Owner::Node(other)) if !is_at(facts, *other, node) => {}
                owner => suspect(node, pod, whose(interface, owner)),
            },
        }
    }
    for (node, pod, branch) in on_wrong_branch(facts, seen_at) {
        suspect(node, pod, format!("which is not that of its branch interface {}", branch.id));
    }
}

fn is_at(facts: &Facts<'_>, index: usize, node: &NodeFacts<'_>) -> bool {
    facts.nodes.get(index).is_some_and(|other| other.node.name == node.node.name)
}

fn whose(interface: &Interface, owner: Option<&Owner>) -> String {
    match owner {
        Some(Owner::Node(_)) => format!("which is the own one of its node's interface {}", interface.id),
        Some(Owner::Other(who)) => format!("which {} has ({})", interface.id, who.name()),
        Some(Owner::Branch) => format!("which the branch interface {} has", interface.id),
        _ => format!("which the unattached interface {} has", interface.id),
    }
}

/// Pods whose branch interface is there and has not their address.
fn on_wrong_branch<'f, 'a>(
    facts: &'f Facts<'a>,
    seen_at: Timestamp,
) -> impl Iterator<Item = (&'f NodeFacts<'a>, &'a Pod, &'a Interface)> {
    let branched = move |pod: &&Pod| matches!(pod.branch(), BranchUse::Has(_)) && pods::is_settled(pod, seen_at);
    let all = facts.pods.iter().flat_map(|pods| pods.with_branch.iter().copied()).filter(branched);
    let judged = all.filter_map(|pod| {
        let name = pod.node()?;
        let at = facts.nodes.binary_search_by(|node| node.node.name.cmp(name)).ok()?;
        let node = facts.nodes.get(at).filter(|node| pods::is_served(node))?;
        Some((node, pod, pods::branch_of(facts, pod)?))
    });
    judged.filter(|(_, pod, branch)| pod.address.is_some() && branch.primary.is_some() && pod.address != branch.primary)
}

fn violation(node: &NodeFacts<'_>, pod: &Pod, whose: &str) -> sink::Violation {
    let address = pod.address.map_or_else(|| "?".to_owned(), |address| address.to_string());
    sink::Violation {
        severity: Severity::Critical,
        message: format!(
            "{} has the address {address}, {whose}: nothing reaches it from outside of its node",
            pod.full_name()
        ),
        remediation: format!(
            "kubectl delete pod -n {} {} lets its successor get an address that exists; if other pods of {} follow, \
             replace the node.",
            pod.namespace(),
            pod.name(),
            node.node.name
        ),
        evidence: vec![
            sink::evidence("address", address),
            sink::evidence(POD_UID, pod.uid()),
            sink::evidence("instance", node.node.instance.as_ref().map_or("?", |instance| instance.as_str())),
        ],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        outcome::{ConditionStatus, ConditionType, RuleAnswer},
        snapshot::PodPhase,
        source::{FaultCategory, Reading, Source},
        tests::{
            addresses::{answer, cluster, of, once, pod_mut, proven, twice, with_branch},
            fixtures::now,
        },
    };

    const CODE: &str = "IPAM401";

    #[test]
    fn an_address_that_no_interface_has_is_a_finding_at_the_second_look() {
        let mut snapshot = cluster();
        pod_mut(&mut snapshot, "resizer-0-1").address = Some([10, 0, 0, 77].into());
        let first = once(&snapshot);
        assert_eq!(of(&first, CODE), []);
        assert_eq!(answer(&first, CODE), RuleAnswer::Inconclusive { missing: Vec::new(), suspects: 1 });
        assert_eq!(of(&twice(&snapshot, 59), CODE), [], "one reading's distance is not enough");
        let outcome = twice(&snapshot, 60);
        let finding = &of(&outcome, CODE)[0];
        assert_eq!(
            finding.message,
            "shop/resizer-0-1 has the address 10.0.0.77, which no interface has: nothing reaches it from outside of its \
             node"
        );
        assert!(finding.remediation.starts_with("kubectl delete pod -n shop resizer-0-1 lets"));
        let node = outcome.nodes.iter().find(|node| node.name.as_str() == "node-0").unwrap();
        let condition = node.conditions.iter().find(|one| one.kind == ConditionType::AddressesReconciled).unwrap();
        assert_eq!((condition.status, condition.reason), (ConditionStatus::False, "PodAddressLost"));
    }

    #[test]
    fn pods_that_come_go_or_have_no_pool_address_are_not_judged() {
        let changes: [fn(&mut crate::snapshot::PodFields); 5] = [
            |pod| pod.created_at = Some(now() + jiff::SignedDuration::from_secs(800)),
            |pod| pod.terminating = true,
            |pod| pod.host_network = true,
            |pod| pod.phase = PodPhase::Finished,
            |pod| pod.address = Some([192, 168, 3, 4].into()),
        ];
        for change in changes {
            let mut snapshot = cluster();
            let mut pod = pod_mut(&mut snapshot, "resizer-0-1");
            pod.address = Some([10, 0, 0, 77].into());
            change(&mut pod);
            drop(pod);
            assert_eq!(proven(&snapshot, CODE), Vec::<String>::new());
        }
    }

    #[test]
    fn a_branch_pod_has_the_address_of_its_branch() {
        let mut snapshot = cluster();
        with_branch(&mut snapshot, true);
        assert_eq!(proven(&snapshot, CODE), Vec::<String>::new());
        pod_mut(&mut snapshot, "resizer-0-0").address = Some([10, 0, 0, 5].into());
        let messages = proven(&snapshot, CODE);
        assert!(messages[0].contains("which is not that of its branch interface eni-branch"), "{messages:?}");
    }

    #[test]
    fn an_address_of_somebody_else_is_named() {
        let mut snapshot = cluster();
        let mut balancer = crate::tests::fixtures::interface("eni-elb", "subnet-1");
        balancer.description = "ELB app/shop".into();
        balancer.primary = Some([10, 0, 0, 77].into());
        crate::tests::addresses::interfaces(&mut snapshot).push(balancer);
        pod_mut(&mut snapshot, "resizer-0-1").address = Some([10, 0, 0, 77].into());
        let messages = proven(&snapshot, CODE);
        assert!(messages[0].contains("10.0.0.77, which eni-elb has (load-balancer)"), "{messages:?}");
    }

    #[test]
    fn without_interfaces_it_cannot_tell() {
        let mut snapshot = cluster();
        snapshot.ec2.interfaces = Reading::missing(FaultCategory::Denied, "denied");
        let answer = answer(&once(&snapshot), CODE);
        assert_eq!(answer, RuleAnswer::Inconclusive { missing: vec![Source::NetworkInterfaces], suspects: 0 });
    }
}
