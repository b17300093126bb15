//! Everything that a measurement stands on: a filled control plane, an EC2 that agrees, a proxy that counts, the
//! operator as it is shipped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use kube::Client;
use serde_json::Value;
use tokio::time::sleep;

use super::metrics::Admin;
use super::procfs::Process;
use super::proxy::Proxy;
use super::snapshot::{Contents, Snapshot};
use crate::controlplane::{AuditEvent, ControlPlane, Options, client_from};
use crate::ec2::{Simulator, World};
use crate::foreign::ForeignKind;
use crate::operator::{Operator, OperatorOptions};
use crate::scenario::{Scenario, Shape};

/// How the shipped image is made: the operator is measured with the settings that it has there.
const DOCKERFILE: &str = include_str!("../../../../deploy/Dockerfile");

/// The variables that the image sets.
fn of_image() -> impl Iterator<Item = (&'static str, &'static str)> {
    let set = DOCKERFILE.lines().filter_map(|line| line.strip_prefix("ENV "));
    set.flat_map(str::split_whitespace).filter_map(|pair| pair.split_once('='))
}

const NAMESPACE: &str = "ipam-audit";
const SERVICE_ACCOUNT: &str = "ipam-audit";
/// How the API server calls the operator.
const USER: &str = "system:serviceaccount:ipam-audit:ipam-audit";
pub(super) const AUDIT: &str = "cluster";
const GROUP: &str = "/apis/ipam-audit.dev/v1alpha1";
const READY_WITHIN: Duration = Duration::from_mins(10);
const POLL: Duration = Duration::from_millis(200);

/// The rig; everything ends with it.
pub struct Rig {
    // First: what it talks to goes after it.
    operator: Option<Running>,
    pub(super) proxy: Proxy,
    pub(super) plane: ControlPlane,
    pub(super) ec2: Simulator,
    pub(super) scenario: Scenario,
    /// What is in the cluster.
    pub contents: Contents,
    /// The administrator's, past the proxy.
    pub(super) client: Client,
    kubeconfig: PathBuf,
    binary: PathBuf,
    ec2_interval: Option<String>,
}

/// The operator while it runs.
pub(super) struct Running {
    operator: Operator,
    pub(super) process: Process,
    pub(super) admin: Admin,
    pub(super) started: Instant,
}

impl Rig {
    /// Sets everything up but the operator.
    pub async fn set_up(shape: Shape, binary: &Path, ec2_interval: Option<String>) -> Result<Self> {
        let placed = tokio::task::spawn_blocking(move || Scenario::large(shape));
        let scenario = placed.await.context("placing the cluster was cancelled")??;
        let snapshot = Snapshot::of(&scenario, shape).await?;
        super::say("starting the control plane on it");
        let options = Options {
            etcd_data: Some(snapshot.data),
            ready_within: READY_WITHIN,
            apiserver_memory: "8GiB",
            ..Options::default()
        };
        let plane = ControlPlane::start(options).await?;
        let client = plane.client().await?;
        install(&plane, binary).await?;
        let ec2 = World::load(scenario.to_ec2_seed()).context("EC2 refuses the cluster")?;
        let ec2 = Simulator::start(ec2).context("cannot start the EC2 simulator")?;
        let port = plane.server_url().rsplit(':').next().and_then(|port| port.parse().ok());
        let proxy = Proxy::to(port.context("the API server has a port")?).await?;
        let own = plane.service_account_kubeconfig(NAMESPACE, SERVICE_ACCOUNT, &plane.state_dir()).await?;
        let kubeconfig = plane.state_dir().join("counted.kubeconfig");
        let text = fs::read_to_string(own).context("cannot read the kubeconfig")?;
        fs::write(&kubeconfig, text.replace(&plane.server_url(), &proxy.url())).context("cannot write a kubeconfig")?;
        Ok(Self {
            operator: None,
            proxy,
            plane,
            ec2,
            scenario,
            contents: snapshot.contents,
            client,
            kubeconfig,
            binary: binary.to_owned(),
            ec2_interval,
        })
    }

