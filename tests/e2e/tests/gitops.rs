//! What GitOps tools make of an audit: Argo CD by the shipped script on a real Lua, kubectl and kstatus by its conditions.

use std::fs;

use anyhow::Result;
use ipam_audit_e2e::{AUDIT, Cluster, Kind, crowded, repository};
use ipam_audit_testkit::lua;
use serde_json::{Value, json};

/// Status and message by the shipped script.
fn argo_cd(object: &Value) -> Result<(String, String)> {
    let script = fs::read_to_string(repository().join("deploy/gitops/argocd/health.lua"))?;
    let health = lua::health(&script, object)?;
    let text = |field: &str| health[field].as_str().unwrap_or_default().to_owned();
    Ok((text("status"), text("message")))
}

/// kstatus in short: what Flux and `kubectl wait` users see.
fn kstatus(object: &Value) -> &'static str {
    let status = |kind: &str| {
        let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
        conditions.clone().find(|one| one["type"] == kind).and_then(|one| one["status"].as_str()).map(str::to_owned)
    };
    let observed = &object["status"]["observedGeneration"];
    if !observed.is_null() && *observed != object["metadata"]["generation"] {
        return "InProgress";
    }
    match (status("Stalled").as_deref(), status("Reconciling").as_deref(), status("Ready").as_deref()) {
        (Some("True"), _, _) => "Failed",
        (_, Some("True"), _) | (_, _, Some("False" | "Unknown")) => "InProgress",
        _ => "Current",
    }
}

fn audit(status: &Value) -> Value {
    json!({"metadata": {"name": "cluster", "generation": 2}, "spec": {}, "status": status})
}

#[test]
fn every_state_of_an_audit_is_read_right() -> Result<()> {
    let conditions = |list: &[(&str, &str)]| {
        let all = list
            .iter()
            .map(|(kind, status)| json!({"type": kind, "status": status, "message": format!("{kind} says")}));
        json!({"observedGeneration": 2, "summary": "all is well", "conditions": all.collect::<Vec<_>>()})
    };
    let older = json!({"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}]});
    for (object, health, message, status) in [
        (json!({"metadata": {"generation": 1}, "spec": {}}), "Progressing", "waiting for the first audit", "Current"),
        (audit(&older), "Progressing", "waiting for an audit of this spec", "InProgress"),
        (audit(&conditions(&[("Ready", "True"), ("Healthy", "False")])), "Healthy", "all is well", "Current"),
        (
            audit(&conditions(&[("Ready", "Unknown"), ("Reconciling", "True")])),
            "Progressing",
            "Reconciling says",
            "InProgress",
        ),
        (audit(&conditions(&[("Ready", "Unknown")])), "Degraded", "Ready says", "InProgress"),
        (audit(&conditions(&[("Ready", "False"), ("Stalled", "True")])), "Degraded", "Stalled says", "Failed"),
    ] {
        assert_eq!(argo_cd(&object)?, (health.to_owned(), message.to_owned()), "{object}");
        assert_eq!(kstatus(&object), status, "{object}");
    }
    let suspended = json!({"metadata": {"generation": 2}, "spec": {"suspend": true}});
    assert_eq!(argo_cd(&suspended)?.0, "Suspended");
    Ok(())
}

#[tokio::test]
async fn an_audit_with_findings_is_ready_and_its_gate_decides_about_healthy_alone() -> Result<()> {
    let mut cluster = Cluster::running(crowded()?).await?;
    cluster.until_ready().await?;
    cluster.kubectl(&["wait", "--for=condition=Ready", "ipamaudit", AUDIT, "--timeout=10s"]).await?;
    let object = cluster.json(&["get", "ipamaudit", AUDIT]).await?;
    assert_eq!(object.condition("Healthy").status, "False", "a subnet is full");
    assert_eq!((argo_cd(object.at(""))?.0.as_str(), kstatus(object.at(""))), ("Healthy", "Current"));

    for (gate, healthy) in [("None", "True"), ("Warning", "False"), ("Critical", "False")] {
        cluster.audit(&format!("{{gate: {gate}}}")).await?;
        let wanted = |audit: &ipam_audit_e2e::Object| {
            audit.number("/status/observedGeneration") == audit.number("/metadata/generation")
                && audit.condition("Healthy").status == healthy
        };
        let audit = cluster.until_audit(&format!("gate {gate}"), wanted).await?;
        assert_eq!(audit.condition("Ready").status, "True", "findings never touch it");
    }

    cluster.audit("{suspend: true}").await?;
    let suspended = |audit: &ipam_audit_e2e::Object| audit.condition("Ready").reason == "Suspended";
    cluster.until_audit("suspended", suspended).await?;
    let object = cluster.json(&["get", "ipamaudit", AUDIT]).await?;
    assert_eq!(argo_cd(object.at(""))?.0, "Suspended");
    assert!(!cluster.list(Kind::Node).await?.is_empty(), "reports stay as they are");
    Ok(())
}
