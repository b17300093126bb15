//! Writes a scenario's Kubernetes half into an API server: what others refer to first, then many requests at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use anyhow::{Context, Result};
use futures::stream::{self, StreamExt, TryStreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Event, Namespace, Node, Pod};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Scenario;
use super::file::Workload;
use super::plan::{OwnerKind, Place, PlannedNode, PlannedPod};
use super::{bundle, nodes, pods, workloads};
use crate::controlplane::apply_yaml;
use crate::foreign::ForeignKind;

/// Enough to keep the API server busy, few enough for its request limits.
const AT_A_TIME: usize = 16;
pub(super) const CNI_NODE_CRD: &str = include_str!("cninode-crd.yaml");

/// Writes everything that the scenario has in Kubernetes.
pub(super) async fn load(scenario: &Scenario, client: &Client) -> Result<()> {
    let loader = Loader { scenario, client };
    loader.namespaces().await?;
    let owners = loader.workloads().await?;
    let nodes = &scenario.plan.nodes;
    let created: BTreeMap<String, Node> = many(nodes, |node| loader.node(node)).await?.into_iter().collect();
    if scenario.file.cni_nodes {
        apply_yaml(client, CNI_NODE_CRD).await.context("cannot install the CNINode definition")?;
        many(nodes, |node| loader.cni_node(node, &created)).await?;
    }
    loader.objects().await?;
    let placed = nodes.iter().flat_map(|node| node.pods.iter().map(move |pod| (node, pod)));
    many(placed, |(node, pod)| loader.pod(node, pod, &owners)).await?;
    Ok(())
}

/// Writes one pod of a workload that is in the API server already.
pub(super) async fn load_pod(
    scenario: &Scenario,
    client: &Client,
    (node, pod): (&PlannedNode, &PlannedPod),
    owner: &Value,
) -> Result<()> {
    Loader { scenario, client }.pod_with_owner(node, pod, owner).await
}

struct Loader<'a> {
    scenario: &'a Scenario,
    client: &'a Client,
}

/// Owner references by kind and workload.
type Owners = BTreeMap<(bool, Workload), Value>;

