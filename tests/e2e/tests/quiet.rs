//! Nothing is written when nothing has changed, whoever runs; and what changed is written once.

#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test")]

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use ipam_audit_e2e::{Cluster, Kind, Object, PodSpec, Start, Witness, crowded, idle_address};
use ipam_audit_testkit::scenario::PlannedNode;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

/// A cluster with findings, reports and events, all of it written.
async fn settled() -> Result<Cluster> {
    let mut cluster = Cluster::running(crowded()?).await?;
    cluster.until_ready().await?;
    cluster.until_at_rest().await?;
    ensure!(cluster.events().await?.len() == 5, "one event for each finding");
    Ok(cluster)
}

/// What was written, short enough to read.
fn written(cluster: &Cluster, witness: Witness) -> Result<Vec<String>> {
    let writes = witness.writes(cluster)?;
    let line = |event: &ipam_audit_testkit::controlplane::AuditEvent| {
        format!("{} {}/{} {} {:?}", event.verb, event.resource, event.subresource, event.name, event.code)
    };
    Ok(writes.iter().map(line).collect())
}

const NOTHING: [String; 0] = [];

#[tokio::test]
async fn a_cluster_without_changes_is_left_alone() -> Result<()> {
    let mut cluster = settled().await?;
    let before = reports(&cluster).await?;

    let witness = cluster.witness()?;
    cluster.until_ec2_was_read(5).await?;
    assert_eq!(written(&cluster, witness)?, NOTHING, "nothing has changed");

    let witness = cluster.witness()?;
    heartbeats(&cluster).await?;
    cluster.until_ec2_was_read(3).await?;
    assert_eq!(written(&cluster, witness)?, NOTHING, "heartbeats and restarts of containers are no change");
    assert_eq!(reports(&cluster).await?, before);
    Ok(())
}

/// Every object of the product with its version: equal only if none was written.
async fn reports(cluster: &Cluster) -> Result<Vec<Object>> {
    let mut all = cluster.list(Kind::Audit).await?;
    all.extend(cluster.list(Kind::Node).await?);
    all.extend(cluster.list(Kind::Subnet).await?);
    Ok(all)
}

/// What kubelets and other controllers write all day long.
async fn heartbeats(cluster: &Cluster) -> Result<()> {
    let nodes: Api<Node> = Api::all(cluster.client());
    let (params, now) = (PatchParams::default(), "2030-01-01T00:00:00Z");
    for node in nodes.list(&ListParams::default()).await? {
        let status = json!({"status": {
            "conditions": [{"type": "Ready", "lastHeartbeatTime": now}],
            "images": [{"names": ["registry.example.com/more:1.0"], "sizeBytes": 1}],
        }});
        nodes.patch_status(&node.name_any(), &params, &Patch::Strategic(status)).await?;
        let annotation = json!({"metadata": {"annotations": {"example.com/seen": now}}});
        nodes.patch(&node.name_any(), &params, &Patch::Merge(annotation)).await?;
    }
    for pod in Api::<Pod>::all(cluster.client()).list(&ListParams::default()).await? {
        let pods: Api<Pod> = Api::namespaced(cluster.client(), &pod.namespace().unwrap());
        let status = json!({"status": {"conditions": [
            {"type": "Ready", "status": "False", "lastProbeTime": now},
            {"type": "ContainersReady", "status": "False", "lastProbeTime": now},
        ]}});
        // Readiness of aws-node itself does matter to an audit.
        if !pod.name_any().starts_with("aws-node") {
            pods.patch_status(&pod.name_any(), &params, &Patch::Strategic(status)).await?;
        }
        let annotation = json!({"metadata": {"annotations": {"example.com/seen": now}}});
        pods.patch(&pod.name_any(), &params, &Patch::Merge(annotation)).await?;
    }
    Ok(())
}

#[tokio::test]
async fn another_operator_that_takes_over_writes_nothing() -> Result<()> {
    let mut cluster = settled().await?;
    let (before, events) = (reports(&cluster).await?, cluster.events().await?);
    let witness = cluster.witness()?;
    cluster.kill_operator();
    cluster.ec2()?.reset_request_log();
    cluster.start_operator(Start { args: vec!["--identity=another".to_owned()], ..Start::default() })?;
    // Only who leads reads EC2; the lost one's lease has to expire first.
    cluster.until_ec2_was_read(3).await?;
    assert_eq!(written(&cluster, witness)?, NOTHING, "nothing has changed");
    assert_eq!(reports(&cluster).await?, before);
    assert_eq!(cluster.events().await?, events);

    // It does lead: a change is written.
    let node = first_node(&cluster);
    cluster.run_pod(PodSpec::new("bakery", "rolls", &node.name, idle_address(&node)?)).await?;
    cluster
        .until_report((Kind::Node, &node.name), "a second pod", |report| {
            report.number("/status/addresses/used") == Some(2)
        })
        .await?;
    Ok(())
}

