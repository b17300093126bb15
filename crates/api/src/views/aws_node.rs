//! The VPC CNI's DaemonSet, wherever it is and whatever its name, and its running pods.

use std::{collections::HashMap, sync::Arc};

use ipam_audit_core::{
    ids::NodeName,
    snapshot::{AwsNode, AwsNodeEnv, AwsNodeManifest, AwsNodePod, Selector, Workload},
};
use jiff::Timestamp;
use k8s_openapi::{
    api::{apps::v1::DaemonSet as FullDaemonSet, core::v1::Pod as FullPod},
    apimachinery::pkg::apis::meta::v1::{LabelSelector, Time},
};
use kube::{Resource, core::ObjectMeta};
use serde::Deserialize;

use super::{
    ConfigMaps, EnvView, Interner, Malformed,
    meta::{self, Keep, Kept},
    networking::selector,
    workload,
};

/// The container that runs ipamd.
const CONTAINER: &str = "aws-node";
/// Every build of the CNI ends its image name so, whichever registry it comes from.
const IMAGE: &str = "amazon-k8s-cni";
/// The init container that prepares the node.
const INIT_CONTAINER: &str = "aws-vpc-cni-init";
/// Every build of the network policy agent ends its image name so.
const AGENT_IMAGE: &str = "aws-network-policy-agent";
const CPU: &str = "cpu";
/// The label of the shipped manifests and of the EKS add-on.
const LABEL: (&str, &str) = ("k8s-app", "aws-node");

