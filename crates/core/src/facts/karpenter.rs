//! Karpenter as far as addresses depend on it: its controller, and for each of its node classes the NodePools that use it,
//! the instance types they may launch and the subnets they launch into.
//!
//! A cluster without Karpenter costs one look at its Deployments. What a missing source hides is not guessed:
//! [`Karpenter::is_here`] says whether a rule has to admit that it cannot tell.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Cni, Facts, HOST_PODS, NodeFacts, cni, model::Kind};
use crate::{
    cni::Setting,
    ids::{InstanceType, Zone},
    inventory::Subnet,
    limits::{InterfaceLimits, Limits},
    snapshot::{ClusterSnapshot, EnvValue, Node, NodeClass, NodePool, Platform, Workload},
};

/// The label of nodes that Karpenter made.
const POOL_LABEL: &str = "karpenter.sh/nodepool";
/// The requirement that names instance types.
const TYPE_KEY: &str = "node.kubernetes.io/instance-type";
/// Requirements that a type's name alone answers: family and size are its two parts.
const FAMILY_KEY: &str = "karpenter.k8s.aws/instance-family";
const SIZE_KEY: &str = "karpenter.k8s.aws/instance-size";

/// Karpenter in this cluster.
#[derive(Debug, Default)]
pub(crate) struct Karpenter<'a> {
    /// The node classes, sorted by name; empty where there are none or where they are not known.
    pub(crate) classes: Vec<ClassFacts<'a>>,
    /// What new nodes run: the CNI as the DaemonSet's template has it.
    pub(crate) cni: Option<Arc<Cni>>,
    controller: Option<&'a Workload>,
    made_nodes: bool,
}

/// A node class and what hangs on it.
#[derive(Debug)]
pub(crate) struct ClassFacts<'a> {
    /// The object.
    pub(crate) class: &'a NodeClass,
    /// NodePools that use it, sorted by name.
    pub(crate) pools: Vec<PoolFacts<'a>>,
    /// Its subnets that EC2 shows, by zone.
    pub(crate) zones: BTreeMap<&'a Zone, Vec<&'a Subnet>>,
}

/// A NodePool, its nodes and what it may launch.
#[derive(Debug)]
pub(crate) struct PoolFacts<'a> {
    /// The object.
    pub(crate) pool: &'a NodePool,
    /// Its nodes, by index.
    pub(crate) nodes: Vec<usize>,
    /// Types that its requirements name, else those of its nodes: others that it may launch are not known here.
    pub(crate) types: BTreeSet<&'a str>,
}

/// What `RESERVED_ENIS` of the controller says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReservedInterfaces {
    /// This many.
    Known(u32),
    /// The controller, or the variable's value, cannot be read.
    Unknown,
}

impl<'a> Karpenter<'a> {
    /// From the snapshot and the facts of its nodes.
    pub(super) fn of(snapshot: &'a ClusterSnapshot, nodes: &[NodeFacts<'a>]) -> Self {
        let objects = &snapshot.objects;
        let controller = objects.deployments.value().and_then(|all| all.iter().find(|one| one.is_karpenter()));
        let (classes, pools) = (objects.node_classes.value(), objects.node_pools.value());
        let has_objects = classes.is_some_and(|all| !all.is_empty());
        // Labels tell of a Karpenter whose objects are not read; looking for them costs a look at every node.
        let made_nodes = !has_objects && (classes.is_none() || pools.is_none()) && nodes.iter().any(is_from_pool);
        if controller.is_none() && !has_objects && !made_nodes {
            return Self::default();
        }
        let cni = snapshot.aws_node.value().map(|aws_node| Arc::new(Cni::of(&aws_node.template)));
        let classes = classes.map_or_else(Vec::new, |classes| join(classes, snapshot, nodes));
        Self { classes, cni, controller, made_nodes }
    }

    /// Whether the cluster has a Karpenter, whatever of it can be read.
    pub(crate) fn is_here(&self) -> bool {
        self.controller.is_some() || !self.classes.is_empty() || self.made_nodes
    }

    /// Its Deployment, where one is seen.
    pub(crate) fn controller(&self) -> Option<&'a Workload> {
        self.controller
    }

    /// The class that a NodePool uses.
    pub(crate) fn class_of_pool(&self, pool: &str) -> Option<&ClassFacts<'a>> {
        self.classes.iter().find(|class| class.pools.iter().any(|one| *one.pool.name == *pool))
    }

    /// Interfaces that the controller is told to leave out of its arithmetic; 0 by default.
    pub(crate) fn reserved_interfaces(&self) -> ReservedInterfaces {
        let Some(controller) = self.controller else { return ReservedInterfaces::Unknown };
        match controller.env.values.get("RESERVED_ENIS") {
            None => ReservedInterfaces::Known(0),
            Some(EnvValue::Literal(text)) => {
                text.trim().parse().map_or(ReservedInterfaces::Unknown, ReservedInterfaces::Known)
            }
            Some(EnvValue::Unresolved(_)) => ReservedInterfaces::Unknown,
        }
    }

    /// What new nodes have for a feature; none while that cannot be read.
    pub(crate) fn new_nodes_use(&self, feature: Feature) -> Option<bool> {
        let cni = self.cni.as_ref()?;
        let (setting, variable): (&Setting<bool>, _) = match feature {
            Feature::CustomNetworking => (&cni.config().custom_networking, "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG"),
            Feature::BranchInterfaces => (&cni.config().pod_eni, "ENABLE_POD_ENI"),
            Feature::Prefixes => (&cni.config().prefix_delegation, "ENABLE_PREFIX_DELEGATION"),
        };
        (!cni.lacks(&[variable])).then(|| setting.value_or(false))
    }

    /// Pods that can have an address of a new node's pool, by the model; none for types that nobody knows.
    pub(crate) fn capacity(&self, limits: InterfaceLimits) -> Option<u32> {
        Kind::of_type(Arc::clone(self.cni.as_ref()?), limits).capacity()
    }
}