    /// How to run the operator on it by hand, under a profiler for example.
    pub fn command_line(&self) -> String {
        let of_image: Vec<String> = of_image().map(|(name, value)| format!("{name}={value}")).collect();
        format!(
            "KUBECONFIG={} AWS_ENDPOINT_URL={} AWS_REGION={} AWS_ACCESS_KEY_ID=rig AWS_SECRET_ACCESS_KEY=rig \
             AWS_EC2_METADATA_DISABLED=true AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null \
             {} {} run --namespace={NAMESPACE} --listen=127.0.0.1:8080",
            self.kubeconfig.display(),
            self.ec2.endpoint(),
            self.scenario.region(),
            of_image.join(" "),
            self.binary.display(),
        )
    }

    /// A client with the operator's own way to the API server.
    pub(super) async fn counted_client(&self) -> Result<Client> {
        client_from(&self.kubeconfig).await
    }

    /// Starts the operator under a name of its own.
    pub(super) fn start_operator(&mut self, identity: &str) -> Result<()> {
        let mut args = vec![format!("--namespace={NAMESPACE}"), format!("--identity={identity}")];
        args.extend(self.ec2_interval.iter().map(|interval| format!("--ec2-interval={interval}")));
        let operator = Operator::start(OperatorOptions {
            binary: self.binary.clone(),
            kubeconfig: self.kubeconfig.clone(),
            ec2_endpoint: self.ec2.endpoint(),
            region: self.scenario.region().to_owned(),
            args,
            env: of_image().map(|(name, value)| (name, value.to_owned())).collect(),
            log: self.plane.state_dir().join("operator.log"),
        })?;
        let (process, admin) = (Process(operator.process_id()), Admin::at(&operator.admin_url())?);
        self.operator = Some(Running { operator, process, admin, started: Instant::now() });
        Ok(())
    }

    /// Ends the operator at once, as a lost node would.
    pub(super) fn kill_operator(&mut self) {
        self.operator = None;
    }

    /// The running operator; an error if it has ended by itself.
    pub(super) fn operator(&mut self) -> Result<&Running> {
        let running = self.operator.as_mut().context("the operator was not started")?;
        running.operator.fail_if_ended()?;
        Ok(running)
    }

    /// Waits until a look finds something.
    pub(super) async fn until<T>(
        &mut self,
        what: &str,
        within: Duration,
        mut look: impl AsyncFnMut(&mut Self) -> Result<Option<T>>,
    ) -> Result<T> {
        let deadline = Instant::now() + within;
        loop {
            self.operator()?;
            let seen = look(self).await;
            if let Ok(Some(found)) = seen {
                return Ok(found);
            }
            if Instant::now() > deadline {
                let log = self.operator()?.operator.last_lines(15);
                let seen = seen.err().map(|error| format!("; the last look failed: {error:#}")).unwrap_or_default();
                bail!("not within {within:?}: {what}{seen}\nthe end of the operator's log:\n{log}");
            }
            sleep(POLL).await;
        }
    }

    /// What the API server answers on a path.
    pub(super) async fn get(&self, path: &str) -> Result<Value> {
        let request = http::Request::get(path).body(Vec::new())?;
        self.client.request(request).await.with_context(|| format!("cannot get {path}"))
    }

    /// An object of the product.
    pub(super) async fn product(&self, plural: &str, name: &str) -> Result<Value> {
        self.get(&format!("{GROUP}/{plural}/{name}")).await
    }

    /// Changes the audit as a user does.
    pub(super) async fn patch_audit(&self, patch: &Value) -> Result<()> {
        let request = http::Request::patch(format!("{GROUP}/ipamaudits/{AUDIT}"))
            .header(http::header::CONTENT_TYPE, "application/merge-patch+json")
            .body(serde_json::to_vec(patch)?)?;
        self.client.request::<Value>(request).await.context("cannot change the audit")?;
        Ok(())
    }

