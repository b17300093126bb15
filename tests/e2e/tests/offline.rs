//! `ipam-audit audit --from`: the shipped scenarios as directories of what kubectl and aws print, and what a user reads.

#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test")]

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Output},
};

use ipam_audit_testkit::{operator, scenario::Scenario};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

fn noon() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

/// A scenario as a bundle, and as a later look.
fn bundles(name: &str, dir: &Path, later: SignedDuration) -> [String; 2] {
    let scenario = Scenario::named(name).unwrap().at(noon()).unwrap();
    [("first", noon()), ("second", noon() + later)].map(|(look, at)| {
        let dir = dir.join(look);
        scenario.write_bundle(&dir, at).unwrap();
        dir.to_str().unwrap().to_owned()
    })
}

fn audit(args: &[&str]) -> Output {
    Command::new(operator::binary().unwrap()).arg("audit").args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn document(args: &[&str]) -> Value {
    let output = audit(&[args, &["-o", "json"]].concat());
    serde_json::from_slice(&output.stdout).map_err(|_| text(&output.stderr).to_owned()).unwrap()
}

/// Problems of a severity from this on: code, group and how many subjects.
fn problems(document: &Value, severities: &[&str]) -> Vec<(String, String, u64)> {
    let told = document["problems"].as_array().unwrap().iter();
    let told = told.filter(|problem| severities.contains(&problem["severity"].as_str().unwrap()));
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    told.map(|problem| (word(&problem["code"]), word(&problem["group"]), problem["count"].as_u64().unwrap())).collect()
}

#[test]
fn the_incident_is_explained_in_the_first_ten_lines() {
    let dir = tempfile::tempdir().unwrap();
    let [from, _] = bundles("incident", dir.path(), SignedDuration::from_mins(11));
    let output = audit(&["--from", &from]);
    assert_eq!(output.status.code(), Some(1), "there are critical findings: {}", text(&output.stderr));
    let table = text(&output.stdout);
    let head: Vec<&str> = table.lines().take(10).collect();
    let head = head.join("\n");
    let head: Vec<&str> = head.split_whitespace().collect();
    let head = head.join(" ");
    for told in [
        "✗ 3 of 3 subnets are full",
        "14 pods already wait",
        "Why 11,640 addresses are held by nodes for pods that do not exist",
        "120 m6a.32xlarge nodes of node group batch, which keep 98 pod addresses each (100 with their interfaces' own) for \
         1 pod of deployment shop/resizer",
        "Do kubectl set env ds/aws-node -n kube-system MINIMUM_IP_TARGET=10 WARM_IP_TARGET=3",
        "frees 10,680 addresses within minutes and costs at most 2 EC2 calls per pod start beyond the pool",
        "Seen 123 nodes, 422 pods, 3 subnets",
    ] {
        assert!(head.contains(told), "{told}\nis not in\n{table}");
    }
    assert!(table.lines().all(|line| line.chars().count() <= 120), "wider than 120 columns:\n{table}");
}

#[test]
fn every_address_of_every_scenario_has_one_class_and_nothing_is_left_over() {
    for name in Scenario::names() {
        let dir = tempfile::tempdir().unwrap();
        let [from, _] = bundles(name, dir.path(), SignedDuration::from_mins(11));
        let document = document(&["--from", &from]);
        for subnet in document["subnets"].as_array().unwrap() {
            let length: u32 = subnet["cidr"].as_str().unwrap().split_once('/').unwrap().1.parse().unwrap();
            let ledger = subnet["ledger"].as_object().unwrap();
            let booked: i64 = ledger.values().map(|number| number.as_i64().unwrap()).sum();
            let free = subnet["free"].as_i64().unwrap();
            assert_eq!(booked + free, 1 << (32 - length), "{name}: {subnet:#}");
            assert_eq!(ledger["unaccounted"], 0, "{name}: {subnet:#}");
            let others: i64 =
                subnet["others"].as_object().unwrap().values().map(|number| number.as_i64().unwrap()).sum();
            assert_eq!(Some(others), ledger["other"].as_i64(), "{name}");
        }
        for node in document["nodes"].as_array().unwrap() {
            for class in ["own", "held", "used", "finished", "warm", "cooling", "stranded"] {
                let parts = node["byInterface"].as_array().unwrap().iter();
                let sum: i64 = parts.map(|part| part["addresses"][class].as_i64().unwrap()).sum();
                assert_eq!(Some(sum), node["addresses"][class].as_i64(), "{name}: {class} of {}", node["name"]);
            }
            let chosen = !node["nextSubnets"].as_array().unwrap().is_empty();
            assert!(chosen || name == "mess", "{name}: {}", node["name"]);
        }
    }
}

#[test]
fn a_healthy_cluster_with_awkward_things_gets_nothing_at_warning_or_above() {
    for name in ["awkward", "healthy"] {
        let dir = tempfile::tempdir().unwrap();
        let [from, then] = bundles(name, dir.path(), SignedDuration::from_mins(2));
        let output = audit(&["--from", &from, "--then", &then, "--fail-on", "warning"]);
        assert_eq!(output.status.code(), Some(0), "{name}:\n{}{}", text(&output.stdout), text(&output.stderr));
        assert!(text(&output.stdout).starts_with("✓ "), "{name}:\n{}", text(&output.stdout));
        let document = document(&["--from", &from, "--then", &then]);
        assert_eq!(problems(&document, &["critical", "warning"]), [], "{name}");
        assert_eq!(document["complete"], true, "{name}");
    }
}

#[test]
fn every_problem_of_the_mess_is_named_once() {
    let dir = tempfile::tempdir().unwrap();
    let [from, then] = bundles("mess", dir.path(), SignedDuration::from_mins(11));
    let document = document(&["--from", &from, "--then", &then]);
    let mut codes: BTreeMap<String, u32> = BTreeMap::new();
    for (code, ..) in problems(&document, &["critical", "warning"]) {
        *codes.entry(code).or_default() += 1;
    }
    let wanted = [
        ("IPAM103", 1), // no whole block is left: single addresses all over the pods' subnet
        ("IPAM304", 1), // a trunk was asked for and never came
        ("IPAM401", 1), // an address that no interface has
        ("IPAM402", 1), // an address of another node
        ("IPAM403", 1), // one address, two pods
        ("IPAM410", 2), // leaked: one that no cleaner sees, and those that are overdue
        ("IPAM411", 1), // and together they fill the subnet
        ("IPAM412", 1), // a branch that no pod has
        ("IPAM413", 1), // a branch without its trunk
        ("IPAM501", 1), // no ENIConfig for a zone
        ("IPAM503", 1), // an ENIConfig with a subnet of another zone
    ];
    assert_eq!(codes, wanted.map(|(code, count)| (code.to_owned(), count)).into(), "{:#}", document["problems"]);
    let text = document["findings"].to_string();
    for named in [
        "attic/gone-0",
        "attic/strayed-0",
        "attic/twin-0",
        "eni-0bb9000000000004a",
        "us-east-1c",
        "eni-0bb9000000000006a",
    ] {
        assert!(text.contains(named), "{named} is not named");
    }
}

#[test]
fn one_look_only_suspects_what_a_second_one_proves() {
    let dir = tempfile::tempdir().unwrap();
    let [from, then] = bundles("mess", dir.path(), SignedDuration::from_mins(11));
    let once = document(&["--from", &from]);
    let codes = |document: &Value, list: &str| -> Vec<String> {
        let entries = document[list].as_array().unwrap().iter();
        entries.map(|entry| entry.get("finding").unwrap_or(entry)["code"].as_str().unwrap().to_owned()).collect()
    };
    for code in ["IPAM401", "IPAM402", "IPAM403", "IPAM410", "IPAM412"] {
        assert!(!codes(&once, "findings").iter().any(|found| found == code), "{code} needs a second look");
        assert!(codes(&once, "suspicions").iter().any(|found| found == code), "{code} is suspected");
        let inconclusive = once["rules"]["inconclusive"].as_array().unwrap();
        let why = inconclusive.iter().find(|rule| rule["code"] == code).unwrap()["why"].as_str().unwrap();
        assert!(why.contains("second look"), "{code}: {why}");
    }
    let twice = document(&["--from", &from, "--then", &then]);
    assert!(codes(&twice, "findings").iter().any(|found| found == "IPAM401"));
    let backwards = audit(&["--from", &then, "--then", &from]);
    assert_eq!(backwards.status.code(), Some(2));
    assert!(text(&backwards.stderr).contains("in order of time"), "{}", text(&backwards.stderr));
}

#[test]
fn what_is_absent_is_missing_and_what_is_broken_is_named_and_the_rest_is_audited() {
    let dir = tempfile::tempdir().unwrap();
    let [from, _] = bundles("incident", dir.path(), SignedDuration::from_mins(1));
    fs::remove_file(format!("{from}/kubernetes/pods.json")).unwrap();
    let interfaces = fs::read_to_string(format!("{from}/ec2/network-interfaces.json")).unwrap();
    fs::write(format!("{from}/kubernetes/cninodes.json"), &interfaces[..200]).unwrap();
    let document = document(&["--from", &from]);
    assert_eq!((&document["complete"], &document["totals"]["pods"]), (&Value::Bool(false), &Value::Null));
    assert_eq!(document["totals"]["idleAddresses"], Value::Null, "used and idle cannot be told without pods");
    assert_eq!(document["totals"]["freeAddresses"], 41, "what can be known is said");
    let source = |name: &str| -> Value {
        document["sources"].as_array().unwrap().iter().find(|source| source["name"] == name).unwrap().clone()
    };
    assert!(source("pods")["message"].as_str().unwrap().contains("kubectl get pods -A -o json"), "{}", source("pods"));
    let warnings = document["warnings"].to_string();
    assert!(warnings.contains("kubernetes/cninodes.json"), "{warnings}");
}

#[test]
fn a_file_that_is_not_there_is_not_a_cluster_without_such_objects() {
    let dir = tempfile::tempdir().unwrap();
    let [from, _] = bundles("mess", dir.path(), SignedDuration::from_mins(11));
    fs::remove_file(format!("{from}/kubernetes/eniconfigs.json")).unwrap();
    let document = document(&["--from", &from]);
    assert!(!problems(&document, &["critical", "warning", "info"]).iter().any(|(code, ..)| code == "IPAM501"));
    let inconclusive = document["rules"]["inconclusive"].as_array().unwrap();
    let missing = inconclusive.iter().find(|rule| rule["code"] == "IPAM501").unwrap();
    assert_eq!(
        missing["missing"],
        serde_json::json!(["eniconfigs"]),
        "custom networking is on, and who knows with what"
    );
}

#[test]
fn two_runs_give_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let [from, then] = bundles("mess", dir.path(), SignedDuration::from_mins(11));
    let args = ["--from", &from, "--then", &then, "-o", "json"];
    assert_eq!(audit(&args).stdout, audit(&args).stdout);
}

