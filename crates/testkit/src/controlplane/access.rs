//! Ways in: kubeconfigs, clients and kubectl, as administrator or as a service account with a real token.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::json;

use super::ControlPlane;
use super::binaries::KUBECTL;

/// Long enough for any suite; the server's own upper limit is far above.
const TOKEN_SECONDS: i64 = 12 * 3600;

/// What kubectl answered.
#[derive(Debug, Clone)]
pub struct KubectlOutput {
    /// Whether it exited with 0.
    pub success: bool,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl ControlPlane {
    /// The administrator's kubeconfig.
    pub fn kubeconfig_path(&self) -> PathBuf {
        self.state.file("admin.kubeconfig")
    }

    /// The URL of the API server.
    pub fn server_url(&self) -> String {
        self.ports.server_url()
    }

    /// A new client of the administrator; it lives on the runtime that calls.
    pub async fn client(&self) -> Result<Client> {
        client_from(&self.kubeconfig_path()).await
    }

    /// A client with the rights of a service account, by a token that the API server issued.
    pub async fn service_account_client(&self, namespace: &str, name: &str) -> Result<Client> {
        client_from(&self.service_account_kubeconfig(namespace, name, self.state.path()).await?).await
    }

    /// Writes a kubeconfig of a service account into `dir` and returns its path.
    pub async fn service_account_kubeconfig(&self, namespace: &str, name: &str, dir: &Path) -> Result<PathBuf> {
        let path = dir.join(format!("{namespace}-{name}.kubeconfig"));
        self.account_kubeconfig_at(&self.server_url(), (namespace, name), &path).await?;
        Ok(path)
    }

    /// Writes a kubeconfig of a service account that finds the API server at another URL, such as a gate's.
    pub async fn account_kubeconfig_at(
        &self,
        server: &str,
        (namespace, name): (&str, &str),
        path: &Path,
    ) -> Result<()> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await?, namespace);
        let spec = TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let issued = accounts.create_token_request(name, &PostParams::default(), &request).await;
        let issued = issued.with_context(|| format!("no token for service account {namespace}/{name}"))?;
        let token = issued.status.context("the API server issued an empty token")?.token;
        self.write_kubeconfig_at(server, path, name, &token)
    }

    /// Runs kubectl as administrator and returns what it printed, whether it succeeded or not.
    pub async fn kubectl(&self, args: &[&str]) -> Result<KubectlOutput> {
        let mut command = tokio::process::Command::new(self.binaries.path(KUBECTL)?);
        command.args(args).env("KUBECONFIG", self.kubeconfig_path());
        // Discovery of one control plane must not be cached for the next one on the same port.
        command.env("KUBECACHEDIR", self.state.file("kubectl-cache"));
        let output = command.output().await.context("cannot run kubectl")?;
        Ok(KubectlOutput {
            success: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    pub(super) fn write_kubeconfig(&self, path: &Path, user: &str, token: &str) -> Result<()> {
        self.write_kubeconfig_at(&self.server_url(), path, user, token)
    }

    fn write_kubeconfig_at(&self, server: &str, path: &Path, user: &str, token: &str) -> Result<()> {
        // JSON is YAML; written this way nothing needs quoting by hand.
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "rig", "cluster": {
                "server": server, "certificate-authority": self.pki.ca.display().to_string(),
            }}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": "rig", "context": {"cluster": "rig", "user": user}}],
            "current-context": "rig",
        });
        let text = serde_json::to_string_pretty(&config).context("cannot write a kubeconfig")?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

impl KubectlOutput {
    /// What kubectl printed, or an error with its complaint.
    pub fn stdout_if_successful(self) -> Result<String> {
        if !self.success {
            bail!("kubectl failed: {}", self.stderr.trim());
        }
        Ok(self.stdout)
    }
}

/// A client that uses the given kubeconfig and nothing of the environment.
pub async fn client_from(kubeconfig: &Path) -> Result<Client> {
    Client::try_from(config_from(kubeconfig).await?).context("cannot make a Kubernetes client")
}

pub(super) async fn config_from(kubeconfig: &Path) -> Result<Config> {
    install_tls_provider();
    let read = Kubeconfig::read_from(kubeconfig).with_context(|| format!("cannot read {}", kubeconfig.display()))?;
    let config = Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await;
    config.with_context(|| format!("cannot use {}", kubeconfig.display()))
}

/// Makes aws-lc-rs the process' TLS provider, the only one in the dependency graph.
pub fn install_tls_provider() {
    // An error means that it is installed already.
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
}
