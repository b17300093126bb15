//! The index, driven by watch events one by one, and looked at through snapshots.

use std::sync::Arc;

use ipam_audit_api::views::{
    AwsNodePodView, DaemonSetView, DeploymentView, EventView, NodeView, PodView, ServiceView, decode,
};
use ipam_audit_core::{
    inventory::Inventory,
    snapshot::{ClusterObjects, ClusterSnapshot, EnvValue},
    source::{FaultCategory, Reading, SourceFault},
};
use jiff::Timestamp;
use kube::core::Selector;
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::{
    watch::{Event, Sink},
    wire::Item,
};

/// An index with its sinks.
struct Rig {
    state: Arc<State>,
    pods: IndexSink<PodView, Pods>,
    nodes: IndexSink<NodeView, Nodes>,
    events: IndexSink<EventView, Events>,
    daemon_sets: IndexSink<DaemonSetView, cni::DaemonSets>,
}

impl Rig {
    fn new() -> Self {
        let state = Arc::new(State::new(Duration::ZERO));
        Self {
            pods: IndexSink::new(state.clone(), |parts| Some(&mut parts.pods)),
            nodes: IndexSink::new(state.clone(), |parts| Some(&mut parts.nodes)),
            events: IndexSink::new(state.clone(), |parts| Some(&mut parts.events)),
            daemon_sets: IndexSink::new(state.clone(), |parts| Some(&mut parts.cni.daemon_sets)),
            state,
        }
    }

    fn snapshot(&self) -> ClusterSnapshot {
        self.snapshot_of("kube-system", "aws-node")
    }

    fn snapshot_of(&self, namespace: &str, daemon_set: &str) -> ClusterSnapshot {
        let lens =
            Lens { cni: place(namespace, daemon_set), trunk_annotation: "none".to_owned(), nodes: Selector::default() };
        self.state.snapshot(&lens, (Inventory::default(), Reading::not_collected()), Timestamp::UNIX_EPOCH)
    }

    fn pod_names(&self) -> Vec<String> {
        let snapshot = self.snapshot();
        let pods = snapshot.pods.value().unwrap();
        let mut names: Vec<String> = pods.iter().map(|pod| pod.name().to_string()).collect();
        names.sort();
        names
    }

    /// Whether something happened that audits are told about.
    fn moves(&self, happen: impl FnOnce()) -> bool {
        let before = self.state.generation();
        happen();
        self.state.generation() > before
    }
}

fn place(namespace: &str, name: &str) -> Place {
    Place { namespace: namespace.into(), name: name.into() }
}

/// An object as a watch decodes it.
fn item<K: DeserializeOwned>(object: &Value) -> Item<K> {
    decode(&object.to_string())
}

#[expect(clippy::needless_pass_by_value, reason = "literals read better")]
fn listed<K: DeserializeOwned>(object: Value) -> Event<K> {
    Event::Listed(item(&object))
}

#[expect(clippy::needless_pass_by_value, reason = "literals read better")]
fn changed<K: DeserializeOwned>(object: Value) -> Event<K> {
    Event::Changed(item(&object))
}

#[expect(clippy::needless_pass_by_value, reason = "literals read better")]
fn gone<K: DeserializeOwned>(object: Value) -> Event<K> {
    Event::Gone(item(&object))
}

fn list<K: Send + DeserializeOwned>(sink: &impl Sink<K>, objects: impl IntoIterator<Item = Value>) {
    sink.event(Event::Begin);
    sink.connected();
    objects.into_iter().for_each(|object| sink.event(listed(object)));
    sink.event(Event::Complete);
}

fn pod(name: &str, uid: &str, address: Option<&str>) -> Value {
    json!({"metadata": {"name": name, "namespace": "shop", "uid": uid}, "spec": {"nodeName": "node-1"},
        "status": {"phase": "Pending", "podIP": address}})
}

fn node(name: &str, uid: &str) -> Value {
    json!({"metadata": {"name": name, "uid": uid}, "spec": {"providerID": format!("aws:///eu-central-1a/i-{uid}")},
        "status": {"conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}]}})
}

fn refusal(name: &str, uid: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "shop"}, "regarding": {"kind": "Pod", "uid": uid},
        "reason": "FailedCreatePodSandBox", "note": "add cmd: failed to assign an IP address to container",
        "deprecatedLastTimestamp": "2026-01-01T00:00:00Z"})
}

