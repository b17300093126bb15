//! A real Kubernetes control plane on loopback: etcd, kube-apiserver and, if asked for, kube-controller-manager.
//!
//! [`ControlPlane::start`] finds or builds the programs ([`Binaries`]), starts them on free ports with their own
//! certificate authority, RBAC on, anonymous access off and an audit log, and returns once the API server is ready.
//! Dropping it, or the end of this process in whatever way, ends the servers; what they wrote is removed with it.

mod access;
mod audit;
mod binaries;
mod build;
mod data;
mod gate;
mod manifests;
mod pki;
mod ports;
pub(crate) mod process;
pub(crate) mod progress;
mod servers;
mod state;

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use tokio::time::sleep;

pub use access::{KubectlOutput, client_from, install_tls_provider};
pub use audit::AuditEvent;
pub use binaries::Binaries;
pub(crate) use binaries::cache_folder;
pub(crate) use data::{FilledEtcd, copy_folder};
pub use gate::Gate;
pub(crate) use manifests::apply_yaml;
pub(crate) use ports::free_port;

use binaries::{APISERVER, CONTROLLER_MANAGER, ETCD};
use pki::Pki;
use process::Supervised;
use servers::Ports;
use state::StateDir;

const POLL: Duration = Duration::from_millis(25);
/// Another process may take a chosen port before the server binds it.
const ATTEMPTS: usize = 4;

/// How to start a control plane.
#[derive(Debug, Clone)]
pub struct Options {
    /// Also run kube-controller-manager, for garbage collection by owner references and for namespace deletion.
    pub controller_manager: bool,
    /// Further arguments of kube-apiserver, such as `--min-request-timeout=3`.
    pub extra_apiserver_args: Vec<String>,
    /// How long the API server may take until it is ready.
    pub ready_within: Duration,
    /// Go's soft limit of the API server's memory. It must be above what the objects need, or the server does little but
    /// collect garbage.
    pub apiserver_memory: &'static str,
    /// Data of an etcd to begin with; they are copied.
    pub etcd_data: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            controller_manager: false,
            extra_apiserver_args: Vec::new(),
            // About 3 s on an idle machine; a machine that also compiles takes several times that.
            ready_within: Duration::from_secs(90),
            // Keeps a filled server near 1.2 GB instead of 3, and no slower.
            apiserver_memory: "1200MiB",
            etcd_data: None,
        }
    }
}

/// A running control plane.
pub struct ControlPlane {
    // First, so that the servers are gone before the folder that they write to.
    servers: Mutex<Servers>,
    options: Options,
    binaries: Binaries,
    ports: Ports,
    pki: Pki,
    state: StateDir,
    /// Of kube-apiserver, beyond those of the options.
    further_args: Mutex<Vec<String>>,
}

/// In the order of ending: clients before what they talk to.
#[derive(Default)]
struct Servers {
    controller_manager: Option<Supervised>,
    apiserver: Option<Supervised>,
    etcd: Option<Supervised>,
}

impl ControlPlane {
    /// Starts a control plane and waits until it is ready.
    ///
    /// # Errors
    /// Names what is missing and how to get it, or the server that did not start with the end of its log.
    pub async fn start(options: Options) -> Result<Self> {
        install_tls_provider();
        // Building takes minutes, which belong on a thread of their own.
        let binaries = tokio::task::spawn_blocking(Binaries::locate).await.context("the build was cancelled")??;
        for _ in 1..ATTEMPTS {
            match Self::start_on_free_ports(&options, &binaries).await {
                Err(error) if format!("{error:#}").contains("address already in use") => {}
                outcome => return outcome,
            }
        }
        Self::start_on_free_ports(&options, &binaries).await
    }

    async fn start_on_free_ports(options: &Options, binaries: &Binaries) -> Result<Self> {
        let state = StateDir::create()?;
        let pki = Pki::create(&state)?;
        state.write("audit-policy.yaml", audit::POLICY)?;
        let [etcd, etcd_peer, apiserver] = ports::free_ports()?;
        let plane = Self {
            servers: Mutex::default(),
            options: options.clone(),
            binaries: binaries.clone(),
            ports: Ports { etcd, etcd_peer, apiserver },
            pki,
            state,
            further_args: Mutex::default(),
        };
        plane.write_kubeconfig(&plane.kubeconfig_path(), "admin", &plane.pki.admin_token)?;
        if let Some(data) = &options.etcd_data {
            copy_folder(data, &plane.state.file(data::ETCD_FOLDER))?;
        }
        let etcd = servers::etcd(&plane.binaries.path(ETCD)?, &plane.state, plane.ports);
        plane.servers().etcd = Some(Supervised::spawn(etcd)?);
        plane.start_apiserver().await?;
        if options.controller_manager {
            plane.start_controller_manager()?;
        }
        Ok(plane)
    }