impl Loader<'_> {
    async fn namespaces(&self) -> Result<()> {
        let pods = self.scenario.plan.nodes.iter().flat_map(|node| &node.pods);
        let of_objects = self.scenario.file.objects.iter();
        let of_objects = of_objects.filter_map(|object| object["metadata"]["namespace"].as_str());
        let needed: BTreeSet<&str> = pods.map(|pod| pod.workload.namespace.as_str()).chain(of_objects).collect();
        let api: Api<Namespace> = Api::all(self.client.clone());
        for name in needed {
            if api.get_opt(name).await?.is_none() {
                create::<Namespace>(&api, json!({"metadata": {"name": name}})).await?;
            }
        }
        Ok(())
    }

    async fn workloads(&self) -> Result<Owners> {
        let mut counts: BTreeMap<(bool, Workload), (usize, usize)> = BTreeMap::new();
        for pod in self.scenario.plan.nodes.iter().flat_map(|node| &node.pods) {
            let count = counts.entry((pod.owner == OwnerKind::DaemonSet, pod.workload.clone())).or_default();
            count.0 += 1;
            count.1 += usize::from(pod.place != Place::Waiting);
        }
        let owners = many(counts, |((daemon, workload), (all, ready))| async move {
            let owner = if daemon {
                self.daemon_set(&workload, all).await
            } else {
                self.deployment(&workload, all, ready).await
            };
            Ok(((daemon, workload), owner?))
        });
        Ok(owners.await?.into_iter().collect())
    }

    async fn daemon_set(&self, workload: &Workload, count: usize) -> Result<Value> {
        let api: Api<DaemonSet> = self.namespaced(&workload.namespace);
        let set = create(&api, workloads::daemon_set(self.scenario, workload)).await?;
        patch_status(&api, &workload.name, workloads::daemon_set_status(count)).await?;
        owner_reference(&set)
    }

    async fn deployment(&self, workload: &Workload, all: usize, ready: usize) -> Result<Value> {
        let api: Api<Deployment> = self.namespaced(&workload.namespace);
        let deployment = create(&api, workloads::deployment(self.scenario, workload, all)).await?;
        patch_status(&api, &workload.name, workloads::deployment_status(all, ready)).await?;
        let api: Api<ReplicaSet> = self.namespaced(&workload.namespace);
        let mut set = workloads::replica_set(self.scenario, workload, all);
        set["metadata"]["ownerReferences"] = json!([owner_reference(&deployment)?]);
        let set = create(&api, set).await?;
        patch_status(&api, &set.name_any(), workloads::replica_set_status(all, ready)).await?;
        owner_reference(&set)
    }

    async fn node(&self, node: &PlannedNode) -> Result<(String, Node)> {
        let api: Api<Node> = Api::all(self.client.clone());
        let created = create(&api, nodes::node(self.scenario, node)).await?;
        patch_status(&api, &node.name, nodes::status(self.scenario, node, self.scenario.now)).await?;
        let taints = Patch::Merge(nodes::taints(self.scenario, node));
        let patched = api.patch(&node.name, &PatchParams::default(), &taints).await;
        patched.with_context(|| format!("cannot set the taints of node {}", node.name))?;
        Ok((node.name.clone(), created))
    }

    async fn cni_node(&self, node: &PlannedNode, created: &BTreeMap<String, Node>) -> Result<()> {
        let kind = ForeignKind::named("CNINode")?;
        let api = kind.api(self.client, kind.versions[0], "");
        let mut object = nodes::cni_node(self.scenario, node);
        let owner = created.get(&node.name).context("its node was not created")?;
        object["metadata"]["ownerReferences"] = json!([owner_reference(owner)?]);
        create(&api, object).await.map(drop)
    }

    /// What EKS puts into every cluster, and what the scenario states, with the definitions that it takes.
    async fn objects(&self) -> Result<()> {
        let objects = bundle::objects(self.scenario)?;
        let mut foreign: BTreeSet<&str> = BTreeSet::from(["ENIConfig"]);
        if self.scenario.file.cni_nodes {
            foreign.insert("SecurityGroupPolicy");
        }
        // The definition of CNINodes is another.
        let is_foreign = |kind: &&str| *kind != "CNINode" && ForeignKind::named(kind).is_ok();
        foreign.extend(objects.iter().map(|(kind, _)| *kind).filter(is_foreign));
        for kind in foreign {
            ForeignKind::named(kind)?.install(self.client).await?;
        }
        // The API server has its own Service.
        let is_own = |(kind, object): &(&str, Value)| *kind == "Service" && object["metadata"]["name"] == "kubernetes";
        many(objects.into_iter().filter(|one| !is_own(one)), |(kind, object)| self.object(kind, object)).await?;
        Ok(())
    }

    async fn object(&self, kind: &str, mut object: Value) -> Result<()> {
        let status = object.as_object_mut().and_then(|fields| fields.remove("status"));
        let ends = object["metadata"].as_object_mut().and_then(|meta| meta.remove("deletionTimestamp")).is_some();
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
        apply_yaml(self.client, &object.to_string()).await?;
        let Some(status) = status else { return Ok(()) };
        let status = json!({"status": status});
        match kind {
            "Pod" => {
                let api: Api<Pod> = self.namespaced(&namespace);
                patch_status(&api, &name, status).await?;
                if ends {
                    // Until kubelet confirms it, which nobody does here.
                    let gently = DeleteParams { grace_period_seconds: Some(30), ..DeleteParams::default() };
                    api.delete(&name, &gently).await.with_context(|| format!("cannot delete pod {name}"))?;
                }
                Ok(())
            }
            "Node" => {
                let api: Api<Node> = Api::all(self.client.clone());
                patch_status(&api, &name, status).await?;
                let untainted = Patch::Merge(json!({"spec": {"taints": Value::Null}}));
                api.patch(&name, &PatchParams::default(), &untainted).await.map(drop).context("cannot untaint a node")
            }
            _ => {
                let kind = ForeignKind::named(kind)?;
                patch_status(&kind.api(self.client, kind.versions[0], &namespace), &name, status).await
            }
        }
    }

    async fn pod(&self, node: &PlannedNode, pod: &PlannedPod, owners: &Owners) -> Result<()> {
        let owner = owners.get(&(pod.owner == OwnerKind::DaemonSet, pod.workload.clone()));
        self.pod_with_owner(node, pod, owner.context("every pod's workload was created")?).await
    }

    async fn pod_with_owner(&self, node: &PlannedNode, pod: &PlannedPod, owner: &Value) -> Result<()> {
        let now = self.scenario.now;
        let api: Api<Pod> = self.namespaced(&pod.workload.namespace);
        let object = pods::pod(self.scenario, node, pod, owner);
        let status = pods::status(node, pod, &object["spec"], now);
        let created = create(&api, object).await?;
        patch_status(&api, &pod.name, status).await?;
        if pod.place == Place::Waiting {
            let events: Api<Event> = self.namespaced(&pod.workload.namespace);
            create(&events, pods::sandbox_event(self.scenario, node, &created, now)).await?;
        }
        Ok(())
    }

    fn namespaced<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }
}

/// Runs one future for each item, several at a time.
async fn many<I, T, F>(items: impl IntoIterator<Item = I>, write: impl Fn(I) -> F) -> Result<Vec<T>>
where
    F: Future<Output = Result<T>>,
{
    stream::iter(items).map(write).buffer_unordered(AT_A_TIME).try_collect().await
}

async fn create<K>(api: &Api<K>, object: Value) -> Result<K>
where
    K: Resource + Clone + Serialize + DeserializeOwned + Debug,
{
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let url = api.resource_url().to_owned();
    let typed = serde_json::from_value(object).with_context(|| format!("the loader made an invalid object {name}"))?;
    let created = api.create(&PostParams::default(), &typed).await;
    created.with_context(|| format!("cannot create {url}/{name}"))
}

async fn patch_status<K>(api: &Api<K>, name: &str, status: Value) -> Result<()>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let patched = api.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await;
    patched.map(drop).with_context(|| format!("cannot set the status of {}/{name}", api.resource_url()))
}

fn owner_reference<K: Resource<DynamicType = ()>>(owner: &K) -> Result<Value> {
    let reference = owner.controller_owner_ref(&()).context("a created object has a name and a uid")?;
    serde_json::to_value(reference).context("cannot write an owner reference")
}
