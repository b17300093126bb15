//! Why a node's pool does not grow: shared by the rules that find one that should.
//!
//! The model of ipamd is asked what would happen without each obstacle in turn. What the model does not know (an
//! aws-node that is down, interfaces that ipamd lost sight of, addresses that cool down) is looked for beside it.

use jiff::SignedDuration;

use crate::{
    facts::{Facts, Kind, NodeFacts, Obstacle, Pool, PoolInterface, Shape, SubnetFacts, interface_limit},
    inventory::Interface,
    ipamd::Subnet,
    net, text,
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
    cni_is_down(node)
        .or_else(|| only_adopts(node))
        .or_else(|| model_says(facts, node, more))
        .or_else(|| interfaces_without_use(facts, node))
        .or_else(|| lacks_permission(facts, node))
        .or_else(|| addresses_on_their_way(node))
        .unwrap_or_else(|| {
            NoGrowth::passing(
                "its subnet has addresses",
                "The pool grows within seconds as a rule; if this lasts, look for refused EC2 calls in the log of its aws-node pod.",
            )
        })
}

fn cni_is_down(node: &NodeFacts<'_>) -> Option<NoGrowth> {
    let Some(aws_node) = node.aws_node else {
        return Some(NoGrowth::lasting(
            "no aws-node pod is seen on the node",
            "Look at the aws-node pod of this node: without it no pod gets an address.",
        ));
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
    let subnet = growth_subnet(facts, node);
    let left = subnet.map_or(Subnet::UNLIMITED, what_is_left);
    let Some(shape) = Shape::of(node) else {
        return subnet.filter(|subnet| subnet.is_full()).map(|subnet| subnet_lacks(node, subnet));
    };
    match shape.obstacle(more, left) {
        Obstacle::Limits => Some(NoGrowth::lasting(
            format!("the node is at the limit of its instance type{}", at_most(node)),
            "Lower the node's max-pods to what its type can address, or use a larger type.",
        )),
        Obstacle::Targets => {
            let now = node.cni.as_ref().map_or_else(|| "?".to_owned(), |cni| cni.targets_text());
            Some(NoGrowth::lasting(
                format!("its settings ({now}) stop the pool from growing"),
                format!("Set {}: the pool then follows its pods.", facts.advice.settings()),
            ))
        }
        Obstacle::Cordon => Some(NoGrowth::lasting(
            "the node is cordoned, and ipamd adds nothing to a cordoned node",
            "Uncordon or drain it, or set AWS_MANAGE_ENIS_NON_SCHEDULABLE=true.",
        )),
        Obstacle::Subnet => subnet.map(|subnet| subnet_lacks(node, subnet)),
        Obstacle::None => None,
    }
}

fn at_most(node: &NodeFacts<'_>) -> String {
    let pods = node.pod_capacity().map(|capacity| text::count(capacity.addresses, "pod"));
    pods.map_or_else(String::new, |pods| format!(": {pods} at most can have an address"))
}

/// The subnet that pays for the pool's growth: that of its newest interface for pods.
fn growth_subnet<'f, 'a>(facts: &'f Facts<'a>, node: &NodeFacts<'_>) -> Option<&'f SubnetFacts<'a>> {
    let newest = node.pool.as_ref().and_then(|pool| pool.interfaces.last());
    let id = newest.map(|on| &on.interface.subnet).or_else(|| node.home())?;
    facts.subnet(id)
}

fn what_is_left(subnet: &SubnetFacts<'_>) -> Subnet {
    let free = subnet.subnet.available;
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

/// Interfaces that ipamd seems not to know of: the node has all that its type allows, and these are full, old and serve
/// no pod.
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
    pool.interfaces.iter().filter(without_use).map(|on| on.interface).collect()
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
