//! Bundles as they should be: what becomes of each file.

use std::{io::Write, sync::Arc};

use crate::fixture::{Files, NEWEST, interface, list, node, pod, subnet, warnings};
use flate2::{Compression, write::GzEncoder};
use ipam_audit_bundle::{Clock, read};
use ipam_audit_core::{
    engine,
    memory::Memory,
    policy::AuditPolicy,
    snapshot::{ClusterSnapshot, EnvValue},
    source::{FaultCategory, Reading},
};
use serde_json::{Value, json};

fn value<T>(reading: &Reading<T>) -> &T {
    assert_eq!(reading.fault, None);
    reading.value().unwrap()
}

#[test]
fn five_files_are_an_audit() {
    let bundle = Files::minimal().read();
    assert_eq!((warnings(&bundle), &bundle.ignored), (vec![], &vec![]));
    let ClusterSnapshot { nodes, pods, aws_node, ec2, .. } = &bundle.snapshot;
    assert_eq!((value(nodes).len(), value(pods).len()), (2, 4));
    assert_eq!((value(&ec2.subnets).len(), value(&ec2.interfaces).len()), (1, 2));
    let cni = value(aws_node);
    assert_eq!((&*cni.daemon_set, cni.pods.len(), cni.pods[0].restarts), ("kube-system/aws-node", 2, 3));
    assert!(Arc::ptr_eq(&cni.pods[0].env, &cni.pods[1].env));
    let outcome = engine::evaluate(&bundle.snapshot, &AuditPolicy::default(), &Memory::default());
    assert_eq!(outcome.findings.iter().filter(|finding| finding.code.starts_with("IPAM90")).count(), 0);
    assert_eq!(outcome.nodes.len(), 2);
}

#[test]
fn the_newest_object_tells_the_time_unless_the_manifest_does() {
    let mut files = Files::minimal();
    let bundle = files.read();
    assert_eq!((bundle.snapshot.taken_at, bundle.clock), (NEWEST.parse().unwrap(), Clock::NewestObject));
    files.put(
        "manifest.json",
        &json!({"cluster": "prod", "region": "eu-central-1", "takenAt": "2026-11-21T11:00:00Z",
            "files": {"ec2/subnets.json": {"takenAt": "2026-11-21T10:59:00Z"}}}),
    );
    let bundle = files.read();
    assert_eq!((bundle.cluster.as_deref(), bundle.region.as_deref()), (Some("prod"), Some("eu-central-1")));
    assert_eq!((bundle.snapshot.taken_at, bundle.clock), ("2026-11-21T11:00:00Z".parse().unwrap(), Clock::Manifest));
    assert_eq!(bundle.snapshot.ec2.subnets.as_of(), "2026-11-21T10:59:00Z".parse().ok());
    assert_eq!(bundle.snapshot.pods.as_of(), Some(bundle.snapshot.taken_at));
}

#[test]
fn every_wrapping_and_encoding_is_the_same_bundle() {
    let plain = Files::minimal().read().snapshot;
    let path = "kubernetes/pods.json";
    let pods = Files::minimal().json(path)["items"].as_array().unwrap().clone();
    let text = |value: &Value| serde_json::to_string_pretty(value).unwrap();
    let pages = format!("{}\n{}", list("", &pods[..2]), list("", &pods[1..]));
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(text(&list("", &pods)).as_bytes()).unwrap();
    let variants: [(&str, Vec<u8>); 6] = [
        (path, text(&json!(pods)).into_bytes()),
        (path, pages.into_bytes()),
        (path, format!("\u{feff}{}\r\n\r\n", text(&list("", &pods)).replace('\n', "\r\n")).into_bytes()),
        (path, pods.iter().map(Value::to_string).collect::<String>().into_bytes()),
        ("kubernetes/pods.json.gz", packed.finish().unwrap()),
        (path, json!({"kind": "PodList", "items": pods}).to_string().into_bytes()),
    ];
    for (index, (name, content)) in variants.into_iter().enumerate() {
        let mut files = Files::minimal().without(path);
        files.put_text(name, content);
        let bundle = files.read();
        assert_eq!((warnings(&bundle), &bundle.snapshot), (vec![], &plain), "variant {index}");
    }
}

