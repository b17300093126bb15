//! A real control plane with a scenario in it, an EC2 that agrees, and the shipped operator with its shipped rights.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use ipam_audit_testkit::controlplane::{ControlPlane, Options};
use ipam_audit_testkit::ec2::{Simulator, World};
use ipam_audit_testkit::operator::{self, Operator, OperatorOptions};
use ipam_audit_testkit::scenario::Scenario;
use kube::Client;

use crate::object::{Kind, Object};
use crate::table::Table;

/// Where `deploy/rbac.yaml` puts the operator.
pub const NAMESPACE: &str = "ipam-audit";
/// What `deploy/rbac.yaml` calls it.
pub const SERVICE_ACCOUNT: &str = "ipam-audit";
/// The audit of every suite, whose reports have the names of their nodes and subnets.
pub const AUDIT: &str = "cluster";

/// How the operator signs its events.
const REPORTER: &str = "ipam-audit";

/// A small cluster with one full subnet; four nodes have one pod each.
pub fn crowded() -> Result<Scenario> {
    Scenario::from_yaml(include_str!("../scenarios/crowded.yaml"))
}

/// Two nodes and no VPC CNI.
pub fn bring_your_own_cni() -> Result<Scenario> {
    Scenario::from_yaml(include_str!("../scenarios/bring-your-own-cni.yaml"))
}

/// Everything that a suite stands on; it ends with it.
pub struct Cluster {
    // First: what it talks to goes after it.
    operator: Option<Operator>,
    /// The control plane.
    pub plane: ControlPlane,
    /// What is in it.
    pub scenario: Scenario,
    ec2: Option<Simulator>,
    client: Client,
    kubeconfig: Option<PathBuf>,
}

/// How to start the operator where a suite wants it otherwise than usual.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// Endpoint of EC2, if not that of the cluster's.
    pub ec2_endpoint: Option<String>,
    /// Region, if not that of the scenario.
    pub region: Option<String>,
    /// How often EC2 is read, if not every two seconds.
    pub ec2_interval: Option<&'static str>,
    /// Further arguments.
    pub args: Vec<String>,
    /// Further environment.
    pub env: Vec<(&'static str, String)>,
}

impl Cluster {
    /// A cluster with a scenario and nothing of the product.
    pub async fn of(scenario: Scenario) -> Result<Self> {
        Self::with(scenario, Options::default()).await
    }

    /// The same on a control plane with options.
    pub async fn with(scenario: Scenario, options: Options) -> Result<Self> {
        let plane = ControlPlane::start(options).await?;
        let client = plane.client().await?;
        scenario.load_into(&client).await?;
        let ec2 = World::load(scenario.to_ec2_seed()).context("EC2 refuses the scenario")?;
        let ec2 = Simulator::start(ec2).context("cannot start the EC2 simulator")?;
        Ok(Self { operator: None, plane, scenario, ec2: Some(ec2), client, kubeconfig: None })
    }

    /// A cluster with the product installed and the operator started; see [`until_ready`](Self::until_ready).
    pub async fn running(scenario: Scenario) -> Result<Self> {
        let mut cluster = Self::of(scenario).await?;
        cluster.install().await?;
        cluster.audit("{}").await?;
        cluster.start_operator(Start::default())?;
        Ok(cluster)
    }

    /// Installs what `crds/` and `deploy/rbac.yaml` ship.
    pub async fn install(&mut self) -> Result<()> {
        self.plane.apply_manifests(&repository().join("crds")).await?;
        self.install_rights().await
    }

    /// Installs what `deploy/rbac.yaml` ships.
    pub async fn install_rights(&mut self) -> Result<()> {
        self.plane.apply_manifests(&repository().join("deploy/rbac.yaml")).await?;
        let dir = self.plane.state_dir();
        self.kubeconfig = Some(self.plane.service_account_kubeconfig(NAMESPACE, SERVICE_ACCOUNT, &dir).await?);
        Ok(())
    }

    /// Applies the suites' audit with a spec in YAML's flow style.
    pub async fn audit(&self, spec: &str) -> Result<()> {
        self.audit_named(AUDIT, spec).await
    }

    /// Applies an audit of any name with a spec in YAML's flow style.
    pub async fn audit_named(&self, name: &str, spec: &str) -> Result<()> {
        let object = "apiVersion: ipam-audit.dev/v1alpha1\nkind: IpamAudit\n";
        self.plane.apply_yaml(&format!("{object}metadata: {{name: {name}}}\nspec: {spec}\n")).await
    }