    /// How many objects of the product there are.
    pub(super) async fn count(&self, plural: &str) -> Result<u64> {
        let list = self.get(&format!("{GROUP}/{plural}?limit=1")).await?;
        let shown = list["items"].as_array().map_or(0, Vec::len) as u64;
        Ok(shown + list["metadata"]["remainingItemCount"].as_u64().unwrap_or_default())
    }

    /// The version of every object of the product.
    pub(super) async fn versions(&self) -> Result<std::collections::BTreeMap<String, String>> {
        let mut versions = std::collections::BTreeMap::new();
        for plural in ["ipamaudits", "nodeipamreports", "subnetipamreports"] {
            let request = http::Request::get(format!("{GROUP}/{plural}"))
                .header(http::header::ACCEPT, "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")
                .body(Vec::new())?;
            let list: Value = self.client.request(request).await.context("cannot list the product's objects")?;
            for item in list["items"].as_array().into_iter().flatten() {
                let part = |name: &str| item["metadata"][name].as_str().unwrap_or_default();
                versions.insert(format!("{plural}/{}", part("name")), part("resourceVersion").to_owned());
            }
        }
        Ok(versions)
    }

    fn own_writes(&self) -> Result<Vec<AuditEvent>> {
        let mut all = self.plane.audit_log()?;
        all.retain(|event| event.user == USER && event.is_write() && event.stage != "Panic");
        Ok(all)
    }

    /// The last so many of what it has asked for, in words.
    pub(super) fn last_writes(&self, number: usize) -> Result<Vec<String>> {
        let mut own = self.own_writes()?;
        own.retain(|event| event.group == "ipam-audit.dev" || event.resource == "events");
        let last = own.len().saturating_sub(number);
        let words = |event: &AuditEvent| {
            let part = if event.subresource.is_empty() { String::new() } else { format!("/{}", event.subresource) };
            format!("{} {}{part} {}", event.verb, event.resource, event.name)
        };
        Ok(own[last..].iter().map(words).collect())
    }

    /// What the operator has asked the API server to change so far, by the API server's own record; without leases.
    pub(super) fn writes(&self) -> Result<Writes> {
        let own = self.own_writes()?;
        let own = own.iter();
        let of = |wanted: fn(&AuditEvent) -> bool| own.clone().filter(|event| wanted(event)).count() as u64;
        Ok(Writes {
            reports: of(|event| event.group == "ipam-audit.dev"),
            events: of(|event| event.resource == "events"),
        })
    }
}

/// Requests that change something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Writes {
    /// Of the product's own kinds.
    pub(super) reports: u64,
    /// Events.
    pub(super) events: u64,
}

impl Writes {
    pub(super) const fn since(self, before: Self) -> Self {
        Self { reports: self.reports - before.reports, events: self.events - before.events }
    }
}

/// Installs what the binary itself prints for an installer, and one audit with nothing but defaults.
async fn install(plane: &ControlPlane, binary: &Path) -> Result<()> {
    plane.apply_yaml(Scenario::CNI_NODE_CRD).await.context("cannot install the CNINode definition")?;
    let client = plane.client().await?;
    for kind in ["ENIConfig", "SecurityGroupPolicy"] {
        ForeignKind::named(kind)?.install(&client).await?;
    }
    for command in ["crd", "rbac"] {
        let printed = Command::new(binary).arg(command).output();
        let printed = printed.with_context(|| format!("cannot run {} {command}", binary.display()))?;
        let yaml = String::from_utf8(printed.stdout).context("manifests are text")?;
        plane.apply_yaml(&yaml).await.with_context(|| format!("cannot apply what `ipam-audit {command}` prints"))?;
    }
    let audit =
        format!("apiVersion: ipam-audit.dev/v1alpha1\nkind: IpamAudit\nmetadata: {{name: {AUDIT}}}\nspec: {{}}\n");
    plane.apply_yaml(&audit).await.context("cannot apply the audit")
}
