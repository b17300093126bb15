//! The condition `ipam-audit.dev/IPPressure` on real Node objects, beside writers that do as kubelet and others do.

#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test")]

use std::path::Path;
use std::process::{Command, Output};

use anyhow::Result;
use ipam_audit_e2e::{AUDIT, Cluster, Kind, NAMESPACE, Object, Start, repository};
use ipam_audit_testkit::operator;
use ipam_audit_testkit::scenario::Scenario;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

const CONDITION: &str = "ipam-audit.dev/IPPressure";
const MANAGER: &str = "ipam-audit-node-condition";
const ENABLED: &str = "{outputs: {nodeCondition: {enabled: true, maxPercent: 100}}}";

/// Two nodes without an address at the ready in a full subnet, and an operator with the rights of the component.
async fn pressed() -> Result<Cluster> {
    let mut cluster = Cluster::of(Scenario::from_yaml(include_str!("../scenarios/pressed.yaml"))?).await?;
    cluster.install().await?;
    allow(&cluster).await?;
    cluster.audit(ENABLED).await?;
    Ok(cluster)
}

async fn allow(cluster: &Cluster) -> Result<()> {
    cluster.plane.apply_manifests(&repository().join("deploy/components/node-conditions/rbac.yaml")).await
}

fn names(cluster: &Cluster) -> Vec<String> {
    cluster.scenario.plan().nodes.iter().map(|node| node.name.clone()).collect()
}

async fn node(cluster: &Cluster, name: &str) -> Result<Object> {
    cluster.json(&["get", "node", name, "--show-managed-fields"]).await
}

/// The conditions that are not ours.
fn others(node: &Object) -> Vec<Value> {
    node.items("/status/conditions").iter().filter(|condition| condition["type"] != CONDITION).cloned().collect()
}

/// What our field manager owns.
fn owned(node: &Object) -> Vec<Value> {
    let entries = node.items("/metadata/managedFields").iter();
    entries.filter(|entry| entry["manager"] == MANAGER).cloned().collect()
}

async fn until_reason(cluster: &mut Cluster, name: &str, what: &str, reason: &str) -> Result<Object> {
    let look = async |cluster: &Cluster| {
        Ok(Some(node(cluster, name).await?).filter(|node| node.condition(CONDITION).reason == reason))
    };
    cluster.until(&format!("{name}: {what}"), look).await
}

/// Another writer replaces the whole list of conditions.
async fn replace_conditions(cluster: &Cluster, name: &str, conditions: &[Value]) -> Result<()> {
    let nodes: Api<Node> = Api::all(cluster.client());
    let params = PatchParams { field_manager: Some("another-agent".to_owned()), ..PatchParams::default() };
    let patch = json!({"status": {"conditions": conditions}});
    nodes.patch_status(name, &params, &Patch::Merge(patch)).await?;
    Ok(())
}

#[tokio::test]
async fn nodes_say_that_the_next_pod_finds_no_address_whoever_else_writes_and_forget_it_when_asked() -> Result<()> {
    let mut cluster = pressed().await?;
    let names = names(&cluster);
    let before = others(&node(&cluster, &names[0]).await?);
    cluster.start_operator(Start::default())?;
    for name in &names {
        let node = until_reason(&mut cluster, name, "under pressure", "SubnetExhausted").await?;
        assert_eq!(node.condition(CONDITION).status, "True");
        assert!(node.condition(CONDITION).message.contains("(IpamAudit cluster, "), "{node:?}");
        owns_its_entry_alone(&node);
    }
    assert_eq!(others(&node(&cluster, &names[0]).await?), before, "nothing that node repair looks at has changed");
    let described = cluster.kubectl(&["describe", "node", &names[0]]).await?;
    assert!(described.contains(CONDITION), "{described}");
    cluster.until_audit("it says so", |audit| audit.condition("NodeConditionsWritten").status == "True").await?;

    a_writer_of_the_whole_list_loses_nothing_and_changes_nothing(&mut cluster, &names[0]).await?;
    freed_addresses_end_the_pressure(&mut cluster, &names[1]).await?;

    let witness = cluster.witness()?;
    cluster.until_ec2_was_read(3).await?;
    let written: Vec<_> = witness.writes(&cluster)?.into_iter().filter(|event| event.resource == "nodes").collect();
    assert_eq!(written, [], "no heartbeat: only transitions are written");

    cluster.audit("{outputs: {nodeCondition: {enabled: false}}}").await?;
    for name in &names {
        let node = until_reason(&mut cluster, name, "without our condition", "").await?;
        assert_eq!(owned(&node), Vec::<Value>::new(), "{node:?}");
        assert!(!others(&node).is_empty());
    }
    cluster
        .until_audit("it is silent about it", |audit| audit.condition("NodeConditionsWritten").status.is_empty())
        .await?;
    Ok(())
}