    /// Starts the operator. It reads EC2 every two seconds, so that suites need not wait for minutes.
    pub fn start_operator(&mut self, start: Start) -> Result<()> {
        ensure!(self.operator.is_none(), "the operator is running already");
        let kubeconfig = self.kubeconfig.clone().context("the operator has no rights yet")?;
        let mut args =
            vec![format!("--namespace={NAMESPACE}"), format!("--ec2-interval={}", start.ec2_interval.unwrap_or("2s"))];
        args.extend(start.args);
        let endpoint = match start.ec2_endpoint {
            Some(endpoint) => endpoint,
            None => self.ec2()?.endpoint(),
        };
        let options = OperatorOptions {
            binary: operator::binary()?,
            kubeconfig,
            ec2_endpoint: endpoint,
            region: start.region.unwrap_or_else(|| self.scenario.region().to_owned()),
            args,
            env: start.env,
            log: self.plane.state_dir().join("operator.log"),
        };
        self.operator = Some(Operator::start(options)?);
        Ok(())
    }

    /// Ends the operator at once, as a lost node would.
    pub fn kill_operator(&mut self) {
        self.operator = None;
    }

    /// Asks the operator to end, as kubelet does, and waits until it has.
    pub async fn terminate_operator(&mut self) -> Result<()> {
        let mut operator = self.operator.take().context("no operator is running")?;
        operator.terminate()?;
        while operator.exited()?.is_none() {
            self.a_moment().await;
        }
        Ok(())
    }

    /// What the running operator has logged.
    pub fn log(&self) -> String {
        self.operator.as_ref().map_or_else(String::new, Operator::log)
    }

    /// Where the operator's admin server is.
    pub fn admin_url(&self) -> Option<String> {
        self.operator.as_ref().map(Operator::admin_url)
    }

    /// The lines of the log that hold a text.
    pub fn logged(&self, text: &str) -> Vec<String> {
        self.log().lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
    }

    /// Warnings and errors of the log, in order and without their times.
    pub fn warnings(&self) -> Vec<String> {
        let (log, mut warnings) = (self.log(), Vec::new());
        for line in log.lines() {
            let said = ["WARN ", "ERROR "].iter().find_map(|level| Some(line.split_once(level)?.1));
            warnings.extend(said.map(str::to_owned));
        }
        warnings
    }

    /// An error with the end of its log if the operator has ended by itself: no fault may do that.
    pub fn fail_if_operator_ended(&mut self) -> Result<()> {
        self.operator.as_mut().map_or(Ok(()), Operator::fail_if_ended)
    }

    /// The EC2 of the cluster.
    pub fn ec2(&self) -> Result<&Simulator> {
        self.ec2.as_ref().context("EC2 is away")
    }

    /// Takes EC2 away, or puts another one in its place.
    pub fn set_ec2(&mut self, ec2: Option<Simulator>) {
        self.ec2 = ec2;
    }

    /// The administrator's client.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// An object of the product, if it is there.
    pub async fn get(&self, kind: Kind, name: &str) -> Result<Option<Object>> {
        Object::get(&self.client, kind, name).await
    }

    /// All objects of a kind of the product.
    pub async fn list(&self, kind: Kind) -> Result<Vec<Object>> {
        Object::list(&self.client, kind).await
    }

    /// What kubectl prints.
    pub async fn kubectl(&self, args: &[&str]) -> Result<String> {
        let output = self.plane.kubectl(args).await?;
        output.stdout_if_successful().with_context(|| format!("kubectl {}", args.join(" ")))
    }

    /// The table that kubectl prints.
    pub async fn table(&self, args: &[&str]) -> Result<Table> {
        Table::parse(&self.kubectl(args).await?)
    }

    /// What kubectl prints as JSON.
    pub async fn json(&self, args: &[&str]) -> Result<Object> {
        let text = self.kubectl(&[args, &["-o", "json"]].concat()).await?;
        serde_json::from_str::<serde_json::Value>(&text).map(Object::from).context("kubectl printed no JSON")
    }

    /// The events that the operator has written.
    pub async fn events(&self) -> Result<Vec<Object>> {
        let list = self.json(&["get", "events.events.k8s.io", "-A"]).await?;
        let ours = list.items("/items").iter().filter(|event| event["reportingController"] == REPORTER);
        Ok(ours.cloned().map(Object::from).collect())
    }
}

/// The checkout that these suites were built from.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