#[test]
fn a_relist_is_seen_at_its_end_as_a_whole() {
    let rig = Rig::new();
    list(&rig.pods, [pod("a", "1", None), pod("b", "2", None)]);
    assert_eq!(rig.pod_names(), ["a", "b"]);
    let quiet = rig.moves(|| {
        rig.pods.event(Event::Begin);
        rig.pods.event(listed(pod("b", "2", None)));
        rig.pods.event(listed(pod("c", "3", None)));
    });
    assert!(!quiet, "half a list is nothing to audit");
    assert!(rig.moves(|| rig.pods.event(Event::Complete)));
    assert_eq!(rig.pod_names(), ["b", "c"]);
}

#[test]
fn a_relist_without_news_and_a_heartbeat_cause_no_work() {
    let rig = Rig::new();
    list(&rig.nodes, [node("node-1", "1")]);
    assert!(!rig.moves(|| list(&rig.nodes, [node("node-1", "1")])));
    let mut beat = node("node-1", "1");
    beat["metadata"]["resourceVersion"] = json!("99");
    beat["status"]["conditions"][0]["lastHeartbeatTime"] = json!("2026-01-01T00:05:00Z");
    assert!(!rig.moves(|| rig.nodes.event(changed(beat))));
}

#[test]
fn a_deletion_of_what_was_never_seen_is_nothing() {
    let rig = Rig::new();
    list(&rig.pods, []);
    assert!(!rig.moves(|| rig.pods.event(gone(pod("a", "1", None)))));
    assert!(rig.moves(|| rig.pods.event(changed(pod("a", "1", None)))));
}

#[test]
fn a_new_address_of_a_pod_is_seen() {
    let rig = Rig::new();
    list(&rig.pods, [pod("a", "1", None)]);
    assert!(rig.moves(|| rig.pods.event(changed(pod("a", "1", Some("10.0.0.9"))))));
    let snapshot = rig.snapshot();
    assert_eq!(snapshot.pods.value().unwrap()[0].address, Some([10, 0, 0, 9].into()));
}

#[test]
fn a_node_that_is_replaced_under_its_name_survives_the_late_deletion_of_the_old_one() {
    let rig = Rig::new();
    list(&rig.nodes, [node("node-1", "old")]);
    assert!(rig.moves(|| rig.nodes.event(changed(node("node-1", "new")))));
    rig.nodes.event(gone(node("node-1", "old")));
    let snapshot = rig.snapshot();
    let nodes = snapshot.nodes.value().unwrap();
    assert_eq!(nodes.iter().map(|node| &*node.uid).collect::<Vec<_>>(), ["new"]);
}

#[test]
fn a_refused_pod_waits_until_it_has_an_address_however_long_the_event_lives() {
    let rig = Rig::new();
    let waiting = |rig: &Rig| rig.snapshot().pods.value().unwrap().iter().filter(|pod| pod.waits_for_address()).count();
    list(&rig.events, [refusal("e1", "1")]);
    list(&rig.pods, [pod("a", "1", None), pod("b", "2", None)]);
    assert_eq!(waiting(&rig), 1, "the event may come before the pod");
    rig.events.event(gone(refusal("e1", "1")));
    assert_eq!(waiting(&rig), 1, "events are forgotten after an hour, the pod still waits");
    rig.pods.event(changed(pod("a", "1", Some("10.0.0.9"))));
    assert_eq!(waiting(&rig), 0);
    rig.pods.event(changed(pod("a", "1", None)));
    assert_eq!(waiting(&rig), 0, "an old refusal is over for good");
}