fn owns_its_entry_alone(node: &Object) {
    let owned = owned(node);
    assert_eq!(owned.len(), 1, "one set of fields: {owned:?}");
    let entry = &owned[0];
    assert_eq!((&entry["operation"], &entry["subresource"]), (&json!("Apply"), &json!("status")));
    let status = &entry["fieldsV1"]["f:status"];
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&entry["fieldsV1"]), ["f:status"]);
    assert_eq!(keys(status), ["f:conditions"]);
    assert_eq!(keys(&status["f:conditions"]), [format!("k:{{\"type\":\"{CONDITION}\"}}")]);
}

async fn a_writer_of_the_whole_list_loses_nothing_and_changes_nothing(cluster: &mut Cluster, name: &str) -> Result<()> {
    let ours = node(cluster, name).await?;
    let entry = ours.items("/status/conditions").iter().find(|one| one["type"] == CONDITION).unwrap().clone();
    // What an agent does that read before we wrote: our entry is lost, and its own words are new.
    let mut list = others(&ours);
    list.push(json!({"type": "NetworkingReady", "status": "True", "reason": "NetworkingIsReady", "message": ""}));
    replace_conditions(cluster, name, &list).await?;
    let back = until_reason(cluster, name, "the entry is back", "SubnetExhausted").await?;
    let again = back.items("/status/conditions").iter().find(|one| one["type"] == CONDITION).unwrap().clone();
    assert_eq!(again, entry, "the same entry");
    let kinds = |list: &[Value]| list.iter().map(|one| one["type"].clone()).collect::<Vec<_>>();
    assert_eq!(kinds(&others(&back)), kinds(&list), "what the other writer wrote is as it wrote it");

    // The same with an old value of our entry, which makes it an owner of it, too.
    list.push(json!({"type": CONDITION, "status": "False", "reason": "AddressesSufficient", "message": "old"}));
    replace_conditions(cluster, name, &list).await?;
    until_reason(cluster, name, "the entry says the truth again", "SubnetExhausted").await.map(drop)
}

async fn freed_addresses_end_the_pressure(cluster: &mut Cluster, name: &str) -> Result<()> {
    let planned = cluster.scenario.plan().nodes.iter().find(|node| node.name == name).unwrap().clone();
    for pod in planned.pods.iter().filter(|pod| pod.workload.namespace == "bakery").take(3) {
        cluster.delete_pod(&pod.workload.namespace, &pod.name).await?;
    }
    let node = until_reason(cluster, name, "the next pod finds an address", "AddressesSufficient").await?;
    assert_eq!(node.condition(CONDITION).status, "False");
    Ok(())
}

#[tokio::test]
async fn without_the_right_the_audit_names_it_and_heals_when_it_is_there() -> Result<()> {
    let mut cluster = Cluster::of(Scenario::from_yaml(include_str!("../scenarios/pressed.yaml"))?).await?;
    cluster.install().await?;
    cluster.audit(ENABLED).await?;
    cluster.start_operator(Start::default())?;
    let missing = |audit: &Object| audit.condition("NodeConditionsWritten").status == "False";
    let audit = cluster.until_audit("it says what is missing", missing).await?;
    let message = audit.condition("NodeConditionsWritten").message.to_owned();
    assert!(message.contains("may not patch nodes/status"), "{message}");
    assert!(message.contains("ipam-audit rbac --with node-conditions"), "{message}");
    assert_eq!(audit.condition("Ready").status, "True", "the audit itself is well");
    allow(&cluster).await?;
    for name in names(&cluster) {
        until_reason(&mut cluster, &name, "under pressure", "SubnetExhausted").await?;
    }
    cluster.until_audit("healed", |audit| audit.condition("NodeConditionsWritten").status == "True").await?;
    assert_eq!(cluster.warnings().len(), 1, "said once: {:?}", cluster.warnings());
    Ok(())
}

