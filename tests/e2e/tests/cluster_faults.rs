//! Parts of the cluster are missing, renamed, of an older version, forbidden or away: that is said, and it heals.

use std::collections::BTreeSet;

use anyhow::{Context, Result};
use ipam_audit_e2e::{AUDIT, Cluster, Kind, Object, PodSpec, Start, bring_your_own_cni, crowded, repository};
use k8s_openapi::api::rbac::v1::ClusterRole;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

fn inconclusive(audit: &Object) -> Vec<&str> {
    audit.items("/status/rules/inconclusive").iter().filter_map(Value::as_str).collect()
}

/// Whatever goes wrong is logged when it begins, not at every attempt, and for people.
fn said_once_and_in_words(cluster: &Cluster) {
    let warnings = cluster.warnings();
    let distinct: BTreeSet<&String> = warnings.iter().collect();
    assert_eq!(distinct.len(), warnings.len(), "said more than once:\n{}", cluster.log());
    for warning in &warnings {
        assert!(!warning.contains(" { ") && !warning.contains("hyper"), "not for people: {warning}");
    }
}

/// A VPC CNI: the template, and a pod on every node.
async fn install_cni(cluster: &Cluster, namespace: &str, name: &str, label: (&str, &str), image: &str) -> Result<()> {
    let labels = json!({label.0: label.1});
    let container = json!({"name": "aws-node", "image": image, "env": [{"name": "WARM_IP_TARGET", "value": "3"}]});
    let set = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels}, "spec": {"hostNetwork": true, "containers": [container]},
        }},
    });
    cluster.plane.apply_yaml(&set.to_string()).await?;
    for (index, node) in cluster.scenario.plan().nodes.iter().enumerate() {
        let pod_name = format!("{name}-{index}");
        let pod = PodSpec::new(namespace, &pod_name, &node.name, node.address);
        let (labels, container) = (labels.clone(), container.clone());
        cluster.run_pod(PodSpec { labels, container, host_network: true, ..pod }).await?;
    }
    Ok(())
}

