//! The shipped rights, by the API server's own account: none is missing, none is spare, and none writes what is not ours.

#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test")]

use std::collections::BTreeSet;

use anyhow::Result;
use ipam_audit_e2e::{Cluster, Kind, NAMESPACE, Object, SERVICE_ACCOUNT, Start, repository, user};
use ipam_audit_testkit::controlplane::{AuditEvent, Options};
use ipam_audit_testkit::foreign::KINDS;
use ipam_audit_testkit::scenario::Scenario;
use serde_json::Value;

/// A verb on a resource of a group: `list`, `apps`, `daemonsets`.
type Right = (String, String, String);

#[tokio::test]
async fn every_right_is_used_and_none_is_missing() -> Result<()> {
    let paged =
        Options { extra_apiserver_args: vec!["--feature-gates=WatchList=false".to_owned()], ..Options::default() };
    let (streaming, paged) = tokio::try_join!(
        everything_happens(Options::default(), Optional::Off),
        everything_happens(paged, Optional::On)
    )?;

    let used: BTreeSet<Right> = streaming.used.union(&paged.used).cloned().collect();
    let granted: BTreeSet<Right> = streaming.granted.union(&paged.granted).cloned().collect();
    let spare: Vec<&Right> = granted.difference(&used).collect();
    assert_eq!(spare, Vec::<&Right>::new(), "rights that nothing here has used");
    for run in [&streaming, &paged] {
        let beyond: Vec<&Right> = run.used.difference(&run.granted).collect();
        assert_eq!(beyond, Vec::<&Right>::new(), "requests that the shipped roles do not name");
    }
    Ok(())
}

/// Whether options that need rights of their own are on, with those rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Optional {
    Off,
    On,
}

const WITH_OPTIONS: &str = "{outputs: {nodeCondition: {enabled: true}}}";

struct Rights {
    granted: BTreeSet<Right>,
    used: BTreeSet<Right>,
}

/// A life of the operator: every source, reports that come and go, findings that open, a restart.
async fn everything_happens(options: Options, optional: Optional) -> Result<Rights> {
    let mut cluster = Cluster::with(Scenario::named("branch-limit")?, options).await?;
    a_config_map_is_part_of_the_cni(&cluster).await?;
    for kind in KINDS.iter().filter(|kind| !["CNINode", "ENIConfig", "SecurityGroupPolicy"].contains(&kind.kind)) {
        kind.install(&cluster.client()).await?;
    }
    cluster.install().await?;
    cluster.audit(if optional == Optional::On { WITH_OPTIONS } else { "{}" }).await?;
    if optional == Optional::On {
        cluster.plane.apply_manifests(&repository().join("deploy/components/node-conditions/rbac.yaml")).await?;
    }
    cluster.start_operator(Start::default())?;
    cluster.until_ready().await?;
    nodes_go_and_their_reports_with_them(&mut cluster).await?;
    cluster.until_ec2_was_read(2).await?;

    let requests = cluster.witness_of_all().requests(&cluster)?;
    let refused: Vec<&AuditEvent> = requests.iter().filter(|event| matches!(event.code, Some(401 | 403))).collect();
    assert_eq!(refused, Vec::<&AuditEvent>::new());
    for event in requests.iter().filter(|event| event.is_write()) {
        assert!(writes_what_is_ours(event), "{event:?}");
    }
    let used = requests.iter().filter(|event| !event.resource.is_empty()).flat_map(rights_of).collect();
    Ok(Rights { granted: granted(&cluster).await?, used })
}

async fn a_config_map_is_part_of_the_cni(cluster: &Cluster) -> Result<()> {
    let map = "{apiVersion: v1, kind: ConfigMap, metadata: {name: cni-settings, namespace: kube-system}, \
               data: {AWS_VPC_K8S_CNI_LOGLEVEL: DEBUG}}";
    cluster.plane.apply_yaml(map).await?;
    let patch = r#"{"spec":{"template":{"spec":{"containers":[
        {"name":"aws-node","envFrom":[{"configMapRef":{"name":"cni-settings"}}]}]}}}}"#;
    cluster.kubectl(&["patch", "daemonset", "aws-node", "-n", "kube-system", "-p", patch]).await.map(drop)
}

