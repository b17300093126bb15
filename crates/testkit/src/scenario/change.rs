//! Changes a loaded scenario while something watches it: what a rollout or a scale-down does to the objects.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::{Value, json};

use super::plan::{OwnerKind, Place, PlannedPod};
use super::{Scenario, load, workloads};
use crate::ec2::seed::{Assigned, Ec2Seed, InterfaceKind};

/// How far a change of aws-node's environment has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AwsNodeChange {
    /// The template has it, the pods still run with the old one: a rollout that is stuck or has not begun.
    TemplateOnly,
    /// The template and every pod have it.
    RolledOut,
}

/// Deletes pods at once, as if kubelet had confirmed it, and returns how many there were.
pub async fn delete_pods(client: &Client, namespace: &str, label_selector: &str) -> Result<usize> {
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let found = api.list(&ListParams::default().labels(label_selector)).await.context("cannot list pods")?;
    for pod in &found.items {
        delete_now(&api, &pod.name_any()).await?;
    }
    Ok(found.items.len())
}

impl Scenario {
    /// Sets variables of aws-node's environment in a cluster that the scenario was loaded into; `None` removes one.
    pub async fn set_aws_node_env(
        &mut self,
        client: &Client,
        env: &[(&str, Option<&str>)],
        change: AwsNodeChange,
    ) -> Result<()> {
        let aws_node = self.file.aws_node.as_mut().context("the scenario has no aws-node")?;
        for (name, value) in env {
            match value {
                Some(value) => aws_node.env.insert((*name).to_owned(), (*value).to_owned()),
                None => aws_node.env.remove(*name),
            };
        }
        let name = aws_node.name.clone();
        let owner = patch_template(self, client, &name).await?;
        if change == AwsNodeChange::RolledOut {
            replace_pods(self, client, &name, &owner).await?;
        }
        Ok(())
    }
}

impl Scenario {
    /// Lets every node give addresses back until it holds `hold` pod addresses, or those that its pods use if they are
    /// more; an interface beside the primary one goes when nothing is left on it. So does ipamd under IP targets.
    pub fn release_addresses(&self, seed: &mut Ec2Seed, hold: usize) {
        let mut gone = BTreeSet::new();
        let mut interfaces: BTreeMap<_, _> =
            seed.interfaces.iter_mut().filter_map(|one| Some((one.id.clone()?, one))).collect();
        for node in &self.plan.nodes {
            let used = node.pods.iter().filter_map(|pod| match pod.place {
                Place::Pool(address) => Some(address),
                _ => None,
            });
            let used: BTreeSet<Ipv4Addr> = used.collect();
            let mut spare = hold.saturating_sub(used.len());
            for (index, planned) in node.interfaces.iter().enumerate() {
                let id = planned.id.clone().unwrap_or_default();
                let Some(interface) = interfaces.get_mut(&id) else {
                    continue;
                };
                let Assigned::List(addresses) = &mut interface.secondary else {
                    continue;
                };
                addresses.retain(|address| used.contains(address) || take_one(&mut spare));
                if index > 0 && addresses.is_empty() && interface.kind == InterfaceKind::Interface {
                    gone.insert(id);
                }
            }
        }
        seed.interfaces.retain(|one| !one.id.as_ref().is_some_and(|id| gone.contains(id)));
    }
}

fn take_one(spare: &mut usize) -> bool {
    let left = spare.checked_sub(1);
    *spare = left.unwrap_or_default();
    left.is_some()
}

/// Writes the environment into the template and returns the reference that its pods carry.
async fn patch_template(scenario: &Scenario, client: &Client, name: &str) -> Result<Value> {
    let api: Api<DaemonSet> = Api::namespaced(client.clone(), "kube-system");
    let spec = workloads::daemon_set(scenario, &super::plan::system(name));
    // A merge patch replaces the list of containers as a whole, which is what removing a variable needs.
    let patch = Patch::Merge(json!({"spec": {"template": spec["spec"]["template"]}}));
    let set = api.patch(name, &PatchParams::default(), &patch).await.context("cannot change the aws-node template")?;
    serde_json::to_value(set.controller_owner_ref(&())).context("cannot write an owner reference")
}

/// A pod's environment cannot change: every pod is replaced by one with a new name, as a rollout does.
async fn replace_pods(scenario: &mut Scenario, client: &Client, name: &str, owner: &Value) -> Result<()> {
    let api: Api<Pod> = Api::namespaced(client.clone(), "kube-system");
    let names = scenario.names.clone();
    let is_aws_node = |pod: &&mut PlannedPod| pod.owner == OwnerKind::DaemonSet && pod.workload.name == name;
    for node in &mut scenario.plan.nodes {
        let pod = node.pods.iter_mut().find(is_aws_node).context("a node has no aws-node pod")?;
        let suffix = names.suffix(5, &["rollout", &pod.name]);
        let old = std::mem::replace(&mut pod.name, format!("{name}-{suffix}"));
        delete_now(&api, &old).await?;
    }
    for node in &scenario.plan.nodes {
        let pod = node.pods.iter().find(|pod| pod.owner == OwnerKind::DaemonSet && pod.workload.name == name);
        let pod = pod.context("a node has no aws-node pod")?;
        load::load_pod(scenario, client, (node, pod), owner).await?;
    }
    Ok(())
}

async fn delete_now(api: &Api<Pod>, name: &str) -> Result<()> {
    let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    api.delete(name, &now).await.map(drop).with_context(|| format!("cannot delete pod {name}"))
}
