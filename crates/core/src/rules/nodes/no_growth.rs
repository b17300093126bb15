//! Why a node's pool does not grow: shared by the rules that find one that should.
//!
//! The model of ipamd is asked what would happen without each obstacle in turn. What the model does not know (an
//! aws-node that is down, interfaces that ipamd lost sight of, addresses that cool down) is looked for beside it.

use jiff::SignedDuration;

use crate::{
    facts::{Facts, Growth, Kind, NodeFacts, Obstacle, Pool, PoolInterface, Shape, SubnetFacts, interface_limit},
    inventory::Interface,
    ipamd::Subnet,
    net,
    source::Source,
    text,
};

/// Attaching an interface and taking it into the pool takes less time than this.
const ADOPTED: SignedDuration = SignedDuration::from_mins(10);
/// Event of the CNI about a right that it lacks.
const MISSING_PERMISSIONS: &str = "MissingIAMPermissions";

/// Why a node's pool does not grow, and what would make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NoGrowth {
    /// The state, as the end of a sentence.
    pub(super) state: String,
    /// What to do.
    pub(super) remedy: String,
    /// Whether it will not end by itself, as far as one look can tell.
    pub(super) lasts: bool,
}

impl NoGrowth {
    fn lasting(state: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: state.into(), remedy: remedy.into(), lasts: true }
    }

    fn passing(state: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { lasts: false, ..Self::lasting(state, remedy) }
    }
}

/// The first cause that applies, from the surest to the least sure; `more` pods want an address.
pub(super) fn why(facts: &Facts<'_>, node: &NodeFacts<'_>, more: u32) -> NoGrowth {
    cni_is_down(facts, node)
        .or_else(|| only_adopts(node))
        .or_else(|| model_says(facts, node, more))
        .or_else(|| interfaces_without_use(facts, node))
        .or_else(|| lacks_permission(facts, node))
        .or_else(|| addresses_on_their_way(node))
        .unwrap_or_else(|| nothing_known(facts, node))
}

/// All that can be looked at is in order, or too little can be looked at.
fn nothing_known(facts: &Facts<'_>, node: &NodeFacts<'_>) -> NoGrowth {
    let needed = [Source::AwsNode, Source::NetworkInterfaces, Source::Subnets];
    let lacking = needed.into_iter().find(|source| facts.is_missing(*source));
    if let Some(source) = lacking {
        return NoGrowth::lasting(
            format!("why is not known, as {source} could not be read"),
            "Give the audit what it lacks (DataComplete says what), or look into the log of the node's aws-node pod.",
        );
    }
    if node.limits.is_none() {
        return NoGrowth::lasting(
            "why is not known, as the limits of its instance type are not",
            "Look for refused EC2 calls in the log of its aws-node pod; see IPAM206 for the type.",
        );
    }
    NoGrowth::passing(
        "its subnet has addresses",
        "The pool grows within seconds as a rule; if this lasts, look for refused EC2 calls in the log of its aws-node pod.",
    )
}

/// Whether the node's aws-node pod is missing or not ready.
pub(super) fn cni_is_down(facts: &Facts<'_>, node: &NodeFacts<'_>) -> Option<NoGrowth> {
    let Some(aws_node) = node.aws_node else {
        let looked = !facts.is_missing(Source::AwsNode);
        return looked.then(|| {
            NoGrowth::lasting(
                "no aws-node pod is seen on the node",
                "Look at the aws-node pod of this node: without it no pod gets an address.",
            )
        });
    };
    let why = match (&aws_node.waiting, aws_node.restarts) {
        _ if aws_node.ready => return None,
        (Some(reason), restarts) => format!(" ({reason}, {})", text::count(restarts, "restart")),
        (None, 0) => String::new(),
        (None, restarts) => format!(" ({})", text::count(restarts, "restart")),
    };
    Some(NoGrowth::lasting(
        format!("its aws-node pod is not ready{why}"),
        format!("Mend its aws-node pod first: `kubectl logs -n kube-system {} -c aws-node` says why.", aws_node.name),
    ))
}

fn only_adopts(node: &NodeFacts<'_>) -> Option<NoGrowth> {
    Kind::of(node).filter(Kind::adopts_only)?;
    Some(NoGrowth::lasting(
        "the CNI is told to take no addresses by itself",
        "Assign more addresses to its interfaces with whatever does so here, or unset \
         DISABLE_NETWORK_RESOURCE_PROVISIONING and ENABLE_IMDS_ONLY_MODE.",
    ))
}

