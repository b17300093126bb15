//! Which pods' addresses can be judged at all, and when they were seen.
//!
//! Pods and interfaces are never read at one instant: a pod that is younger than EC2's view, or on its way out, proves
//! nothing. Whatever is left is still only a suspicion until a later look shows the same.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use crate::{
    facts::{Facts, NodeFacts},
    finding::Subject,
    inventory::Interface,
    net::Prefix28,
    rows::Rows,
    rules::Violations,
    snapshot::{BranchUse, Pod, PodPhase},
    source::Source,
};

/// A pod, and an address that it got, are older than this before they are judged: EC2's own lag and the start of a pod.
const YOUNG: SignedDuration = SignedDuration::from_mins(2);

/// When both pods and interfaces were seen: the older of the two views.
pub(super) fn seen_at(facts: &Facts<'_>) -> Option<Timestamp> {
    Some(facts.as_of(Source::Pods)?.min(facts.as_of(Source::NetworkInterfaces)?))
}

/// Whether a view of EC2 that may lack interfaces is no reason to accuse anybody anew.
pub(super) fn may_accuse(facts: &Facts<'_>, found: &Violations<'_>, subject: &Subject) -> bool {
    !facts.is_failing(Source::NetworkInterfaces) || found.was_open(subject)
}

/// Whether a pod's address stands for something: it runs, stays, and is older than the data.
pub(super) fn is_settled(pod: &Pod, seen_at: Timestamp) -> bool {
    let old = pod.created_at().is_none_or(|created| seen_at.duration_since(created) >= YOUNG);
    old && pod.phase == PodPhase::Running && !pod.terminating && !pod.host_network()
}

/// Whether the VPC CNI gives the pods of a node their addresses, as far as is seen.
pub(super) fn is_served(node: &NodeFacts<'_>) -> bool {
    let has_interfaces = node.interfaces.as_ref().is_some_and(|list| !list.is_empty());
    has_interfaces && node.cni.as_ref().is_some_and(|cni| !cni.is_ipv6())
}

/// Pods whose address is on none of their node's interfaces, and which may be judged.
pub(super) fn strays<'f, 'a>(
    facts: &'f Facts<'a>,
    seen_at: Timestamp,
) -> impl Iterator<Item = (&'f NodeFacts<'a>, &'a Pod)> {
    let nodes = facts.nodes.iter().filter(|node| is_served(node));
    let pods =
        nodes.flat_map(|node| node.pool.iter().flat_map(move |pool| pool.strays.iter().map(move |pod| (node, *pod))));
    pods.filter(move |(_, pod)| is_settled(pod, seen_at) && is_of_vpc(facts, pod))
}

/// Whether an address is in a range of the VPC's subnets: others are another CNI's business.
fn is_of_vpc(facts: &Facts<'_>, pod: &Pod) -> bool {
    let mut ranges = facts.snapshot.ec2.subnets.value().into_iter().flatten().filter_map(|subnet| subnet.cidr);
    pod.address.is_some_and(|address| ranges.any(|range| range.contains(&address)))
}

/// Interfaces by the addresses that they have.
#[derive(Debug)]
pub(super) struct Carriers<'a> {
    singles: HashMap<u32, usize>,
    prefixes: HashMap<Prefix28, usize>,
    interfaces: &'a Rows<Interface>,
}

impl<'a> Carriers<'a> {
    pub(super) fn of(facts: &Facts<'a>) -> Self {
        let interfaces = facts.snapshot.ec2.interfaces.value().unwrap_or(Rows::NONE);
        let mut carriers = Self { singles: HashMap::new(), prefixes: HashMap::new(), interfaces };
        for (at, interface) in interfaces.iter().enumerate() {
            let singles = interface.primary.iter().chain(&interface.secondary);
            carriers.singles.extend(singles.map(|address| (u32::from(*address), at)));
            carriers.prefixes.extend(interface.prefixes.iter().map(|prefix| (*prefix, at)));
        }
        carriers
    }

    /// The interface that has an address, and its place among all.
    pub(super) fn find(&self, pod: &Pod) -> Option<(usize, &'a Interface)> {
        let address = pod.address?;
        let single = self.singles.get(&u32::from(address));
        let at = *single.or_else(|| self.prefixes.get(&Prefix28::containing(address)))?;
        Some((at, self.interfaces.get(at)?))
    }
}

/// What must not change between two looks at pods: who they are and the address they have.
pub(super) fn identity(pods: &[&Pod]) -> String {
    let mut uids: Vec<String> = pods.iter().map(|pod| pod.uid().to_string()).collect();
    uids.sort_unstable();
    let address = pods.first().and_then(|pod| pod.address).map_or_else(String::new, |address| address.to_string());
    format!("{} {address}", uids.join(","))
}

/// The branch interface of a pod, if it has one.
pub(super) fn branch_of<'a>(facts: &Facts<'a>, pod: &Pod) -> Option<&'a Interface> {
    let BranchUse::Has(id) = &pod.branch() else { return None };
    facts.pod_groups.interface(id)
}
