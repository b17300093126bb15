//! What `deploy/` installs: accepted by a real API server, with the least that the controller needs to live.

#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test")]

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use ipam_audit_e2e::{Cluster, NAMESPACE, Object, SERVICE_ACCOUNT, crowded, repository};
use serde_json::{Value, json};

/// Neither root nor anybody whom a node knows.
const NOBODY: &str = "65532";
const COMPONENTS: [&str; 3] = ["components/node-conditions", "components/pod-proxy", "components/node-address"];

/// A copy of `deploy/` in which everything that is offered in comments is asked for.
fn with_all_components(to: &Path) -> Result<()> {
    copy(&repository().join("deploy"), to)?;
    let path = to.join("kustomization.yaml");
    let mut text = fs::read_to_string(&path)?;
    for component in COMPONENTS {
        assert!(text.contains(&format!("#   - {component}\n")), "{component} is not offered");
        text = text.replace(&format!("#   - {component}\n"), "");
    }
    text = text.replace("# components:\n", "");
    Ok(fs::write(path, format!("{text}components: {}\n", json!(COMPONENTS)))?)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Every object, as the API server would keep it; nothing is kept.
async fn tried(cluster: &Cluster, args: &[&str]) -> Result<Vec<Object>> {
    let apply = ["apply", "--server-side", "--dry-run=server", "-o", "json"];
    let output = cluster.plane.kubectl(&[&apply[..], args].concat()).await?;
    assert!(output.success, "{}", output.stderr);
    assert!(!output.stderr.contains("Warning"), "{}", output.stderr);
    // One JSON document after the other, or a list of them.
    let documents = serde_json::Deserializer::from_str(&output.stdout).into_iter::<Value>();
    let mut objects = Vec::new();
    for document in documents {
        match document? {
            Value::Object(mut list) if list["kind"] == "List" => {
                if let Value::Array(items) = list["items"].take() {
                    objects.extend(items);
                }
            }
            one => objects.push(one),
        }
    }
    Ok(objects.into_iter().map(Object::from).collect())
}

fn one<'a>(objects: &'a [Object], kind: &str, name: &str) -> Result<&'a Object> {
    let found = objects.iter().find(|object| object.text("/kind") == kind && object.name() == name);
    found.with_context(|| format!("no {kind} {name}"))
}

#[tokio::test]
async fn what_is_shipped_is_accepted_and_asks_for_little() -> Result<()> {
    let cluster = Cluster::of(crowded()?).await?;
    let dir = tempfile::tempdir()?;
    with_all_components(dir.path())?;
    let all = dir.path().display().to_string();
    cluster.plane.apply_manifests(&repository().join("crds")).await?;
    cluster.plane.apply_manifests(&repository().join("deploy/rbac.yaml")).await?;

    let objects = tried(&cluster, &["-k", &all]).await?;
    let deployment = one(&objects, "Deployment", "ipam-audit")?;
    the_pods_are_confined(deployment);
    they_come_and_go_one_at_a_time(deployment, one(&objects, "PodDisruptionBudget", "ipam-audit")?);
    the_network_is_narrow(&objects, deployment)?;
    the_image_runs_as_the_same_user(deployment)?;
    for object in &objects {
        assert_eq!(object.text("/metadata/labels/app.kubernetes.io~1name"), "ipam-audit", "{object:?}");
    }
    // The namespace is restricted: a pod that asks for more than that is refused, and this one is not.
    a_pod_of(&cluster, deployment, |_| {}).await?;
    let privileged = |pod: &mut Value| pod["spec"]["hostNetwork"] = json!(true);
    let refused = a_pod_of(&cluster, deployment, privileged).await.unwrap_err();
    assert!(format!("{refused:#}").contains("violates PodSecurity"), "{refused:#}");

    let samples = repository().join("deploy/samples").display().to_string();
    assert!(!tried(&cluster, &["-f", &samples]).await?.is_empty());
    Ok(())
}

