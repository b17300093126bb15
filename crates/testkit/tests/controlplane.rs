//! The control plane as the suites use it: real servers, real rights, and nothing left behind by a run that dies.

#![expect(clippy::unwrap_used, reason = "a step that fails is the failure of its test")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Result;
use ipam_audit_testkit::controlplane::{ControlPlane, Options};
use k8s_openapi::api::core::v1::{ConfigMap, Node, Secret};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client};

const MANIFESTS: &str = r"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.rig.test}
spec:
  group: rig.test
  scope: Cluster
  names: {kind: Widget, plural: widgets, singular: widget}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          size:
            type: integer
            x-kubernetes-validations:
            - {rule: self < 10, message: a widget is smaller than 10}
---
apiVersion: rig.test/v1
kind: Widget
metadata: {name: small}
size: 3
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader, namespace: rig}
---
apiVersion: v1
kind: Namespace
metadata: {name: rig}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules:
- {apiGroups: [''], resources: [nodes], verbs: [list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader}
subjects: [{kind: ServiceAccount, name: reader, namespace: rig}]
";

/// One start for everything that a healthy control plane offers.
#[tokio::test]
async fn a_control_plane_offers_what_the_suites_need() -> Result<()> {
    let plane = ControlPlane::start(Options { controller_manager: true, ..Options::default() }).await?;
    let manifests = plane.state_dir().join("manifests");
    std::fs::create_dir(&manifests)?;
    std::fs::write(manifests.join("all.yaml"), MANIFESTS)?;
    std::fs::write(manifests.join("README.md"), "no manifest")?;
    plane.apply_manifests(&manifests).await?;
    // Applying is idempotent, with the definitions in place as well.
    plane.apply_manifests(&manifests.join("all.yaml")).await?;

    custom_resources_are_validated(&plane).await?;
    a_service_account_has_its_own_rights_only(&plane).await?;
    nobody_is_let_in_without_a_token(&plane).await?;
    dependents_are_collected(&plane.client().await?).await?;
    the_api_server_can_be_taken_away_and_come_back(&plane).await
}

async fn custom_resources_are_validated(plane: &ControlPlane) -> Result<()> {
    let shown = plane.kubectl(&["get", "widget", "small", "-o", "jsonpath={.size}"]).await?;
    assert_eq!(shown.stdout_if_successful()?, "3");
    let error = plane.apply_yaml("{apiVersion: rig.test/v1, kind: Widget, metadata: {name: big}, size: 11}").await;
    let error = format!("{:#}", error.unwrap_err());
    assert!(error.contains("cannot apply Widget big") && error.contains("a widget is smaller than 10"), "{error}");
    Ok(())
}

async fn a_service_account_has_its_own_rights_only(plane: &ControlPlane) -> Result<()> {
    let client = plane.service_account_client("rig", "reader").await?;
    Api::<Node>::all(client.clone()).list(&ListParams::default()).await?;
    let refused = Api::<Secret>::all(client).list(&ListParams::default()).await.unwrap_err();
    assert!(matches!(&refused, kube::Error::Api(status) if status.code == 403), "{refused:?}");

    let user = "system:serviceaccount:rig:reader";
    let seen: Vec<_> = plane.audit_log()?.into_iter().filter(|event| event.user == user).collect();
    let seen: Vec<_> = seen.iter().map(|event| (event.verb.as_str(), event.resource.as_str(), event.code)).collect();
    assert_eq!(seen, [("list", "nodes", Some(200)), ("list", "secrets", Some(403))]);
    Ok(())
}

async fn nobody_is_let_in_without_a_token(plane: &ControlPlane) -> Result<()> {
    let server = format!("--server={}", plane.server_url());
    let args = ["get", "nodes", "--kubeconfig=/dev/null", "--insecure-skip-tls-verify", "--token=wrong", &server];
    let output = plane.kubectl(&args).await?;
    assert!(output.stderr.contains("Unauthorized") || output.stderr.contains("must be logged in"), "{output:?}");
    Ok(())
}

async fn dependents_are_collected(client: &Client) -> Result<()> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let mut owner = ConfigMap::default();
    owner.metadata.name = Some("owner".to_owned());
    let owner = maps.create(&PostParams::default(), &owner).await?;
    let mut dependent = ConfigMap::default();
    dependent.metadata.name = Some("dependent".to_owned());
    dependent.metadata.owner_references = kube::Resource::owner_ref(&owner, &()).map(|reference| vec![reference]);
    maps.create(&PostParams::default(), &dependent).await?;
    maps.delete("owner", &DeleteParams::default()).await?;
    let deadline = Instant::now() + Duration::from_secs(30);
    while maps.get_opt("dependent").await?.is_some() {
        assert!(Instant::now() < deadline, "the dependent was not collected");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn the_api_server_can_be_taken_away_and_come_back(plane: &ControlPlane) -> Result<()> {
    let client = plane.client().await?;
    let requests_before = plane.audit_log()?.len();
    plane.stop_apiserver();
    client.apiserver_version().await.unwrap_err();
    plane.start_apiserver().await?;
    // The same client, the same address, the same objects; and the log goes on where it was.
    Api::<k8s_openapi::api::core::v1::Namespace>::all(client).get("rig").await?;
    let log = plane.audit_log()?;
    assert!(log[requests_before..].iter().any(|event| event.resource == "namespaces" && event.name == "rig"));
    let again = plane.start_apiserver().await.unwrap_err();
    assert!(again.to_string().contains("running already"), "{again}");
    Ok(())
}

#[tokio::test]
async fn a_server_that_cannot_start_is_named_with_its_reason() {
    let options = Options { extra_apiserver_args: vec!["--no-such-flag".to_owned()], ..Options::default() };
    let error = format!("{:#}", ControlPlane::start(options).await.err().unwrap());
    assert!(error.contains("kube-apiserver ended before it was ready"), "{error}");
    assert!(error.contains("unknown flag: --no-such-flag"), "{error}");
}

#[tokio::test]
async fn a_panic_leaves_no_process_and_no_folder() -> Result<()> {
    let (send, receive) = tokio::sync::oneshot::channel();
    let test = tokio::spawn(async move {
        let plane = ControlPlane::start(Options::default()).await.unwrap();
        send.send(plane.state_dir()).unwrap();
        panic!("as a failing test does");
    });
    let dir = receive.await?;
    assert!(test.await.unwrap_err().is_panic());
    assert!(!dir.exists());
    wait_until_gone(&dir);
    Ok(())
}

/// The whole point of the lifeline: a run that is killed has no time to clean up.
#[test]
fn a_killed_run_leaves_nothing_that_hinders_the_next() {
    let mut killed = Running::start();
    assert!(
        killed.processes().len() >= 3,
        "etcd, kube-apiserver and kube-controller-manager: {:?}",
        killed.processes()
    );
    killed.signal("KILL");
    wait_until_gone(&killed.dir);
    assert!(killed.dir.exists(), "nobody was there to remove it");

    let mut next = Running::start();
    assert!(!killed.dir.exists(), "the next start removes what the killed run has left");
    next.signal("TERM");
    wait_until_gone(&next.dir);
    assert!(!next.dir.exists(), "an ordered end removes its own folder");
}

#[test]
fn ctrl_c_ends_a_run_in_order() {
    let mut run = Running::start();
    run.signal("INT");
    wait_until_gone(&run.dir);
    assert!(!run.dir.exists());
}

/// `controlplane start` in a process of its own.
struct Running {
    process: std::process::Child,
    dir: PathBuf,
}

impl Running {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_controlplane"));
        command.args(["start", "--controller-manager"]).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(process.stdout.take().unwrap()));
        let export = lines.next().unwrap().unwrap();
        let kubeconfig = export.strip_prefix("export KUBECONFIG=").unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), "Ready until Ctrl-C.");
        Self { process, dir: Path::new(kubeconfig).parent().unwrap().to_owned() }
    }

    fn processes(&self) -> Vec<String> {
        processes_of(&self.dir)
    }

    fn signal(&mut self, signal: &str) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap().success());
        self.process.wait().unwrap();
    }
}