fn model_says(facts: &Facts<'_>, node: &NodeFacts<'_>, more: u32) -> Option<NoGrowth> {
    let subnets = match facts.growth(node) {
        Growth::In(subnets) => subnets,
        Growth::Unknown => Vec::new(),
        Growth::NoEniConfig(name) => {
            return Some(NoGrowth::lasting(
                format!("no ENIConfig {name} says where its interfaces go"),
                format!("Create the ENIConfig {name}, or label the node with the name of one that exists."),
            ));
        }
    };
    let Some(shape) = Shape::of(node) else {
        let all_full = subnets.iter().all(|subnet| subnet.is_full());
        return subnets.first().filter(|_| all_full).map(|subnet| subnet_lacks(node, subnet));
    };
    let (obstacle, subnet) = obstacle(&shape, more, &subnets);
    match obstacle {
        Obstacle::Limits => Some(at_the_limit(node)),
        Obstacle::Targets => Some(frozen(facts, node)),
        Obstacle::Cordon => Some(NoGrowth::lasting(
            "the node is cordoned, and ipamd adds nothing to a cordoned node",
            "Uncordon or drain it, or set AWS_MANAGE_ENIS_NON_SCHEDULABLE=true.",
        )),
        Obstacle::Subnet => subnet.map(|subnet| subnet_lacks(node, subnet)),
        Obstacle::None => None,
    }
}

/// Any of the subnets that has what the next step takes is enough; if none has, the one with most left is named.
fn obstacle<'f, 'a>(
    shape: &Shape,
    more: u32,
    subnets: &[&'f SubnetFacts<'a>],
) -> (Obstacle, Option<&'f SubnetFacts<'a>>) {
    let mut largest: Option<&SubnetFacts<'_>> = None;
    for subnet in subnets {
        let obstacle = shape.obstacle(more, what_is_left(subnet, shape.kind.uses_prefixes()));
        if obstacle != Obstacle::Subnet {
            return (obstacle, None);
        }
        if largest.is_none_or(|largest| subnet.subnet.available > largest.subnet.available) {
            largest = Some(subnet);
        }
    }
    match largest {
        Some(_) => (Obstacle::Subnet, largest),
        None => (shape.obstacle(more, Subnet::UNLIMITED), None),
    }
}

fn at_the_limit(node: &NodeFacts<'_>) -> NoGrowth {
    let pods = node.pod_capacity().map(|capacity| text::count(capacity.addresses, "pod"));
    let at_most = pods.map_or_else(String::new, |pods| format!(": {pods} at most can have an address"));
    NoGrowth::lasting(
        format!("the node is at the limit of its instance type{at_most}"),
        "Lower the node's max-pods to what its type can address, or use a larger type.",
    )
}

fn frozen(facts: &Facts<'_>, node: &NodeFacts<'_>) -> NoGrowth {
    let now = node.cni.as_ref().map_or_else(|| "?".to_owned(), |cni| cni.targets_text());
    NoGrowth::lasting(
        format!("its settings ({now}) stop the pool from growing"),
        format!("Set {}: the pool then follows its pods.", facts.advice.settings()),
    )
}

fn what_is_left(subnet: &SubnetFacts<'_>, prefixes: bool) -> Subnet {
    let free = if prefixes { subnet.headroom() } else { subnet.subnet.available };
    let blocks = subnet.free_prefixes.map(|blocks| blocks.min(free / net::ADDRESSES_PER_PREFIX));
    Subnet::new(Some(free.into()), blocks.map(i64::from)).unwrap_or(Subnet::UNLIMITED)
}

fn subnet_lacks(node: &NodeFacts<'_>, subnet: &SubnetFacts<'_>) -> NoGrowth {
    let (id, free) = (&subnet.subnet.id, subnet.subnet.available);
    let wants_blocks = Kind::of(node).is_some_and(|kind| kind.uses_prefixes());
    if wants_blocks && subnet.free_prefixes == Some(0) && free >= net::ADDRESSES_PER_PREFIX {
        return NoGrowth::lasting(
            format!("{id} has {} and no whole /28 block among them", text::count(free, "free address")),
            format!("Free whole /28 blocks in {id}: drain a node there, or give prefixes a subnet of their own."),
        );
    }
    NoGrowth::lasting(
        format!("{id} has {}", text::count(free, "free address")),
        format!("Free addresses in {id}: see its own finding and IPAM210."),
    )
}

fn interfaces_without_use(facts: &Facts<'_>, node: &NodeFacts<'_>) -> Option<NoGrowth> {
    let idle = u32::try_from(unseen_by_ipamd(facts, node).len()).unwrap_or(u32::MAX);
    (idle > 0).then(|| {
        NoGrowth::lasting(
            format!(
                "{} full of addresses {} no pod",
                text::count(idle, "interface"),
                text::verb(idle, "serves", "serve")
            ),
            "Restart its aws-node pod: ipamd then reads its interfaces anew; replace the node if they stay unused.",
        )
    })
}