#[test]
fn an_audit_from_git_decides_what_counts() {
    let dir = tempfile::tempdir().unwrap();
    let [from, _] = bundles("incident", dir.path(), SignedDuration::from_mins(1));
    let policy = dir.path().join("audit.yaml");
    let spec = "apiVersion: ipam-audit.dev/v1alpha1\nkind: IpamAudit\nmetadata: {name: cluster}\nspec:\n  gate: None\n  \
                suppressions:\n  - {rule: warm-pool-too-large, subject: batch, reason: bursts at noon}\n";
    fs::write(&policy, spec).unwrap();
    let policy = policy.to_str().unwrap();
    let output = audit(&["--from", &from, "--policy", policy]);
    assert_eq!(output.status.code(), Some(0), "the gate is open: {}", text(&output.stderr));
    let document = document(&["--from", &from, "--policy", policy]);
    let suppressed = document["suppressed"].as_array().unwrap();
    assert_eq!(suppressed.len(), 120);
    assert_eq!(suppressed[0]["reason"], "bursts at noon");
    assert!(problems(&document, &["warning"]).iter().all(|(code, ..)| code != "IPAM210"));
    fs::write(dir.path().join("wrong.yaml"), spec.replace("warm-pool-too-large", "IPAM999")).unwrap();
    let wrong = audit(&["--from", &from, "--policy", dir.path().join("wrong.yaml").to_str().unwrap()]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("spec.suppressions[0].rule"), "{}", text(&wrong.stderr));
}

#[test]
fn a_directory_that_is_no_bundle_is_refused_with_what_one_looks_like() {
    let dir = tempfile::tempdir().unwrap();
    let output = audit(&["--from", dir.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("kubernetes/pods.json"), "{}", text(&output.stderr));
}