/// The command lines of living processes that name `path`.
fn processes_of(path: &Path) -> Vec<String> {
    let output = Command::new("ps").args(["-ww", "-eo", "stat=,args="]).output().unwrap();
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let path = path.display().to_string();
    output.lines().filter(|line| line.contains(&path) && !line.starts_with('Z')).map(str::to_owned).collect()
}

fn wait_until_gone(dir: &Path) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !processes_of(dir).is_empty() {
        assert!(Instant::now() < deadline, "still running: {:#?}", processes_of(dir));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs `controlplane build` with a `go` of our own making, or with none.
fn build_with(go: Option<&str>, dir: &Path) -> Command {
    let path = dir.join("bin");
    std::fs::create_dir_all(&path).unwrap();
    if let Some(script) = go {
        let file = path.join("go");
        std::fs::write(&file, script).unwrap();
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_controlplane"));
    let system = if go.is_some() { ":/usr/bin:/bin" } else { "" };
    command.arg("build").env("PATH", format!("{}{system}", path.display())).env("XDG_CACHE_HOME", dir.join("cache"));
    command.env_remove("KUBEBUILDER_ASSETS").stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn failure_of(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_is_missing_is_named_with_how_to_get_it() {
    let dir = tempfile::tempdir().unwrap();
    let without_go = failure_of(build_with(None, dir.path()));
    assert!(without_go.contains("`go` cannot be run") && without_go.contains("https://go.dev/dl/"), "{without_go}");

    let old_go = failure_of(build_with(Some("#!/bin/sh\necho go1.19.8\n"), dir.path()));
    assert!(old_go.contains("needs Go 1.26") && old_go.contains("this is go1.19.8"), "{old_go}");

    let offline = "#!/bin/sh\n[ $1 = env ] && echo go1.99.0 && exit\necho 'dial tcp: no such host' >&2\nexit 1\n";
    let offline = failure_of(build_with(Some(offline), dir.path()));
    assert!(offline.contains("go build of kube-apiserver failed") && offline.contains("GOPROXY"), "{offline}");

    let mut assets = build_with(None, dir.path());
    assets.env("KUBEBUILDER_ASSETS", dir.path());
    let assets = failure_of(assets);
    assert!(assets.contains("kube-apiserver is missing in"), "{assets}");
}

/// Builds nothing on its first call but hangs, as a long compile does; later calls write the program.
const HANGS_ONCE: &str = r#"#!/bin/sh
[ "$1" = env ] && echo go1.99.0 && exit
while [ "$1" != -o ]; do shift; done
root=$(dirname "$0")
if mkdir "$root/first" 2>/dev/null; then echo partial >"$2"; exec sh "$root/hang"; fi
echo program >"$2"
"#;

#[test]
fn a_waiting_build_takes_over_from_a_killed_one() {
    let dir = tempfile::tempdir().unwrap();
    // A script of its own, so that the test can tell its process from any other.
    let bin = dir.path().join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::write(bin.join("hang"), "while :; do sleep 1; done\n").unwrap();

    let mut first = build_with(Some(HANGS_ONCE), dir.path()).spawn().unwrap();
    let hang = bin.join("hang");
    wait_for("the first build", || !processes_of(&hang).is_empty());
    let mut second = build_with(Some(HANGS_ONCE), dir.path()).spawn().unwrap();
    let mut said = String::new();
    let mut stderr = std::io::BufReader::new(second.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut stderr, &mut said).unwrap();
    assert!(said.contains("another run is building the control plane"), "{said}");

    first.kill().unwrap();
    first.wait().unwrap();
    wait_until_gone(&hang);
    let output = second.wait_with_output().unwrap();
    assert!(output.status.success());
    let built = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
    for program in ["etcd", "kube-apiserver", "kube-controller-manager", "kubectl"] {
        assert_eq!(std::fs::read_to_string(built.join(program)).unwrap(), "program\n", "{program}");
    }
    let unfinished = std::fs::read_dir(&built).unwrap().flatten();
    assert_eq!(unfinished.filter(|entry| entry.file_name().to_string_lossy().contains("unfinished")).count(), 0);
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "timed out: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
