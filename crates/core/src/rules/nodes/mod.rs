//! Rules about nodes and their warm pools: codes 2xx.

mod above_pod_ceiling;
mod interface_adopted;
mod interface_groups_differ;
mod interfaces_beyond_max_eni;
mod interfaces_without_use;
mod ipamd_errors;
mod ipamd_unreachable;
mod max_pods_too_high;
mod max_pods_too_low;
mod mixed_node_group;
mod no_growth;
mod other_cards_idle;
mod pods_waiting;
mod pool_empty;
mod pool_frozen;
mod pool_never_settles;
mod prefixes_not_supported;
mod unknown_instance_type;
mod warm_pool_too_large;
mod warm_pool_too_small;
mod warm_share_high;

use super::Rule;
use crate::facts::{Facts, Kind, NodeFacts, Pool};

/// The rules of this area, sorted by code.
pub(super) const RULES: &[&dyn Rule] = &[
    &pods_waiting::PodsWaiting,
    &max_pods_too_high::MaxPodsTooHigh,
    &max_pods_too_low::MaxPodsTooLow,
    &above_pod_ceiling::AbovePodCeiling,
    &prefixes_not_supported::PrefixesNotSupported,
    &unknown_instance_type::UnknownInstanceType,
    &interfaces_beyond_max_eni::InterfacesBeyondMaxEni,
    &interface_adopted::InterfaceAdopted,
    &interface_groups_differ::InterfaceGroupsDiffer,
    &warm_pool_too_large::WarmPoolTooLarge,
    &warm_pool_too_small::WarmPoolTooSmall,
    &pool_frozen::PoolFrozen,
    &pool_never_settles::PoolNeverSettles,
    &warm_share_high::WarmShareHigh,
    &pool_empty::PoolEmpty,
    &interfaces_without_use::InterfacesWithoutUse,
    &other_cards_idle::OtherCardsIdle,
    &mixed_node_group::MixedNodeGroup,
    &ipamd_unreachable::IpamdUnreachable,
    &ipamd_errors::IpamdErrors,
];

/// Nodes whose pool can be judged: it is known, had time to become what it should be, and the CNI sizes it.
fn settled_pools<'f, 'a>(facts: &'f Facts<'a>) -> impl Iterator<Item = (&'f NodeFacts<'a>, &'f Pool<'a>)> {
    let pools = facts.nodes.iter().filter_map(|node| Some((node, node.pool.as_ref()?)));
    let pools = pools.filter(|(node, _)| !node.ipv6);
    pools.filter(|(node, _)| !facts.is_young(node) && !Kind::of(node).is_some_and(|kind| kind.adopts_only()))
}

/// Whether a node's targets come from where they cannot be read: the model would take them for unset.
fn sizing_is_unknown(node: &NodeFacts<'_>) -> bool {
    node.cni.as_ref().is_some_and(|cni| !cni.sizing_is_known())
}

/// Pods that have an address of a node at most, where its settings freeze the pool below what the node could serve.
///
/// What a pool had when the settings came stays.
fn frozen_at(node: &NodeFacts<'_>) -> Option<u32> {
    let managed = node.pool.as_ref()?.managed();
    let useful = node.pod_capacity().map(|capacity| capacity.addresses.min(capacity.schedulable))?;
    let limit = node.served.filter(|served| *served < useful)?.max(managed);
    (limit < useful).then_some(limit)
}

/// Whether a node takes pods and holds no address for them, although its settings ask for some.
fn is_empty(node: &NodeFacts<'_>, pool: &Pool<'_>) -> bool {
    let takes_pods = node.node.state.ready == Some(true) && !node.node.cordoned;
    let attached = node.interfaces.as_ref().is_some_and(|list| !list.is_empty());
    let wants = || Kind::of(node).and_then(|kind| kind.new_node(0)).is_some_and(|settled| settled.held > 0);
    takes_pods && attached && pool.managed() == 0 && wants()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::{
        outcome::RuleAnswer,
        snapshot::EnvValue,
        source::Source,
        tests::{fixtures::Cluster, nodes::answer},
    };

    #[test]
    fn targets_that_cannot_be_read_are_not_taken_for_unset() {
        let mut snapshot = Cluster::new("10.0.0.0/20", &[]).node("m6a.32xlarge", 250, &[49, 49], 1).snapshot();
        let aws_node = &mut snapshot.aws_node.last_good.as_mut().unwrap().value;
        let mut env = (*aws_node.template).clone();
        env.values.insert("WARM_IP_TARGET".into(), EnvValue::Unresolved("config map warm".into()));
        aws_node.pods[0].env = Arc::new(env);
        for code in ["IPAM202", "IPAM210", "IPAM211", "IPAM212", "IPAM213"] {
            let missing = vec![Source::AwsNode];
            assert_eq!(answer(code, &snapshot), RuleAnswer::Inconclusive { missing, suspects: 0 }, "{code}");
        }
    }
}
