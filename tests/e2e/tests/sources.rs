//! Kinds that a cluster may have or not, and objects that make no sense, on a real API server.

#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test")]

use std::{collections::BTreeSet, process::Command};

use anyhow::{Result, ensure};
use ipam_audit_e2e::{AUDIT, Cluster, Kind, Object, Start, crowded};
use ipam_audit_testkit::{
    controlplane::Options,
    foreign::{ForeignKind, KINDS},
    operator,
    scenario::Scenario,
};
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

/// The status of a source as an audit tells it.
fn source<'a>(audit: &'a Object, name: &str) -> &'a Value {
    audit.items("/status/sources").iter().find(|source| source["name"] == name).unwrap_or(&Value::Null)
}

/// A cluster whose operator looks for kinds every second.
async fn watching(scenario: Scenario, options: Options) -> Result<Cluster> {
    let mut cluster = Cluster::with(scenario, options).await?;
    cluster.install().await?;
    cluster.audit("{}").await?;
    let args = vec!["--discovery-interval=1s".to_owned(), "--log=debug".to_owned()];
    cluster.start_operator(Start { args, ..Start::default() })?;
    Ok(cluster)
}

/// Waits for the state of a source; all the while the audit is ready.
async fn until_source(cluster: &mut Cluster, name: &str, state: &str) -> Result<Object> {
    let audit = cluster
        .until(&format!("{name} is {state}"), async |cluster: &Cluster| {
            let audit = cluster.get(Kind::Audit, AUDIT).await?;
            Ok(audit.filter(|audit| audit.condition("Ready").status != "True" || source(audit, name)["state"] == state))
        })
        .await?;
    let ready = audit.condition("Ready");
    ensure!(ready.status == "True", "{name} becomes {state} and Ready {}: {}", ready.status, ready.message);
    Ok(audit)
}

/// The same of a kind that the cluster may have or not: neither makes the audit incomplete.
async fn until_source_of_a_complete_audit(cluster: &mut Cluster, name: &str, state: &str) -> Result<Object> {
    let audit = until_source(cluster, name, state).await?;
    let complete = audit.condition("DataComplete");
    assert_eq!(complete.status, "True", "{name} is {state}: {}", complete.message);
    Ok(audit)
}

async fn create(cluster: &Cluster, kind: ForeignKind, version: &str, object: Value) -> Result<()> {
    let mut object = object;
    object["apiVersion"] = json!(format!("{}/{version}", kind.group));
    object["kind"] = json!(kind.kind);
    let api = kind.api(&cluster.client(), version, object["metadata"]["namespace"].as_str().unwrap_or_default());
    let (name, status) = (object["metadata"]["name"].as_str().unwrap().to_owned(), object["status"].take());
    let typed: DynamicObject = serde_json::from_value(object)?;
    api.create(&PostParams::default(), &typed).await?;
    if !status.is_null() {
        api.patch_status(&name, &PatchParams::default(), &Patch::Merge(json!({"status": status}))).await?;
    }
    Ok(())
}

async fn uninstall(cluster: &Cluster, kind: ForeignKind) -> Result<()> {
    cluster.kubectl(&["delete", "crd", &kind.definition_name(), "--wait=false"]).await.map(drop)
}

/// Karpenter's controller.
fn karpenter() -> Value {
    let labels = json!({"app": "karpenter"});
    let container = json!({"name": "controller", "image": "registry.example.com/karpenter/controller:1.8.0"});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "karpenter", "namespace": "kube-system"},
        "spec": {"selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels}, "spec": {"containers": [container]},
        }},
    })
}

/// A NodeClaim that EC2 had no address for.
fn refused_claim(name: &str) -> Value {
    json!({"metadata": {"name": name, "labels": {"karpenter.sh/nodepool": "batch"}},
        "status": {"conditions": [{"type": "Launched", "status": "False", "reason": "LaunchFailed",
            "message": "InsufficientFreeAddressesInSubnet: subnet-1 has not enough free addresses"}]}})
}

fn codes(audit: &Object) -> BTreeSet<String> {
    let problems = audit.items("/status/problems").iter();
    problems.map(|problem| problem["code"].as_str().unwrap().to_owned()).collect()
}

/// How many rules look at what ipamd says, which is not asked unless `spec.ipamd` wants it.
const RULES_OF_IPAMD: i64 = 5;

