//! What a user does with audits: asks for one now, runs several side by side, deletes one, reads the events of a pod.

#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test")]

use std::collections::BTreeSet;

use anyhow::Result;
use ipam_audit_e2e::{AUDIT, Cluster, Kind, Object, Start, crowded};
use ipam_audit_testkit::controlplane::Options;
use ipam_audit_testkit::scenario::{Place, Scenario};

const READING: &str = "DescribeNetworkInterfaces";

#[tokio::test]
async fn an_annotation_asks_for_an_audit_now_with_ec2_read_anew() -> Result<()> {
    let mut cluster = Cluster::of(crowded()?).await?;
    cluster.install().await?;
    cluster.audit("{}").await?;
    cluster.start_operator(Start { ec2_interval: Some("24h"), ..Start::default() })?;
    let audit = cluster.until_ready().await?;
    assert_eq!((audit.text("/status/display/freeAddresses"), audit.text("/status/lastHandledRequest")), ("3", ""));

    let mut seed = cluster.ec2()?.state();
    cluster.scenario.release_addresses(&mut seed, 10);
    cluster.ec2()?.load(seed)?;
    for (request, words) in [("first", "a request"), ("second", "another one, although nothing has changed since")] {
        let before = cluster.ec2()?.request_log().count(READING);
        ask(&cluster, request).await?;
        let answered = |audit: &Object| audit.text("/status/lastHandledRequest") == request;
        let audit = cluster.until_audit(words, answered).await?;
        assert_eq!(audit.text("/status/display/freeAddresses"), "79", "EC2 was read after it was asked for");
        assert_eq!(cluster.ec2()?.request_log().count(READING), before + 1, "{words}: once");
    }
    assert_eq!(cluster.warnings(), Vec::<String>::new());
    Ok(())
}

async fn ask(cluster: &Cluster, value: &str) -> Result<()> {
    let annotation = format!("ipam-audit.dev/requested-at={value}");
    cluster.kubectl(&["annotate", "--overwrite", "ipamaudit", AUDIT, &annotation]).await.map(drop)
}

#[tokio::test]
async fn audits_side_by_side_write_their_own_reports_and_one_that_goes_takes_only_its_own() -> Result<()> {
    let garbage = Options { controller_manager: true, ..Options::default() };
    let mut cluster = Cluster::with(crowded()?, garbage).await?;
    cluster.install().await?;
    let nodes: Vec<String> = cluster.scenario.plan().nodes.iter().map(|node| node.name.clone()).collect();
    let (left, right) = nodes.split_at(2);
    for (side, nodes) in [("left", left), ("right", right)] {
        for node in nodes {
            cluster.kubectl(&["label", "node", node, &format!("side={side}")]).await?;
        }
        cluster.audit_named(side, &format!("{{scope: {{nodeSelector: {{matchLabels: {{side: {side}}}}}}}}}")).await?;
    }
    cluster.audit("{}").await?;
    cluster.start_operator(Start::default())?;
    cluster.until_ready().await?;

    let subnet = cluster.scenario.subnet_id("a").unwrap().to_owned();
    let of = |side: &str, nodes: &[String]| -> BTreeSet<String> {
        nodes.iter().chain([&subnet]).map(|subject| format!("{subject}.{side}")).collect()
    };
    let plain: BTreeSet<String> = nodes.iter().chain([&subnet]).cloned().collect();
    let all: BTreeSet<String> = [of("left", left), of("right", right), plain.clone()].into_iter().flatten().collect();
    let names = async |cluster: &Cluster, wanted: &BTreeSet<String>| {
        let mut reports = cluster.list(Kind::Node).await?;
        reports.extend(cluster.list(Kind::Subnet).await?);
        let names: BTreeSet<String> = reports.iter().map(|report| report.name().to_owned()).collect();
        Ok((names == *wanted).then_some(reports))
    };
    let reports = cluster.until("each audit has its own reports", async |cluster: &Cluster| names(cluster, &all).await);
    let reports = reports.await?;

    cluster.kubectl(&["delete", "ipamaudit", "left"]).await?;
    let rest: BTreeSet<String> = of("right", right).union(&plain).cloned().collect();
    let left_over = cluster.until("its reports went with it", async |cluster: &Cluster| names(cluster, &rest).await);
    let left_over = left_over.await?;
    let untouched: Vec<&Object> = reports.iter().filter(|report| rest.contains(report.name())).collect();
    assert_eq!(left_over.iter().collect::<Vec<_>>(), untouched, "nobody else's report was touched");
    Ok(())
}

#[tokio::test]
async fn a_pod_that_nothing_reaches_says_so_itself_and_only_once() -> Result<()> {
    let mut cluster = Cluster::of(Scenario::named("branch-limit")?).await?;
    cluster.install().await?;
    cluster.audit("{thresholds: {suspicionSeconds: 10}}").await?;
    cluster.start_operator(Start::default())?;
    cluster.until_ready().await?;

    let (branch, namespace, pod) = a_branch(&cluster);
    let uid = cluster.json(&["get", "pod", "-n", &namespace, &pod]).await?.text("/metadata/uid").to_owned();
    let mut seed = cluster.ec2()?.state();
    seed.interfaces.retain(|interface| interface.id.as_deref() != Some(branch.as_str()));
    cluster.ec2()?.load(seed)?;
    let about_pod = async |cluster: &Cluster| -> Result<Vec<Object>> {
        let events = cluster.events().await?;
        Ok(events.into_iter().filter(|event| event.text("/regarding/kind") == "Pod").collect())
    };
    let told = async |cluster: &Cluster| Ok(Some(about_pod(cluster).await?).filter(|events| !events.is_empty()));
    let events = cluster.until("an event about the pod", told).await?;
    let [event] = events.as_slice() else { panic!("one event: {events:#?}") };
    let regarding = ["namespace", "name", "uid"].map(|field| event.text(&format!("/regarding/{field}")));
    assert_eq!(regarding, [namespace.as_str(), &pod, &uid]);
    assert_eq!((event.text("/metadata/namespace"), event.text("/related/kind")), (namespace.as_str(), "IpamAudit"));
    assert!(event.text("/note").starts_with("IPAM314: "), "{event:?}");
    let described = cluster.kubectl(&["describe", "pod", "-n", &namespace, &pod]).await?;
    assert!(described.contains("IPAM314"), "{described}");

    cluster.kill_operator();
    cluster.ec2()?.reset_request_log();
    cluster.start_operator(Start { args: vec!["--identity=another".to_owned()], ..Start::default() })?;
    cluster.until_ec2_was_read(3).await?;
    assert_eq!(about_pod(&cluster).await?, events, "whoever takes over repeats nothing");

    cluster.delete_pod(&namespace, &pod).await?;
    let resolved = async |cluster: &Cluster| {
        let events = about_pod(cluster).await?;
        Ok(events.into_iter().find(|event| event.text("/type") == "Normal"))
    };
    let event = cluster.until("an event that it is over", resolved).await?;
    assert_eq!(event.text("/regarding/uid"), uid, "also when the pod is gone");
    Ok(())
}

/// A branch interface, and the namespace and name of its pod.
fn a_branch(cluster: &Cluster) -> (String, String, String) {
    let mut found: Option<(String, String, String)> = None;
    for node in &cluster.scenario.plan().nodes {
        for pod in &node.pods {
            if let Place::Branch(at) = pod.place {
                let names = (pod.workload.namespace.clone(), pod.name.clone());
                found = node.interfaces[at].id.clone().map(|id| (id, names.0, names.1));
            }
        }
    }
    found.unwrap()
}
