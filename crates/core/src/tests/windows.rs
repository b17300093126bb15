//! Clusters with a Windows node for unit tests.

use super::fixtures::{Cluster, now};
use crate::{
    snapshot::{ClusterSnapshot, ConfigMap, Event, Node, Platform, PodPhase},
    source::Reading,
};

/// One Linux node and one Windows node (an m5.large) that was changed, with the ConfigMap's data.
pub(crate) fn windows(data: &[(&str, &str)], change: impl FnOnce(&mut Node)) -> ClusterSnapshot {
    let cluster = Cluster::new("10.0.0.0/20", &[("ENABLE_IPv4", "true")]).node("m5.large", 29, &[9, 9], 5);
    let mut snapshot = cluster
        .node("m5.large", 29, &[9], 0)
        .tweak(|node| {
            node.platform = Platform::Windows;
            node.state.windows_addresses = Some(9);
            change(node);
        })
        .snapshot();
    let data = data.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    let objects = &mut snapshot.objects;
    objects.config_maps = Reading::fresh(vec![ConfigMap { name: "amazon-vpc-cni".into(), data }], now());
    objects.deployments = Reading::fresh(Vec::new(), now());
    snapshot
}

/// Adds a pod to the Windows node that has waited for ten minutes.
pub(crate) fn waiting_pod(snapshot: &mut ClusterSnapshot) {
    let pods = &mut snapshot.pods.last_good.as_mut().unwrap().value;
    let mut pod = pods[0].clone();
    pod.edit(|waiting| {
        (waiting.name, waiting.uid, waiting.node) = ("win".into(), "win".into(), Some("node-1".into()));
        (waiting.address, waiting.phase) = (None, PodPhase::Pending);
        waiting.created_at = Some(now() - jiff::SignedDuration::from_mins(10));
    });
    pods.push(pod);
}

/// An event about the Windows node, a minute old.
pub(crate) fn node_event(reason: &str, message: &str) -> Event {
    Event {
        kind: "Node".into(),
        namespace: "".into(),
        name: "node-1".into(),
        reason: reason.into(),
        severity: "Warning".into(),
        action: None,
        message: message.into(),
        last_at: Some(now() - jiff::SignedDuration::from_mins(1)),
    }
}