#[tokio::test]
async fn a_cluster_gives_the_same_findings_as_its_bundle() -> Result<()> {
    let scenario = Scenario::named("mess")?;
    let dir = tempfile::tempdir()?;
    scenario.write_bundle(dir.path(), scenario.now())?;
    let args = ["audit", "--from", dir.path().to_str().unwrap(), "-o", "json"];
    let offline: Value = serde_json::from_slice(&Command::new(operator::binary()?).args(args).output()?.stdout)?;
    let problems = offline["problems"].as_array().unwrap().iter();
    let mut wanted: BTreeSet<String> = problems.map(|problem| problem["code"].as_str().unwrap().to_owned()).collect();
    for code in ["IPAM501", "IPAM503"] {
        assert!(wanted.contains(code), "{code} is about objects of Kubernetes: {wanted:?}");
    }
    // A trunk that is hours late: an API server dates its objects itself, and here they are new.
    assert!(wanted.remove("IPAM304"));

    let mut cluster = Cluster::running(scenario).await?;
    cluster.until_ready().await?;
    // What EC2 is asked for now and then comes a moment later.
    let collected = |audit: &Object| audit.number("/status/rules/notCollected") == Some(RULES_OF_IPAMD);
    let audit = cluster.until_audit("every rule but those of ipamd has its sources", collected).await?;
    assert_eq!(codes(&audit), wanted);
    for known in ["eniconfigs", "security-group-policies", "cninodes", "config-maps", "events", "services"] {
        assert_eq!(source(&audit, known)["state"], "Fresh", "{known}: {:#}", source(&audit, known));
    }
    for absent in ["node-pools", "node-claims", "ec2-node-classes"] {
        assert_eq!(source(&audit, absent)["state"], "NotInstalled", "{absent}: {:#}", source(&audit, absent));
    }
    Ok(())
}

#[tokio::test]
async fn kinds_come_and_go_while_the_operator_runs() -> Result<()> {
    let mut cluster = watching(crowded()?, Options::default()).await?;
    cluster.until_ready().await?;
    let claims = ForeignKind::named("NodeClaim")?;
    until_source_of_a_complete_audit(&mut cluster, "node-claims", "NotInstalled").await?;

    // Karpenter, and an older one first.
    cluster.plane.apply_yaml(&karpenter().to_string()).await?;
    claims.install_versions(&cluster.client(), &["v1beta1"]).await?;
    until_source_of_a_complete_audit(&mut cluster, "node-claims", "Fresh").await?;
    create(&cluster, claims, "v1beta1", refused_claim("batch-x7k2p")).await?;
    let told = |audit: &Object| codes(audit).contains("IPAM705");
    cluster.until_audit("a claim that was refused is told of", told).await?;

    // Both versions are served: the newer one is read.
    claims.install_versions(&cluster.client(), &["v1beta1", "v1"]).await?;
    let asks_for_v1 = async |cluster: &Cluster| {
        let requests = cluster.witness_of_all().requests(cluster)?;
        Ok(requests.iter().any(|event| event.resource == "nodeclaims" && event.uri.contains("/v1/")).then_some(()))
    };
    cluster.until("the newer version is read", asks_for_v1).await?;
    until_source_of_a_complete_audit(&mut cluster, "node-claims", "Fresh").await?;
    cluster.until_audit("the claim is still told of", told).await?;

    uninstall(&cluster, claims).await?;
    let audit = until_source_of_a_complete_audit(&mut cluster, "node-claims", "NotInstalled").await?;
    assert!(!told(&audit), "what is not there is not told of");

    // And back again, in a version that nobody knows yet.
    claims.install_versions(&cluster.client(), &["v9"]).await?;
    let audit = until_source(&mut cluster, "node-claims", "Missing").await?;
    let message = source(&audit, "node-claims")["message"].as_str().unwrap();
    assert!(message.contains("v9") && message.contains("v1, v1beta1"), "{message}");
    let complete = audit.condition("DataComplete");
    assert_eq!(complete.status, "False", "what is there and cannot be read is missing");
    assert!(complete.message.contains(message), "{}", complete.message);
    assert_eq!(cluster.warnings(), Vec::<String>::new());
    Ok(())
}

const SECRET: &str = "hunter2-do-not-log";

/// An object of each kind whose fields are of the wrong types; what is in them is nobody's business.
fn odd(kind: ForeignKind) -> Value {
    let spec = match kind.kind {
        "CNINode" => json!({"features": [{"name": {"password": SECRET}}]}),
        "SecurityGroupPolicy" => json!({"podSelector": {"matchLabels": {"app": [SECRET]}}}),
        "ENIConfig" => json!({"subnet": [SECRET]}),
        "NodePool" => json!({"template": {"spec": {"requirements": SECRET}}}),
        "EC2NodeClass" => json!({"kubelet": {"maxPods": {"password": SECRET}}}),
        _ => json!({}),
    };
    let status = if kind.kind == "NodeClaim" { json!({"conditions": SECRET}) } else { Value::Null };
    json!({"metadata": {"name": "odd", "namespace": kind.namespaced.then_some("bakery"),
        "annotations": {"note": SECRET}}, "spec": spec, "status": status})
}