/// Interfaces that ipamd seems not to know of: the node has all that its type allows, these are full, old and serve no
/// pod, and pods wait although all the free addresses are on them.
pub(super) fn unseen_by_ipamd<'a>(facts: &Facts<'_>, node: &NodeFacts<'a>) -> Vec<&'a Interface> {
    let (Some(pool), Some(attached), Some(limits)) = (&node.pool, &node.interfaces, &node.limits) else {
        return Vec::new();
    };
    let slots = limits.interfaces().map_or(u32::MAX, |limits| limits.slots_per_eni());
    let all = interface_limit(limits).is_some_and(|limit| u32::try_from(attached.len()).is_ok_and(|is| is >= limit));
    let without_use = |on: &&PoolInterface<'a>| {
        let at = on.interface.attachment.as_ref();
        let old =
            at.and_then(|at| at.attached_at).is_some_and(|at| facts.snapshot.taken_at.duration_since(at) > ADOPTED);
        let full = on.interface.secondary.len() + on.interface.prefixes.len() >= slots as usize;
        full && old && on.used() == 0 && at.is_some_and(|at| !at.is_primary())
    };
    if !all || node.waiting.is_empty() {
        return Vec::new();
    }
    let unseen: Vec<&Interface> = pool.interfaces.iter().filter(without_use).map(|on| on.interface).collect();
    // As long as there are free addresses elsewhere, these may well be known and just not be needed.
    let on_them: u32 = unseen.iter().map(|interface| interface.pod_addresses()).sum();
    if pool.spare() > on_them { Vec::new() } else { unseen }
}

fn lacks_permission(facts: &Facts<'_>, node: &NodeFacts<'_>) -> Option<NoGrowth> {
    let name = &node.aws_node?.name;
    let events = facts.snapshot.objects.events.value()?;
    let event = events.iter().find(|event| *event.reason == *MISSING_PERMISSIONS && event.name == *name)?;
    let action = event.action.as_deref().unwrap_or("an EC2 call");
    Some(NoGrowth::lasting(
        format!("aws-node may not call {action}"),
        format!("Allow {action} to the role of aws-node; the managed policy AmazonEKS_CNI_Policy has it."),
    ))
}

fn addresses_on_their_way(node: &NodeFacts<'_>) -> Option<NoGrowth> {
    let Pool { warm, cooling, .. } = node.pool.as_ref()?;
    if *warm > 0 {
        return Some(NoGrowth::passing(
            "they can have one by now",
            "kubelet tries again by itself; if this lasts, restart the aws-node pod of the node.",
        ));
    }
    (*cooling > 0).then(|| {
        NoGrowth::passing(
            format!("{} cool down after their pods ended", text::count(*cooling, "address")),
            "Wait half a minute; raise WARM_IP_TARGET if pods come and go this fast for long.",
        )
    })
}

#[cfg(test)]
mod tests {

    use crate::{
        finding::Severity,
        snapshot::{ClusterSnapshot, Event},
        source::{FaultCategory, Reading},
        tests::{
            fixtures::{Cluster, now},
            nodes::findings,
        },
    };

    const DEFAULTS: &[(&str, &str)] = &[("WARM_ENI_TARGET", "1")];

    /// The end of the sentence about the pods that wait.
    fn cause(snapshot: &ClusterSnapshot) -> String {
        let found = findings("IPAM201", snapshot);
        found[0].message.split_once("; ").unwrap().1.to_owned()
    }

    fn full_node() -> Cluster {
        Cluster::new("10.0.0.0/20", DEFAULTS).node("m5.large", 29, &[9, 9], 18).waiting_pod()
    }

    #[test]
    fn an_aws_node_that_is_down_comes_first() {
        let mut snapshot = full_node().with_free(0).snapshot();
        let aws_node = &mut snapshot.aws_node.last_good.as_mut().unwrap().value;
        aws_node.pods[0].ready = false;
        aws_node.pods[0].restarts = 7;
        aws_node.pods[0].waiting = Some("CrashLoopBackOff".into());
        assert_eq!(cause(&snapshot), "its aws-node pod is not ready (CrashLoopBackOff, 7 restarts)");
        let aws_node = &mut snapshot.aws_node.last_good.as_mut().unwrap().value;
        aws_node.pods.clear();
        assert_eq!(cause(&snapshot), "no aws-node pod is seen on the node");
    }

    #[test]
    fn what_could_not_be_read_is_no_cause() {
        let mut snapshot = full_node().snapshot();
        snapshot.aws_node = Reading::missing(FaultCategory::Denied, "not allowed");
        assert_eq!(cause(&snapshot), "why is not known, as aws-node could not be read");
        let unknown = Cluster::new("10.0.0.0/20", DEFAULTS).node("m99.large", 29, &[9], 9).waiting_pod();
        assert_eq!(cause(&unknown.snapshot()), "why is not known, as the limits of its instance type are not");
    }

