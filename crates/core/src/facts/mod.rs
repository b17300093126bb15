//! What follows from a snapshot and nothing else: who owns each interface, what each node holds, where each subnet's
//! addresses went. Computed once per evaluation and shared by all rules, so that "held", "idle" and "free" mean one
//! thing everywhere.
//!
//! A fact that its sources do not support is `None`, never zero.

mod advice;
mod blocks;
mod capacity;
mod cluster;
mod cni;
pub(crate) mod demand;
pub(crate) mod discovery;
pub(crate) mod eni_config;
mod growth;
pub(crate) mod installation;
mod ipamd;
pub(crate) mod karpenter;
mod ledger;
pub(crate) mod lookup;
mod model;
mod next_subnet;
mod node;
pub(crate) mod owner;
mod pods;
mod pool;
pub(crate) mod routes;
pub(crate) mod sgp;
mod subnet;
pub(crate) mod trunk;

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;

use crate::{
    ids::{NodeName, SubnetId},
    inventory::Subnet,
    memory::Memory,
    outcome::ClusterName,
    policy::AuditPolicy,
    snapshot::ClusterSnapshot,
    source::{Source, SourceState},
};

pub(crate) use advice::{Advice, NodeAdvice};
#[cfg(test)]
pub(crate) use blocks::Holder;
pub(crate) use blocks::{Blocks, Reservation};
pub(crate) use capacity::HOST_PODS;
pub use cni::{Cni, branch_limit, interface_limit};
pub(crate) use discovery::Discovery;
pub(crate) use eni_config::CustomNetworking;
pub(crate) use growth::Growth;
pub(crate) use ipamd::{Answer, Books};
use ledger::Ledgers;
pub use ledger::{PoolInterface, Uses};
pub(crate) use model::{Kind, Obstacle, Shape};
pub use node::NodeFacts;
pub use owner::Owner;
pub use pool::Pool;
pub use subnet::SubnetFacts;
pub use trunk::{TrunkFacts, TrunkSignals};

/// All facts of one snapshot.
#[derive(Debug)]
pub struct Facts<'a> {
    /// What they follow from.
    pub snapshot: &'a ClusterSnapshot,
    /// What the user decided.
    pub policy: &'a AuditPolicy,
    /// What earlier looks left.
    pub memory: &'a Memory,
    /// What is known of each source that is collected.
    pub sources: Vec<SourceState>,
    /// Its pods; none while they are missing.
    pub(crate) pods: Option<pods::PodIndex<'a>>,
    /// Nodes whose addresses the VPC CNI manages, sorted by name.
    pub nodes: Vec<NodeFacts<'a>>,
    /// The owner of each of EC2's interfaces, in their order; empty while they are missing.
    pub owners: Vec<Owner>,
    /// The name of this cluster, and what tells it.
    pub cluster: Option<ClusterName>,
    /// All that this cluster is called, by its user, by its CNI and by the tags of its nodes' interfaces and instances. Often none.
    pub cluster_names: BTreeSet<Arc<str>>,
    /// Subnets that hold an interface of such a node, sorted by id. Empty while subnets or interfaces are missing.
    pub subnets: Vec<SubnetFacts<'a>>,
    /// Subnets without such an interface that have another role: an ENIConfig in use names them, subnet discovery would
    /// use them, or the control plane is there. Sorted by id; no total counts them.
    pub further_subnets: Vec<SubnetFacts<'a>>,
    /// The VPC CNI as it is installed; none while its DaemonSet is not known.
    pub(crate) installation: Option<installation::Installation<'a>>,
    /// Which settings would help whom.
    pub(crate) advice: Advice,
    /// Karpenter, where the cluster has it.
    pub(crate) karpenter: karpenter::Karpenter<'a>,
    /// Security groups for pods, where the cluster uses them.
    pub(crate) pod_groups: sgp::PodGroups<'a>,
    /// Which ENIConfig each node uses.
    pub(crate) custom_networking: CustomNetworking<'a>,
    /// Which subnets each node without an ENIConfig tries for its next interface.
    pub(crate) discovery: Discovery<'a>,
    /// Every subnet that EC2 shows, whether it has a role or not; empty while they are missing.
    subnet_rows: lookup::Map<&'a SubnetId, &'a Subnet>,
}

