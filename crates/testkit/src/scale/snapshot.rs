//! The filled etcd, made once and kept in this user's cache.
//!
//! A snapshot is named after everything that decides what is in it: the sources of the generator and the size. It is
//! written straight into etcd, as the JSON that an API server reads as well as its own encoding, since creating 150,000
//! pods and their statuses through the API takes ten minutes of two cores. Nothing has watched or written it before:
//! each run begins with the same cluster, without a trace of the operator.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use aws_lc_rs::digest::{SHA256, digest};
use futures::stream::{FuturesUnordered, StreamExt};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::controlplane::progress::Progress;
use crate::controlplane::{Binaries, FilledEtcd, cache_folder};
use crate::scenario::{Scenario, Shape};

/// All that the objects are made of.
const SOURCES: [&str; 12] = [
    include_str!("../scenario/addresses.rs"),
    include_str!("../scenario/bundle.rs"),
    include_str!("../scenario/file.rs"),
    include_str!("../scenario/full_size.rs"),
    include_str!("../scenario/large.rs"),
    include_str!("../scenario/names.rs"),
    include_str!("../scenario/nodes.rs"),
    include_str!("../scenario/plan.rs"),
    include_str!("../scenario/pods.rs"),
    include_str!("../scenario/tags.rs"),
    include_str!("../scenario/workloads.rs"),
    include_str!("snapshot.rs"),
];
const ABOUT: &str = "about.json";
const DATA: &str = "etcd";
/// etcd takes 1.5 MB at once.
const MOST_BYTES: usize = 700_000;
const MOST_KEYS: usize = 100;
const IN_FLIGHT: usize = 6;
const OUTDATED: Duration = Duration::from_hours(24);

/// What a snapshot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Contents {
    /// Nodes.
    pub nodes: u64,
    /// Pods.
    pub pods: u64,
    /// Bytes of JSON of all nodes.
    pub node_bytes: u64,
    /// Bytes of JSON of all pods.
    pub pod_bytes: u64,
}

/// A snapshot in the cache.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// etcd's data.
    pub data: PathBuf,
    /// What is in it.
    pub contents: Contents,
}

impl Snapshot {
    /// The snapshot of a cluster; it is made if the cache has none.
    pub async fn of(scenario: &Scenario, shape: Shape) -> Result<Self> {
        let dir = cache_folder("scale")?.join(key(shape));
        if !dir.join(ABOUT).is_file() {
            make(scenario, &dir).await.context("cannot make the snapshot of the cluster")?;
        }
        let about = fs::read_to_string(dir.join(ABOUT)).context("cannot read the snapshot")?;
        let contents = serde_json::from_str(&about).context("the snapshot does not say what is in it")?;
        Ok(Self { data: dir.join(DATA), contents })
    }
}

fn key(shape: Shape) -> String {
    let Shape { nodes, pods, interfaces } = shape;
    format!("{nodes}-nodes-{pods}-pods-{interfaces}-interfaces-{}", hex(&SOURCES.concat(), 8))
}

/// Fills an etcd and keeps it; complete or not at all.
async fn make(scenario: &Scenario, dir: &Path) -> Result<()> {
    let parent = dir.parent().context("the cache is no folder")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let unfinished = tempfile::Builder::new().prefix(".unfinished-").tempdir_in(parent)?;
    let binaries = tokio::task::spawn_blocking(Binaries::locate).await.context("the build was cancelled")??;
    let etcd = FilledEtcd::start(&binaries).await?;
    let contents = fill(scenario, &etcd).await?;
    etcd.keep(&unfinished.path().join(DATA))?;
    fs::write(unfinished.path().join(ABOUT), serde_json::to_string_pretty(&contents)?)?;
    forget_outdated(parent, dir);
    // Somebody else may have been faster with the same.
    if fs::rename(unfinished.path(), dir).is_ok() {
        let _moved = unfinished.keep();
    }
    Ok(())
}