/// A DaemonSet, as far as it can be the CNI's.
#[derive(Debug, Clone, Default, Deserialize, Resource)]
#[resource(inherit = FullDaemonSet)]
pub struct DaemonSetView {
    #[serde(default, deserialize_with = "meta::labelled")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: DaemonSetSpec,
    #[serde(default)]
    status: DaemonSetStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct DaemonSetSpec {
    selector: Option<LabelSelector>,
    #[serde(default)]
    template: Template,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct DaemonSetStatus {
    #[serde(rename = "desiredNumberScheduled")]
    desired: Option<u32>,
    #[serde(rename = "currentNumberScheduled")]
    current: Option<u32>,
    #[serde(rename = "updatedNumberScheduled")]
    updated: Option<u32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Template {
    #[serde(default)]
    spec: TemplateSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TemplateSpec {
    service_account_name: Option<String>,
    init_containers: Option<Vec<CniContainer>>,
    containers: Option<Vec<TemplateContainer>>,
}

/// A container of a template: what its pods have too, and what only the template is asked for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TemplateContainer {
    #[serde(flatten)]
    shared: CniContainer,
    liveness_probe: Option<Probe>,
    readiness_probe: Option<Probe>,
    #[serde(default)]
    resources: Resources,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    timeout_seconds: Option<u32>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Resources {
    #[serde(default)]
    requests: Kept<Cpu>,
}

struct Cpu;

impl Keep for Cpu {
    fn keeps(key: &str) -> bool {
        key == CPU
    }
}

impl TemplateContainer {
    /// Kubernetes waits one second where a probe says nothing.
    fn shortest_probe(&self) -> Option<u32> {
        let probes = [&self.liveness_probe, &self.readiness_probe].into_iter().flatten();
        probes.map(|probe| probe.timeout_seconds.unwrap_or(1)).min()
    }

    fn cpu_request_millis(&self) -> Option<u32> {
        let text = self.resources.requests.entries.get(CPU)?;
        match text.strip_suffix('m') {
            Some(millis) => millis.parse().ok(),
            None => text.parse::<u32>().ok()?.checked_mul(1000),
        }
    }
}

/// A container of such a DaemonSet or of one of its pods.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
pub struct CniContainer {
    #[serde(default)]
    name: String,
    #[serde(default)]
    image: String,
    /// Its environment, as written.
    #[serde(flatten)]
    pub env: EnvView,
}

impl CniContainer {
    /// What it runs with, as far as the ConfigMaps are known.
    pub fn resolve(&self, namespace: &Arc<str>, maps: &ConfigMaps) -> AwsNodeEnv {
        AwsNodeEnv { image: self.image.clone(), values: self.env.resolve(namespace, maps) }
    }

    /// Its image.
    pub fn image(&self) -> &str {
        &self.image
    }

    fn runs_the_cni(&self) -> bool {
        self.runs(IMAGE)
    }

    /// Whether the name of its image, without registry, tag and digest, ends so.
    fn runs(&self, image: &str) -> bool {
        let without_digest = self.image.split('@').next().unwrap_or_default();
        let last = without_digest.rsplit('/').next().unwrap_or_default();
        last.split(':').next().is_some_and(|name| name.ends_with(image))
    }
}

/// The container that runs ipamd: by name, else by image.
fn cni_container<C: AsRef<CniContainer>>(containers: &[C]) -> Option<&C> {
    let by_name = containers.iter().find(|container| container.as_ref().name == CONTAINER);
    by_name.or_else(|| containers.iter().find(|container| container.as_ref().runs_the_cni()))
}

impl AsRef<Self> for CniContainer {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl AsRef<CniContainer> for TemplateContainer {
    fn as_ref(&self) -> &CniContainer {
        &self.shared
    }
}

/// What a DaemonSet would run, if it has a container of the CNI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CniTemplate {
    container: CniContainer,
    init: Option<CniContainer>,
    manifest: AwsNodeManifest,
}

impl CniTemplate {
    /// The environments as they are written.
    pub fn environments(&self) -> impl Iterator<Item = &EnvView> {
        [Some(&self.container), self.init.as_ref()].into_iter().flatten().map(|container| &container.env)
    }

    /// The CNI without its pods, as far as the ConfigMaps are known.
    pub fn aws_node(&self, namespace: &Arc<str>, name: &str, maps: &ConfigMaps) -> AwsNode {
        let resolve = |container: &CniContainer| Arc::new(container.resolve(namespace, maps));
        AwsNode {
            daemon_set: format!("{namespace}/{name}").into(),
            template: resolve(&self.container),
            pods: Vec::new(),
            manifest: AwsNodeManifest { init: self.init.as_ref().map(resolve), ..self.manifest.clone() },
        }
    }
}

/// The DaemonSets that are the CNI, by namespace and name: the expected one first, then those that say so themselves.
pub fn cni_places<'a, P: Ord>(daemon_sets: impl IntoIterator<Item = (&'a P, bool)>, expected: &P) -> Vec<&'a P> {
    let is_cni = |(place, says_so): &(&P, bool)| *says_so || *place == expected;
    let mut places: Vec<&P> = daemon_sets.into_iter().filter(is_cni).map(|(place, _)| place).collect();
    places.sort_by_key(|place| (*place != expected, *place));
    places
}

impl DaemonSetView {
    /// Its namespace and name.
    pub fn place(&self) -> Result<(&str, &str), Malformed> {
        let meta = &self.metadata;
        let name = meta.name.as_deref().ok_or_else(|| Malformed::missing("DaemonSet", meta, "metadata.name"))?;
        Ok((meta.namespace.as_deref().unwrap_or_default(), name))
    }

    /// The selector of its pods.
    pub fn selector(&self) -> Option<&LabelSelector> {
        self.spec.selector.as_ref()
    }

    /// The selector of its pods, as rows keep it.
    pub fn pod_selector(&self, interner: &mut Interner) -> Option<Selector> {
        self.spec.selector.as_ref().map(|from| selector(from, interner))
    }

    /// Whether its label or an image says that this is the VPC CNI, whatever its name.
    pub fn is_vpc_cni(&self) -> bool {
        let labels = self.metadata.labels.as_ref();
        let labelled = labels.is_some_and(|labels| labels.get(LABEL.0).is_some_and(|value| value == LABEL.1));
        labelled || self.containers().iter().any(|container| container.shared.runs_the_cni())
    }

    /// Pods that it should have.
    pub const fn desired_pods(&self) -> Option<u32> {
        self.status.desired
    }

