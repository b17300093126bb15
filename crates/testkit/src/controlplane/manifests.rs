//! Applies YAML manifests as `kubectl apply --server-side` would: definitions and namespaces first, then the rest.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::gvk::GroupVersionKind;
use kube::discovery::{ApiResource, Scope, pinned_kind};
use kube::{Api, Client, ResourceExt};
use serde_json::Value;
use tokio::time::sleep;

use super::ControlPlane;

const FIELD_MANAGER: &str = "ipam-audit-testkit";
const DEADLINE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);

impl ControlPlane {
    /// Applies a file, or every YAML file of a folder, and waits until its CRDs are served.
    pub async fn apply_manifests(&self, path: &Path) -> Result<()> {
        let mut objects = Vec::new();
        for file in manifest_files(path)? {
            let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
            objects.extend(parse(&text).with_context(|| format!("cannot use {}", file.display()))?);
        }
        ensure!(!objects.is_empty(), "{} holds no manifests", path.display());
        apply(&self.client().await?, objects).await
    }

    /// Applies manifests from text, as `apply_manifests` does.
    pub async fn apply_yaml(&self, yaml: &str) -> Result<()> {
        apply_yaml(&self.client().await?, yaml).await
    }
}

/// Applies manifests from text with any client.
pub(crate) async fn apply_yaml(client: &Client, yaml: &str) -> Result<()> {
    apply(client, parse(yaml)?).await
}

fn manifest_files(path: &Path) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).with_context(|| format!("cannot list {}", path.display()))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|ext| ext == "yaml" || ext == "yml"));
    files.sort();
    Ok(files)
}

fn parse(yaml: &str) -> Result<Vec<DynamicObject>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(yaml).context("this is not YAML")?;
    let objects = documents.into_iter().filter(|document| !document.is_null());
    let objects = objects.map(|document| serde_json::from_value(document).context("not a Kubernetes object"));
    objects.collect()
}

/// Applies objects in the order in which they need each other.
async fn apply(client: &Client, mut objects: Vec<DynamicObject>) -> Result<()> {
    objects.sort_by_key(rank);
    for object in objects {
        let name = object.name_any();
        let kind = object.types.as_ref().map_or("object", |types| types.kind.as_str()).to_owned();
        apply_one(client, object).await.with_context(|| format!("cannot apply {kind} {name}"))?;
    }
    Ok(())
}

fn rank(object: &DynamicObject) -> u8 {
    match object.types.as_ref().map(|types| types.kind.as_str()) {
        Some("CustomResourceDefinition") => 0,
        Some("Namespace") => 1,
        _ => 2,
    }
}

async fn apply_one(client: &Client, object: DynamicObject) -> Result<()> {
    let types = object.types.as_ref().context("it has no apiVersion and kind")?;
    let gvk = GroupVersionKind::try_from(types).context("its apiVersion cannot be read")?;
    let name = object.metadata.name.clone().context("it has no metadata.name")?;
    let (resource, scope) = resolve(client, &gvk).await?;
    let api: Api<DynamicObject> = match scope {
        Scope::Cluster => Api::all_with(client.clone(), &resource),
        Scope::Namespaced => {
            let namespace = object.metadata.namespace.as_deref().unwrap_or("default");
            Api::namespaced_with(client.clone(), namespace, &resource)
        }
    };
    api.patch(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&object)).await?;
    if rank(&object) == 0 {
        wait_until_established(&api, &name).await?;
    }
    Ok(())
}

/// The kind's resource; a CRD that was just established may take a moment to show up in discovery.
async fn resolve(client: &Client, gvk: &GroupVersionKind) -> Result<(ApiResource, Scope)> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match pinned_kind(client, gvk).await {
            Ok((resource, capabilities)) => return Ok((resource, capabilities.scope)),
            Err(error) if Instant::now() > deadline => {
                return Err(error).with_context(|| format!("the API server does not know {}", gvk.api_version()));
            }
            Err(_) => sleep(POLL).await,
        }
    }
}

async fn wait_until_established(api: &Api<DynamicObject>, name: &str) -> Result<()> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let definition = api.get(name).await?;
        if is_established(&definition) {
            return Ok(());
        }
        let conditions = &definition.data["status"]["conditions"];
        ensure!(Instant::now() < deadline, "it was not established within {DEADLINE:?}: {conditions}");
        sleep(POLL).await;
    }
}

fn is_established(definition: &DynamicObject) -> bool {
    let conditions = definition.data["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|c| c["type"] == "Established" && c["status"] == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_come_in_the_order_in_which_they_need_each_other() {
        let yaml = "---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a, namespace: ns}\n---\n---\n\
            apiVersion: v1\nkind: Namespace\nmetadata: {name: ns}\n---\n\
            apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: d}\n";
        let mut objects = parse(yaml).unwrap();
        objects.sort_by_key(rank);
        let names: Vec<_> = objects.iter().map(ResourceExt::name_any).collect();
        assert_eq!(names, ["d", "ns", "a"]);
    }
}