    #[test]
    fn a_cni_that_only_adopts_cannot_grow() {
        let env = &[("DISABLE_NETWORK_RESOURCE_PROVISIONING", "true")];
        let cluster = Cluster::new("10.0.0.0/20", env).node("m5.large", 29, &[9], 9).waiting_pod();
        assert_eq!(cause(&cluster.snapshot()), "the CNI is told to take no addresses by itself");
    }

    #[test]
    fn a_node_that_is_full_is_at_its_limit() {
        let cluster = Cluster::new("10.0.0.0/20", DEFAULTS).node("m5.large", 110, &[9, 9, 9], 27).waiting_pod();
        let want = "the node is at the limit of its instance type: 27 pods at most can have an address";
        assert_eq!(cause(&cluster.snapshot()), want);
    }

    #[test]
    fn a_cordoned_node_takes_nothing() {
        let cordoned = full_node().tweak(|node| node.cordoned = true);
        assert_eq!(cause(&cordoned.snapshot()), "the node is cordoned, and ipamd adds nothing to a cordoned node");
        let managed = &[("WARM_ENI_TARGET", "1"), ("AWS_MANAGE_ENIS_NON_SCHEDULABLE", "true")];
        let cluster = Cluster::new("10.0.0.0/20", managed).node("m5.large", 29, &[9, 9], 18).waiting_pod();
        assert_eq!(cause(&cluster.tweak(|node| node.cordoned = true).snapshot()), "its subnet has addresses");
    }

    #[test]
    fn an_interface_needs_all_its_addresses_at_once() {
        assert_eq!(cause(&full_node().with_free(9).snapshot()), "subnet-1 has 9 free addresses");
        assert_eq!(cause(&full_node().with_free(10).snapshot()), "its subnet has addresses");
    }

    #[test]
    fn prefixes_need_whole_blocks() {
        let env = &[("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_PREFIX_TARGET", "1")];
        let mut snapshot =
            Cluster::new("10.0.0.0/25", env).node("m5.large", 110, &[0], 0).waiting_pod().with_free(40).snapshot();
        let interfaces = &mut snapshot.ec2.interfaces.last_good.as_mut().unwrap().value;
        interfaces.extend((1_u8..7).map(|block| {
            let mut other = crate::tests::fixtures::interface(&format!("eni-other-{block}"), "subnet-1");
            other.primary = Some([10, 0, 0, 16 * block].into());
            other
        }));
        assert_eq!(cause(&snapshot), "subnet-1 has 40 free addresses and no whole /28 block among them");
    }

    #[test]
    fn a_subnet_that_discovery_would_use_is_room_enough() {
        let mut snapshot = full_node().with_free(0).snapshot();
        let subnets = &mut snapshot.ec2.subnets.last_good.as_mut().unwrap().value;
        let mut tagged = subnets[0].clone();
        tagged.id = "subnet-2".into();
        tagged.cidr = Some("10.0.16.0/20".parse().unwrap());
        tagged.available = 4000;
        tagged.tags = [("kubernetes.io/role/cni".into(), "1".into())].into();
        subnets.push(tagged);
        assert_eq!(cause(&snapshot), "its subnet has addresses");
    }

    #[test]
    fn a_refused_right_is_named() {
        let mut snapshot = full_node().snapshot();
        let aws_node = &mut snapshot.aws_node.last_good.as_mut().unwrap().value;
        aws_node.pods[0].name = "aws-node-7".into();
        let event = Event {
            kind: "Pod".into(),
            namespace: "kube-system".into(),
            name: "aws-node-7".into(),
            reason: super::MISSING_PERMISSIONS.into(),
            severity: "Warning".into(),
            action: Some("ec2:CreateNetworkInterface".into()),
            message: "".into(),
            last_at: Some(now()),
        };
        snapshot.objects.events = Reading::fresh(vec![event], now());
        assert_eq!(cause(&snapshot), "aws-node may not call ec2:CreateNetworkInterface");
    }

    #[test]
    fn pods_that_have_just_come_where_nothing_is_wrong_are_no_outage() {
        let mut snapshot = full_node().snapshot();
        let since = |snapshot: &mut ClusterSnapshot, seconds| {
            for pod in snapshot.pods.last_good.as_mut().unwrap().value.iter_mut() {
                let at = now() - jiff::SignedDuration::from_secs(seconds);
                pod.edit(|pod| pod.scheduled_at = Some(at));
            }
        };
        since(&mut snapshot, 10);
        assert_eq!(findings("IPAM201", &snapshot)[0].severity, Severity::Warning);
        since(&mut snapshot, 600);
        assert_eq!(findings("IPAM201", &snapshot)[0].severity, Severity::Critical);
        let mut full = full_node().with_free(0).snapshot();
        since(&mut full, 10);
        assert_eq!(findings("IPAM201", &full)[0].severity, Severity::Critical, "a full subnet does not pass by itself");
    }
}