#[tokio::test]
async fn a_start_on_old_data_turns_it_unknown_and_the_end_of_the_audit_takes_it_away() -> Result<()> {
    let mut cluster = pressed().await?;
    cluster.start_operator(Start::default())?;
    let names = names(&cluster);
    for name in &names {
        until_reason(&mut cluster, name, "under pressure", "SubnetExhausted").await?;
    }
    cluster.kill_operator();
    let away = Start { ec2_endpoint: Some("http://127.0.0.1:1".to_owned()), ..Start::default() };
    cluster.start_operator(away)?;
    for name in &names {
        let node = until_reason(&mut cluster, name, "nobody can tell", "AuditDataStale").await?;
        assert_eq!(node.condition(CONDITION).status, "Unknown");
    }
    cluster.kubectl(&["delete", "ipamaudit", AUDIT]).await?;
    for name in &names {
        let node = until_reason(&mut cluster, name, "without our condition", "").await?;
        assert_eq!(owned(&node), Vec::<Value>::new());
    }
    Ok(())
}

#[tokio::test]
async fn cleanup_takes_away_what_was_written_and_not_while_a_controller_runs() -> Result<()> {
    let mut cluster = pressed().await?;
    cluster.start_operator(Start::default())?;
    let names = names(&cluster);
    for name in &names {
        until_reason(&mut cluster, name, "under pressure", "SubnetExhausted").await?;
    }
    cluster.plane.apply_manifests(&repository().join("deploy/components/cleanup/rbac.yaml")).await?;
    let dir = cluster.plane.state_dir();
    let kubeconfig = cluster.plane.service_account_kubeconfig(NAMESPACE, "ipam-audit-cleanup", &dir).await?;

    let refused = cleanup(&kubeconfig, &[])?;
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{words}");
    assert!(words.contains("holds the Lease ipam-audit/ipam-audit"), "{words}");

    cluster.kill_operator();
    let looked = cleanup(&kubeconfig, &["--force", "--dry-run"])?;
    let told = String::from_utf8_lossy(&looked.stdout).into_owned();
    assert!(told.starts_with("conditions on nodes: 2 found, 0 removed (dry run)\n"), "{told}");
    let cleaned = cleanup(&kubeconfig, &["--force", "--events", "--lease"])?;
    let told = String::from_utf8_lossy(&cleaned.stdout).into_owned();
    assert_eq!(cleaned.status.code(), Some(0), "{told}");
    for name in &names {
        let node = node(&cluster, name).await?;
        assert_eq!((node.condition(CONDITION).status, owned(&node)), ("", Vec::<Value>::new()));
    }
    let left =
        [cluster.list(Kind::Node).await?.len(), cluster.list(Kind::Subnet).await?.len(), cluster.events().await?.len()];
    assert_eq!(left, [0, 0, 0], "{told}");
    assert!(cluster.get(Kind::Audit, AUDIT).await?.is_some(), "what users wrote stays");
    let leases = cluster.json(&["get", "leases", "-n", NAMESPACE]).await?;
    assert_eq!(leases.items("/items"), Vec::<Value>::new());

    let user = format!("system:serviceaccount:{NAMESPACE}:ipam-audit-cleanup");
    let refused = cluster.plane.audit_log()?.into_iter().filter(|event| event.user == user && event.code == Some(403));
    assert_eq!(refused.collect::<Vec<_>>(), []);
    Ok(())
}

fn cleanup(kubeconfig: &Path, args: &[&str]) -> Result<Output> {
    Ok(Command::new(operator::binary()?).arg("cleanup").args(args).env("KUBECONFIG", kubeconfig).output()?)
}