async fn remove_cni(cluster: &Cluster, namespace: &str, name: &str) -> Result<()> {
    cluster.kubectl(&["delete", "daemonset", "-n", namespace, name, "--cascade=background"]).await?;
    for index in 0..cluster.scenario.plan().nodes.len() {
        cluster.delete_pod(namespace, &format!("{name}-{index}")).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_cni_is_missed_and_found_under_any_name() -> Result<()> {
    let mut cluster = Cluster::running(bring_your_own_cni()?).await?;
    missed(&mut cluster).await?;

    // Renamed: its label gives it away, and nobody has to say anything.
    install_cni(
        &cluster,
        "kube-system",
        "aws-node-canary",
        ("k8s-app", "aws-node"),
        "registry.example.com/cni:v1.20.4",
    )
    .await?;
    cluster.until_ready().await?;
    cni_is_seen(&mut cluster).await?;
    remove_cni(&cluster, "kube-system", "aws-node-canary").await?;
    missed(&mut cluster).await?;

    // Without anything that gives it away, the spec names it.
    cluster.plane.apply_yaml("{apiVersion: v1, kind: Namespace, metadata: {name: network}}").await?;
    install_cni(&cluster, "network", "addresses", ("app", "addresses"), "registry.example.com/cni:v1.20.4").await?;
    cluster.until_ec2_was_read(2).await?;
    missed(&mut cluster).await?;
    cluster.audit("{cni: {namespace: network, daemonSet: addresses}}").await?;
    cluster.until_ready().await?;
    cni_is_seen(&mut cluster).await
}

/// No VPC CNI: the audit says how to name it, and what does not depend on it is audited.
async fn missed(cluster: &mut Cluster) -> Result<()> {
    let audit = cluster
        .until_audit("aws-node is missed", |audit| {
            let complete = audit.condition("DataComplete");
            let words = ["there is no DaemonSet kube-system/aws-node", "spec.cni.namespace and spec.cni.daemonSet"];
            complete.reason == "NotFound" && words.iter().all(|word| complete.message.contains(word))
        })
        .await?;
    let silent = inconclusive(&audit);
    assert!(["IPAM210", "IPAM211", "IPAM601"].iter().all(|code| silent.contains(code)), "they need it: {silent:?}");
    assert!(!["IPAM101", "IPAM201", "IPAM301"].iter().any(|code| silent.contains(code)), "they do not: {silent:?}");
    assert_eq!(audit.text("/status/display/freeAddresses"), "231", "251 less two nodes of 1 + 9");
    assert_eq!(audit.condition("ConfigurationConsistent").status, "Unknown");
    let reports = cluster.list(Kind::Node).await?;
    assert_eq!(reports.len(), 2);
    for report in reports {
        assert_eq!(report.text("/status/display/held"), "9");
        assert_eq!(report.condition("WarmPoolSized").status, "Unknown");
    }
    Ok(())
}

async fn cni_is_seen(cluster: &mut Cluster) -> Result<()> {
    let node = cluster.scenario.plan().nodes[0].name.clone();
    let seen = |report: &Object| {
        let sized = report.condition("WarmPoolSized");
        sized.status == "True" && report.text("/status/cni/targets") == "WARM_IP_TARGET=3"
    };
    cluster.until_report((Kind::Node, &node), "its CNI is seen", seen).await.map(drop)
}

#[tokio::test]
async fn definitions_that_are_missing_are_named_and_waited_for() -> Result<()> {
    let mut cluster = Cluster::of(crowded()?).await?;
    cluster.install_rights().await?;
    cluster.start_operator(Start::default())?;
    cluster.until_logged("not installed: ipamaudits.ipam-audit.dev").await?;
    cluster.until_logged("ipam-audit crd | kubectl apply --server-side -f -").await?;

    // The audit alone: it can be read, and its reports cannot be written.
    let crds = repository().join("crds");
    for file in std::fs::read_dir(&crds)? {
        let path = file?.path();
        if path.to_string_lossy().contains("ipamaudits") {
            cluster.plane.apply_manifests(&path).await?;
        }
    }
    cluster.audit("{}").await?;
    let says = |audit: &Object| {
        let ready = audit.condition("Ready");
        ready.status == "False" && ready.message.contains("nodeipamreports.ipam-audit.dev")
    };
    let audit = cluster.until_audit("Ready names the missing definitions", says).await?;
    assert!(audit.condition("Ready").message.contains("ipam-audit crd"), "{}", audit.condition("Ready").message);

    cluster.plane.apply_manifests(&crds).await?;
    let audit = cluster.until_ready().await?;
    assert_eq!(audit.text("/status/display/nodes"), "4");
    assert_eq!(cluster.list(Kind::Node).await?.len(), 4);
    said_once_and_in_words(&cluster);
    Ok(())
}

#[tokio::test]
async fn definitions_of_an_older_version_are_told_and_replaced_while_it_runs() -> Result<()> {
    let mut cluster = Cluster::of(crowded()?).await?;
    cluster.install().await?;
    // What the version before had not heard of.
    forget_field(&cluster, "subnetipamreports.ipam-audit.dev", "runway").await?;
    forget_field(&cluster, "nodeipamreports.ipam-audit.dev", "staleSources").await?;
    cluster.audit("{}").await?;
    cluster.start_operator(Start::default())?;
    cluster.until_logged("subnetipamreports.ipam-audit.dev lacks field .status.runway").await?;
    let says = |audit: &Object| {
        let ready = audit.condition("Ready");
        ready.status == "False" && ready.message.contains("older version") && ready.message.contains("ipam-audit crd")
    };
    cluster.until_audit("Ready says that the definitions are old", says).await?;

    cluster.plane.apply_manifests(&repository().join("crds")).await?;
    cluster.until_ready().await?;
    let subnet = cluster.scenario.subnet_id("a").unwrap().to_owned();
    cluster.until_report((Kind::Subnet, &subnet), "runway", |report| report.text("/status/runway") == "now").await?;
    Ok(())
}

async fn forget_field(cluster: &Cluster, definition: &str, field: &str) -> Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(cluster.client());
    let mut older = definitions.get(definition).await?;
    older.metadata.managed_fields = None;
    let schema = older.spec.versions[0].schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut());
    let properties = schema.and_then(|schema| schema.properties.as_mut()).context("no schema")?;
    let status = properties.get_mut("status").and_then(|status| status.properties.as_mut()).context("no status")?;
    status.remove(field).with_context(|| format!("{definition} has no status.{field}"))?;
    definitions.replace(definition, &PostParams::default(), &older).await?;
    Ok(())
}

