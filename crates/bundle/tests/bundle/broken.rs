//! Bundles as they should not be: named, never believed, never a panic, and never a secret in a message.

use crate::fixture::{Files, list, node, pod, warnings};
use ipam_audit_bundle::read;
use ipam_audit_core::source::FaultCategory;
use proptest::prelude::*;
use serde_json::{Value, json};

const PARTS: [&str; 24] = [
    "kubernetes/nodes.json",
    "kubernetes/pods.json",
    "kubernetes/daemonsets.json",
    "kubernetes/configmaps.json",
    "kubernetes/events.json",
    "kubernetes/eniconfigs.json",
    "kubernetes/cninodes.json",
    "kubernetes/securitygrouppolicies.json",
    "kubernetes/serviceaccounts.json",
    "kubernetes/deployments.json",
    "kubernetes/services.json",
    "kubernetes/networkpolicies.json",
    "kubernetes/mutatingwebhookconfigurations.json",
    "kubernetes/ec2nodeclasses.json",
    "kubernetes/nodepools.json",
    "kubernetes/nodeclaims.json",
    "ec2/subnets.json",
    "ec2/network-interfaces.json",
    "ec2/instances.json",
    "ec2/instance-types.json",
    "ec2/vpcs.json",
    "ec2/subnet-cidr-reservations.json",
    "ec2/security-groups.json",
    "ec2/route-tables.json",
];

#[test]
fn an_item_that_makes_no_sense_is_named_and_the_rest_is_used() {
    let mut files = Files::minimal();
    files.edit("kubernetes/pods.json", |pods| {
        pods["items"][3]["status"]["podIP"] = json!("10.0.0");
        pods["items"].as_array_mut().unwrap().push(node(3));
        pods["items"].as_array_mut().unwrap().push(json!({"kind": "Pod"}));
        pods["items"].as_array_mut().unwrap().push(json!("text"));
    });
    let bundle = files.read();
    assert_eq!(
        warnings(&bundle),
        [
            "kubernetes/pods.json: item 3 (shop/resizer-7d9f-b): status.podIP is not an address",
            "kubernetes/pods.json: item 4 (node-3): it is no Pod",
            "kubernetes/pods.json: item 5 (?): metadata.name is missing",
            "kubernetes/pods.json: item 6: expected an object at line 1, column 6",
        ]
    );
    let fault = bundle.snapshot.pods.fault.as_ref().unwrap();
    assert_eq!(
        (bundle.snapshot.pods.value().map(ipam_audit_core::pages::Pages::len), fault.category),
        (Some(3), FaultCategory::Malformed)
    );
    assert!(fault.message.ends_with("is not an address (and 3 more)"), "{}", fault.message);
}

#[test]
fn many_wrong_items_are_counted_not_listed() {
    let mut files = Files::minimal();
    let wrong: Vec<Value> = (0..100).map(|_| json!({"SubnetId": "subnet-9"})).collect();
    files.edit("ec2/subnets.json", |subnets| subnets["Subnets"].as_array_mut().unwrap().extend(wrong));
    let bundle = files.read();
    let all = warnings(&bundle);
    assert_eq!((all.len(), all[5].as_str()), (6, "ec2/subnets.json: 95 further items make no sense"));
    assert_eq!(all[0], "ec2/subnets.json: item 1 (subnet-9): it has no readable VpcId");
}

#[test]
fn values_of_variables_are_in_no_message() {
    let secret = "hunter2";
    let shapes = [json!(secret), json!([{"name": "A", "value": {"x": secret}}]), json!([secret]), json!({"a": secret})];
    for env in shapes {
        let mut files = Files::minimal();
        for path in ["kubernetes/daemonsets.json", "kubernetes/pods.json"] {
            files.edit(path, |file| {
                for pointer in ["/items/0/spec/template/spec/containers/0", "/items/0/spec/containers/0"] {
                    if let Some(container) = file.pointer_mut(pointer) {
                        container["env"] = env.clone();
                    }
                }
            });
        }
        let bundle = files.read();
        let mut said = warnings(&bundle);
        said.extend(bundle.snapshot.sources().into_iter().filter_map(|state| Some(state.fault?.message)));
        assert!(!bundle.warnings.is_empty(), "{env}");
        assert!(said.iter().all(|text| !text.contains(secret)), "{said:#?}");
    }
}

#[test]
fn a_placeholder_is_not_an_empty_cluster() {
    for (content, what) in [
        ("", "it is empty, as when the command fails that makes it: `kubectl get pods -A -o json`"),
        ("{}\n", "it is empty, as when the command fails that makes it: `kubectl get pods -A -o json`"),
        ("null", "it is empty, as when the command fails that makes it: `kubectl get pods -A -o json`"),
        ("[]", "it lists nothing, which cannot be of a cluster in use"),
        ("{\"items\": []}", "it lists nothing, which cannot be of a cluster in use"),
        ("error: You must be logged in", "it is not JSON at line 1, column 1"),
        ("apiVersion: v1\nitems: []\n", "it is not JSON at line 1, column 1"),
        ("{\"kind\": \"Status\", \"status\": \"Failure\"}", "it is an error answer of the API server"),
        ("{\"Subnets\": []}", "it holds a list `Subnets`, not `items`"),
        ("\u{1f8b}", "it is not JSON at line 1, column 1"),
    ] {
        let mut files = Files::minimal();
        files.put_text("kubernetes/pods.json", content);
        let bundle = files.read();
        assert_eq!(warnings(&bundle), [format!("kubernetes/pods.json: {what}")], "{content}");
        assert_eq!(bundle.snapshot.pods.value(), None, "{content}");
    }
    let mut files = Files::minimal();
    files.put("kubernetes/eniconfigs.json", &list("", &[]));
    assert_eq!(files.read().snapshot.objects.eni_configs.value().map(Vec::len), Some(0), "none is an answer here");
}

