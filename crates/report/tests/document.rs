//! The document for programs: its schema is published, and what is written follows it.

use std::path::Path;

use ipam_audit_core::{
    engine::evaluate, memory::Memory, policy::AuditPolicy, snapshot::ClusterObjects, snapshot::ClusterSnapshot,
    source::Reading,
};
use ipam_audit_report::{AuditDocument, Context, TableStyle, table_of};
use jiff::Timestamp;
use serde_json::Value;

fn nothing_known() -> ClusterSnapshot {
    ClusterSnapshot {
        taken_at: Timestamp::UNIX_EPOCH,
        nodes: Reading::default(),
        pods: Reading::default(),
        aws_node: Reading::default(),
        cni_nodes: Reading::default(),
        ipamd: Reading::not_collected(),
        objects: ClusterObjects::default(),
        ec2: ipam_audit_core::inventory::Inventory::default(),
    }
}

#[test]
fn the_generated_schema_is_that_of_the_document() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/audit.schema.json");
    let schema = serde_json::to_string_pretty(&schemars::schema_for!(AuditDocument)).unwrap() + "\n";
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &schema).unwrap();
    }
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(published == schema, "docs/audit.schema.json is old; `make crds` writes it anew");
}

#[test]
fn what_is_not_known_is_null_and_a_question_mark_and_never_zero() {
    let outcome = evaluate(&nothing_known(), &AuditPolicy::default(), &Memory::default());
    let context = Context { cluster: Some("shop"), warnings: &[] };
    let document = serde_json::to_value(AuditDocument::of(&outcome, &context)).unwrap();
    assert_eq!(document["schema"], "ipam-audit.dev/audit/v1");
    assert_eq!((&document["totals"]["nodes"], &document["totals"]["freeAddresses"]), (&Value::Null, &Value::Null));
    assert_eq!((&document["complete"], &document["cluster"]), (&Value::Bool(false), &Value::String("shop".into())));
    let inconclusive = document["rules"]["inconclusive"].as_array().unwrap();
    assert!(inconclusive.iter().any(|rule| rule["code"] == "IPAM101"), "{inconclusive:?}");
    assert!(inconclusive.iter().all(|rule| !rule["why"].as_str().unwrap().is_empty()));
    let table = table_of(&outcome, &context, TableStyle { color: false, width: 100, wide: false });
    assert!(table.starts_with("? "), "{table}");
    assert!(table.contains("? nodes, ? pods") && table.contains("not complete"), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
}
