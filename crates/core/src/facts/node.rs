//! What each node holds: its interfaces, its warm pool, its pods and its trunk.

use std::{collections::BTreeMap, hash::BuildHasherDefault, sync::Arc};

use super::{
    NodeIndex,
    cni::{self, Cni},
    lookup::Map,
    model::Kind,
    pods::{ByNode, PodIndex},
    pool::{Pool, Surroundings},
    trunk::{self, TrunkFacts, TrunkSignals},
};
use crate::{
    ids::{InstanceId, InstanceType, SubnetId},
    inventory::{Interface, Inventory},
    limits::Limits,
    rows::Rows,
    snapshot::{AwsNode, AwsNodeEnv, AwsNodePod, BranchUse, ClusterSnapshot, IpamdNode, Node, Platform, Pod, PodPhase},
};

/// The facts of one node.
#[derive(Debug)]
pub struct NodeFacts<'a> {
    /// The node itself.
    pub node: &'a Node,
    /// The CNI that runs on it; none while its `aws-node` pod is not seen.
    pub cni: Option<Arc<Cni>>,
    /// Its `aws-node` pod, if it is seen.
    pub aws_node: Option<&'a AwsNodePod>,
    /// Whether its `aws-node` pod runs what the DaemonSet's template says.
    pub runs_template: bool,
    /// Whether its pods have IPv6 addresses only, so that it has no pool, by its own pod or else by the template.
    pub ipv6: bool,
    /// The limits of its instance type; none for a type that nobody knows.
    pub limits: Option<Limits>,
    /// Its interfaces on the default card, in order of attachment; none while EC2's interfaces are missing.
    pub interfaces: Option<Vec<&'a Interface>>,
    /// Its interfaces on other cards.
    pub other_cards: Vec<&'a Interface>,
    /// Its warm pool; none while interfaces or pods are missing.
    pub pool: Option<Pool<'a>>,
    /// Pods that can have an address of it at all, by its type and what takes its interfaces.
    pub capacity: Option<u32>,
    /// Pods that would have one under its own targets: fewer than its capacity where the pool is frozen.
    pub served: Option<u32>,
    /// What its ipamd says of itself; none where ipamd is not asked, or not yet.
    pub(crate) ipamd: Option<&'a IpamdNode>,
    /// Its trunk, if it has one.
    pub trunk: Option<TrunkFacts<'a>>,
    /// What speaks of a trunk, whether it has one or not.
    pub signals: TrunkSignals<'a>,
    /// Pods that have, or want, an address of its pool; none while pods are missing.
    pub pool_pods: Option<u32>,
    /// Pods that count against max-pods and not against the pool: on the host's network, or with a branch.
    pub other_pods: u32,
    /// Pods that are no DaemonSet's and not the node's own: none of them, and the node is empty. None while pods are
    /// missing.
    pub work_pods: Option<u32>,
    /// Pods that it refused an address.
    pub waiting: Vec<&'a Pod>,
    /// Whether it was so young when EC2 was last read that what it holds is not what it will hold.
    pub(super) young: bool,
    /// The workload of its pods, where all are of one.
    pub workload: Option<Arc<str>>,
}

impl NodeFacts<'_> {
    /// The subnet of its primary interface.
    pub fn home(&self) -> Option<&SubnetId> {
        self.interfaces.as_ref()?.first().map(|primary| &primary.subnet)
    }

    /// Lets go of what was found on its interfaces, when nobody asks for it any more.
    pub(crate) fn give_up_addresses(&mut self) {
        self.interfaces = None;
        self.other_cards = Vec::new();
        self.pool = None;
        self.waiting = Vec::new();
    }
}

/// The facts of every node that the VPC CNI manages.
pub(super) fn all(snapshot: &ClusterSnapshot) -> (Vec<NodeFacts<'_>>, Option<PodIndex<'_>>) {
    let nodes = snapshot.nodes.value().map_or(&[][..], Vec::as_slice);
    let managed = nodes.iter().map(Arc::as_ref).filter(|node| node.platform == Platform::LinuxEc2);
    // What is sorted is small, and the facts get exactly the room that they need.
    let mut managed: Vec<&Node> = managed.collect();
    managed.sort_by(|a, b| a.name.cmp(&b.name));
    let mut facts: Vec<NodeFacts<'_>> = managed.into_iter().map(bare).collect();
    add_cni(&mut facts, snapshot.aws_node.value());
    add_limits(&mut facts, &snapshot.ec2);
    let (pods, by_node) = snapshot.pods.value().map(|pods| PodIndex::of(pods, &facts)).unzip();
    add_interfaces(&mut facts, snapshot.ec2.interfaces.value());
    if let Some(by_node) = by_node {
        add_pods(&mut facts, &by_node, &surroundings(snapshot));
    }
    trunk::add(&mut facts, snapshot, pods.as_ref());
    add_capacity(&mut facts);
    (facts, pods)
}