impl<'a> Facts<'a> {
    /// Derives them.
    pub fn of(snapshot: &'a ClusterSnapshot, policy: &'a AuditPolicy, memory: &'a Memory) -> Self {
        let (mut nodes, pods) = node::all(snapshot);
        mark_young(&mut nodes, snapshot, policy);
        ipamd::add(&mut nodes, snapshot);
        let cluster = cluster::name(snapshot, &nodes, policy);
        let cluster_names = owner::cluster_names(snapshot, &nodes, cluster.as_ref());
        let owners = owner::all(snapshot, &nodes, pods.as_ref(), &cluster_names);
        let installation = installation::Installation::of(snapshot, &nodes);
        let advice = Advice::of(&nodes, policy);
        let karpenter = karpenter::Karpenter::of(snapshot, &nodes);
        let pod_groups = sgp::PodGroups::of(snapshot, &nodes);
        let sources = snapshot.sources();
        let custom_networking = CustomNetworking::of(snapshot, &nodes);
        let discovery = Discovery::of(snapshot, &nodes);
        let demands = demand::Demands::of(snapshot, &nodes, &custom_networking, &discovery, cluster.as_ref());
        let ledgers = snapshot.ec2.interfaces.value().map(|interfaces| Ledgers::of(&nodes, interfaces, &owners));
        let (subnets, further_subnets) =
            subnet::all(snapshot, demands, ledgers.unwrap_or_default(), &owners, policy, memory);
        let rows = snapshot.ec2.subnets.value().map_or(&[][..], Vec::as_slice);
        Self {
            snapshot,
            policy,
            memory,
            sources,
            pods,
            nodes,
            owners,
            cluster,
            cluster_names,
            subnets,
            further_subnets,
            installation,
            advice,
            karpenter,
            pod_groups,
            custom_networking,
            discovery,
            subnet_rows: rows.iter().map(|subnet| (&subnet.id, subnet)).collect(),
        }
    }

    /// The facts of one subnet.
    pub fn subnet(&self, id: &SubnetId) -> Option<&SubnetFacts<'a>> {
        [&self.subnets, &self.further_subnets].into_iter().find_map(|list| {
            let found = list.binary_search_by(|facts| facts.subnet.id.cmp(id));
            found.ok().and_then(|index| list.get(index))
        })
    }

    /// A subnet as EC2 reports it, in the audit or not.
    pub(crate) fn subnet_row(&self, id: &SubnetId) -> Option<&'a Subnet> {
        self.subnet_rows.get(id).copied()
    }

    /// Every subnet with a role.
    pub fn every_subnet(&self) -> impl Iterator<Item = &SubnetFacts<'a>> {
        self.subnets.iter().chain(&self.further_subnets)
    }

    /// Whether a source was never read, or is not collected at all.
    pub fn is_missing(&self, source: Source) -> bool {
        self.sources.iter().find(|state| state.source == source).is_none_or(SourceState::is_missing)
    }

    /// Whether a node was so young when EC2 was last read that what it holds is not what it will hold.
    #[expect(clippy::unused_self, reason = "a question to the facts, like the others")]
    pub(crate) fn is_young(&self, node: &NodeFacts<'_>) -> bool {
        node.young
    }

    /// When a source was last read.
    pub fn as_of(&self, source: Source) -> Option<Timestamp> {
        self.sources.iter().find(|state| state.source == source)?.as_of
    }

    /// Whether the newest attempt to read a source failed, whatever is known from before.
    pub fn is_failing(&self, source: Source) -> bool {
        self.sources.iter().any(|state| state.source == source && state.fault.is_some())
    }

    /// Pods per node that wait for an address, in the nodes' order.
    pub fn waiting_pods(&self) -> u32 {
        self.nodes.iter().map(|node| node.waiting.len()).sum::<usize>().try_into().unwrap_or(u32::MAX)
    }
}

/// By when EC2 was last read: what a node got since is not seen yet.
fn mark_young(nodes: &mut [NodeFacts<'_>], snapshot: &ClusterSnapshot, policy: &AuditPolicy) {
    let now = snapshot.taken_at;
    let seen = snapshot.ec2.interfaces.as_of().map_or(now, |seen| seen.min(now));
    for node in nodes {
        let born = [node.node.created_at, node.node.state.ready_since].into_iter().flatten().min();
        let settle = jiff::SignedDuration::from_secs(policy.for_node(node.node).settle_seconds.into());
        node.young = born.is_some_and(|born| seen.duration_since(born) < settle);
    }
}

/// Names of nodes by what finds them.
type NodeIndex<'a> = lookup::Map<&'a NodeName, usize>;