#[test]
fn a_malformed_object_is_left_out_and_named_until_it_is_mended_or_gone() {
    let rig = Rig::new();
    let fault = |rig: &Rig| rig.snapshot().pods.fault.map(|fault| fault.message);
    list(&rig.events, []);
    list(&rig.pods, [pod("a", "1", None), pod("bad", "2", Some("10.0.0"))]);
    assert_eq!(rig.pod_names(), ["a"]);
    let told = Some("Pod shop/bad is left out: status.podIP is not an address".to_owned());
    assert_eq!(fault(&rig), told);
    list(&rig.pods, [pod("a", "1", None), pod("bad", "2", Some("10.0.0"))]);
    assert_eq!(rig.state.read(|parts| parts.pods.health.counts.malformed), 1, "once, however often it is listed");

    let mut odd = pod("a", "1", None);
    odd["status"]["podIP"] = json!(["hunter2"]);
    assert!(rig.moves(|| rig.pods.event(changed(odd.clone()))));
    assert_eq!(rig.pod_names(), Vec::<String>::new(), "what it was before is of another time");
    assert_eq!(
        fault(&rig).as_deref(),
        Some("Pod shop/a is left out: status.podIP: expected a string (and 1 more)"),
        "without what is in it"
    );
    assert!(rig.moves(|| rig.pods.event(changed(pod("a", "1", Some("10.0.0.9"))))));
    assert!(rig.moves(|| rig.pods.event(gone(pod("bad", "2", Some("10.0.0"))))));
    assert_eq!((rig.pod_names(), fault(&rig)), (vec!["a".to_owned()], None));
}

#[test]
fn events_about_addresses_are_rows_and_that_they_are_said_again_is_no_news() {
    let rig = Rig::new();
    let trunks: IndexSink<EventView, Events> = IndexSink::new(rig.state.clone(), |parts| Some(&mut parts.trunk_events));
    let event = |uid: &str, reason: &str, at: &str| {
        json!({"metadata": {"name": uid, "namespace": "default", "uid": uid},
            "regarding": {"kind": "Node", "name": "node-1"}, "reason": reason, "note": "vpc.amazonaws.com/pod-eni",
            "deprecatedLastTimestamp": at})
    };
    list(&rig.events, [refusal("e1", "1"), event("e2", "TrunkENICreationFailed", "2026-01-01T00:00:00Z")]);
    assert_eq!(rig.snapshot().objects.events.value(), None, "half of them is not known yet");
    list(&trunks, [event("e3", "NodeTrunkFailedInit", "2026-01-01T00:00:00Z")]);
    let reasons = |rig: &Rig| -> Vec<String> {
        let events = rig.snapshot().objects.events.last_good.unwrap().value;
        events.iter().map(|event| event.reason.to_string()).collect()
    };
    assert_eq!(reasons(&rig), ["NodeTrunkFailedInit", "TrunkENICreationFailed"], "refused pods are told by the pods");
    let again = event("e2", "TrunkENICreationFailed", "2026-01-01T00:09:00Z");
    assert!(!rig.moves(|| rig.events.event(changed(again.clone()))));
    let newest = rig.snapshot().objects.events.last_good.unwrap().value[1].last_at;
    assert_eq!(newest, "2026-01-01T00:09:00Z".parse().ok(), "and is known all the same");
    assert!(rig.moves(|| rig.events.event(gone(again))));
    assert_eq!(reasons(&rig), ["NodeTrunkFailedInit"]);
}

#[test]
fn of_deployments_and_services_only_those_are_kept_that_a_rule_asks_about() {
    let rig = Rig::new();
    let deployments: IndexSink<DeploymentView, Objects<Workload>> =
        IndexSink::new(rig.state.clone(), |parts| Some(&mut parts.deployments));
    let services: IndexSink<ServiceView, Objects<Service>> =
        IndexSink::new(rig.state.clone(), |parts| Some(&mut parts.services));
    let deployment = |name: &str, image: &str| {
        json!({"metadata": {"name": name, "namespace": "tools"}, "spec": {"template": {"spec": {"containers": [
            {"name": "main", "image": image, "env": [{"name": "PASSWORD", "value": "hunter2"}]}]}}}})
    };
    list(&deployments, [deployment("shop", "x/shop:1"), deployment("scaler", "x/karpenter/controller:1")]);
    let service = |namespace: &str, name: &str, policy: &str| {
        json!({"metadata": {"name": name, "namespace": namespace},
            "spec": {"clusterIP": "172.20.0.1", "externalTrafficPolicy": policy, "selector": {"app": name}}})
    };
    list(
        &services,
        [
            service("default", "kubernetes", "Cluster"),
            service("shop", "web", "Cluster"),
            service("shop", "gate", "Local"),
        ],
    );
    let objects = rig.snapshot().objects;
    let names: Vec<&str> = objects.deployments.value().unwrap().iter().map(|one| &*one.name).collect();
    assert_eq!(names, ["scaler"]);
    let names = |objects: &ClusterObjects| -> Vec<String> {
        objects.services.value().unwrap().iter().map(|one| one.name.to_string()).collect()
    };
    assert_eq!(names(&objects), ["kubernetes", "gate"]);
    assert!(rig.moves(|| services.event(changed(service("shop", "gate", "Cluster")))));
    assert_eq!(names(&rig.snapshot().objects), ["kubernetes"]);
}