/// Removes snapshots of the same size from other sources, once they are so old that nobody goes back to them.
fn forget_outdated(parent: &Path, dir: &Path) {
    let size = |dir: &Path| Some(dir.file_name()?.to_str()?.rsplit_once('-')?.0.to_owned());
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let age = fs::metadata(entry.path().join(ABOUT)).and_then(|about| about.modified()).ok();
        let age = age.and_then(|made| SystemTime::now().duration_since(made).ok());
        if size(&entry.path()) == size(dir) && age.is_some_and(|age| age > OUTDATED) {
            // What cannot be removed now is removed the next time.
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}

async fn fill(scenario: &Scenario, etcd: &FilledEtcd) -> Result<Contents> {
    let (sender, mut batches) = tokio::sync::mpsc::channel(IN_FLIGHT);
    let scenario = scenario.clone();
    // Making the objects is work for a core of its own.
    let making = tokio::task::spawn_blocking(move || {
        let mut gathered = Batcher { sender, batch: Vec::new(), bytes: 0 };
        let contents = generate(&scenario, &mut gathered)?;
        gathered.send()?;
        anyhow::Ok(contents)
    });
    let (mut progress, mut written, mut writes) = (Progress::start(), 0, FuturesUnordered::new());
    while let Some(batch) = batches.recv().await {
        written += batch.len();
        writes.push(etcd.put(batch));
        while writes.len() >= IN_FLIGHT {
            writes.next().await.transpose()?;
        }
        progress.tick(&format!("filling etcd, the first time only: {written} objects"));
    }
    while let Some(done) = writes.next().await {
        done?;
    }
    let contents = making.await.context("making the objects was cancelled")??;
    progress.finish(&format!("etcd is filled with {written} objects"));
    Ok(contents)
}

type Entries = Vec<(String, Vec<u8>)>;

/// Gathers what goes into one write.
struct Batcher {
    sender: tokio::sync::mpsc::Sender<Entries>,
    batch: Entries,
    bytes: usize,
}

impl Batcher {
    fn add(&mut self, key: &str, value: Vec<u8>) -> Result<()> {
        if self.bytes + value.len() > MOST_BYTES || self.batch.len() == MOST_KEYS {
            self.send()?;
        }
        self.bytes += value.len();
        self.batch.push((key.to_owned(), value));
        Ok(())
    }

    fn send(&mut self) -> Result<()> {
        self.bytes = 0;
        self.sender.blocking_send(std::mem::take(&mut self.batch)).context("nobody writes the objects any more")
    }
}

fn generate(scenario: &Scenario, batcher: &mut Batcher) -> Result<Contents> {
    let (mut contents, mut namespaces) = (Contents::default(), BTreeSet::new());
    scenario.each_stored(|kind, key, object| {
        let value = serde_json::to_vec(object)?;
        let size = u64::try_from(value.len())?;
        match kind {
            "Node" => (contents.nodes, contents.node_bytes) = (contents.nodes + 1, contents.node_bytes + size),
            "Pod" => (contents.pods, contents.pod_bytes) = (contents.pods + 1, contents.pod_bytes + size),
            _ => {}
        }
        namespaces.extend(object["metadata"]["namespace"].as_str().map(str::to_owned));
        batcher.add(key, value)
    })?;
    for name in namespaces {
        let namespace = namespace(&name, &scenario.now().to_string());
        batcher.add(&format!("/registry/namespaces/{name}"), serde_json::to_vec(&namespace)?)?;
    }
    Ok(contents)
}

fn namespace(name: &str, since: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {
            "name": name, "uid": format!("00000000-0000-4000-8000-{}", hex(name, 6)), "creationTimestamp": since,
            "labels": {"kubernetes.io/metadata.name": name},
        },
        "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
    })
}

/// The first bytes of a text's hash.
fn hex(text: &str, bytes: usize) -> String {
    digest(&SHA256, text.as_bytes()).as_ref().iter().take(bytes).fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        write!(hex, "{byte:02x}").ok();
        hex
    })
}