#[tokio::test]
async fn what_changes_is_written_once() -> Result<()> {
    let mut cluster = settled().await?;
    a_pod_moves_the_numbers_of_its_node_only(&mut cluster).await?;
    freed_addresses_resolve_findings_once(&mut cluster).await?;
    a_deleted_report_is_written_again(&mut cluster).await
}

async fn a_pod_moves_the_numbers_of_its_node_only(cluster: &mut Cluster) -> Result<()> {
    let (node, events) = (first_node(cluster), cluster.events().await?);
    let witness = cluster.witness()?;
    cluster.run_pod(PodSpec::new("bakery", "rolls", &node.name, idle_address(&node)?)).await?;
    let report = (Kind::Node, node.name.as_str());
    cluster.until_report(report, "a second pod", |report| report.text("/status/display/pods") == "2").await?;
    let addresses = cluster.get(Kind::Node, &node.name).await?.unwrap();
    let of = |name: &str| addresses.number(&format!("/status/addresses/{name}"));
    assert_eq!([of("held"), of("used"), of("idle")], [Some(29), Some(2), Some(27)]);
    cluster.until_audit("one idle address less", |audit| audit.text("/status/display/idleAddresses") == "111").await?;
    cluster.until_at_rest().await?;
    let mut written: BTreeMap<String, usize> = BTreeMap::new();
    for write in witness.writes(cluster)? {
        *written.entry(format!("{} {}", write.resource, write.name)).or_default() += 1;
    }
    let subnet = cluster.scenario.subnet_id("a").unwrap();
    let expected = [
        "ipamaudits cluster".to_owned(),
        format!("nodeipamreports {}", node.name),
        format!("subnetipamreports {subnet}"),
    ];
    assert_eq!(written.keys().cloned().collect::<Vec<_>>(), expected, "the audit, the node and its subnet");
    // The pod appears first and runs a moment later: at most one write for each of the two.
    assert!(written.values().all(|count| *count <= 2), "{written:?}");
    assert_eq!(cluster.events().await?, events, "no finding has opened or closed");
    cluster.delete_pod("bakery", "rolls").await?;
    cluster.until_report(report, "one pod again", |report| report.text("/status/display/pods") == "1").await?;
    Ok(())
}

async fn freed_addresses_resolve_findings_once(cluster: &mut Cluster) -> Result<()> {
    let opened = cluster.events().await?;
    let mut seed = cluster.ec2()?.state();
    cluster.scenario.release_addresses(&mut seed, 10);
    cluster.ec2()?.load(seed)?;
    let subnet = cluster.scenario.subnet_id("a").unwrap().to_owned();
    let audit = cluster.until_audit("all is well", |audit| audit.condition("Healthy").status == "True").await?;
    assert_eq!(audit.text("/status/display/freeAddresses"), "79");
    let report = cluster.get(Kind::Subnet, &subnet).await?.unwrap();
    assert_eq!(report.number("/status/addresses/free"), Some(79));
    assert!(!report.codes().iter().any(|code| ["IPAM101", "IPAM102"].contains(code)), "{:?}", report.codes());
    assert_eq!(report.condition("AddressesAvailable").status, "True");

    cluster.until_at_rest().await?;
    let events = cluster.events().await?;
    assert_eq!(events.len(), 2 * opened.len(), "one event for each finding that is resolved");
    let resolved: Vec<&Object> = events.iter().filter(|event| event.text("/type") == "Normal").collect();
    let mut about: Vec<(&str, &str)> =
        resolved.iter().map(|event| (event.text("/regarding/name"), event.text("/reason"))).collect();
    about.sort_unstable();
    let mut expected: Vec<(&str, &str)> =
        opened.iter().map(|event| (event.text("/regarding/name"), event.text("/reason"))).collect();
    expected.sort_unstable();
    assert_eq!(about, expected);
    for event in resolved {
        let note = event.text("/note");
        assert!(note.starts_with("IPAM") && note.contains("resolved"), "{note}");
    }
    Ok(())
}

async fn a_deleted_report_is_written_again(cluster: &mut Cluster) -> Result<()> {
    let (node, events) = (first_node(cluster), cluster.events().await?);
    cluster.kubectl(&["delete", "ipnode", &node.name]).await?;
    let held = |report: &Object| report.number("/status/addresses/held") == Some(10);
    cluster.until_report((Kind::Node, &node.name), "it is back", held).await?;
    cluster.until_at_rest().await?;
    assert_eq!(cluster.events().await?, events);
    Ok(())
}

fn first_node(cluster: &Cluster) -> PlannedNode {
    cluster.scenario.plan().nodes[0].clone()
}
