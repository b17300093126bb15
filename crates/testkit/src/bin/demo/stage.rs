//! Sets the stage: control plane, EC2, the incident, the installation, the running operator and its first audit.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use ipam_audit_testkit::controlplane::{Binaries, ControlPlane, Options};
use ipam_audit_testkit::ec2::{Simulator, World};
use ipam_audit_testkit::operator::{Operator, OperatorOptions};
use ipam_audit_testkit::scenario::{Place, Scenario};
use tokio::time::sleep;

use crate::screen::Screen;

const NAMESPACE: &str = "ipam-audit";
const SERVICE_ACCOUNT: &str = "ipam-audit";
/// A first audit takes seconds; a machine that also compiles takes several times that.
const FIRST_AUDIT_WITHIN: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(200);

/// Everything that runs. The operator goes first, so that nothing of it complains about what it talks to.
pub(crate) struct Stage {
    operator: Operator,
    pub(crate) plane: ControlPlane,
    _ec2: Simulator,
    binary: PathBuf,
}

impl Stage {
    /// Brings everything up to the first finished audit, saying what it does.
    pub(crate) async fn set(screen: &Screen, binary: PathBuf) -> Result<Self> {
        let steps = Steps::new(screen);
        let options = Options { controller_manager: true, ..Options::default() };
        let plane = ControlPlane::start(options).await.context("cannot start the control plane")?;
        steps.done("A real Kubernetes control plane runs on this machine: API server, etcd, controller manager")?;
        let scenario = Scenario::named("incident")?;
        let ec2 = load(&plane, &scenario).await?;
        steps.done(&inventory(&scenario, &ec2))?;
        install(&plane).await?;
        steps.done("IpamAudit is installed: crds/, deploy/rbac.yaml and the audit of deploy/samples/ipamaudit.yaml")?;
        let operator = operate(&plane, &scenario, &ec2, &binary).await?;
        let mut stage = Self { operator, plane, _ec2: ec2, binary };
        stage.wait_for_first_audit().await?;
        steps
            .done("The operator runs as its own ServiceAccount, with no rights but those, and has finished an audit")?;
        Ok(stage)
    }

    async fn wait_for_first_audit(&mut self) -> Result<()> {
        let ready = "jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}";
        let deadline = Instant::now() + FIRST_AUDIT_WITHIN;
        loop {
            self.operator.fail_if_ended()?;
            let status = self.plane.kubectl(&["get", "ipamaudits", "-o", ready]).await?;
            if status.stdout == "True" {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!(
                    "no audit was finished within {FIRST_AUDIT_WITHIN:?}; the operator's log:\n{}",
                    self.operator.last_lines(15)
                );
            }
            sleep(POLL).await;
        }
    }

    /// How to look further from another terminal.
    pub(crate) fn what_to_try(&self) -> Result<String> {
        let tools = Binaries::locate()?;
        Ok(format!(
            "\nAll of this stays up until Ctrl-C. To look further, in another terminal (the second line if you have no kubectl):\n\n\
             \x20   export KUBECONFIG={kubeconfig}\n\
             \x20   export PATH=$PATH:{tools}\n\n\
             \x20   kubectl get pods -n shop --field-selector=status.phase=Pending   # who waits\n\
             \x20   kubectl describe ipsubnet                                        # who occupies the subnets\n\
             \x20   kubectl get ipam                                                 # everything of IpamAudit\n\
             \x20   kubectl delete pods -n shop -l app=resizer --force               # then look at the audit again\n\
             \x20   curl {metrics}/metrics\n\
             \x20   {binary} explain IPAM210",
            kubeconfig = self.plane.kubeconfig_path().display(),
            tools = tools.dir().display(),
            metrics = self.operator.admin_url(),
            binary = self.binary.display(),
        ))
    }

    /// Ends only when the operator does, which is an error.
    pub(crate) async fn stay_up(&mut self) -> Result<()> {
        loop {
            self.operator.fail_if_ended()?;
            sleep(POLL).await;
        }
    }
}

/// Numbered steps with the time each took.
struct Steps<'a> {
    screen: &'a Screen,
    started: Instant,
}

impl<'a> Steps<'a> {
    fn new(screen: &'a Screen) -> Self {
        Self { screen, started: Instant::now() }
    }

    fn done(&self, what: &str) -> Result<()> {
        self.screen.say(&format!("{:5.1} s  {what}.", self.started.elapsed().as_secs_f32()))
    }
}

async fn load(plane: &ControlPlane, scenario: &Scenario) -> Result<Simulator> {
    scenario.load_into(&plane.client().await?).await?;
    let world = World::load(scenario.to_ec2_seed()).context("EC2 refuses the scenario")?;
    Simulator::start(world).context("cannot start the EC2 simulator")
}

fn inventory(scenario: &Scenario, ec2: &Simulator) -> String {
    let nodes = &scenario.plan().nodes;
    let pods: Vec<_> = nodes.iter().flat_map(|node| &node.pods).collect();
    let waiting = pods.iter().filter(|pod| pod.place == Place::Waiting).count();
    let state = ec2.state();
    format!(
        "The incident is loaded: {} nodes, {} pods ({waiting} wait for an address); in a simulated EC2, {} interfaces in {} subnets",
        nodes.len(),
        pods.len(),
        state.interfaces.len(),
        state.subnets.len()
    )
}

async fn install(plane: &ControlPlane) -> Result<()> {
    let root = checkout()?;
    for manifests in ["crds", "deploy/rbac.yaml", "deploy/samples/ipamaudit.yaml"] {
        plane.apply_manifests(&root.join(manifests)).await?;
    }
    Ok(())
}

async fn operate(plane: &ControlPlane, scenario: &Scenario, ec2: &Simulator, binary: &Path) -> Result<Operator> {
    let state = plane.state_dir();
    let kubeconfig = plane.service_account_kubeconfig(NAMESPACE, SERVICE_ACCOUNT, &state).await?;
    Operator::start(OperatorOptions {
        binary: binary.to_owned(),
        kubeconfig,
        ec2_endpoint: ec2.endpoint(),
        region: scenario.region().to_owned(),
        args: vec![format!("--namespace={NAMESPACE}")],
        env: Vec::new(),
        log: state.join("operator.log"),
    })
}

/// The manifests are those of the checkout that this program was built from.
fn checkout() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    ensure!(root.join("crds").is_dir(), "the manifests are not in {}: run the demo by `make demo`", root.display());
    root.canonicalize().with_context(|| format!("cannot use {}", root.display()))
}
