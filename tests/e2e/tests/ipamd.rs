//! ipamd is asked where a spec says so, and nowhere else; what it says is held beside EC2's count and the pods.

#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test")]

use std::net::Ipv4Addr;

use anyhow::{Context, Result};
use ipam_audit_e2e::{Cluster, Kind, Object, Start, crowded, repository};
use ipam_audit_testkit::ipamd::{Behaviour, Counts, Ipamd, address_of_this_machine};
use ipam_audit_testkit::scenario::PlannedNode;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

/// What EC2 and Kubernetes know of each node of the scenario: 29 addresses on one interface, one pod.
const WELL: Counts = Counts { total: 29, assigned: 1, interfaces: 1, refused: 0 };
/// Two addresses that EC2 does not have there.
const ODD: Counts = Counts { total: 31, ..WELL };

fn spec(way: &str, port: u16) -> String {
    let ipamd = format!("{{scrape: {way}, port: {port}, interval: 10s, timeout: 5s}}");
    format!("{{ipamd: {ipamd}, thresholds: {{suspicionSeconds: 10}}}}")
}

async fn installed() -> Result<Cluster> {
    let mut cluster = Cluster::of(crowded()?).await?;
    cluster.install().await?;
    Ok(cluster)
}

fn nodes(cluster: &Cluster) -> Vec<PlannedNode> {
    cluster.scenario.plan().nodes.clone()
}

fn aws_node(node: &PlannedNode) -> &str {
    node.pods.iter().map(|pod| pod.name.as_str()).find(|name| name.starts_with("aws-node")).unwrap()
}

