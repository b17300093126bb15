//! The commands that need no cluster, as a shell sees them: output, exit status, words on standard error.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

fn run(args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ipam-audit"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_batch_is_answered_line_by_line_and_ends_with_0() {
    let answer = run(&["simulate", "--batch", "-"], "{\"id\":\"a\",\"instanceType\":\"m5.large\",\"pods\":10}\n");
    assert_eq!(answer.status.code(), Some(0));
    let line: serde_json::Value = serde_json::from_slice(&answer.stdout).unwrap();
    assert_eq!((&line["id"], &line["slots"]), (&"a".into(), &serde_json::json!([9, 9, 9])));
    assert_eq!(text(&answer.stderr), "");
}

#[test]
fn a_bad_line_is_answered_with_its_number_and_the_rest_goes_on() {
    let good = "{\"id\":\"good\",\"instanceType\":\"m5.large\"}";
    let answer = run(&["simulate", "--batch", "-"], &format!("{good}\n\nnonsense\n{good}\n"));
    assert_eq!(answer.status.code(), Some(2));
    let lines: Vec<serde_json::Value> =
        text(&answer.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[1]["line"], &lines[1]["error"]["code"]), (3, &3.into(), &"bad-json".into()));
    assert_eq!(text(&answer.stderr), "ipam-audit: 1 of 3 lines could not be simulated\n");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let answer = run(&["simulate", "--batch", "/no/such/file"], "");
    assert_eq!(answer.status.code(), Some(2));
    assert!(text(&answer.stderr).contains("/no/such/file"), "{}", text(&answer.stderr));
}

#[test]
fn findings_are_explained_by_code_or_name_and_slips_are_understood() {
    let by_code = run(&["explain", "IPAM101"], "");
    assert_eq!(by_code.stdout, run(&["explain", "subnet-full"], "").stdout);
    assert!(text(&by_code.stdout).contains("What to do"));
    let slip = run(&["explain", "subnet-ful"], "");
    assert_eq!(slip.status.code(), Some(2));
    assert!(text(&slip.stderr).contains("did you mean subnet-full?"), "{}", text(&slip.stderr));
    assert!(text(&run(&["explain"], "").stdout).lines().any(|line| line.starts_with("IPAM210")));
}

#[test]
fn what_an_installer_needs_is_printed() {
    let crds = text(&run(&["crd"], "").stdout);
    for kind in ["IpamAudit", "NodeIpamReport", "SubnetIpamReport"] {
        assert!(crds.contains(&format!("kind: {kind}\n")), "{kind}");
    }
    assert!(text(&run(&["rbac"], "").stdout).contains("kind: ClusterRole\n"));
    assert!(!text(&run(&["rbac"], "").stdout).contains("nodes/status"));
    assert!(text(&run(&["rbac", "--with", "node-conditions"], "").stdout).contains("nodes/status"));
    let slip = run(&["rbac", "--with", "node-condition"], "");
    assert_eq!(slip.status.code(), Some(2));
    assert!(text(&slip.stderr).contains("node-conditions"), "{}", text(&slip.stderr));
    let policy: serde_json::Value = serde_json::from_slice(&run(&["iam-policy"], "").stdout).unwrap();
    let actions = policy["Statement"][0]["Action"].as_array().unwrap();
    assert!(actions.iter().all(|action| action.as_str().unwrap().starts_with("ec2:")), "{actions:?}");
}

#[test]
fn a_wrong_argument_names_the_right_one() {
    let answer = run(&["simulat"], "");
    assert_eq!(answer.status.code(), Some(2));
    assert!(text(&answer.stderr).contains("simulate"), "{}", text(&answer.stderr));
}
