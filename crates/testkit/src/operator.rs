//! Runs the real `ipam-audit run` as its shipped `ServiceAccount` against a control plane and an EC2 endpoint.
//!
//! It sees nothing of this machine's own clusters and AWS accounts: what it may find is stated here. It ends with this
//! process, like everything of the rig.

use std::collections::BTreeMap;
use std::env;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::controlplane::free_port;
use crate::controlplane::process::{Launch, Supervised};

const BINARY: &str = "ipam-audit";
const BINARY_VARIABLE: &str = "IPAM_AUDIT_BIN";

/// How variables begin that would lead the operator to another cluster or account than those of the rig.
const FOREIGN: [&str; 3] = ["AWS_", "KUBERNETES_SERVICE_", "OTEL_"];

/// How to run the operator.
#[derive(Debug, Clone)]
pub struct OperatorOptions {
    /// The binary.
    pub binary: PathBuf,
    /// Kubeconfig of its `ServiceAccount`.
    pub kubeconfig: PathBuf,
    /// Endpoint of EC2.
    pub ec2_endpoint: String,
    /// AWS region.
    pub region: String,
    /// Further arguments of `ipam-audit run`.
    pub args: Vec<String>,
    /// Further environment, which wins over what is set here. What is empty is not there at all.
    pub env: Vec<(&'static str, String)>,
    /// File that receives its log.
    pub log: PathBuf,
}

/// A running operator; killed when dropped.
pub struct Operator {
    process: Supervised,
    port: u16,
}

impl Operator {
    /// Starts it. It may still find out that it cannot work: see [`fail_if_ended`](Self::fail_if_ended).
    pub fn start(options: OperatorOptions) -> Result<Self> {
        let OperatorOptions { binary, kubeconfig, ec2_endpoint, region, args: further, env: extra, log } = options;
        let port = free_port()?;
        let mut env = BTreeMap::from([
            ("KUBECONFIG", kubeconfig.display().to_string()),
            ("AWS_ENDPOINT_URL", ec2_endpoint),
            ("AWS_REGION", region),
            ("AWS_ACCESS_KEY_ID", "rig".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "rig".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("AWS_CONFIG_FILE", "/dev/null".to_owned()),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".to_owned()),
        ]);
        env.extend(extra);
        env.retain(|_, value| !value.is_empty());
        let own = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        let mut args: Vec<String> = foreign(own, &env).flat_map(|name| ["-u".to_owned(), name]).collect();
        args.extend([binary.display().to_string(), "run".to_owned(), format!("--listen=127.0.0.1:{port}")]);
        args.extend(further);
        // `env` runs the binary in its own place, without the variables that it is told to drop.
        let env = env.into_iter().collect();
        let launch = Launch { name: "ipam-audit run", program: "env".into(), args, env, dir: None, log };
        Ok(Self { process: Supervised::spawn(launch)?, port })
    }

    /// The base URL of `/livez`, `/readyz` and `/metrics`.
    pub fn admin_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its process id.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Whether it says that it is ready.
    pub async fn is_ready(&self) -> bool {
        self.ask("/readyz").await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    /// What its admin server answers to a path, head and all.
    async fn ask(&self, path: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    /// Everything that it has logged.
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// The end of its log.
    pub fn last_lines(&self, count: usize) -> String {
        self.process.last_lines(count)
    }

    /// Stops the process where it is, as a machine that is out of breath does it.
    pub fn pause(&self) -> Result<()> {
        self.process.signal("STOP")
    }

    /// Lets it go on.
    pub fn resume(&self) -> Result<()> {
        self.process.signal("CONT")
    }

    /// Asks it to end, as kubelet does.
    pub fn terminate(&self) -> Result<()> {
        self.process.signal("TERM")
    }

    /// Ends it at once, as a lost node would.
    pub fn kill(&mut self) {
        self.process.stop();
    }

    /// How it has ended, if it has.
    pub fn exited(&mut self) -> Result<Option<ExitStatus>> {
        self.process.exited().context("cannot watch the operator")
    }

    /// An error with the end of its log, if it has ended by itself: it never should.
    pub fn fail_if_ended(&mut self) -> Result<()> {
        if let Some(status) = self.process.exited().context("cannot watch the operator")? {
            bail!("the operator has ended ({status}); the end of its log:\n{}", self.last_lines(15));
        }
        Ok(())
    }
}

/// Of the variables of this process, those that the operator must not see: nobody has set them for it.
fn foreign<'a>(
    own: impl Iterator<Item = String> + 'a,
    set: &'a BTreeMap<&str, String>,
) -> impl Iterator<Item = String> + 'a {
    let leads_elsewhere = |name: &String| FOREIGN.iter().any(|start| name.starts_with(start));
    own.filter(move |name| leads_elsewhere(name) && !set.contains_key(name.as_str()))
}

/// The operator's binary: `IPAM_AUDIT_BIN`, or the one that was built with this program.
pub fn binary() -> Result<PathBuf> {
    if let Some(named) = env::var_os(BINARY_VARIABLE) {
        let named = PathBuf::from(named);
        ensure!(named.is_file(), "{BINARY_VARIABLE} names {}, which is no file", named.display());
        return Ok(named);
    }
    let own = env::current_exe().context("cannot find out where this program is")?;
    // Tests run from the folder `deps` beside the programs.
    let folders = own.ancestors().skip(1).take(2).map(Path::to_owned);
    let found = folders.map(|folder| folder.join(BINARY)).find(|path| path.is_file());
    found.with_context(|| {
        format!("{BINARY} is not built: run `cargo build --workspace --bins`, or set {BINARY_VARIABLE} to a binary")
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{set_permissions, write};
    use std::os::unix::fs::PermissionsExt;
    use std::time::{Duration, Instant};

    use super::*;

    fn options(dir: &Path, script: &str) -> OperatorOptions {
        let binary = dir.join("ipam-audit");
        write(&binary, format!("#!/bin/sh\n{script}\n")).unwrap();
        set_permissions(&binary, PermissionsExt::from_mode(0o755)).unwrap();
        OperatorOptions {
            binary,
            kubeconfig: "/the/kubeconfig".into(),
            ec2_endpoint: "http://127.0.0.1:1".to_owned(),
            region: "eu-central-1".to_owned(),
            args: vec!["--log=debug".to_owned()],
            env: [("AWS_REGION", "eu-west-1"), ("AWS_ROLE_ARN", "arn:aws:iam::1:role/a"), ("AWS_ACCESS_KEY_ID", "")]
                .map(|(name, value)| (name, value.to_owned()))
                .to_vec(),
            log: dir.join("operator.log"),
        }
    }

    #[test]
    fn it_is_told_where_everything_is_and_an_early_end_is_an_error_with_its_last_words() {
        let dir = tempfile::tempdir().unwrap();
        let script = "echo $* $KUBECONFIG $AWS_ENDPOINT_URL $AWS_REGION $AWS_ROLE_ARN ${AWS_ACCESS_KEY_ID-none}; \
                      echo no such cluster >&2; exit 3";
        let mut operator = Operator::start(options(dir.path(), script)).unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        let error = loop {
            match operator.fail_if_ended() {
                Err(error) => break error.to_string(),
                Ok(()) => assert!(Instant::now() < deadline, "it has not ended"),
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        assert!(error.contains("exit status: 3") && error.contains("no such cluster"), "{error}");
        let listen = operator.admin_url().replace("http://", "--listen=");
        let expected =
            format!("run {listen} --log=debug /the/kubeconfig http://127.0.0.1:1 eu-west-1 arn:aws:iam::1:role/a none");
        assert!(operator.log().contains(&expected), "{}", operator.log());
    }

    #[test]
    fn nothing_of_the_surroundings_leads_it_elsewhere_but_for_what_is_set() {
        let own =
            ["PATH", "AWS_PROFILE", "AWS_ROLE_ARN", "AWS_CONTAINER_AUTHORIZATION_TOKEN", "KUBERNETES_SERVICE_HOST"];
        let set = BTreeMap::from([("AWS_ROLE_ARN", "arn:aws:iam::1:role/a".to_owned())]);
        let dropped: Vec<String> = foreign(own.into_iter().map(str::to_owned), &set).collect();
        assert_eq!(dropped, ["AWS_PROFILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN", "KUBERNETES_SERVICE_HOST"]);
    }
}