fn sound(kind: ForeignKind) -> Value {
    let spec = if kind.kind == "ENIConfig" { json!({"subnet": "subnet-1"}) } else { json!({}) };
    json!({"metadata": {"name": "sound", "namespace": kind.namespaced.then_some("bakery")}, "spec": spec})
}

#[tokio::test]
async fn objects_that_make_no_sense_are_left_out_by_name_in_streams_and_in_pages() -> Result<()> {
    let paged =
        Options { extra_apiserver_args: vec!["--feature-gates=WatchList=false".to_owned()], ..Options::default() };
    tokio::try_join!(left_out(Options::default(), "watch"), left_out(paged, "list"))?;
    Ok(())
}

/// With lists that come by this verb.
async fn left_out(options: Options, verb: &str) -> Result<()> {
    let mut cluster = Cluster::with(crowded()?, options).await?;
    for kind in KINDS {
        kind.install(&cluster.client()).await?;
        create(&cluster, kind, kind.versions[0], sound(kind)).await?;
        create(&cluster, kind, kind.versions[0], odd(kind)).await?;
    }
    cluster.install().await?;
    cluster.audit("{}").await?;
    cluster.start_operator(Start { args: vec!["--log=debug".to_owned()], ..Start::default() })?;
    let names = ["cninodes", "security-group-policies", "eniconfigs", "node-pools", "node-claims", "ec2-node-classes"];
    let told = |audit: &Object| {
        let ready = audit.condition("Ready").status == "True";
        ready && names.iter().all(|name| source(audit, name)["state"] == "Failing")
    };
    let audit = cluster.until_audit("the audit is Ready and each kind lacks an object", told).await?;
    let complete = audit.condition("DataComplete");
    assert_eq!(complete.status, "False", "what is left out is missing");
    for name in names {
        let message = source(&audit, name)["message"].as_str().unwrap();
        assert!(message.contains("is left out: "), "{name}: {message}");
        assert!(complete.message.contains(&format!("{name}: ")), "{name}: {}", complete.message);
    }
    for kind in KINDS {
        let told = cluster.logged(&format!("kind=\"{}\"", kind.kind));
        let left: Vec<&String> = told.iter().filter(|line| line.contains("makes no sense")).collect();
        assert_eq!(left.len(), 1, "{}: {told:#?}", kind.kind);
        let rows = format!("watch=\"{}\" rows=1", kind.plural);
        assert_eq!(cluster.logged(&rows).len(), 1, "the sound one is read: {rows}\n{}", cluster.log());
    }
    assert!(!cluster.log().contains(SECRET), "a value got into the log");
    let shown = cluster.kubectl(&["get", "ipamaudits,ipnode,ipsubnet", "-o", "yaml"]).await?;
    assert!(!shown.contains(SECRET), "a value got into a status");
    each_kind_came_by(&cluster, verb)?;

    // Mended or gone, it is no fault any more.
    let configs = ForeignKind::named("ENIConfig")?;
    let api = configs.api(&cluster.client(), "v1alpha1", "");
    let mended = Patch::Merge(json!({"spec": {"subnet": "subnet-1"}}));
    api.patch("odd", &PatchParams::default(), &mended).await?;
    let pools = ForeignKind::named("NodePool")?;
    pools.api(&cluster.client(), "v1", "").delete("odd", &DeleteParams::default()).await?;
    until_source(&mut cluster, "eniconfigs", "Fresh").await?;
    until_source(&mut cluster, "node-pools", "Fresh").await?;
    Ok(())
}

fn each_kind_came_by(cluster: &Cluster, verb: &str) -> Result<()> {
    let requests = cluster.witness_of_all().requests(cluster)?;
    for resource in KINDS.map(|kind| kind.plural).into_iter().chain(["nodes", "pods", "events", "services"]) {
        let lists = requests.iter().filter(|event| event.resource == resource && event.verb == "list").count();
        let watches = requests.iter().filter(|event| event.resource == resource && event.verb == "watch").count();
        assert!(watches > 0 && (lists > 0) == (verb == "list"), "{resource}: {lists} lists, {watches} watches");
    }
    Ok(())
}