async fn nodes_go_and_their_reports_with_them(cluster: &mut Cluster) -> Result<()> {
    let settlement = cluster.scenario.nodes_of("settlement").next().unwrap().clone();
    for pod in &settlement.pods {
        cluster.delete_pod(&pod.workload.namespace, &pod.name).await?;
    }
    cluster.kubectl(&["delete", "node", &settlement.name]).await?;
    let gone = async |cluster: &Cluster| Ok(cluster.get(Kind::Node, &settlement.name).await?.is_none().then_some(()));
    cluster.until("the report of a node that is gone is gone", gone).await?;
    // The only subnet of the others stays; the one that nobody uses any more goes when its last node does.
    let left = cluster.scenario.plan().nodes.iter().filter(|node| node.subnet == "a" && node.name != settlement.name);
    for node in left.cloned().collect::<Vec<_>>() {
        for pod in &node.pods {
            cluster.delete_pod(&pod.workload.namespace, &pod.name).await?;
        }
        cluster.kubectl(&["delete", "node", &node.name]).await?;
    }
    // A subnet with the control plane's interfaces is in the audit, whoever else uses it.
    let subnet = cluster.scenario.subnet_id("a").unwrap().to_owned();
    let mut seed = cluster.ec2()?.state();
    seed.interfaces.retain(|interface| interface.subnet != subnet || !interface.description.starts_with("Amazon EKS"));
    cluster.ec2()?.load(seed)?;
    let gone = async |cluster: &Cluster| Ok(cluster.get(Kind::Subnet, &subnet).await?.is_none().then_some(()));
    cluster.until("the report of a subnet that no node uses is gone", gone).await
}

/// The rights that a request needs. Applying an object that is not there creates it, which is a right of its own.
fn rights_of(event: &AuditEvent) -> Vec<Right> {
    let resource = match event.subresource.as_str() {
        "" => event.resource.clone(),
        subresource => format!("{}/{subresource}", event.resource),
    };
    let right = |verb: &str| (verb.to_owned(), event.group.clone(), resource.clone());
    let creates = event.verb == "patch" && event.code == Some(201);
    let mut rights = vec![right(&event.verb)];
    rights.extend(creates.then(|| right("create")));
    rights
}

fn writes_what_is_ours(event: &AuditEvent) -> bool {
    match (event.group.as_str(), event.resource.as_str(), event.subresource.as_str()) {
        ("ipam-audit.dev", "nodeipamreports" | "subnetipamreports", "" | "status")
        | ("ipam-audit.dev", "ipamaudits", "status")
        | ("events.k8s.io", "events", "")
        | ("", "nodes", "status") => true,
        ("coordination.k8s.io", "leases", "") => event.namespace == NAMESPACE,
        _ => false,
    }
}

/// What the shipped manifests grant to the operator, by every role that is bound to it.
async fn granted(cluster: &Cluster) -> Result<BTreeSet<Right>> {
    let mut rights = BTreeSet::new();
    for (bindings, scope) in [("clusterrolebindings", ""), ("rolebindings", "-A")] {
        let args: Vec<&str> = ["get", bindings, scope].into_iter().filter(|arg| !arg.is_empty()).collect();
        let bindings = cluster.json(&args).await?;
        for binding in bindings.items("/items").iter().filter(|binding| is_bound(binding)) {
            let (kind, name) =
                (binding["roleRef"]["kind"].as_str().unwrap(), binding["roleRef"]["name"].as_str().unwrap());
            let namespace = binding["metadata"]["namespace"].as_str().unwrap_or("default");
            let role = cluster.json(&["get", kind, name, "-n", namespace]).await?;
            rights.extend(rules_of(&role));
        }
    }
    assert!(!rights.is_empty(), "{} has no rights", user());
    Ok(rights)
}

fn is_bound(binding: &Value) -> bool {
    let subjects = binding["subjects"].as_array().into_iter().flatten();
    subjects.clone().any(|subject| {
        subject["kind"] == "ServiceAccount" && subject["name"] == SERVICE_ACCOUNT && subject["namespace"] == NAMESPACE
    })
}

fn rules_of(role: &Object) -> Vec<Right> {
    let texts = |rule: &Value, field: &str| -> Vec<String> {
        rule[field].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut rights = Vec::new();
    for rule in role.items("/rules") {
        for group in texts(rule, "apiGroups") {
            for resource in texts(rule, "resources") {
                rights.extend(texts(rule, "verbs").into_iter().map(|verb| (verb, group.clone(), resource.clone())));
            }
        }
    }
    rights
}
