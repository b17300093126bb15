//! Data of etcd: filled once without an API server, kept as a folder, copied into each control plane that begins with it.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use k8s_openapi::ByteString;
use kube::{Client, Config};
use serde::Serialize;
use serde_json::Value;
use tokio::time::sleep;

use super::binaries::{Binaries, ETCD};
use super::ports;
use super::process::Supervised;
use super::servers::{self, Ports};
use super::state::StateDir;

/// etcd's folder inside the state of a control plane.
pub(super) const ETCD_FOLDER: &str = "etcd";
/// etcd makes its log short only when it takes a snapshot of its own: without this the log would repeat all of the data.
const SHORT_LOG: [&str; 3] = ["--snapshot-count=100", "--max-wals=1", "--max-snapshots=1"];
const START_WITHIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(25);

/// An etcd alone, to be filled.
pub(crate) struct FilledEtcd {
    server: Supervised,
    state: StateDir,
    client: Client,
}

/// What etcd's gateway takes: keys and values are base64.
#[derive(Serialize)]
struct Transaction {
    success: Vec<Operation>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Operation {
    request_put: Put,
}

#[derive(Serialize)]
struct Put {
    key: ByteString,
    value: ByteString,
}

impl FilledEtcd {
    /// Starts an empty one.
    pub(crate) async fn start(binaries: &Binaries) -> Result<Self> {
        let state = StateDir::create()?;
        let [etcd, etcd_peer, apiserver] = ports::free_ports()?;
        let ports = Ports { etcd, etcd_peer, apiserver };
        let mut launch = servers::etcd(&binaries.path(ETCD)?, &state, ports);
        launch.args.extend(SHORT_LOG.map(str::to_owned));
        let server = Supervised::spawn(launch)?;
        let url = ports.etcd_url().parse().context("etcd's address is a URL")?;
        let client = Client::try_from(Config::new(url)).context("cannot make a client of etcd")?;
        let mut etcd = Self { server, state, client };
        etcd.until_ready().await?;
        Ok(etcd)
    }

    async fn until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_WITHIN;
        loop {
            let request = http::Request::get("/health").body(Vec::new())?;
            if self.client.request_text(request).await.is_ok() {
                return Ok(());
            }
            let ended = self.server.exited().context("cannot watch etcd")?;
            if ended.is_some() || Instant::now() > deadline {
                bail!("etcd was not ready within {START_WITHIN:?}:\n{}", self.server.last_lines(15));
            }
            sleep(POLL).await;
        }
    }

    /// Writes some keys at once: at most 128, and at most a megabyte.
    pub(crate) fn put(&self, entries: Vec<(String, Vec<u8>)>) -> impl Future<Output = Result<()>> + use<> {
        let client = self.client.clone();
        async move {
            let put = |(key, value): (String, Vec<u8>)| Operation {
                request_put: Put { key: ByteString(key.into_bytes()), value: ByteString(value) },
            };
            let body = serde_json::to_vec(&Transaction { success: entries.into_iter().map(put).collect() })?;
            let answer: Value = client.request(http::Request::post("/v3/kv/txn").body(body)?).await?;
            anyhow::ensure!(answer["succeeded"] == true, "etcd did not take the objects: {answer}");
            Ok(())
        }
    }

    /// Ends it and keeps its data in a new folder.
    pub(crate) fn keep(mut self, to: &Path) -> Result<()> {
        // What was not yet written into the database is in the log, which the next etcd reads first.
        self.server.stop();
        copy_folder(&self.state.file(ETCD_FOLDER), to)
    }
}

/// Copies a folder with all that is in it.
pub(crate) fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).with_context(|| format!("cannot copy to {}", target.display()))?;
        }
    }
    Ok(())
}