    /// Pods that it has now, as its controller counts them.
    pub fn current_pods(&self) -> u32 {
        self.status.current.unwrap_or_default()
    }

    /// What it would run, if it has a container of the CNI.
    pub fn template(&self) -> Option<CniTemplate> {
        let container = cni_container(self.containers())?;
        let spec = &self.spec.template.spec;
        let init = spec.init_containers.iter().flatten().find(|container| container.name == INIT_CONTAINER);
        let agent = self.containers().iter().find(|container| container.shared.runs(AGENT_IMAGE));
        let account = spec.service_account_name.as_deref().filter(|name| !name.is_empty());
        Some(CniTemplate {
            container: container.shared.clone(),
            init: init.cloned(),
            manifest: AwsNodeManifest {
                init: None,
                agent_image: agent.map(|container| container.shared.image.as_str().into()),
                probe_timeout_seconds: container.shortest_probe(),
                cpu_request_millis: container.cpu_request_millis(),
                service_account: account.map(Into::into),
                desired: self.status.desired,
                updated: self.status.updated,
            },
        })
    }

    /// The images of its containers.
    pub fn images(&self) -> impl Iterator<Item = &str> {
        self.containers().iter().map(|container| container.shared.image())
    }

    /// The row among a snapshot's workloads.
    pub fn workload(&self, maps: &ConfigMaps, interner: &mut Interner) -> Result<Workload, Malformed> {
        let (namespace, name) = self.place()?;
        let containers: Vec<&CniContainer> = self.containers().iter().map(|container| &container.shared).collect();
        let place = (namespace, name);
        Ok(workload::row(place, &containers, self.status.desired, maps, interner))
    }