#[test]
fn a_file_that_is_not_there_is_a_missing_source_with_its_command() {
    let snapshot = Files::minimal().without("kubernetes/pods.json").read().snapshot;
    let fault = snapshot.pods.fault.unwrap();
    assert_eq!((snapshot.pods.last_good, fault.category), (None, FaultCategory::NotProvided));
    assert_eq!(fault.message, "kubernetes/pods.json is not in the bundle; `kubectl get pods -A -o json` makes it");
    assert_eq!(snapshot.aws_node.value(), None, "the CNI's pods are pods");
    assert_eq!(snapshot.nodes.value().map(Vec::len), Some(2));
    let subnets = &snapshot.ec2.vpcs.fault.unwrap().message;
    assert_eq!(subnets, "ec2/vpcs.json is not in the bundle; `aws ec2 describe-vpcs --output json` makes it");
}

#[test]
fn a_pod_that_waits_says_when_it_was_refused() {
    let mut files = Files::minimal();
    files.edit("kubernetes/pods.json", |pods| {
        pods["items"].as_array_mut().unwrap().push(pod("resizer-7d9f-c", 1, ""));
    });
    let event = |at: &str| {
        json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": "shop"},
            "involvedObject": {"kind": "Pod", "namespace": "shop", "name": "resizer-7d9f-c", "uid": "uid-resizer-7d9f-c"},
            "reason": "FailedCreatePodSandBox", "type": "Warning", "lastTimestamp": at,
            "message": "plugin type=\"aws-cni\": add cmd: failed to assign an IP address to container"})
    };
    files.put("kubernetes/events.json", &list("", &[event("2026-11-21T09:00:00Z"), event("2026-11-21T08:00:00Z")]));
    let snapshot = files.read().snapshot;
    let pods = value(&snapshot.pods);
    let waiting = pods.iter().find(|pod| pod.waits_for_address()).unwrap();
    assert_eq!(
        (waiting.name().to_string(), waiting.refused_at()),
        ("resizer-7d9f-c".to_owned(), "2026-11-21T09:00:00Z".parse().ok())
    );
    assert_eq!(value(&snapshot.objects.events).len(), 2);
}

#[test]
fn the_cni_may_have_another_name_and_its_variables_come_from_a_config_map() {
    let mut files = Files::minimal();
    files.edit("kubernetes/daemonsets.json", |sets| {
        sets["items"][0]["metadata"]["name"] = json!("own-cni");
        sets["items"][0]["metadata"]["labels"] = json!({});
    });
    let unknown = value(&files.read().snapshot.aws_node).template.values["MINIMUM_IP_TARGET"].clone();
    let EnvValue::Unresolved(why) = unknown else { panic!("{unknown:?}") };
    assert!(why.contains("kubernetes/configmaps.json is not in the bundle"), "{why}");
    let map = |name: &str, data: Value| json!({"kind": "ConfigMap", "metadata": {"name": name, "namespace": "kube-system"}, "data": data});
    let maps = [map("cni-targets", json!({"minimum": "8"})), map("amazon-vpc-cni", json!({"warm-ip-target": "1"}))];
    files.put("kubernetes/configmaps.json", &list("", &maps));
    let snapshot = files.read().snapshot;
    let cni = value(&snapshot.aws_node);
    assert_eq!((&*cni.daemon_set, cni.pods.len()), ("kube-system/own-cni", 2));
    assert_eq!(cni.pods[0].env.values["MINIMUM_IP_TARGET"], EnvValue::Literal("8".into()));
    let names: Vec<&str> = value(&snapshot.objects.config_maps).iter().map(|map| &*map.name).collect();
    assert_eq!(names, ["amazon-vpc-cni"]);
}

#[test]
fn what_is_of_another_vpc_is_left_out() {
    let mut files = Files::minimal();
    let mut stranger = interface(3);
    stranger["SubnetId"] = json!("subnet-9");
    stranger["Attachment"] = Value::Null;
    files.put("ec2/subnets.json", &json!({"Subnets": [subnet("subnet-9", "vpc-9"), subnet("subnet-1", "vpc-1")]}));
    files.put("ec2/network-interfaces.json", &json!({"NetworkInterfaces": [interface(1), stranger]}));
    let vpc = |id: &str| json!({"VpcId": id, "CidrBlock": "10.0.0.0/16", "CidrBlockAssociationSet": []});
    files.put("ec2/vpcs.json", &json!({"Vpcs": [vpc("vpc-1"), vpc("vpc-9")]}));
    let bundle = files.read();
    let ec2 = &bundle.snapshot.ec2;
    assert_eq!((value(&ec2.subnets).len(), value(&ec2.interfaces).len(), value(&ec2.vpcs).len()), (1, 1, 1));
    assert_eq!(bundle.ignored[0], "1 subnet outside of vpc-1, the VPC of the nodes");
}

