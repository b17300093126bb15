//! Replicas of the operator, each with a name, a token and a gate to the API server of its own.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use ipam_audit_testkit::controlplane::Gate;
use ipam_audit_testkit::operator::{self, Operator, OperatorOptions};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;

use crate::cluster::{Cluster, NAMESPACE, SERVICE_ACCOUNT};

/// How the deployment names the Lease.
const LEASE: &str = "ipam-audit";

/// One replica; killed when dropped.
pub struct Replica {
    /// Its name: in the Lease, in its events, in its requests.
    pub name: String,
    /// The process.
    pub operator: Operator,
    /// Its way to the API server.
    pub gate: Gate,
    kubeconfig: PathBuf,
}

impl Cluster {
    /// Starts a replica.
    pub async fn replica(&self, name: &str) -> Result<Replica> {
        let gate = Gate::open(&self.plane).await?;
        let kubeconfig = self.plane.state_dir().join(format!("{name}.kubeconfig"));
        self.plane.account_kubeconfig_at(&gate.url(), (NAMESPACE, SERVICE_ACCOUNT), &kubeconfig).await?;
        let operator = self.process_of(name, kubeconfig.clone())?;
        Ok(Replica { name: name.to_owned(), operator, gate, kubeconfig })
    }

    /// Ends a replica at once, as a lost node would, and starts it again with its gate open. What it had not got through
    /// the gate is lost.
    pub async fn replace(&self, replica: &mut Replica) -> Result<()> {
        replica.operator.kill();
        replica.gate.forget().await;
        replica.operator = self.process_of(&replica.name, replica.kubeconfig.clone())?;
        Ok(())
    }

    fn process_of(&self, name: &str, kubeconfig: PathBuf) -> Result<Operator> {
        Operator::start(OperatorOptions {
            binary: operator::binary()?,
            kubeconfig,
            ec2_endpoint: self.ec2()?.endpoint(),
            region: self.scenario.region().to_owned(),
            args: [
                format!("--namespace={NAMESPACE}"),
                format!("--identity={name}"),
                "--ec2-interval=2s".to_owned(),
                "--log=info,ipam_audit_controller=debug".to_owned(),
            ]
            .into(),
            env: Vec::new(),
            log: self.plane.state_dir().join(format!("{name}.log")),
        })
    }

    /// Who holds the Lease, by the API server; nobody if it was released.
    pub async fn holder(&self) -> Result<String> {
        let leases: Api<Lease> = Api::namespaced(self.client(), NAMESPACE);
        let lease = leases.get(LEASE).await.context("there is no lease")?;
        Ok(lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default())
    }

    /// Waits until a replica has seen the whole cluster: it is as ready to lead as it can be.
    pub async fn until_warm(&mut self, replica: &Replica) -> Result<()> {
        let ready = async |_: &Self| Ok(replica.operator.is_ready().await.then_some(()));
        let waited = self.until(&format!("{} is ready", replica.name), ready).await;
        waited.with_context(|| format!("the end of its log:\n{}", replica.operator.last_lines(40)))
    }

    /// Waits until a replica holds the Lease.
    pub async fn until_leads(&mut self, replica: &Replica) -> Result<()> {
        let leads = async |cluster: &Self| Ok((cluster.holder().await? == replica.name).then_some(()));
        let waited = self.until(&format!("{} leads", replica.name), leads).await;
        waited.with_context(|| format!("the end of its log:\n{}", replica.operator.last_lines(40)))
    }
}

impl Replica {
    /// Asks it to end and waits until it has; an error if it does not end well.
    pub async fn terminate(&mut self, cluster: &mut Cluster) -> Result<()> {
        self.operator.terminate()?;
        let status = loop {
            if let Some(status) = self.operator.exited()? {
                break status;
            }
            cluster.a_moment().await;
        };
        ensure!(status.success(), "{} ended with {status}:\n{}", self.name, self.operator.last_lines(20));
        Ok(())
    }
}