/// Features of the CNI that Karpenter does not look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feature {
    CustomNetworking,
    BranchInterfaces,
    Prefixes,
}

impl ClassFacts<'_> {
    /// Addresses that a new node of the class takes in its subnet at its start, at most; none while that is not known.
    ///
    /// Under custom networking it is the node's own address: pods have theirs elsewhere.
    pub(crate) fn need(&self, facts: &Facts<'_>) -> Option<u32> {
        if facts.karpenter.new_nodes_use(Feature::CustomNetworking)? {
            return Some(1);
        }
        self.zones.values().flatten().filter_map(|subnet| facts.subnet(&subnet.id)?.new_node_takes).max()
    }

    /// Types that its pools may launch, each once, with the pool that may.
    pub(crate) fn types(&self) -> BTreeMap<&str, &PoolFacts<'_>> {
        let mut types = BTreeMap::new();
        for pool in &self.pools {
            for kind in &pool.types {
                types.entry(*kind).or_insert(pool);
            }
        }
        types
    }
}

impl PoolFacts<'_> {
    /// Pods of its nodes that do not take addresses of the pool, where there are fewest of them.
    pub(crate) fn host_pods(&self, nodes: &[NodeFacts<'_>]) -> u32 {
        let other = self.nodes.iter().filter_map(|&at| nodes.get(at)).map(|node| node.other_pods);
        other.min().unwrap_or_default().max(HOST_PODS)
    }

    /// Pods on its nodes that have a branch.
    pub(crate) fn branches(&self, nodes: &[NodeFacts<'_>]) -> u32 {
        let trunks = self.nodes.iter().filter_map(|&at| nodes.get(at)?.trunk);
        trunks.map(|trunk| trunk.branches).sum()
    }
}

/// The limits of a type, from EC2 or the table.
pub(crate) fn limits_of(snapshot: &ClusterSnapshot, kind: &str) -> Option<Limits> {
    let kind = InstanceType::from(kind);
    let from_ec2 = snapshot.ec2.instance_types.value().and_then(|types| types.iter().find(|row| row.name == kind));
    cni::limits(&kind, from_ec2)
}

/// EKS Auto Mode has its own NodePools, which the CNI's settings do not touch.
fn is_from_pool(facts: &NodeFacts<'_>) -> bool {
    facts.node.platform == Platform::LinuxEc2 && pool_of(facts.node).is_some()
}

fn pool_of(node: &Node) -> Option<&str> {
    node.label(POOL_LABEL)
}

fn join<'a>(classes: &'a [NodeClass], snapshot: &'a ClusterSnapshot, nodes: &[NodeFacts<'a>]) -> Vec<ClassFacts<'a>> {
    let pools = snapshot.objects.node_pools.value().map_or(&[][..], Vec::as_slice);
    let mut by_pool: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, node) in nodes.iter().enumerate() {
        if let Some(pool) = pool_of(node.node) {
            by_pool.entry(pool).or_default().push(at);
        }
    }
    let subnets: BTreeMap<_, &Subnet> =
        snapshot.ec2.subnets.value().into_iter().flatten().map(|subnet| (&subnet.id, subnet)).collect();
    let mut joined: Vec<ClassFacts<'a>> = Vec::with_capacity(classes.len());
    for class in classes {
        let mut zones: BTreeMap<&Zone, Vec<&Subnet>> = BTreeMap::new();
        for (id, zone) in &class.subnets {
            if let Some(subnet) = subnets.get(id) {
                zones.entry(zone).or_default().push(subnet);
            }
        }
        let own = pools.iter().filter(|pool| pool.node_class == class.name);
        let of_pool = |pool: &'a NodePool| {
            let members = by_pool.get(&*pool.name).cloned().unwrap_or_default();
            PoolFacts { pool, types: types(pool, &members, nodes), nodes: members }
        };
        joined.push(ClassFacts { class, pools: own.map(of_pool).collect(), zones });
    }
    joined.sort_by(|a, b| a.class.name.cmp(&b.class.name));
    joined
}

/// Named types that the other requirements allow; without names, the types of the pool's nodes.
fn types<'a>(pool: &'a NodePool, members: &[usize], nodes: &[NodeFacts<'a>]) -> BTreeSet<&'a str> {
    let named = pool.requirements.iter().find(|one| &*one.key == TYPE_KEY && &*one.operator == "In");
    if let Some(named) = named {
        return named.values.iter().map(|kind| &**kind).filter(|kind| allows(pool, kind)).collect();
    }
    let present = members.iter().filter_map(|&at| nodes.get(at)?.node.instance_type.as_ref());
    present.map(InstanceType::as_str).collect()
}

/// Whether the requirements that a name can answer allow a type.
fn allows(pool: &NodePool, kind: &str) -> bool {
    let (family, size) = kind.split_once('.').unwrap_or((kind, ""));
    pool.requirements.iter().all(|one| match &*one.key {
        TYPE_KEY => one.matches(Some(kind)),
        FAMILY_KEY => one.matches(Some(family)),
        SIZE_KEY => one.matches(Some(size)),
        _ => true,
    })
}
