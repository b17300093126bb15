//! The commands of docs/bundle.md with the real kubectl and the real AWS CLI. What they make is audited as what
//! `Scenario::write_bundle` makes, on which the offline suite stands.

#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test")]

use std::{
    env, fs,
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context, Result, ensure};
use ipam_audit_e2e::{Cluster, repository};
use ipam_audit_testkit::{aws_cli, controlplane::Binaries, operator, scenario::Scenario};
use serde_json::Value;

/// The simulator has none, so that the AWS CLI fails and leaves an empty file of each.
const NOT_SERVED: [&str; 2] = ["ec2/security-groups.json", "ec2/route-tables.json"];

/// What does not tell how a bundle was made.
const COMPARED: [&str; 6] = ["summary", "totals", "problems", "findings", "subnets", "nodes"];

/// The commands of the document, in order.
fn commands() -> Vec<String> {
    let document = fs::read_to_string(repository().join("docs/bundle.md")).unwrap();
    let blocks = document.split("```sh\n").skip(1);
    blocks.map(|block| block.split_once("```").unwrap().0.to_owned()).collect()
}

/// A shell that finds the pinned programs before all others, and this cluster and this EC2 alone.
fn shell(cluster: &Cluster, options: &str, script: &str, dir: &Path) -> Result<Output> {
    let (kubectl, aws) = (Binaries::locate()?.dir().to_owned(), aws_cli::folder()?);
    for program in [kubectl.join("kubectl"), aws.join("aws")] {
        ensure!(program.is_file(), "{} is missing", program.display());
    }
    let inherited = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([kubectl, aws].into_iter().chain(env::split_paths(&inherited)))?;
    let mut shell = Command::new("sh");
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AWS_")) {
        shell.env_remove(name);
    }
    shell.args([options, script]).current_dir(dir).env("PATH", path).env("VPC", cluster.scenario.vpc());
    shell.env("KUBECONFIG", cluster.plane.kubeconfig_path());
    // Discovery of one control plane must not be cached for the next one on the same port.
    shell.env("KUBECACHEDIR", cluster.plane.state_dir().join("kubectl-cache"));
    shell.env("AWS_ENDPOINT_URL_EC2", cluster.ec2()?.endpoint());
    shell.envs([
        ("AWS_DEFAULT_REGION", cluster.scenario.region()),
        ("AWS_ACCESS_KEY_ID", "rig"),
        ("AWS_SECRET_ACCESS_KEY", "rig"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        ("NO_PROXY", "127.0.0.1"),
        ("no_proxy", "127.0.0.1"),
    ]);
    shell.output().context("cannot run sh")
}

fn audit(bundle: &Path) -> Value {
    let mut audit = Command::new(operator::binary().unwrap());
    let output = audit.args(["audit", "-o", "json", "--from"]).arg(bundle).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).map_err(|error| format!("{error}: {said}")).unwrap()
}

/// The scenario's own bundle of the same moment, as far as the made one has its files.
fn written(scenario: &Scenario, made: &Path, dir: &Path) -> Value {
    scenario.write_bundle(dir, scenario.now()).unwrap();
    fs::copy(made.join("manifest.json"), dir.join("manifest.json")).unwrap();
    for folder in ["kubernetes", "ec2"] {
        for file in fs::read_dir(dir.join(folder)).unwrap() {
            let file = file.unwrap();
            let twin = fs::metadata(made.join(folder).join(file.file_name()));
            if twin.map_or(0, |twin| twin.len()) == 0 {
                fs::remove_file(file.path()).unwrap();
            }
        }
    }
    audit(dir)
}

#[track_caller]
fn assert_same(made: &Value, written: &Value) {
    for part in COMPARED {
        assert!(!made[part].is_null(), "the audit says nothing of {part}");
        assert!(made[part] == written[part], "{part} is\n{:#}\nand not\n{:#}", made[part], written[part]);
    }
}

#[tokio::test]
async fn what_the_documented_commands_make_is_audited_as_the_scenario_is() {
    let cluster = Cluster::of(Scenario::named("incident").unwrap()).await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let made = dir.path().join("bundle");
    let [least, further] = [0, 1].map(|block| commands().swap_remove(block));

    let output = shell(&cluster, "-euc", &least, dir.path()).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{}: {said}", output.status);
    let audited = audit(&made);
    assert_same(&audited, &written(&cluster.scenario, &made, &dir.path().join("least")));
    assert_eq!((&audited["complete"], &audited["warnings"]), (&true.into(), &Value::Array(vec![])));
    let totals = &audited["totals"];
    assert_eq!(
        (&totals["nodes"], &totals["pods"], &totals["idleAddresses"]),
        (&123.into(), &422.into(), &11640.into())
    );

    // A command that fails is followed by the others, as in a terminal.
    let output = shell(&cluster, "-uc", &further, dir.path()).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    let refused = said.lines().filter(|line| !line.trim().is_empty() && !line.contains("have a resource type"));
    let refused: Vec<&str> = refused.collect();
    assert_eq!(refused.len(), NOT_SERVED.len(), "{said}");
    assert!(refused.iter().all(|line| line.contains("InvalidAction")), "{said}");
    for kind in ["eniconfigs", "securitygrouppolicies", "ec2nodeclasses", "nodepools", "nodeclaims"] {
        assert!(!made.join(format!("kubernetes/{kind}.json")).exists(), "the cluster has no {kind}");
    }
    let audited = audit(&made);
    assert_same(&audited, &written(&cluster.scenario, &made, &dir.path().join("everything")));
    assert_eq!(audited["totals"]["waitingPods"], 14, "events say who waits");
    assert_eq!((&audited["complete"], &audited["warnings"]), (&true.into(), &Value::Array(vec![])));
    for file in NOT_SERVED {
        assert!(!made.join(file).exists(), "a call that was refused leaves no {file}");
    }
}