#[test]
fn a_list_of_which_nothing_makes_sense_is_not_an_empty_one() {
    let mut files = Files::minimal();
    files.put("ec2/subnets.json", &json!({"Subnets": [{"SubnetId": "subnet-1"}]}));
    let subnets = files.read().snapshot.ec2.subnets;
    assert_eq!((subnets.value(), subnets.fault.is_some()), (None, true));
}

#[test]
fn utf_16_is_told() {
    let mut files = Files::minimal();
    files.put_text("ec2/subnets.json", b"\xff\xfe{\0}\0".to_vec());
    let told = warnings(&files.read());
    assert!(told[0].contains("UTF-16"), "{told:?}");
}

#[test]
fn pods_of_one_namespace_are_not_all_pods() {
    let mut files = Files::minimal();
    files.put("kubernetes/pods.json", &list("", &[pod("resizer-7d9f-a", 1, "10.0.0.11")]));
    let bundle = files.read();
    let all = warnings(&bundle);
    assert!(all[0].ends_with("of DaemonSet kube-system/aws-node, which has some: was it made without -A?"), "{all:?}");
    assert_eq!(bundle.snapshot.pods.value(), None);
}

#[test]
fn a_page_that_is_not_the_last_is_not_the_whole() {
    let mut files = Files::minimal();
    files.edit("ec2/network-interfaces.json", |file| file["NextToken"] = json!("x"));
    let bundle = files.read();
    let told = "ec2/network-interfaces.json: it is not the last page: further pages are lacking";
    assert_eq!(warnings(&bundle), [told]);
    assert_eq!(bundle.snapshot.ec2.interfaces.value(), None, "half of them would look like leaks");
    let mut files = Files::minimal();
    files.edit("ec2/subnets.json", |file| file["NextToken"] = json!("x"));
    let subnets = files.read().snapshot.ec2.subnets;
    assert_eq!((subnets.value().map(Vec::len), subnets.fault.is_some()), (Some(1), true));
}

#[test]
fn a_file_cut_off_at_any_byte_is_told_and_nothing_is_made_up() {
    let files = Files::minimal();
    let complete = files.read().snapshot;
    let dir = files.in_a_folder();
    for path in ["kubernetes/nodes.json", "kubernetes/daemonsets.json", "ec2/subnets.json"] {
        let text = files.json(path).to_string();
        for end in 0..text.len() {
            std::fs::write(dir.path().join(path), &text[..end]).unwrap();
            let bundle = read(dir.path()).unwrap();
            assert!(!bundle.warnings.is_empty(), "{path} cut at {end}");
            for node in bundle.snapshot.nodes.value().into_iter().flatten() {
                assert!(complete.nodes.value().unwrap().contains(node), "{path} cut at {end}");
            }
        }
        std::fs::write(dir.path().join(path), &text).unwrap();
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[ -~]{0,12}".prop_map(Value::from),
        Just(json!("2026-11-21T10:00:00Z")),
    ];
    let key = prop_oneof![
        Just("items".to_owned()),
        Just("metadata".to_owned()),
        Just("name".to_owned()),
        Just("spec".to_owned()),
        Just("status".to_owned()),
        Just("kind".to_owned()),
        "[a-zA-Z]{0,8}",
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(key.clone(), inner, 0..6).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// Replaces one value somewhere in a document, chosen by a number.
fn replace(document: &mut Value, mut choice: usize, with: &Value) {
    let mut at = document;
    while !choice.is_multiple_of(7) {
        let count = match &*at {
            Value::Array(list) => list.len(),
            Value::Object(map) => map.len(),
            _ => 0,
        };
        if count == 0 {
            break;
        }
        let index = choice % count;
        choice /= 3;
        at = match at {
            Value::Array(list) => &mut list[index],
            Value::Object(map) => map.values_mut().nth(index).unwrap(),
            _ => unreachable!(),
        };
    }
    *at = with.clone();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_survived(part in 0..PARTS.len(), content in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut files = Files::minimal();
        files.put_text(PARTS[part], content);
        files.read();
    }

    #[test]
    fn any_json_is_survived(part in 0..PARTS.len(), content in any_json()) {
        let mut files = Files::minimal();
        files.put(PARTS[part], &content);
        files.read();
        files.put(PARTS[part], &json!({"items": [content]}));
        files.read();
    }

    #[test]
    fn any_value_in_any_place_is_survived(part in 0..5_usize, choice in any::<usize>(), with in any_json()) {
        let path = ["kubernetes/nodes.json", "kubernetes/pods.json", "kubernetes/daemonsets.json", "ec2/subnets.json",
            "ec2/network-interfaces.json"][part];
        let mut files = Files::minimal();
        files.edit(path, |document| replace(document, choice, &with));
        files.read();
    }
}