fn the_pods_are_confined(deployment: &Object) {
    let pod = |pointer: &str| deployment.at(&format!("/spec/template/spec{pointer}"));
    assert_eq!(pod("/serviceAccountName"), SERVICE_ACCOUNT);
    assert_eq!(pod("/securityContext/runAsNonRoot"), true);
    assert_eq!(pod("/securityContext/seccompProfile/type"), "RuntimeDefault");
    for user in ["runAsUser", "runAsGroup"] {
        assert_eq!(pod(&format!("/securityContext/{user}")).to_string(), NOBODY);
    }
    for host in ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"] {
        assert!(!pod(&format!("/{host}")).as_bool().unwrap_or_default(), "{host}");
    }
    assert_eq!(pod("/enableServiceLinks"), false);
    assert_eq!(*pod("/volumes"), Value::Null, "no volume but the token that is mounted by itself");
    assert_eq!(*pod("/initContainers"), Value::Null);
    let containers = pod("/containers").as_array().unwrap();
    assert_eq!(containers.len(), 1);
    let context = &containers[0]["securityContext"];
    assert_eq!(context["allowPrivilegeEscalation"], false);
    assert_eq!(context["readOnlyRootFilesystem"], true);
    assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}));
    assert!(!context["privileged"].as_bool().unwrap_or_default());
    let resources = &containers[0]["resources"];
    assert_eq!(resources["requests"]["memory"], "96Mi", "what docs/performance.md says that it takes");
    assert!(resources["limits"]["memory"].is_string() && resources["limits"]["cpu"].is_null(), "{resources}");
    for probe in ["livenessProbe", "readinessProbe"] {
        assert_eq!(containers[0][probe]["httpGet"]["port"], "metrics");
    }
}

fn they_come_and_go_one_at_a_time(deployment: &Object, budget: &Object) {
    assert!(deployment.number("/spec/replicas").unwrap() >= 2);
    // A third pod would need an address where there may be none.
    assert_eq!(deployment.number("/spec/strategy/rollingUpdate/maxSurge"), Some(0));
    assert_eq!(deployment.number("/spec/strategy/rollingUpdate/maxUnavailable"), Some(1));
    assert!(deployment.number("/spec/template/spec/terminationGracePeriodSeconds").unwrap() >= 10);
    assert_eq!(budget.number("/spec/maxUnavailable"), Some(1));
    assert_eq!(budget.at("/spec/selector"), deployment.at("/spec/selector"));
}

fn the_network_is_narrow(objects: &[Object], deployment: &Object) -> Result<()> {
    let policy = one(objects, "NetworkPolicy", "ipam-audit")?;
    assert_eq!(policy.at("/spec/podSelector"), deployment.at("/spec/selector"));
    assert_eq!(*policy.at("/spec/policyTypes"), json!(["Ingress", "Egress"]));
    let ports = |policy: &Object, direction: &str| -> Vec<i64> {
        let rules = policy.items(&format!("/spec/{direction}")).iter();
        let mut ports: Vec<i64> = rules
            .flat_map(|rule| rule["ports"].as_array().unwrap())
            .map(|port| port["port"].as_i64().unwrap())
            .collect();
        ports.sort_unstable();
        ports.dedup();
        ports
    };
    let served = deployment.at("/spec/template/spec/containers/0/ports/0/containerPort").as_i64().unwrap();
    assert_eq!(ports(policy, "ingress"), [served]);
    assert_eq!(ports(policy, "egress"), [53, 80, 443]);
    let credentials = policy.items("/spec/egress").iter().find(|rule| rule["ports"][0]["port"] == 80).unwrap();
    assert!(credentials.to_string().contains("169.254.170.23/32"), "EKS Pod Identity");
    let further = one(objects, "NetworkPolicy", "ipam-audit-node-address")?;
    assert_eq!(ports(further, "egress"), [61678]);
    assert_eq!(*further.at("/spec/ingress"), Value::Null);
    Ok(())
}

fn the_image_runs_as_the_same_user(deployment: &Object) -> Result<()> {
    let text = fs::read_to_string(repository().join("deploy/Dockerfile"))?;
    assert!(text.contains(&format!("\nUSER {NOBODY}:{NOBODY}\n")), "the user of the image is that of the pod");
    let toolchain = fs::read_to_string(repository().join("rust-toolchain.toml"))?;
    let built_with = text.split("FROM rust:").nth(1).and_then(|rest| rest.split('-').next()).unwrap();
    assert!(toolchain.contains(&format!("channel = \"{built_with}")), "the image is built with {built_with}");
    let image = deployment.text("/spec/template/spec/containers/0/image");
    assert_eq!(image, format!("ipam-audit:{}", env!("CARGO_PKG_VERSION")));
    Ok(())
}

/// Tries to create a pod of the deployment's template, changed a little.
async fn a_pod_of(cluster: &Cluster, deployment: &Object, change: impl FnOnce(&mut Value)) -> Result<()> {
    let mut pod = deployment.at("/spec/template").clone();
    pod["apiVersion"] = json!("v1");
    pod["kind"] = json!("Pod");
    pod["metadata"] = json!({"name": "tried", "namespace": NAMESPACE});
    change(&mut pod);
    let file = tempfile::Builder::new().suffix(".json").tempfile()?;
    fs::write(file.path(), pod.to_string())?;
    let path = file.path().display().to_string();
    cluster.kubectl(&["create", "--dry-run=server", "-f", &path]).await.map(drop)
}