fn bare(node: &Node) -> NodeFacts<'_> {
    NodeFacts {
        node,
        cni: None,
        aws_node: None,
        runs_template: false,
        ipv6: false,
        limits: None,
        interfaces: None,
        other_cards: Vec::new(),
        pool: None,
        capacity: None,
        served: None,
        ipamd: None,
        trunk: None,
        signals: TrunkSignals::default(),
        pool_pods: None,
        work_pods: None,
        other_pods: 0,
        waiting: Vec::new(),
        workload: None,
        young: false,
    }
}

/// The truth for a node is its own pod's environment; equal ones are parsed once.
fn add_cni<'a>(facts: &mut [NodeFacts<'a>], aws_node: Option<&'a AwsNode>) {
    let Some(aws_node) = aws_node else { return };
    let ipv6 = Cni::of(&aws_node.template).is_ipv6();
    for facts in facts.iter_mut() {
        facts.ipv6 = ipv6;
    }
    let mut parsed: Vec<(&Arc<AwsNodeEnv>, Arc<Cni>, bool)> = Vec::new();
    let index: NodeIndex<'_> = facts.iter().enumerate().map(|(at, facts)| (&facts.node.name, at)).collect();
    let mut found = Vec::new();
    for pod in &aws_node.pods {
        let Some(&at) = index.get(&pod.node) else { continue };
        let known = parsed.iter().find(|(env, ..)| Arc::ptr_eq(env, &pod.env) || **env == pod.env);
        let (cni, runs_template) = if let Some((_, cni, runs_template)) = known {
            (Arc::clone(cni), *runs_template)
        } else {
            let cni = Arc::new(Cni::of(&pod.env));
            let runs_template = cni::runs(&pod.env, &aws_node.template);
            parsed.push((&pod.env, Arc::clone(&cni), runs_template));
            (cni, runs_template)
        };
        found.push((at, cni, pod, runs_template));
    }
    for (at, cni, pod, runs_template) in found {
        // While a pod replaces another, a node has two: the one that serves counts.
        if let Some(facts) = facts.get_mut(at)
            && !facts.aws_node.is_some_and(|other| other.ready && !pod.ready)
        {
            facts.ipv6 = cni.is_ipv6();
            facts.cni = Some(cni);
            facts.aws_node = Some(pod);
            facts.runs_template = runs_template;
        }
    }
}

/// What EC2 says of a type comes first, then the embedded table; each type is looked up once.
fn add_limits(facts: &mut [NodeFacts<'_>], ec2: &Inventory) {
    let mut seen: BTreeMap<&InstanceType, Option<Limits>> = BTreeMap::new();
    for facts in facts {
        let Some(name) = &facts.node.instance_type else {
            continue;
        };
        let from_ec2 = || ec2.instance_types.value().and_then(|types| types.iter().find(|row| row.name == *name));
        facts.limits.clone_from(seen.entry(name).or_insert_with(|| cni::limits(name, from_ec2())));
    }
}

/// Nodes of one kind have one capacity.
fn add_capacity(facts: &mut [NodeFacts<'_>]) {
    let mut known: Map<Kind, (Option<u32>, Option<u32>)> = Map::default();
    for facts in facts {
        let Some(kind) = Kind::of(facts) else { continue };
        let reach = known.entry(kind).or_insert_with_key(|kind| (kind.capacity(), kind.served()));
        (facts.capacity, facts.served) = *reach;
    }
}

/// Attached interfaces; those of the default card in order of attachment, the primary first.
fn add_interfaces<'a>(facts: &mut [NodeFacts<'a>], interfaces: Option<&'a Rows<Interface>>) {
    let Some(interfaces) = interfaces else { return };
    let instances = by_instance(facts);
    let mut attached: Vec<Vec<&Interface>> = vec![Vec::new(); facts.len()];
    for interface in interfaces {
        let Some(attachment) = &interface.attachment else {
            continue;
        };
        let node = attachment.instance.as_ref().and_then(|instance| instances.get(instance));
        match node {
            Some(&node) if attachment.card_index == 0 => {
                attached.get_mut(node).into_iter().for_each(|list| list.push(interface));
            }
            Some(&node) => facts.get_mut(node).into_iter().for_each(|facts| facts.other_cards.push(interface)),
            None => {}
        }
    }
    for (facts, mut list) in facts.iter_mut().zip(attached) {
        list.sort_by_key(|interface| {
            let at = interface.attachment.as_ref();
            (at.is_none_or(|at| !at.is_primary()), at.and_then(|at| at.attached_at), at.map(|at| at.device_index))
        });
        facts.interfaces = Some(list);
    }
}

