//! The table holds the least, and what is made of it holds the table.

use std::collections::BTreeSet;

use super::*;

#[test]
fn nothing_is_granted_at_large() {
    for right in KUBERNETES {
        let words = right.resources.iter().chain(right.verbs).chain([&right.group]);
        for word in words {
            assert!(!word.contains('*') && *word != "secrets", "{right:?}");
        }
        assert!(!right.resources.is_empty() && !right.verbs.is_empty() && !right.why.is_empty(), "{right:?}");
    }
    for right in EC2 {
        let verb = right.action.strip_prefix("ec2:").unwrap();
        assert!(verb.starts_with("Describe") || verb.starts_with("Get"), "{right:?} only reads");
    }
}

#[test]
fn the_controller_writes_what_is_the_products_own() {
    const OWN: [&str; 3] = ["ipam-audit.dev", "events.k8s.io", "coordination.k8s.io"];
    for right in KUBERNETES {
        let reads = right.verbs.iter().all(|verb| ["get", "list", "watch"].contains(verb));
        let condition = right.resources == ["nodes/status"] && right.feature != Feature::Audit;
        assert!(reads || OWN.contains(&right.group) || condition, "{right:?}");
        assert!(reads || !right.resources.contains(&"ipamaudits"), "the spec is its user's alone: {right:?}");
    }
}

#[test]
fn no_right_is_granted_twice() {
    let mut seen = BTreeSet::new();
    for right in KUBERNETES {
        for (resource, verb) in right.resources.iter().flat_map(|name| right.verbs.iter().map(move |verb| (name, verb)))
        {
            assert!(
                seen.insert((right.feature.account(), right.group, resource, verb, right.names)),
                "{verb} {resource}"
            );
        }
    }
    let actions: BTreeSet<&str> = EC2.iter().map(|right| right.action).collect();
    assert_eq!(actions.len(), EC2.len());
}

#[test]
fn every_feature_has_a_manifest_that_only_it_brings() {
    let plain = rbac(&[]);
    for feature in Feature::OPTIONAL {
        assert_eq!(Feature::optional(feature.name()), Some(feature));
        let own: Vec<_> = KUBERNETES.iter().filter(|right| right.feature == feature).collect();
        assert!(!own.is_empty(), "{feature:?}");
        let with = rbac(&[feature]);
        assert!(with.starts_with(&plain) && with.len() > plain.len(), "{feature:?}");
        for right in own {
            assert!(component(feature).contains(right.resources[0]), "{feature:?}");
        }
    }
    assert_eq!(
        rbac(&Feature::ALL).matches("\nkind: ClusterRole\n").count(),
        4,
        "its own, its readers', that of conditions and that of cleaning up"
    );
}

#[test]
fn a_missing_right_is_named_with_the_command_that_prints_it() {
    assert_eq!(command_for("watch", "pods"), "ipam-audit rbac");
    assert_eq!(command_for("patch", "nodes/status"), "ipam-audit rbac --with node-conditions");
    assert!(find("watch", "cninodes.vpcresources.k8s.aws").is_some());
    assert_eq!(find("delete", "pods"), None);
}

#[test]
fn the_policy_names_every_action_of_the_table() {
    let policy: serde_json::Value = serde_json::from_str(&iam_policy(&Feature::ALL).unwrap()).unwrap();
    let actions = policy["Statement"][0]["Action"].as_array().unwrap();
    let of_table: BTreeSet<&str> = EC2.iter().map(|right| right.action).collect();
    assert_eq!(actions.iter().filter_map(serde_json::Value::as_str).collect::<BTreeSet<_>>(), of_table);
}

#[test]
fn the_policy_is_good_in_every_partition() {
    for with in [&[][..], &Feature::ALL] {
        let policy = iam_policy(with).unwrap();
        let parsed: serde_json::Value = serde_json::from_str(&policy).unwrap();
        assert_eq!(parsed["Statement"][0]["Resource"], "*");
        assert!(!policy.contains("arn:") && !policy.contains("amazonaws"), "{policy}");
    }
}