    /// Starts the API server again after [`stop_apiserver`](Self::stop_apiserver), on the same port and the same etcd,
    /// and waits until it is ready.
    pub async fn start_apiserver(&self) -> Result<()> {
        let program = self.binaries.path(APISERVER)?;
        let mut launch = servers::apiserver(&program, &self.state, &self.pki, self.ports, &self.options);
        launch.args.extend(self.further_args.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned());
        {
            let mut servers = self.servers();
            ensure!(servers.apiserver.is_none(), "the API server is running already");
            servers.apiserver = Some(Supervised::spawn(launch)?);
        }
        self.wait_until_ready().await
    }

    /// Takes the API server away, at once and without a word to its clients, as a crash would.
    pub fn stop_apiserver(&self) {
        self.servers().apiserver = None;
    }

    /// Stops etcd where it is, so that it answers nothing and forgets nothing; or lets it go on.
    pub fn pause_etcd(&self, paused: bool) -> Result<()> {
        let servers = self.servers();
        let etcd = servers.etcd.as_ref().context("there is no etcd")?;
        etcd.signal(if paused { "STOP" } else { "CONT" })
    }

    /// Takes etcd away, at once, as a crash would; what it had written stays.
    pub fn stop_etcd(&self) {
        self.servers().etcd = None;
    }

    /// Starts etcd again on what it had written, and waits until the API server is ready.
    pub async fn start_etcd(&self) -> Result<()> {
        let launch = servers::etcd(&self.binaries.path(ETCD)?, &self.state, self.ports);
        self.servers().etcd = Some(Supervised::spawn(launch)?);
        self.wait_until_ready().await
    }

    /// Starts the API server again with further arguments; none to go back to how it was. It then knows nothing of
    /// earlier changes: positions of watches from before are gone (410).
    pub async fn restart_apiserver(&self, further: &[&str]) -> Result<()> {
        self.stop_apiserver();
        *self.further_args.lock().unwrap_or_else(PoisonError::into_inner) =
            further.iter().map(|arg| (*arg).to_owned()).collect();
        self.start_apiserver().await
    }

    /// Every request that the API server has answered so far, in order.
    pub fn audit_log(&self) -> Result<Vec<AuditEvent>> {
        audit::read(&self.state.file("audit.log"))
    }

    /// The process ids of etcd and of the API server.
    pub fn process_ids(&self) -> Vec<u32> {
        let servers = self.servers();
        [&servers.etcd, &servers.apiserver].into_iter().flatten().map(Supervised::id).collect()
    }

    /// The folder with the logs, certificates and data of the servers.
    pub fn state_dir(&self) -> PathBuf {
        self.state.path().to_owned()
    }

    fn start_controller_manager(&self) -> Result<()> {
        let kubeconfig = self.state.file("controller-manager.kubeconfig");
        self.write_kubeconfig(&kubeconfig, "controller-manager", &self.pki.controller_manager_token)?;
        let program = self.binaries.path(CONTROLLER_MANAGER)?;
        let launch = servers::controller_manager(&program, &self.state, &kubeconfig);
        self.servers().controller_manager = Some(Supervised::spawn(launch)?);
        Ok(())
    }

    async fn wait_until_ready(&self) -> Result<()> {
        let client = self.client().await?;
        let deadline = Instant::now() + self.options.ready_within;
        while !is_ready(&client).await {
            self.fail_if_a_server_ended()?;
            if Instant::now() > deadline {
                let limit = self.options.ready_within;
                bail!("the API server was not ready within {limit:?}; the end of its log:\n{}", self.apiserver_log());
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    fn fail_if_a_server_ended(&self) -> Result<()> {
        let mut servers = self.servers();
        let Servers { apiserver, etcd, .. } = &mut *servers;
        for server in [etcd, apiserver].into_iter().flatten() {
            if let Some(status) = server.exited().with_context(|| format!("cannot watch {}", server.name()))? {
                bail!("{} ended before it was ready ({status}):\n{}", server.name(), server.last_lines(15));
            }
        }
        Ok(())
    }

    fn apiserver_log(&self) -> String {
        self.servers().apiserver.as_ref().map_or_else(String::new, |server| server.last_lines(15))
    }

    fn servers(&self) -> MutexGuard<'_, Servers> {
        // A panic elsewhere leaves the processes as they are.
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ready, and with the namespaces that every cluster has: the server creates them a moment after it says it is ready.
async fn is_ready(client: &Client) -> bool {
    let Ok(request) = http::Request::get("/readyz").body(Vec::new()) else {
        return false;
    };
    if client.request_text(request).await.is_err() {
        return false;
    }
    let namespaces: Api<Namespace> = Api::all(client.clone());
    for name in ["default", "kube-system"] {
        if !matches!(namespaces.get_opt(name).await, Ok(Some(_))) {
            return false;
        }
    }
    true
}