/// Nodes by their instance.
pub(super) fn by_instance<'a>(facts: &[NodeFacts<'a>]) -> Map<&'a InstanceId, usize> {
    let mut by_instance = Map::with_capacity_and_hasher(facts.len(), BuildHasherDefault::default());
    by_instance.extend(facts.iter().enumerate().filter_map(|(at, facts)| Some((facts.node.instance.as_ref()?, at))));
    by_instance
}

/// A subnet whose tag for the CNI says 0 gives no addresses to pods.
fn surroundings(snapshot: &ClusterSnapshot) -> Surroundings<'_> {
    let subnets = snapshot.ec2.subnets.value().into_iter().flatten();
    let excluded = subnets.filter(|subnet| subnet.tag("kubernetes.io/role/cni") == Some("0"));
    Surroundings { excluded: excluded.map(|subnet| &subnet.id).collect(), now: snapshot.taken_at }
}

fn add_pods<'a>(facts: &mut [NodeFacts<'a>], pods: &ByNode<'a>, around: &Surroundings<'_>) {
    for (facts, pods) in facts.iter_mut().zip(pods.iter()) {
        let mut on_pool: Vec<&Pod> = Vec::with_capacity(pods.len());
        on_pool.extend(pods.iter().copied().filter(|pod| pod.uses_pool()));
        facts.pool_pods = u32::try_from(on_pool.len()).ok();
        let unfinished = pods.iter().filter(|pod| pod.phase != PodPhase::Finished).count();
        facts.other_pods = u32::try_from(unfinished - on_pool.len()).unwrap_or(u32::MAX);
        facts.work_pods = u32::try_from(pods.iter().filter(|pod| is_work(pod)).count()).ok();
        facts.workload = common_workload(&on_pool);
        // An IPv6 pod never has an IPv4 address, whether it waits or not.
        facts.waiting = on_pool.iter().copied().filter(|pod| !facts.ipv6 && pod.waits_for_address()).collect();
        facts.waiting.sort_by(|a, b| (&a.namespace(), &a.name()).cmp(&(&b.namespace(), &b.name())));
        facts.pool = Pool::of(facts, pods, around);
        let branches =
            pods.iter().filter(|pod| pod.phase != PodPhase::Finished && *pod.branch() != BranchUse::No).count();
        if branches > 0 {
            let branches = u32::try_from(branches).unwrap_or(u32::MAX);
            facts.trunk = Some(TrunkFacts { interface: None, branches, cooling: 0, limit: None });
        }
    }
}

/// Whether a pod is there for its own sake: it has not finished, and is neither a DaemonSet's nor a static pod.
fn is_work(pod: &Pod) -> bool {
    let is_static = || pod.workload().is_some_and(|workload| workload.starts_with("Node "));
    pod.phase != PodPhase::Finished && !pod.is_daemon() && !is_static()
}

/// The workload of a node's pods, in words, if they all have an address and one owner.
fn common_workload(pods: &[&Pod]) -> Option<Arc<str>> {
    let mut owners = pods.iter().filter(|pod| pod.address.is_some()).map(|pod| (pod.namespace(), pod.workload()));
    let (namespace, workload) = owners.next()?;
    if owners.any(|other| other != (namespace, workload)) {
        return None;
    }
    let (kind, name) = workload?.split_once(' ')?;
    Some(format!("{} {namespace}/{name}", kind.to_lowercase()).into())
}