#[test]
fn a_source_that_cannot_be_read_names_the_right_and_keeps_its_rows() {
    let rig = Rig::new();
    list(&rig.pods, [pod("a", "1", None)]);
    list(&rig.events, []);
    let denied = SourceFault { category: FaultCategory::Denied, message: "may not watch events".to_owned() };
    assert!(rig.moves(|| rig.events.failed(denied.clone())));
    let pods = rig.snapshot().pods;
    assert_eq!(pods.fault, Some(denied), "without the events it is not known which pods wait");
    assert_eq!(pods.value().map(ipam_audit_core::pages::Pages::len), Some(1));
}

fn daemon_set(namespace: &str, name: &str, image: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": namespace, "uid": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": {"spec": {"containers": [
            {"name": "main", "image": image, "env": [{"name": "WARM_ENI_TARGET", "value": "1"}]}]}}}})
}

fn cni_pod(node: &str, uid: &str, target: &str) -> Value {
    json!({"metadata": {"name": uid, "uid": uid}, "spec": {"nodeName": node, "containers": [
        {"name": "aws-node", "image": "x/amazon-k8s-cni:v1.18.0", "env": [{"name": "WARM_ENI_TARGET", "value": target}]}]}})
}

#[test]
fn the_cni_is_found_under_any_name_and_its_running_pods_are_the_truth() {
    let rig = Rig::new();
    list(
        &rig.daemon_sets,
        [
            daemon_set("kube-system", "kube-proxy", "x/kube-proxy:v1"),
            daemon_set("networking", "renamed", "x/amazon-k8s-cni:v1.18.1"),
        ],
    );
    let target = rig.state.read(|parts| parts.cni.targets()).into_iter().next().unwrap();
    assert_eq!((target.place.clone(), target.selector.as_str()), (place("networking", "renamed"), "app=renamed"));
    assert_eq!(rig.snapshot().aws_node.fault.map(|fault| fault.category), Some(FaultCategory::Pending));

    rig.state.change(|parts, _| {
        parts.cni.pods.insert(place("networking", "renamed"), Part::new("aws-node pods", Duration::ZERO));
        Changed::No
    });
    let pods: IndexSink<AwsNodePodView, AwsNodePods> =
        IndexSink::new(rig.state.clone(), |parts| parts.cni.pods.values_mut().next());
    list(&pods, [cni_pod("node-2", "2", "0"), cni_pod("node-1", "1", "0"), cni_pod("node-3", "3", "5")]);
    let aws_node = rig.snapshot().aws_node.last_good.unwrap().value;
    assert_eq!(&*aws_node.daemon_set, "networking/renamed");
    assert_eq!(aws_node.template.values.get("WARM_ENI_TARGET"), Some(&EnvValue::Literal("1".to_owned())));
    let seen: Vec<_> =
        aws_node.pods.iter().map(|pod| (pod.node.as_str(), pod.env.known()["WARM_ENI_TARGET"].clone())).collect();
    assert_eq!(seen, [("node-1", "0".to_owned()), ("node-2", "0".to_owned()), ("node-3", "5".to_owned())]);
    assert!(Arc::ptr_eq(&aws_node.pods[0].env, &aws_node.pods[1].env), "equal environments are kept once");
}

#[test]
fn no_cni_at_all_is_said_with_what_to_set() {
    let rig = Rig::new();
    list(&rig.daemon_sets, [daemon_set("kube-system", "cilium", "x/cilium:v1")]);
    let fault = rig.snapshot_of("networking", "mine").aws_node.fault.unwrap();
    assert_eq!(fault.category, FaultCategory::NotFound);
    assert!(
        fault.message.contains("networking/mine") && fault.message.contains("spec.cni.daemonSet"),
        "{}",
        fault.message
    );
}

#[test]
fn a_named_daemon_set_counts_whatever_it_looks_like() {
    let rig = Rig::new();
    list(&rig.daemon_sets, [daemon_set("networking", "mine", "own/build:1")]);
    assert!(rig.state.read(|parts| parts.cni.targets()).is_empty());
    assert!(rig.moves(|| rig.state.follow(place("networking", "mine"))));
    assert_eq!(rig.state.read(|parts| parts.cni.targets()).len(), 1);
}

