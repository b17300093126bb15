//! The command lines of the three servers.

use std::path::Path;

use super::Options;
use super::data::ETCD_FOLDER;
use super::pki::Pki;
use super::process::Launch;
use super::state::StateDir;

const LOOPBACK: &str = "127.0.0.1";

/// The loopback ports of one control plane.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ports {
    pub(super) etcd: u16,
    pub(super) etcd_peer: u16,
    pub(super) apiserver: u16,
}

impl Ports {
    pub(super) fn server_url(self) -> String {
        format!("https://{LOOPBACK}:{}", self.apiserver)
    }

    pub(super) fn etcd_url(self) -> String {
        format!("http://{LOOPBACK}:{}", self.etcd)
    }
}

pub(super) fn etcd(program: &Path, state: &StateDir, ports: Ports) -> Launch {
    let client = ports.etcd_url();
    let peer = format!("http://{LOOPBACK}:{}", ports.etcd_peer);
    let args = vec![
        "--name=rig".to_owned(),
        format!("--data-dir={}", state.file(ETCD_FOLDER).display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=rig={peer}"),
        // Nothing in it is worth a flush to disk: it goes with the test.
        "--unsafe-no-fsync".to_owned(),
        "--quota-backend-bytes=8589934592".to_owned(),
        "--log-level=error".to_owned(),
    ];
    Launch { name: "etcd", program: program.into(), args, env: Vec::new(), dir: None, log: state.file("etcd.log") }
}

pub(super) fn apiserver(program: &Path, state: &StateDir, pki: &Pki, ports: Ports, options: &Options) -> Launch {
    let mut args = vec![
        format!("--etcd-servers={}", ports.etcd_url()),
        format!("--bind-address={LOOPBACK}"),
        format!("--advertise-address={LOOPBACK}"),
        format!("--secure-port={}", ports.apiserver),
        format!("--tls-cert-file={}", pki.server_cert.display()),
        format!("--tls-private-key-file={}", pki.server_key.display()),
        format!("--client-ca-file={}", pki.ca.display()),
        format!("--token-auth-file={}", pki.token_file.display()),
        "--anonymous-auth=false".to_owned(),
        "--authorization-mode=RBAC".to_owned(),
        "--service-cluster-ip-range=172.20.0.0/16".to_owned(),
        "--service-account-issuer=https://rig.local".to_owned(),
        format!("--service-account-key-file={}", pki.account_public_key.display()),
        format!("--service-account-signing-key-file={}", pki.account_signing_key.display()),
        // No controller makes the accounts that this admission plugin asks of every Pod.
        "--disable-admission-plugins=ServiceAccount".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        "--allow-privileged=true".to_owned(),
        format!("--audit-policy-file={}", state.file("audit-policy.yaml").display()),
        format!("--audit-log-path={}", state.file("audit.log").display()),
        // In megabytes: large enough never to be rotated away under a test that reads it.
        "--audit-log-maxsize=4096".to_owned(),
    ];
    args.extend(options.extra_apiserver_args.iter().cloned());
    let env = vec![("GOGC", "40".to_owned()), ("GOMEMLIMIT", options.apiserver_memory.to_owned())];
    Launch {
        name: "kube-apiserver",
        program: program.into(),
        args,
        env,
        dir: None,
        log: state.file("kube-apiserver.log"),
    }
}

pub(super) fn controller_manager(program: &Path, state: &StateDir, kubeconfig: &Path) -> Launch {
    let kubeconfig = kubeconfig.display();
    let args = vec![
        format!("--kubeconfig={kubeconfig}"),
        format!("--authentication-kubeconfig={kubeconfig}"),
        format!("--authorization-kubeconfig={kubeconfig}"),
        "--authentication-skip-lookup".to_owned(),
        "--controllers=garbage-collector-controller,namespace-controller".to_owned(),
        "--leader-elect=false".to_owned(),
        // It serves nothing that a test asks for.
        "--secure-port=0".to_owned(),
    ];
    Launch {
        name: "kube-controller-manager",
        program: program.into(),
        args,
        env: Vec::new(),
        dir: None,
        log: state.file("kube-controller-manager.log"),
    }
}