/// Gives a node an address of this machine.
async fn move_node(cluster: &Cluster, node: &PlannedNode, address: Ipv4Addr) -> Result<()> {
    let addresses = json!([{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": node.name}]);
    let patch = Patch::Merge(json!({"status": {"addresses": addresses}}));
    let nodes: Api<Node> = Api::all(cluster.client());
    nodes.patch_status(&node.name, &PatchParams::default(), &patch).await?;
    Ok(())
}

/// Gives a node's aws-node pod an address of this machine.
async fn move_pod(cluster: &Cluster, node: &PlannedNode, address: Ipv4Addr) -> Result<()> {
    let patch = Patch::Merge(json!({"status": {"podIP": address, "podIPs": [{"ip": address}]}}));
    let pods: Api<Pod> = Api::namespaced(cluster.client(), "kube-system");
    pods.patch_status(aws_node(node), &PatchParams::default(), &patch).await?;
    Ok(())
}

fn numbers(report: &Object) -> [Option<i64>; 3] {
    ["total", "assigned", "interfaces"].map(|name| report.number(&format!("/status/ipamd/{name}")))
}

/// Waits until a node's condition is so, and its message says so.
async fn until_condition(
    cluster: &mut Cluster,
    node: &PlannedNode,
    (status, reason, words): (&str, &str, &str),
) -> Result<Object> {
    let wanted = |report: &Object| {
        let condition = report.condition("IpamdReachable");
        (condition.status, condition.reason) == (status, reason) && condition.message.contains(words)
    };
    let what = format!("IpamdReachable is {status}, {reason}, and says {words:?}");
    cluster.until_report((Kind::Node, &node.name), &what, wanted).await
}

/// Waits until everybody was asked so many more times.
async fn until_asked(cluster: &mut Cluster, ipamd: &Ipamd, who: &str, times: u64) -> Result<()> {
    let count = || ipamd.asked().get(who).copied().unwrap_or(0);
    let wanted = count() + times;
    cluster.until("ipamd is asked again", async |_: &Cluster| Ok((count() >= wanted).then_some(()))).await
}

#[tokio::test]
async fn nodes_are_asked_at_their_addresses_only_while_the_spec_says_so() -> Result<()> {
    let mut cluster = installed().await?;
    let nodes = nodes(&cluster);
    // A /24 of loopback that no other suite uses; nobody listens on the last of them.
    let at: Vec<Ipv4Addr> = (1..=4).map(|last| Ipv4Addr::new(127, 61, 67, last)).collect();
    let ipamd = Ipamd::start(&at[..3])?;
    for (address, behaviour) in at.iter().zip([Behaviour::Counts(WELL), Behaviour::Counts(ODD), Behaviour::Status(404)])
    {
        ipamd.set(&address.to_string(), behaviour);
    }
    for (node, address) in nodes.iter().zip(&at) {
        move_node(&cluster, node, *address).await?;
    }
    cluster.audit("{}").await?;
    cluster.start_operator(Start::default())?;
    cluster.until_ready().await?;
    cluster.until_ec2_was_read(3).await?;
    assert!(ipamd.asked().is_empty(), "nobody is asked unless the spec says so: {:?}", ipamd.asked());
    let report = cluster.get(Kind::Node, &nodes[0].name).await?.unwrap();
    assert!(report.at("/status/ipamd").is_null() && !report.conditions().join(" ").contains("Ipamd"));

    cluster.audit(&spec("NodeAddress", ipamd.port())).await?;
    what_each_node_says_is_told(&mut cluster, &nodes).await?;
    an_answer_that_says_the_same_again_is_not_written(&mut cluster, &ipamd, &at[0].to_string()).await?;
    what_heals_is_resolved(&mut cluster, &ipamd, (&nodes[1], at[1])).await?;

    cluster.audit("{}").await?;
    let gone =
        |report: &Object| report.at("/status/ipamd").is_null() && report.condition("IpamdReachable").status.is_empty();
    cluster.until_report((Kind::Node, &nodes[0].name), "nothing of ipamd", gone).await?;
    let asked = ipamd.asked();
    cluster.until_ec2_was_read(6).await?;
    assert_eq!(ipamd.asked(), asked, "nobody is asked any more");
    Ok(())
}

async fn what_each_node_says_is_told(cluster: &mut Cluster, nodes: &[PlannedNode]) -> Result<()> {
    let report = until_condition(cluster, &nodes[0], ("True", "Answers", "answers")).await?;
    assert_eq!(numbers(&report), [Some(29), Some(1), Some(1)]);
    assert_eq!(report.at("/status/ipamd/reachable"), &json!(true));
    assert_eq!(report.number("/status/addresses/held"), Some(29), "beside EC2's own");
    until_condition(cluster, &nodes[2], ("False", "Malformed", "answers HTTP 404")).await?;
    let silent = until_condition(cluster, &nodes[3], ("False", "Unreachable", "refuses the connection")).await?;
    assert_eq!((silent.at("/status/ipamd/reachable"), numbers(&silent)), (&json!(false), [None; 3]));
    let found = |code: &'static str| move |report: &Object| report.codes().contains(&code);
    let report = cluster.until_report((Kind::Node, &nodes[1].name), "IPAM435", found("IPAM435")).await?;
    let findings = report.items("/status/findings");
    let finding = findings.iter().find(|finding| finding["code"] == "IPAM435").context("it was there")?;
    let message = finding["message"].as_str().unwrap();
    assert!(message.starts_with("ipamd counts 31 pod addresses, EC2 has 29 on the node's interfaces"), "{message}");
    for (name, value) in [("ipamdTotal", "31"), ("ec2", "29"), ("pods", "1")] {
        assert!(
            finding["evidence"].as_array().unwrap().contains(&json!({"name": name, "value": value})),
            "{name} in {finding}"
        );
    }
    let well = cluster.get(Kind::Node, &nodes[0].name).await?.unwrap();
    assert!(!well.codes().contains(&"IPAM435"), "{:?}", well.codes());
    cluster.until_report((Kind::Node, &nodes[3].name), "IPAM219", found("IPAM219")).await?;
    let audit = cluster.until_ready().await?;
    assert_eq!(audit.condition("DataComplete").status, "True", "one node is not the source");
    let described = cluster.kubectl(&["describe", "ipnode", &nodes[3].name]).await?;
    assert!(described.contains("IpamdReachable") && described.contains("refuses the connection"), "{described}");
    Ok(())
}

async fn an_answer_that_says_the_same_again_is_not_written(
    cluster: &mut Cluster,
    ipamd: &Ipamd,
    who: &str,
) -> Result<()> {
    for attempt in 0.. {
        let witness = cluster.witness()?;
        until_asked(cluster, ipamd, who, 2).await?;
        let writes = witness.writes(cluster)?;
        if writes.is_empty() {
            return Ok(());
        }
        assert!(attempt < 5, "it does not come to rest: {writes:?}");
    }
    Ok(())
}

async fn what_heals_is_resolved(
    cluster: &mut Cluster,
    ipamd: &Ipamd,
    (node, address): (&PlannedNode, Ipv4Addr),
) -> Result<()> {
    ipamd.set(&address.to_string(), Behaviour::Counts(WELL));
    let well = |report: &Object| !report.codes().contains(&"IPAM435") && numbers(report)[0] == Some(29);
    cluster.until_report((Kind::Node, &node.name), "the books agree", well).await?;
    Ok(())
}

#[tokio::test]
async fn pods_are_asked_through_the_api_server_once_the_right_is_there() -> Result<()> {
    let mut cluster = installed().await?;
    let nodes = nodes(&cluster);
    // The API server does not connect to loopback addresses.
    let address = address_of_this_machine()?;
    let ipamd = Ipamd::start(&[address])?;
    let behaviours = [Behaviour::Counts(WELL), Behaviour::Counts(ODD), Behaviour::Status(404), Behaviour::Closes];
    for (node, behaviour) in nodes.iter().zip(behaviours) {
        ipamd.set(aws_node(node), behaviour);
        move_pod(&cluster, node, address).await?;
    }
    cluster.audit(&spec("PodProxy", ipamd.port())).await?;
    cluster.start_operator(Start::default())?;

    let denied = |audit: &Object| {
        let complete = audit.condition("DataComplete");
        (complete.status, complete.reason) == ("False", "Denied")
    };
    let audit = cluster.until_audit("DataComplete is False, Denied", denied).await?;
    let message = audit.condition("DataComplete").message;
    for words in ["ipamd", "get pods/proxy in namespace kube-system", "ipam-audit rbac --with pod-proxy"] {
        assert!(message.contains(words), "{words:?} in {message}");
    }
    assert_eq!(audit.condition("Ready").status, "True", "all that every audit needs was read");
    until_condition(&mut cluster, &nodes[0], ("Unknown", "Denied", "pods/proxy")).await?;
    assert!(ipamd.asked().is_empty());

    cluster.plane.apply_manifests(&repository().join("deploy/components/pod-proxy/rbac.yaml")).await?;
    cluster.until_ready().await?;
    let report = until_condition(&mut cluster, &nodes[0], ("True", "Answers", "answers")).await?;
    assert_eq!(numbers(&report), [Some(29), Some(1), Some(1)]);
    let pod = format!("kube-system/{}", aws_node(&nodes[2]));
    until_condition(&mut cluster, &nodes[2], ("False", "Malformed", &format!("{pod} answers HTTP 404"))).await?;
    let words = format!("kube-system/{} cannot be reached by the API server", aws_node(&nodes[3]));
    until_condition(&mut cluster, &nodes[3], ("False", "Unreachable", &words)).await?;
    let odd = |report: &Object| report.codes().contains(&"IPAM435");
    cluster.until_report((Kind::Node, &nodes[1].name), "IPAM435", odd).await?;

    let asked: Vec<String> = ipamd.asked().into_keys().collect();
    let mut pods: Vec<&str> = nodes.iter().map(aws_node).collect();
    pods.sort_unstable();
    assert_eq!(asked, pods, "the pods of aws-node and no other");
    Ok(())
}
