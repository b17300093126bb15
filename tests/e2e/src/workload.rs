//! Pods that come and go while the operator watches.

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use ipam_audit_testkit::ec2::seed::Assigned;
use ipam_audit_testkit::scenario::{Place, PlannedNode};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::cluster::Cluster;

/// A running pod.
#[derive(Debug, Clone)]
pub struct PodSpec<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its labels.
    pub labels: Value,
    /// Its node.
    pub node: &'a str,
    /// Its address.
    pub address: Ipv4Addr,
    /// Whether that is the node's own.
    pub host_network: bool,
    /// Its one container.
    pub container: Value,
}

impl<'a> PodSpec<'a> {
    /// A pod of no workload with an address of its own.
    pub fn new(namespace: &'a str, name: &'a str, node: &'a str, address: Ipv4Addr) -> Self {
        Self {
            namespace,
            name,
            labels: json!({"app": name}),
            node,
            address,
            host_network: false,
            container: json!({"name": "main", "image": "registry.example.com/main:1.0"}),
        }
    }
}

impl Cluster {
    /// Lets the nodes hold all that they hold at the beginning, which fills a subnet, or gives most of it back. What was
    /// told of the time before is looked at and removed: it may be told again from now on.
    pub async fn crowd(&self, full: bool) -> Result<()> {
        self.nothing_was_told_twice().await?;
        self.kubectl(&["delete", "events.events.k8s.io", "--all"]).await?;
        let mut seed = self.scenario.to_ec2_seed();
        if !full {
            self.scenario.release_addresses(&mut seed, 10);
        }
        Ok(self.ec2()?.load(seed)?)
    }

    /// Waits until the audit and its reports say whether all is well.
    pub async fn until_healthy(&mut self, healthy: bool) -> Result<()> {
        let status = if healthy { "True" } else { "False" };
        let idle = if healthy { "36" } else { "112" };
        self.until_audit(&format!("Healthy={status}"), |audit| {
            audit.condition("Healthy").status == status && audit.text("/status/display/idleAddresses") == idle
        })
        .await
        .map(drop)
    }

    /// Writes a pod with the status that kubelet reports of one that runs.
    pub async fn run_pod(&self, pod: PodSpec<'_>) -> Result<()> {
        let pods: Api<Pod> = Api::namespaced(self.client(), pod.namespace);
        let name = pod.name;
        let object = json!({
            "metadata": {"name": name, "namespace": pod.namespace, "labels": pod.labels},
            "spec": {"nodeName": pod.node, "hostNetwork": pod.host_network, "containers": [pod.container]},
        });
        let object: Pod = serde_json::from_value(object).context("not a pod")?;
        pods.create(&PostParams::default(), &object).await.with_context(|| format!("cannot create pod {name}"))?;
        let address = pod.address.to_string();
        let status = json!({"status": {
            "phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
            "conditions": [{"type": "Ready", "status": "True"}],
        }});
        let patched = pods.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await;
        patched.map(drop).with_context(|| format!("cannot set the status of pod {name}"))
    }

    /// Deletes a pod at once, as if kubelet had confirmed it.
    pub async fn delete_pod(&self, namespace: &str, name: &str) -> Result<()> {
        let pods: Api<Pod> = Api::namespaced(self.client(), namespace);
        let now = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
        pods.delete(name, &now).await.map(drop).with_context(|| format!("cannot delete pod {name}"))
    }
}

/// An address that a node of a scenario holds and none of the scenario's pods has.
pub fn idle_address(node: &PlannedNode) -> Result<Ipv4Addr> {
    let address = |place: &Place| match place {
        Place::Pool(address) => Some(*address),
        _ => None,
    };
    let used: Vec<Ipv4Addr> = node.pods.iter().filter_map(|pod| address(&pod.place)).collect();
    let Assigned::List(held) = &node.interfaces[0].secondary else {
        anyhow::bail!("the node's addresses are not listed")
    };
    held.iter().find(|address| !used.contains(address)).copied().context("every address is in use")
}
