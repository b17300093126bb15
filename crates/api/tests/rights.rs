//! The shipped rights are the least: read the cluster, write what is the product's own.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use ipam_audit_api::RBAC;
use serde_json::Value;

/// Every rule of the controller's roles as (API groups, resources, verbs).
fn rules() -> Vec<[Vec<String>; 3]> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(RBAC).unwrap();
    let roles = documents.iter().filter(|document| document["kind"].as_str().unwrap().ends_with("Role"));
    let granted = roles.flat_map(|role| role["rules"].as_array().unwrap());
    let words = |list: &Value| list.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect();
    granted.map(|rule| ["apiGroups", "resources", "verbs"].map(|part| words(&rule[part]))).collect()
}

#[test]
fn nothing_is_granted_at_large() {
    let rules = rules();
    assert!(rules.len() > 8, "{rules:?}");
    for word in rules.iter().flatten().flatten() {
        assert!(!word.contains('*') && word != "secrets", "{word}");
    }
}

#[test]
fn only_the_products_own_things_are_written() {
    const OWN: [&str; 3] = ["ipam-audit.dev", "events.k8s.io", "coordination.k8s.io"];
    for [groups, resources, verbs] in rules() {
        let reads = verbs.iter().all(|verb| ["get", "list", "watch"].contains(&verb.as_str()));
        let own = groups.iter().all(|group| OWN.contains(&group.as_str()));
        assert!(reads || own, "{verbs:?} on {groups:?} {resources:?}");
        let spec_of_audits = resources.iter().any(|resource| resource == "ipamaudits");
        assert!(reads || !spec_of_audits, "the spec is its user's alone");
    }
}
