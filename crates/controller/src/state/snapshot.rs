//! Collect: the index as an immutable, sorted snapshot, through the eyes of one audit.

use std::{collections::BTreeMap, sync::Arc};

use ipam_audit_api::views::NodeRow;
use ipam_audit_core::{
    inventory::Inventory,
    pages::Pages,
    snapshot::{ClusterObjects, ClusterSnapshot, Event, IpamdNode, Node, Pod},
    source::{FaultCategory, Reading, Source, SourceFault, SourceState},
};
use jiff::Timestamp;
use kube::core::{Selector, SelectorExt};

use super::{Events, Nodes, Objects, Part, Parts, Place, State, SystemMaps, cni::DaemonSets};

/// How one audit looks at the cluster.
#[derive(Debug, Clone)]
pub(crate) struct Lens {
    /// Where it expects the VPC CNI.
    pub(crate) cni: Place,
    /// The node annotation that may name a trunk.
    pub(crate) trunk_annotation: String,
    /// The nodes in scope.
    pub(crate) nodes: Selector,
}

/// What no watch tells: EC2's side, and ipamd's.
pub(crate) type Polled = (Inventory, Reading<Vec<Arc<IpamdNode>>>);

impl State {
    /// The cluster now, with EC2's side and ipamd's as given.
    pub(crate) fn snapshot(&self, lens: &Lens, (ec2, ipamd): Polled, now: Timestamp) -> ClusterSnapshot {
        self.with(|parts| {
            parts.events.rows.refusals.settle(&parts.pods.rows);
            ClusterSnapshot {
                taken_at: now,
                nodes: parts.nodes.reading(now, |rows| nodes(rows, lens)),
                pods: pods(parts, now),
                aws_node: parts.cni.reading(&lens.cni, now),
                cni_nodes: parts.cni_nodes.reading(now),
                ipamd,
                objects: objects(parts, now),
                ec2,
            }
        })
    }
}

impl State {
    /// How the sources of the cluster are, whatever an audit's settings. Kinds that are not installed are no sources.
    pub(crate) fn source_states(&self, now: Timestamp) -> Vec<SourceState> {
        self.read(|parts| {
            let mut states = vec![
                parts.nodes.reading(now, |_| ()).state(Source::Nodes),
                parts.pods.reading(now, |_| ()).state(Source::Pods),
                parts.cni.daemon_sets.health.reading(now, || ()).state(Source::AwsNode),
                parts.cni_nodes.state(Source::CniNodes, now),
                parts.eni_configs.state(Source::EniConfigs, now),
                parts.security_group_policies.state(Source::SecurityGroupPolicies, now),
                parts.service_accounts.reading(now, |_| ()).state(Source::ServiceAccounts),
                parts.config_maps.reading(now, |_| ()).state(Source::ConfigMaps),
                parts.events.reading(now, |_| ()).state(Source::Events),
                parts.cni.daemon_sets.reading(now, |_| ()).state(Source::DaemonSets),
                parts.deployments.reading(now, |_| ()).state(Source::Deployments),
                parts.services.reading(now, |_| ()).state(Source::Services),
                parts.network_policies.reading(now, |_| ()).state(Source::NetworkPolicies),
                parts.webhooks.reading(now, |_| ()).state(Source::MutatingWebhooks),
                parts.node_classes.state(Source::NodeClasses, now),
                parts.node_pools.state(Source::NodePools, now),
                parts.node_claims.state(Source::NodeClaims, now),
            ];
            let is_absent = |state: &SourceState| {
                let not_found = |fault: &SourceFault| fault.category == FaultCategory::NotFound;
                state.source.is_optional() && state.is_missing() && state.fault.as_ref().is_some_and(not_found)
            };
            states.retain(|state| !is_absent(state));
            states
        })
    }
}

fn nodes(rows: &Nodes, lens: &Lens) -> Vec<Arc<Node>> {
    let in_scope = |row: &&NodeRow| lens.nodes.selects_all() || lens.nodes.matches(&labels(row));
    let mut nodes: Vec<Arc<Node>> =
        rows.rows().filter(in_scope).map(|row| row.with_trunk_annotation(&lens.trunk_annotation)).collect();
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    nodes
}

fn labels(row: &NodeRow) -> BTreeMap<String, String> {
    row.labels().iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

/// The pods; without the events about them it is not known which of them wait, and that is a fault of this source.
fn pods(parts: &Parts, now: Timestamp) -> Reading<Pages<Pod>> {
    let mut reading = parts.pods.reading(now, |rows| rows.rows(&parts.events.rows.refusals));
    if reading.fault.is_none() {
        reading.fault = parts.events.health.fault().cloned();
    }
    reading
}

fn objects(parts: &Parts, now: Timestamp) -> ClusterObjects {
    ClusterObjects {
        eni_configs: parts.eni_configs.reading(now),
        security_group_policies: parts.security_group_policies.reading(now),
        service_accounts: parts.service_accounts.reading(now, Objects::rows),
        config_maps: parts.config_maps.reading(now, SystemMaps::rows),
        events: events(parts, now),
        daemon_sets: parts.cni.daemon_sets.reading(now, DaemonSets::workloads),
        deployments: parts.deployments.reading(now, Objects::rows),
        services: parts.services.reading(now, Objects::rows),
        network_policies: parts.network_policies.reading(now, Objects::rows),
        mutating_webhooks: parts.webhooks.reading(now, Objects::names),
        node_classes: parts.node_classes.reading(now),
        node_pools: parts.node_pools.reading(now),
        node_claims: parts.node_claims.reading(now),
    }
}

/// The events of both watches; as old as the older, and faulty if either is.
fn events(parts: &Parts, now: Timestamp) -> Reading<Vec<Event>> {
    let of = |part: &Part<Events>| part.reading(now, |rows| rows.rows().cloned().collect::<Vec<Event>>());
    let (warnings, trunks) = (of(&parts.events), of(&parts.trunk_events));
    let last_good = warnings.last_good.zip(trunks.last_good).map(|(mut all, more)| {
        all.value.extend(more.value);
        let order = |event: &Event| (event.kind.clone(), event.namespace.clone(), event.name.clone());
        all.value.sort_by_cached_key(|event| (order(event), event.reason.clone(), event.last_at));
        all.as_of = all.as_of.min(more.as_of);
        all
    });
    Reading { last_good, fault: warnings.fault.or(trunks.fault) }
}
