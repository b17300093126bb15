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
use ipam_audit_testkit::{
    aws_cli,
    controlplane::Binaries,
    ec2::{Effect, Fault},
    operator,
    scenario::Scenario,
};
use serde_json::Value;

/// Calls that EC2 refuses at first, with the file that each would make.
const REFUSED: [(&str, &str); 2] =
    [("DescribeSecurityGroups", "ec2/security-groups.json"), ("DescribeRouteTables", "ec2/route-tables.json")];

/// Kinds that the cluster of the incident does not have.
const UNKNOWN: [&str; 3] = ["ec2nodeclasses", "nodepools", "nodeclaims"];

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

    let faults = cluster.ec2().unwrap().faults();
    for (action, _) in REFUSED {
        faults.add(Fault::new(Effect::UnauthorizedOperation).on(action));
    }
    everything_is_made(&cluster, &further, dir.path(), &REFUSED);
    faults.clear();
    everything_is_made(&cluster, &further, dir.path(), &[]);
}

/// Runs the commands that make everything, of which EC2 refuses some.
#[track_caller]
fn everything_is_made(cluster: &Cluster, commands: &str, dir: &Path, refused: &[(&str, &str)]) {
    let made = dir.join("bundle");
    // A command that fails is followed by the others, as in a terminal.
    let output = shell(cluster, "-uc", commands, dir).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    assert_eq!(lines.len(), refused.len() + UNKNOWN.len(), "{said}");
    for kind in UNKNOWN {
        assert!(said.contains(&format!("have a resource type \"{kind}\"")), "{said}");
        assert!(!made.join(format!("kubernetes/{kind}.json")).exists(), "the cluster has no {kind}");
    }
    for (action, file) in REFUSED {
        let is_refused = refused.contains(&(action, file));
        let words = format!("(UnauthorizedOperation) when calling the {action} operation");
        assert_eq!(said.contains(&words), is_refused, "{action}: {said}");
        assert_eq!(made.join(file).exists(), !is_refused, "a call that was refused leaves no {file}");
    }
    let audited = audit(&made);
    let everything = tempfile::tempdir_in(dir).unwrap();
    assert_same(&audited, &written(&cluster.scenario, &made, everything.path()));
    assert_eq!(audited["totals"]["waitingPods"], 14, "events say who waits");
    assert_eq!((&audited["complete"], &audited["warnings"]), (&true.into(), &Value::Array(vec![])));
}
