//! IPAM202: a node on which the scheduler places pods that can never have an address.

use crate::{
    facts::{Facts, HOST_PODS, Kind, NodeFacts, interface_limit},
    finding::Severity,
    outcome::NodeCapacity,
    policy::AuditPolicy,
    rules::{Violations, sink},
    source::Source,
    text,
};

rule! {
    /// The node admits more pods than can have an address on it.
    ///
    /// ## What it means
    ///
    /// The scheduler goes by max-pods, the CNI by what the interfaces of the instance type hold. Here max-pods is the
    /// larger number: pods are placed that never start, and other nodes with room are not tried for them.
    ///
    /// ## Why it happens
    ///
    /// Every usual way to make max-pods (the list of the AMI, nodeadm, Karpenter) counts all interfaces of the type. It
    /// does not know what takes one away: custom networking keeps the primary interface from pods, security groups for
    /// pods need one for the trunk (from the moment they are switched on, also before it is attached), an interface
    /// tagged `node.k8s.amazonaws.com/no_manage` or for EFA alone is left alone, `MAX_ENI` caps them all. Or max-pods
    /// was set for prefixes on a type that cannot have them.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get node NODE -o jsonpath='{.status.allocatable.pods}{"\n"}'
    /// kubectl set env ds/aws-node -n kube-system --list | grep -E 'MAX_ENI|POD_ENI|CUSTOM_NETWORK|PREFIX_DELEGATION'
    /// aws ec2 describe-instance-types --instance-types TYPE \
    ///     --query 'InstanceTypes[].NetworkInfo.[NetworkCards[0].MaximumNetworkInterfaces,Ipv4AddressesPerInterface]' --output text
    /// ```
    ///
    /// ## What to do
    ///
    /// Give new nodes the max-pods that the finding names: `kubelet.maxPods` in the node configuration, or
    /// `RESERVED_ENIS` for Karpenter. Or switch on prefixes, with which one interface serves 16 times as many pods.
    /// Until the nodes are replaced, cordon those that are full.
    ///
    /// ## What it costs
    ///
    /// Pods beyond the smaller number move to other nodes: there may have to be more of them.
    ///
    /// ## When it fires
    ///
    /// Max-pods, less the pods that need no address (on the host's network, or with a branch interface; at least the two
    /// that every formula allows for), is larger than the number of pods that can have one. It is critical on a node that
    /// takes pods (Ready, not cordoned) and is full while max-pods still lets some in. Nodes younger than `spec.thresholds.settleSeconds` are left out.
    pub MaxPodsTooHigh;
    code: "IPAM202",
    name: "max-pods-too-high",
    severity: Critical,
    condition: CapacityAvailable,
    sources: [Nodes, Pods, AwsNode, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for node in facts.nodes.iter().filter(|node| !facts.is_young(node)) {
        match node.pod_capacity() {
            Some(capacity) if excess(node, capacity) > 0 => found.node(node, violation(node, capacity)),
            None if node.limits.is_none() => found.lacks(Source::InstanceTypes),
            None if super::sizing_is_unknown(node) => found.lacks(Source::AwsNode),
            Some(_) | None => {}
        }
    }
}

/// Pods beyond the addresses, two on the host's network allowed for even where they are not seen.
fn excess(node: &NodeFacts<'_>, capacity: NodeCapacity) -> u32 {
    capacity.unreachable.saturating_sub(HOST_PODS.saturating_sub(node.other_pods))
}

fn violation(node: &NodeFacts<'_>, capacity: NodeCapacity) -> sink::Violation {
    let NodeCapacity { addresses, schedulable, unreachable } = capacity;
    let max_pods = node.max_pods().unwrap_or_default();
    let takes_pods = !node.node.cordoned && node.node.state.ready != Some(false);
    let full = takes_pods && node.pool_pods.is_some_and(|pods| (addresses..schedulable).contains(&pods));
    sink::Violation {
        severity: if full { Severity::Critical } else { Severity::Warning },
        message: format!(
            "max-pods {} admits {} in need of an address and {} can have one: {} would never start{}; {}",
            text::thousands(max_pods),
            text::count(schedulable, "pod"),
            text::thousands(addresses),
            text::thousands(unreachable),
            if full { ", and the node is full" } else { "" },
            why(node),
        ),
        remediation: format!(
            "Set max-pods to {} on nodes like this one{}.",
            text::known(node.fitting_max_pods()),
            if full { ", and cordon this one until it is replaced" } else { "" },
        ),
        evidence: vec![
            sink::evidence("maxPods", max_pods),
            sink::evidence("addresses", addresses),
            sink::evidence("schedulable", schedulable),
            sink::evidence("unreachable", unreachable),
            sink::evidence("podsWithoutNeed", node.other_pods),
        ],
    }
}

/// What took the interfaces that max-pods counts.
fn why(node: &NodeFacts<'_>) -> String {
    let Some(kind) = Kind::of(node) else { return "its interfaces are not known".to_owned() };
    let lost = kind.lost();
    let limit = text::known(node.limits.as_ref().and_then(interface_limit));
    let reasons: Vec<String> = [
        lost.custom_networking.then(|| "custom networking keeps the primary interface from pods".to_owned()),
        lost.trunk.then(|| format!("the trunk takes one of {limit} interfaces")),
        (lost.unmanaged > 0).then(|| {
            let verb = text::verb(lost.unmanaged, "is", "are");
            format!("{} {verb} left alone by the CNI", text::count(lost.unmanaged, "interface"))
        }),
        lost.max_eni.map(|cap| format!("MAX_ENI={cap} of {limit} interfaces")),
        kind.ignores_prefixes().then(|| "its type cannot have prefixes".to_owned()),
    ]
    .into_iter()
    .flatten()
    .collect();
    if reasons.is_empty() {
        return "it is not made from the limits of its instance type".to_owned();
    }
    text::list(&reasons, "and", reasons.len())
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        inventory::InterfaceKind,
        outcome::RuleAnswer,
        source::{FaultCategory, Reading, Source},
        tests::{
            fixtures::Cluster,
            nodes::{answer, findings, host_pods},
        },
    };

    const SGP: &[(&str, &str)] = &[("WARM_IP_TARGET", "3"), ("MINIMUM_IP_TARGET", "10"), ("ENABLE_POD_ENI", "true")];

    #[test]
    fn a_reserved_trunk_makes_the_classic_figure_wrong() {
        let snapshot = host_pods(2, Cluster::new("10.0.0.0/20", SGP).node("m5.large", 29, &[9, 1], 6).snapshot());
        let found = findings("IPAM202", &snapshot);
        assert_eq!(found[0].severity, Severity::Warning);
        assert_eq!(
            found[0].message,
            "max-pods 29 admits 27 pods in need of an address and 18 can have one: 9 would never start; the trunk takes \
             one of 3 interfaces"
        );
        assert_eq!(found[0].remediation, "Set max-pods to 20 on nodes like this one.");
    }

    #[test]
    fn a_full_node_with_room_by_max_pods_hurts_now() {
        let cluster = Cluster::new("10.0.0.0/20", SGP).node("m5.large", 29, &[9, 9], 18);
        let found = findings("IPAM202", &host_pods(2, cluster.snapshot()));
        assert_eq!(found[0].severity, Severity::Critical);
        assert!(found[0].message.contains("and the node is full"), "{}", found[0].message);
        assert!(found[0].remediation.ends_with("cordon this one until it is replaced."), "{}", found[0].remediation);
    }

    #[test]
    fn interfaces_of_others_and_a_cap_are_named() {
        let capped = &[("MAX_ENI", "3"), ("WARM_ENI_TARGET", "1")];
        let mut snapshot = Cluster::new("10.0.0.0/20", capped).node("m5.xlarge", 58, &[14, 14, 0], 3).snapshot();
        let interfaces = &mut snapshot.ec2.interfaces.last_good.as_mut().unwrap().value;
        interfaces[2].kind = InterfaceKind::EfaOnly;
        let found = findings("IPAM202", &host_pods(2, snapshot));
        let why = "1 interface is left alone by the CNI and MAX_ENI=3 of 4 interfaces";
        assert!(found[0].message.ends_with(why), "{}", found[0].message);
        assert!(found[0].message.contains("admits 56 pods in need of an address and 28 can"), "{}", found[0].message);
    }

    #[test]
    fn the_usual_figure_on_a_usual_node_is_right() {
        let cluster = Cluster::new("10.0.0.0/20", &[("WARM_ENI_TARGET", "1")]).node("m5.large", 29, &[9], 0);
        assert!(findings("IPAM202", &cluster.snapshot()).is_empty(), "even before its host-network pods are seen");
    }

    #[test]
    fn branch_pods_that_exist_fill_slots_that_need_no_address() {
        let mut snapshot = host_pods(2, Cluster::new("10.0.0.0/20", SGP).node("m5.large", 29, &[9, 1], 6).snapshot());
        let pods = &mut snapshot.pods.last_good.as_mut().unwrap().value;
        let like = pods[0].clone();
        pods.extend((0..9).map(|at| {
            let branch = crate::snapshot::BranchUse::Has(format!("eni-branch-{at}").into());
            crate::snapshot::PodFields { branch, name: format!("branch-{at}").into(), ..like.fields() }.into()
        }));
        assert!(findings("IPAM202", &snapshot).is_empty());
    }

    #[test]
    fn without_interfaces_it_cannot_tell() {
        let mut snapshot = Cluster::new("10.0.0.0/20", SGP).node("m5.large", 29, &[9, 1], 6).snapshot();
        snapshot.ec2.interfaces = Reading::missing(FaultCategory::Denied, "not allowed");
        let missing = vec![Source::NetworkInterfaces];
        assert_eq!(answer("IPAM202", &snapshot), RuleAnswer::Inconclusive { missing, suspects: 0 });
    }
}