#[test]
fn every_optional_file_becomes_rows() {
    let mut files = Files::minimal();
    let object = |kind: &str, name: &str, spec: Value| json!({"kind": kind, "metadata": {"name": name, "namespace": "kube-system"}, "spec": spec});
    for (path, item) in [
        ("eniconfigs", object("ENIConfig", "zone-a", json!({"subnet": "subnet-2"}))),
        ("cninodes", object("CNINode", "node-1", json!({"features": [{"name": "SecurityGroupsForPods"}]}))),
        ("securitygrouppolicies", object("SecurityGroupPolicy", "db", json!({"podSelector": {}}))),
        ("serviceaccounts", object("ServiceAccount", "aws-node", json!(null))),
        ("deployments", object("Deployment", "karpenter", json!({"replicas": 2}))),
        ("services", object("Service", "kube-dns", json!({"clusterIP": "172.20.0.10"}))),
        ("networkpolicies", object("NetworkPolicy", "deny", json!({}))),
        ("ec2nodeclasses", object("EC2NodeClass", "default", json!({}))),
        ("nodepools", object("NodePool", "batch", json!({}))),
        ("nodeclaims", object("NodeClaim", "batch-x", json!({}))),
    ] {
        files.put(&format!("kubernetes/{path}.json"), &list("", &[item]));
    }
    let hook = json!({"kind": "MutatingWebhookConfiguration", "metadata": {"name": "vpc"},
        "webhooks": [{"name": "mpod.vpc.k8s.aws"}, {"name": "mnode.vpc.k8s.aws"}]});
    files.put("kubernetes/mutatingwebhookconfigurations.json", &list("", &[hook]));
    let scr = |id: &str, cidr: &str| {
        json!({"SubnetIpv4CidrReservations": [{"SubnetCidrReservationId": id, "SubnetId": "subnet-1",
        "Cidr": cidr, "ReservationType": "prefix"}], "SubnetIpv6CidrReservations": []})
    };
    let two = format!("{}\n{}", scr("scr-1", "10.0.0.64/26"), scr("scr-2", "10.0.0.128/26"));
    files.put_text("ec2/subnet-cidr-reservations.json", two);
    let instance = json!({"InstanceId": "i-1", "State": {"Name": "running"}});
    files.put("ec2/instances.json", &json!({"Reservations": [{"Instances": [instance, instance]}]}));
    files.put("ec2/security-groups.json", &json!({"SecurityGroups": [{"GroupId": "sg-1", "VpcId": "vpc-1"}]}));
    files.put("ec2/route-tables.json", &json!({"RouteTables": [{"RouteTableId": "rtb-1", "VpcId": "vpc-1"}]}));
    files.put(
        "ec2/instance-types.json",
        &json!({"InstanceTypes": [{"InstanceType": "m5.large", "NetworkInfo": {
        "MaximumNetworkInterfaces": 3, "Ipv4AddressesPerInterface": 10,
        "NetworkCards": [{"NetworkCardIndex": 0, "MaximumNetworkInterfaces": 3}]}}]}),
    );
    let bundle = files.read();
    assert_eq!(warnings(&bundle), Vec::<String>::new());
    let (objects, ec2) = (&bundle.snapshot.objects, &bundle.snapshot.ec2);
    let counts = [
        value(&objects.eni_configs).len(),
        value(&bundle.snapshot.cni_nodes).len(),
        value(&objects.security_group_policies).len(),
        value(&objects.service_accounts).len(),
        value(&objects.deployments).len(),
        value(&objects.services).len(),
        value(&objects.network_policies).len(),
        value(&objects.node_classes).len(),
        value(&objects.node_pools).len(),
        value(&objects.node_claims).len(),
        value(&objects.daemon_sets).len(),
        value(&ec2.instance_types).len(),
        value(&ec2.instances).len(),
        value(&ec2.security_groups).len(),
        value(&ec2.route_tables).len(),
    ];
    assert_eq!(counts, [1; 15]);
    assert_eq!((value(&objects.mutating_webhooks).len(), value(&ec2.reservations).len()), (2, 2));
}

#[test]
fn two_readings_are_equal_and_rows_are_sorted() {
    let mut files = Files::minimal();
    files.put("kubernetes/nodes.json", &list("", &[node(2), node(1)]));
    let (one, two) = (files.read(), files.read());
    assert_eq!(one.snapshot, two.snapshot);
    assert_eq!(one.snapshot, Files::minimal().read().snapshot);
}

#[test]
fn what_is_no_bundle_teaches_what_one_is() {
    let dir = tempfile::tempdir().unwrap();
    let message = read(dir.path()).unwrap_err().to_string();
    assert!(message.contains("kubectl get pods -A -o json"), "{message}");
    assert!(read(&dir.path().join("gone")).is_err());
}