#[tokio::test]
async fn an_api_server_that_is_away_is_waited_for_at_the_start_and_later() -> Result<()> {
    let mut cluster = Cluster::of(crowded()?).await?;
    cluster.install().await?;
    cluster.audit("{}").await?;
    cluster.plane.stop_apiserver();
    cluster.start_operator(Start::default())?;
    cluster.until_logged("the API server does not answer").await?;
    cluster.plane.start_apiserver().await?;
    cluster.until_ready().await?;
    let log_before = cluster.log().len();

    // Away and back on the same data: positions of watches that it has forgotten, connections that are dead.
    cluster.plane.stop_apiserver();
    let told = async |cluster: &Cluster| Ok(cluster.log()[log_before..].contains("the API server").then_some(()));
    cluster.until("the log says that the API server is away", told).await?;
    cluster.plane.start_apiserver().await?;
    let node = cluster.scenario.plan().nodes[0].clone();
    let address = cluster.ec2()?.state().interfaces.iter().find_map(|interface| match &interface.secondary {
        ipam_audit_testkit::ec2::seed::Assigned::List(held) if interface.primary == Some(node.address) => {
            held.last().copied()
        }
        _ => None,
    });
    cluster.run_pod(PodSpec::new("bakery", "rolls", &node.name, address.unwrap())).await?;
    let two = |report: &Object| report.text("/status/display/pods") == "2";
    cluster.until_report((Kind::Node, &node.name), "a pod that came meanwhile", two).await?;
    let audit = cluster.until_ready().await?;
    assert_eq!(audit.text("/status/display/nodes"), "4");
    let since = cluster.log()[log_before..].to_owned();
    assert!(!since.contains("may not"), "no right is missing:\n{since}");
    said_once_and_in_words(&cluster);
    Ok(())
}

#[tokio::test]
async fn a_missing_right_is_named_and_everything_else_is_audited() -> Result<()> {
    let mut cluster = Cluster::of(crowded()?).await?;
    cluster.install().await?;
    take_right(&cluster, "pods").await?;
    cluster.audit("{}").await?;
    cluster.start_operator(Start::default())?;
    let says = |audit: &Object| {
        let complete = audit.condition("DataComplete");
        let words = ["may not watch pods", "ipam-audit rbac"];
        complete.reason == "Denied" && words.iter().all(|word| complete.message.contains(word))
    };
    let audit = cluster.until_audit("DataComplete names the verb and the resource", says).await?;
    let table = cluster.table(&["get", "ipamaudits"]).await?;
    let cells = table.row(AUDIT)?.cells(["READY", "NODES", "FREE-IPS", "WASTED-IPS"]);
    assert_eq!(cells, ["Unknown", "4", "3", "?"]);
    assert!(audit.items("/status/problems").iter().any(|problem| problem["code"] == "IPAM101"), "subnets need no pods");
    assert!(inconclusive(&audit).contains(&"IPAM210"), "{:?}", inconclusive(&audit));
    cluster.until_ec2_was_read(3).await?;
    said_once_and_in_words(&cluster);

    cluster.install_rights().await?;
    let audit = cluster.until_ready().await?;
    assert_eq!(audit.text("/status/display/idleAddresses"), "112");
    Ok(())
}

/// Removes a resource from the operator's role.
async fn take_right(cluster: &Cluster, resource: &str) -> Result<()> {
    let roles: Api<ClusterRole> = Api::all(cluster.client());
    let mut role = roles.get("ipam-audit").await?;
    let resources = role.rules.iter_mut().flatten().filter_map(|rule| rule.resources.as_mut());
    resources.for_each(|resources| resources.retain(|name| name != resource));
    role.metadata.managed_fields = None;
    roles.replace(&role.name_any(), &PostParams::default(), &role).await?;
    Ok(())
}