#[derive(Debug, Clone)]
enum Step {
    Apply(u8, Option<u8>),
    Delete(u8),
    Relist(Vec<(u8, Option<u8>)>),
}

fn step() -> impl Strategy<Value = Step> {
    let row = || (0..6_u8, proptest::option::of(1..4_u8));
    prop_oneof![
        row().prop_map(|(name, address)| Step::Apply(name, address)),
        (0..6_u8).prop_map(Step::Delete),
        proptest::collection::vec(row(), 0..6).prop_map(Step::Relist),
    ]
}

fn numbered(name: u8, address: Option<u8>) -> Value {
    let address = address.map(|last| format!("10.0.0.{last}"));
    pod(&name.to_string(), &name.to_string(), address.as_deref())
}

proptest! {
    /// Whatever the order of events, the index is what a rebuild from the last known objects would be, and it moves
    /// exactly when that changes.
    #[test]
    fn the_index_is_always_what_a_rebuild_would_be(steps in proptest::collection::vec(step(), 1..30)) {
        let rig = Rig::new();
        list(&rig.pods, []);
        let mut model: std::collections::BTreeMap<u8, Option<u8>> = std::collections::BTreeMap::new();
        for step in steps {
            let before = model.clone();
            let moved = match step {
                Step::Apply(name, address) => {
                    model.insert(name, address);
                    rig.moves(|| rig.pods.event(changed(numbered(name, address))))
                }
                Step::Delete(name) => {
                    model.remove(&name);
                    rig.moves(|| rig.pods.event(gone(numbered(name, None))))
                }
                Step::Relist(rows) => {
                    let rows: std::collections::BTreeMap<_, _> = rows.into_iter().collect();
                    model.clone_from(&rows);
                    rig.moves(|| list(&rig.pods, rows.iter().map(|(name, address)| numbered(*name, *address))))
                }
            };
            prop_assert_eq!(moved, model != before);
            let snapshot = rig.snapshot();
            let rows: std::collections::BTreeMap<u8, Option<u8>> = snapshot.pods.value().unwrap().iter()
                .map(|pod| (pod.name().to_string().parse().unwrap(), pod.address.map(|address| address.octets()[3]))).collect();
            prop_assert_eq!(rows, model.clone());
        }
    }
}

#[test]
fn two_replicas_with_the_same_rows_can_be_told_from_two_with_different_ones() {
    fn checksums(state: &State) -> Vec<(&'static str, usize, u64)> {
        state.read(|parts| {
            let watched = parts.watched();
            watched.map(|watched| (watched.health.what(), watched.census.rows, watched.census.checksum)).collect()
        })
    }
    let (one, other) = (Rig::new(), Rig::new());
    let nodes = || [node("node-1", "1"), node("node-2", "2")];
    list(&one.nodes, nodes());
    list(&one.pods, [pod("a", "1", Some("10.0.0.9")), pod("b", "2", None)]);
    // The same, in another order and with a detour.
    list(&other.pods, [pod("b", "2", None), pod("c", "3", None)]);
    other.pods.event(changed(pod("a", "1", Some("10.0.0.9"))));
    list(&other.nodes, nodes().into_iter().rev());
    assert_ne!(checksums(&one.state), checksums(&other.state), "one more pod");
    other.pods.event(gone(pod("c", "3", None)));
    assert_eq!(checksums(&one.state), checksums(&other.state));
    other.pods.event(changed(pod("a", "1", Some("10.0.0.10"))));
    assert_ne!(checksums(&one.state), checksums(&other.state), "another address");
}

#[test]
fn every_watch_whose_health_is_told_is_counted_as_well() {
    let rig = Rig::new();
    rig.state.change(|parts, _| {
        let _ = parts.cni_nodes.set(Presence::Served).or(parts.node_claims.set(Presence::Served));
        parts.cni.pods.insert(place("kube-system", "aws-node"), Part::new("aws-node pods", Duration::ZERO));
        Changed::No
    });
    rig.state.read(|parts| {
        let counted: Vec<&str> = parts.watched().map(|watched| watched.health.what()).collect();
        assert_eq!(counted, parts.healths().map(Health::what).collect::<Vec<_>>());
    });
}
