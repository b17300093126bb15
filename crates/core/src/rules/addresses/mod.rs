//! Rules about addresses that are lost or leaked: codes 4xx.

mod addresses_stranded;
mod assignments_leaked;
mod books;
mod branch_without_pod;
mod branch_without_trunk;
mod branches;
mod cni_node_missing;
mod cni_node_orphaned;
mod cni_node_stale;
mod cni_nodes;
mod interface_leaked;
mod interface_outlives_node;
mod ipamd_counts_more;
mod ipamd_misses_addresses;
mod leak;
mod leaks_fill_subnet;
mod pod_address_elsewhere;
mod pod_address_lost;
mod pod_address_shared;
mod pods;
mod prefixes_sparse;
mod stopped_instance_holds_addresses;
mod unused_node_holds_addresses;
mod waste;

use super::Rule;

/// The rules of this area, sorted by code.
pub(super) const RULES: &[&dyn Rule] = &[
    &pod_address_lost::PodAddressLost,
    &pod_address_elsewhere::PodAddressElsewhere,
    &pod_address_shared::PodAddressShared,
    &interface_leaked::InterfaceLeaked,
    &leaks_fill_subnet::LeaksFillSubnet,
    &branch_without_pod::BranchWithoutPod,
    &branch_without_trunk::BranchWithoutTrunk,
    &cni_node_orphaned::CniNodeOrphaned,
    &cni_node_stale::CniNodeStale,
    &cni_node_missing::CniNodeMissing,
    &unused_node_holds_addresses::UnusedNodeHoldsAddresses,
    &addresses_stranded::AddressesStranded,
    &interface_outlives_node::InterfaceOutlivesNode,
    &stopped_instance_holds_addresses::StoppedInstanceHoldsAddresses,
    &prefixes_sparse::PrefixesSparse,
    &ipamd_counts_more::IpamdCountsMore,
    &ipamd_misses_addresses::IpamdMissesAddresses,
    &assignments_leaked::AssignmentsLeaked,
];

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use crate::{
        finding::Finding,
        inventory::InterfaceStatus,
        outcome::AuditOutcome,
        snapshot::{CniNode, PodPhase},
        source::Reading,
        tests::{
            addresses::{cluster, instance, interfaces, leaked, once, pod_mut, twice, with_branch},
            fixtures::{interface, now},
        },
    };

    fn of_this_area(outcome: &AuditOutcome) -> Vec<&Finding> {
        let nodes = outcome.nodes.iter().flat_map(|node| &node.findings);
        let subnets = outcome.subnets.iter().flat_map(|subnet| &subnet.findings);
        let all = outcome.findings.iter().chain(nodes).chain(subnets);
        all.filter(|finding| finding.code.starts_with("IPAM4")).collect()
    }

    #[test]
    fn what_is_odd_and_right_is_no_finding_however_long_it_is_looked_at() {
        let mut snapshot = cluster();
        with_branch(&mut snapshot, true);
        let mut finished = pod_mut(&mut snapshot, "resizer-0-1");
        (finished.phase, finished.finished_at) = (PodPhase::Finished, Some(now() - SignedDuration::from_hours(5)));
        drop(finished);
        pod_mut(&mut snapshot, "resizer-0-2").terminating = true;
        pod_mut(&mut snapshot, "resizer-1-0").host_network = true;
        pod_mut(&mut snapshot, "resizer-1-0").address = Some([10, 0, 0, 11].into());
        let foreign = leaked("eni-foreign", 300, &[("cluster.k8s.amazonaws.com/name", "staging")]);
        let mut free = interface("eni-spare", "subnet-1");
        (free.status, free.primary) = (InterfaceStatus::Available, Some([10, 0, 0, 240].into()));
        interfaces(&mut snapshot).extend([foreign, free]);
        let row = |at: u32| CniNode {
            instance: Some(format!("i-{at}").into()),
            ..CniNode::new(format!("node-{at}").into(), false)
        };
        snapshot.cni_nodes = Reading::fresh(vec![row(0), row(1)], now());
        snapshot.ec2.instances =
            Reading::fresh(vec![instance("i-0", "running", None), instance("i-1", "running", None)].into(), now());
        let outcome = twice(&snapshot, 30_000);
        assert_eq!(of_this_area(&outcome), Vec::<&Finding>::new());
        assert_eq!(outcome.suspects, []);
    }

    #[test]
    fn what_was_proven_stays_proven_when_the_first_look_is_forgotten() {
        let mut snapshot = cluster();
        interfaces(&mut snapshot).push(leaked("eni-leak", 300, &[]));
        let mut memory = twice(&snapshot, 900).memory;
        memory.suspicions.clear();
        let outcome = crate::engine::evaluate(&snapshot, &crate::policy::AuditPolicy::default(), &memory);
        assert_eq!(of_this_area(&outcome).len(), 1);
        assert_eq!(of_this_area(&once(&snapshot)).len(), 0);
    }
}
