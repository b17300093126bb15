//! The bench of `make bench` on a small cluster: that it measures everything, and what does not depend on the machine.

use std::process::Command;

use serde_json::Value;

/// Nodes, subnets, and the audit.
const OBJECTS: f64 = 50.0 + 6.0 + 1.0;

#[test]
fn a_small_cluster_is_measured_from_the_start_to_a_failover() {
    let size = ["--nodes=50", "--pods=500", "--interfaces=400"];
    let pace = ["--idle=3", "--rounds=2", "--ec2-interval=2s", "--json", "--no-limits"];
    let output = Command::new(env!("CARGO_BIN_EXE_bench")).args(size).args(pace).output().unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaints}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["about"].as_str().unwrap().starts_with("50 nodes, 501 pods, 400 interfaces"), "{}", report["about"]);
    let figure = |id: &str| {
        let found = report["figures"].as_array().unwrap().iter().find(|figure| figure["id"] == id);
        found.and_then(|figure| figure["value"].as_f64()).unwrap_or_else(|| panic!("no figure {id}:\n{complaints}"))
    };

    // What a real kubelet writes.
    assert!((6_600.0..7_600.0).contains(&figure("podBytes")) && (12_500.0..14_500.0).contains(&figure("nodeBytes")));
    // All pods were read, and the proxy saw it.
    assert!(figure("firstBytes") > figure("streamBytes"));
    for measured in [
        "firstCpu",
        "reportsCpu",
        "unchangedCpu",
        "auditCpu",
        "relistCpu",
        "failoverCpu",
        "startPeak",
        "steady",
        "relistPeak",
    ] {
        assert!(figure(measured) > 0.0, "{measured}:\n{complaints}");
    }

    // A report is made and then given its status; the audit is there. On a busy machine the first audit may come before EC2.
    assert_eq!(figure("objects").to_string(), OBJECTS.to_string());
    assert!(figure("firstWrites") >= 2.0 * (OBJECTS - 1.0) + 1.0, "{complaints}");
    // The VPC, one page of subnets, one of interfaces.
    assert_eq!((figure("ec2Fewest"), figure("ec2Calls")), (3.0, 3.0));
    for nothing in ["restWrites", "auditWrites", "failoverWrites", "failoverChanged", "failoverEvents"] {
        assert_eq!(figure(nothing).to_string(), "0", "{nothing}:\n{complaints}");
    }
    // A node, its subnet and the audit for each pod, each once.
    assert_eq!((figure("changedObjects"), figure("changeWrites")), (6.0, 6.0));
}
