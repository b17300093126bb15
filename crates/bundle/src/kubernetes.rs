//! The cluster's side of a bundle.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use ipam_audit_api::{
    names::DEFAULT_TRUNK_ANNOTATION,
    views::{
        CniNodeView, ConfigMapView, ConfigMaps, DeploymentView, EniConfigView, EventView, Interner, Malformed,
        MutatingWebhooksView, NetworkPolicyView, NodeClaimView, NodeClassView, NodePoolView, NodeView, PodView,
        SecurityGroupPolicyView, ServiceAccountView, ServiceView,
    },
};
use ipam_audit_core::{
    ids::{InstanceId, Uid},
    pages::Pages,
    snapshot::{AwsNode, ClusterObjects, CniNode, ConfigMap, Event, Node, Pod, Workload},
    source::Reading,
};
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use crate::{
    AsOf,
    cni::{self, Cni},
    list::{Listing, Reader},
    part::Part,
};

/// The cluster's side of a snapshot.
pub(crate) struct Cluster {
    pub(crate) nodes: Reading<Vec<Arc<Node>>>,
    pub(crate) pods: Reading<Pages<Pod>>,
    pub(crate) aws_node: Reading<AwsNode>,
    pub(crate) cni_nodes: Reading<Vec<CniNode>>,
    pub(crate) objects: ClusterObjects,
}

/// Reads it, and the instances of its nodes. Once all files are read it is known when they were, and the rows are
/// stamped.
pub(crate) fn read(reader: &mut Reader) -> (HashSet<InstanceId>, impl FnOnce(&AsOf<'_>) -> Cluster + use<>) {
    let nodes = rows(reader, Part::Nodes, |view: &NodeView, texts| {
        Ok(view.row(texts)?.with_trunk_annotation(DEFAULT_TRUNK_ANNOTATION))
    });
    let nodes = nodes.sorted(|node| node.name.clone());
    let instances = nodes.all().iter().filter_map(|node| node.instance.clone()).collect();
    let (events, refusals) = events(reader);
    let (config_maps, mut maps) = config_maps(reader);
    let mut cni = Cni::read(reader);
    let pods = pods(reader, &mut cni, &refusals);
    let why = match config_maps.fault() {
        Some(fault) if config_maps.rows.is_none() => fault.message.clone(),
        _ => format!("it is not in {}", Part::ConfigMaps),
    };
    cni.explain(&mut maps, &why);
    let aws_node = cni.aws_node(&maps, &pods);
    let incomplete = cni.daemon_sets.fault().or_else(|| pods.fault()).cloned();
    let daemon_sets = cni.workloads(&maps, &mut reader.texts);
    let cni_nodes = rows(reader, Part::CniNodes, CniNodeView::row).sorted(|one| one.name.clone());
    let objects = objects(reader, &maps);
    let stamp = move |as_of: &AsOf<'_>| Cluster {
        aws_node: cni::reading(aws_node, incomplete, as_of(Part::DaemonSets).min(as_of(Part::Pods))),
        nodes: nodes.reading(as_of),
        pods: pods.reading(as_of).map(Pages::from),
        cni_nodes: cni_nodes.reading(as_of),
        objects: ClusterObjects {
            events: events.reading(as_of),
            config_maps: config_maps.reading(as_of),
            daemon_sets: daemon_sets.reading(as_of),
            ..objects(as_of)
        },
    };
    (instances, stamp)
}

/// The rows of a file whose objects each make one.
fn rows<V: DeserializeOwned, R>(
    reader: &mut Reader,
    part: Part,
    row: impl Fn(&V, &mut Interner) -> Result<R, Malformed>,
) -> Listing<R> {
    reader.list(part, |item, texts| {
        let view: V = serde_json::from_str(item)?;
        Ok(Some(row(&view, texts)?))
    })
}

