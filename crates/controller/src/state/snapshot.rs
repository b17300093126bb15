//! Collect: the index as an immutable, sorted snapshot, through the eyes of one audit.

use std::{collections::BTreeMap, sync::Arc};

use ipam_audit_api::views::NodeRow;
use ipam_audit_core::{
    inventory::Inventory,
    snapshot::{ClusterObjects, ClusterSnapshot, CniNode, Node, Pod},
    source::{FaultCategory, Reading, Source, SourceState},
};
use jiff::Timestamp;
use kube::core::{Selector, SelectorExt};

use super::{Nodes, Parts, Place, State};

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

impl State {
    /// The cluster now, with EC2's side as given.
    pub(crate) fn snapshot(&self, lens: &Lens, ec2: Inventory, now: Timestamp) -> ClusterSnapshot {
        self.with(|parts| {
            parts.refusals.rows.settle(&parts.pods.rows);
            ClusterSnapshot {
                taken_at: now,
                nodes: parts.nodes.health.reading(now, || nodes(&parts.nodes.rows, lens)),
                pods: pods(parts, now),
                aws_node: parts.cni.reading(&lens.cni, now),
                cni_nodes: cni_nodes(parts, now),
                objects: ClusterObjects::default(),
                ec2,
            }
        })
    }
}

impl State {
    /// How the sources of the cluster are, whatever an audit's settings.
    pub(crate) fn source_states(&self, now: Timestamp) -> [SourceState; 3] {
        self.read(|parts| {
            [
                parts.nodes.health.reading(now, || ()).state(Source::Nodes),
                parts.pods.health.reading(now, || ()).state(Source::Pods),
                parts.cni.daemon_sets.health.reading(now, || ()).state(Source::AwsNode),
            ]
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
fn pods(parts: &Parts, now: Timestamp) -> Reading<Vec<Arc<Pod>>> {
    let mut reading = parts.pods.health.reading(now, || parts.pods.rows.rows(&parts.refusals.rows));
    if reading.fault.is_none() {
        reading.fault = parts.refusals.health.fault().cloned();
    }
    reading
}

fn cni_nodes(parts: &Parts, now: Timestamp) -> Reading<Vec<CniNode>> {
    match parts.cni_nodes_installed {
        Some(true) => parts.cni_nodes.health.reading(now, || parts.cni_nodes.rows.rows()),
        Some(false) => {
            Reading::missing(FaultCategory::NotFound, "the CNINode CRD (vpcresources.k8s.aws) is not installed")
        }
        None => Reading::default(),
    }
}