    fn containers(&self) -> &[TemplateContainer] {
        self.spec.template.spec.containers.as_deref().unwrap_or_default()
    }
}

/// A pod of such a DaemonSet.
#[derive(Debug, Clone, Default, Deserialize, Resource)]
#[resource(inherit = FullPod)]
pub struct AwsNodePodView {
    #[serde(default, deserialize_with = "meta::bare")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: PodSpec,
    #[serde(default)]
    status: PodStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodSpec {
    node_name: Option<String>,
    containers: Option<Vec<CniContainer>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodStatus {
    conditions: Option<Vec<Condition>>,
    container_statuses: Option<Vec<ContainerStatus>>,
    start_time: Option<Time>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Condition {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    status: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerStatus {
    #[serde(default)]
    name: String,
    restart_count: Option<u32>,
    #[serde(default)]
    state: ContainerState,
    #[serde(default)]
    last_state: ContainerState,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct ContainerState {
    waiting: Option<Waiting>,
    terminated: Option<Terminated>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Waiting {
    reason: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Terminated {
    finished_at: Option<Time>,
}

/// A running pod of the CNI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsNodePodRow {
    /// Its `metadata.uid`.
    pub uid: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its node.
    pub node: NodeName,
    /// Whether all its containers are ready.
    pub ready: bool,
    /// Restarts of the container that runs ipamd.
    pub restarts: u32,
    /// When that container last ended.
    pub last_ended_at: Option<Timestamp>,
    /// Why it waits.
    pub waiting: Option<Arc<str>>,
    /// `status.startTime`.
    pub started_at: Option<Timestamp>,
    /// The container itself.
    pub container: Arc<CniContainer>,
}

/// The pods of a DaemonSet as a snapshot has them; equal containers are resolved once.
pub fn aws_node_pods<'a>(
    rows: impl IntoIterator<Item = &'a AwsNodePodRow>,
    namespace: &Arc<str>,
    maps: &ConfigMaps,
) -> Vec<AwsNodePod> {
    let mut environments: HashMap<&CniContainer, Arc<AwsNodeEnv>> = HashMap::new();
    let pods = rows.into_iter().map(|row| {
        let env = environments.entry(&*row.container);
        AwsNodePod {
            node: row.node.clone(),
            name: row.name.clone(),
            env: env.or_insert_with(|| Arc::new(row.container.resolve(namespace, maps))).clone(),
            ready: row.ready,
            restarts: row.restarts,
            last_ended_at: row.last_ended_at,
            waiting: row.waiting.clone(),
            started_at: row.started_at,
        }
    });
    pods.collect()
}

impl AwsNodePodView {
    /// The row of the index; none before the pod is on a node, once it is going, or if it runs no CNI.
    pub fn row(&self, interner: &mut Interner) -> Result<Option<AwsNodePodRow>, Malformed> {
        let meta = &self.metadata;
        let uid = meta.uid.as_deref().ok_or_else(|| Malformed::missing("Pod", meta, "metadata.uid"))?;
        let node = self.spec.node_name.as_deref().filter(|node| !node.is_empty());
        let container = cni_container(self.spec.containers.as_deref().unwrap_or_default());
        let (Some(node), Some(container), None) = (node, container, &meta.deletion_timestamp) else {
            return Ok(None);
        };
        let statuses = self.status.container_statuses.iter().flatten();
        let status = statuses.into_iter().find(|status| status.name == container.name).cloned().unwrap_or_default();
        let ended = [&status.state, &status.last_state].into_iter().filter_map(|state| state.terminated.as_ref());
        let waiting = status.state.waiting.as_ref().and_then(|waiting| waiting.reason.as_deref());
        Ok(Some(AwsNodePodRow {
            uid: uid.into(),
            name: meta.name.as_deref().unwrap_or_default().into(),
            node: interner.node(node),
            ready: self.is_ready(),
            restarts: status.restart_count.unwrap_or_default(),
            last_ended_at: ended.filter_map(|end| Some(end.finished_at.as_ref()?.0)).max(),
            waiting: waiting.map(|reason| interner.text(reason)),
            started_at: self.status.start_time.as_ref().map(|time| time.0),
            container: Arc::new(container.clone()),
        }))
    }

    fn is_ready(&self) -> bool {
        let ready = |condition: &Condition| condition.kind == "Ready" && condition.status == "True";
        self.status.conditions.iter().flatten().any(ready)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn daemon_set(labels: &Value, containers: &Value) -> DaemonSetView {
        serde_json::from_value(json!({
            "metadata": {"name": "x", "namespace": "kube-system", "labels": labels},
            "spec": {"template": {"spec": {"containers": containers}}},
        }))
        .unwrap()
    }

    #[test]
    fn the_cni_is_told_by_image_whatever_the_registry_tag_or_digest() {
        for (image, want) in [
            ("602401143452.dkr.ecr.eu-central-1.amazonaws.com/amazon-k8s-cni:v1.18.1-eksbuild.3", true),
            ("registry:5000/mirror/amazon-k8s-cni@sha256:0123", true),
            ("public.ecr.aws/eks/amazon-k8s-cni:v1@sha256:0123", true),
            ("602401143452.dkr.ecr.eu-central-1.amazonaws.com/amazon-k8s-cni-init:v1.18.1", false),
            ("602401143452.dkr.ecr.eu-central-1.amazonaws.com/amazon/aws-network-policy-agent:v1", false),
        ] {
            let view = daemon_set(&Value::Null, &json!([{"name": "x", "image": image}]));
            assert_eq!((view.is_vpc_cni(), view.template().is_some()), (want, want), "{image}");
        }
    }

    #[test]
    fn the_container_named_aws_node_comes_first() {
        let two = json!([{"name": "a", "image": "x/amazon-k8s-cni:1"}, {"name": "aws-node", "image": "own/build:2"}]);
        let template = daemon_set(&Value::Null, &two).template().unwrap();
        assert_eq!(template.container.image, "own/build:2");
        let own = json!([{"name": "aws-node", "image": "own/build:2"}]);
        assert!(!daemon_set(&Value::Null, &own).is_vpc_cni());
        assert!(daemon_set(&json!({"k8s-app": "aws-node"}), &json!([])).is_vpc_cni());
    }

    #[test]
    fn the_expected_daemon_set_comes_first_and_strangers_not_at_all() {
        let places = ["a", "b", "c"];
        let says_so = [("a", true), ("b", false), ("c", false)];
        let of = |expected: &'static str| {
            let sets = places.iter().zip(says_so).map(|(place, (_, says_so))| (place, says_so));
            cni_places(sets, &expected).into_iter().copied().collect::<Vec<_>>()
        };
        assert_eq!((of("b"), of("d")), (vec!["b", "a"], vec!["a"]));
    }

    #[test]
    fn the_template_tells_more_than_its_environment() {
        let view: DaemonSetView = serde_json::from_value(json!({
            "metadata": {"name": "aws-node", "namespace": "kube-system"},
            "spec": {"selector": {"matchLabels": {"k8s-app": "aws-node"}}, "template": {"spec": {"serviceAccountName": "aws-node",
                "initContainers": [{"name": "aws-vpc-cni-init", "image": "i", "env": [{"name": "DISABLE_TCP_EARLY_DEMUX", "value": "true"}]}],
                "containers": [
                    {"name": "aws-node", "image": "x/amazon-k8s-cni:v1", "env": [{"name": "A", "value": "1"}],
                        "livenessProbe": {"timeoutSeconds": 10}, "readinessProbe": {},
                        "resources": {"requests": {"cpu": "25m"}}},
                    {"name": "agent", "image": "x/amazon/aws-network-policy-agent:v2"}]}}},
            "status": {"desiredNumberScheduled": 3, "updatedNumberScheduled": 2},
        }))
        .unwrap();
        let cni = view.template().unwrap().aws_node(&"kube-system".into(), "aws-node", &ConfigMaps::new());
        let manifest = &cni.manifest;
        assert_eq!((&*cni.daemon_set, cni.template.known().len()), ("kube-system/aws-node", 1));
        assert_eq!(manifest.agent_image.as_deref(), Some("x/amazon/aws-network-policy-agent:v2"));
        assert_eq!((manifest.probe_timeout_seconds, manifest.cpu_request_millis), (Some(1), Some(25)));
        assert_eq!((manifest.desired, manifest.updated), (Some(3), Some(2)));
        assert_eq!(manifest.init.as_ref().unwrap().known().len(), 1);
        assert_eq!(manifest.service_account.as_deref(), Some("aws-node"));
        assert_eq!(view.pod_selector(&mut Interner::default()).map(|selector| selector.labels.len()), Some(1));
    }

    fn pod(node: Option<&str>, deleted: Option<&str>) -> Option<AwsNodePodRow> {
        serde_json::from_value::<AwsNodePodView>(json!({
            "metadata": {"name": "aws-node-x", "uid": "u", "deletionTimestamp": deleted},
            "spec": {"nodeName": node, "containers": [{"name": "aws-node", "image": "i", "env": [{"name": "A", "value": "1"}]}]},
            "status": {"startTime": "2026-01-01T00:00:00Z", "containerStatuses": [
                {"name": "other", "restartCount": 9},
                {"name": "aws-node", "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                    "lastState": {"terminated": {"finishedAt": "2026-01-01T00:09:00Z"}}}]},
        }))
        .unwrap()
        .row(&mut Interner::default())
        .unwrap()
    }

    #[test]
    fn a_pod_without_a_node_or_on_its_way_out_runs_nothing() {
        assert!(pod(Some("n1"), None).is_some());
        assert!(pod(None, None).is_none() && pod(Some("n1"), Some("2026-01-01T00:00:00Z")).is_none());
    }

    #[test]
    fn a_pod_tells_how_its_container_fares() {
        let row = pod(Some("n1"), None).unwrap();
        let pods = aws_node_pods([&row, &row], &"kube-system".into(), &ConfigMaps::new());
        assert!(Arc::ptr_eq(&pods[0].env, &pods[1].env), "equal containers share their environment");
        assert_eq!((pods[0].restarts, pods[0].waiting.as_deref()), (2, Some("CrashLoopBackOff")));
        assert_eq!(pods[0].last_ended_at, "2026-01-01T00:09:00Z".parse().ok());
        assert!(pods[0].started_at.is_some() && !pods[0].ready);
    }
}