/// The objects that no other file depends on.
fn objects(reader: &mut Reader, maps: &ConfigMaps) -> impl FnOnce(&AsOf<'_>) -> ClusterObjects + use<> {
    let eni_configs = rows(reader, Part::EniConfigs, EniConfigView::row).sorted(|one| one.name.clone());
    let policies = rows(reader, Part::SecurityGroupPolicies, SecurityGroupPolicyView::row);
    let policies = policies.sorted(|one| (one.namespace.clone(), one.name.clone()));
    let accounts = rows(reader, Part::ServiceAccounts, ServiceAccountView::row);
    let accounts = accounts.sorted(|one| (one.namespace.clone(), one.name.clone()));
    let deployments: Listing<Workload> =
        rows(reader, Part::Deployments, |view: &DeploymentView, texts| view.row(maps, texts));
    let deployments = deployments.sorted(|one| (one.namespace.clone(), one.name.clone()));
    let services = rows(reader, Part::Services, ServiceView::row);
    let services = services.sorted(|one| (one.namespace.clone(), one.name.clone()));
    let network_policies = rows(reader, Part::NetworkPolicies, NetworkPolicyView::row);
    let network_policies = network_policies.sorted(|one| (one.namespace.clone(), one.name.clone()));
    let webhooks = rows(reader, Part::MutatingWebhooks, |view: &MutatingWebhooksView, texts| Ok(view.names(texts)));
    let webhooks = webhooks.map(|names| names.into_iter().flatten().collect()).sorted(Arc::clone);
    let node_classes = rows(reader, Part::NodeClasses, NodeClassView::row).sorted(|one| one.name.clone());
    let node_pools = rows(reader, Part::NodePools, NodePoolView::row).sorted(|one| one.name.clone());
    let node_claims = rows(reader, Part::NodeClaims, NodeClaimView::row).sorted(|one| one.name.clone());
    move |as_of| ClusterObjects {
        eni_configs: eni_configs.reading(as_of),
        security_group_policies: policies.reading(as_of),
        service_accounts: accounts.reading(as_of),
        deployments: deployments.reading(as_of),
        services: services.reading(as_of),
        network_policies: network_policies.reading(as_of),
        mutating_webhooks: webhooks.reading(as_of),
        node_classes: node_classes.reading(as_of),
        node_pools: node_pools.reading(as_of),
        node_claims: node_claims.reading(as_of),
        ..ClusterObjects::default()
    }
}

/// When each pod was last refused an address, by its uid.
type Refusals = HashMap<String, Timestamp>;

fn events(reader: &mut Reader) -> (Listing<Event>, Refusals) {
    let mut refusals = Refusals::new();
    let events = reader.list(Part::Events, |item, texts| {
        let view: EventView = serde_json::from_str(item)?;
        if let Some(refusal) = view.refusal() {
            let at = refusals.entry(refusal.pod).or_insert(refusal.at);
            *at = refusal.at.max(*at);
        }
        Ok(view.row(texts)?)
    });
    (events, refusals)
}

fn config_maps(reader: &mut Reader) -> (Listing<ConfigMap>, ConfigMaps) {
    let mut maps = ConfigMaps::new();
    let rows = reader.list(Part::ConfigMaps, |item, texts| {
        let view: ConfigMapView = serde_json::from_str(item)?;
        let row = view.row(texts)?;
        maps.insert(view.key()?, Ok(view.data.unwrap_or_default()));
        Ok(row)
    });
    (rows.sorted(|map| map.name.clone()), maps)
}

/// The pods, finished ones included. Those that wait say when they were last refused an address.
fn pods(reader: &mut Reader, cni: &mut Cni, refusals: &Refusals) -> Listing<Pod> {
    let mut seen: HashSet<Uid> = HashSet::new();
    let mut namespaces: HashSet<String> = HashSet::new();
    let mut pods = reader.list(Part::Pods, |item, texts| {
        let view: PodView = serde_json::from_str(item)?;
        let mut pod = view.row(texts)?;
        if !seen.insert(pod.uid()) {
            return Ok(None);
        }
        if pod.address.is_none()
            && let Some(at) = refusals.get(&pod.uid().to_string())
        {
            pod = pod.refused(*at);
        }
        if !namespaces.contains(pod.namespace()) {
            namespaces.insert(pod.namespace().to_owned());
        }
        cni.take(&pod, item, texts)?;
        Ok(Some(pod))
    });
    if pods.rows.is_some()
        && let Some(daemon_set) = cni.without_pods(|namespace| namespaces.contains(namespace))
    {
        let what = format!(
            "it has no pod in the namespace of DaemonSet {daemon_set}, which has some: was it made without -A?"
        );
        reader.warn(Part::Pods, &what);
        pods.disbelieve(&what);
    }
    pods
}
