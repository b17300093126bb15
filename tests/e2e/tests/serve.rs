//! What the running operator says of itself: probes, metrics, its state, its log and its traces, each read as those who
//! made the formats read it.

#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test")]

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use ipam_audit_e2e::{AUDIT, Cluster, Kind, PodSpec, Scrape, Start, crowded, idle_address, repository};
use ipam_audit_testkit::ec2::{Effect, Fault};
use ipam_audit_testkit::telemetry::{Collector, parse_traces};
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::Value;

const OF_AUDIT: (&str, &str) = ("audit", AUDIT);

async fn running(args: &[&str]) -> Result<Cluster> {
    let mut cluster = Cluster::of(crowded()?).await?;
    cluster.install().await?;
    cluster.audit("{}").await?;
    cluster.start_operator(Start { args: args.iter().map(|arg| (*arg).to_owned()).collect(), ..Start::default() })?;
    cluster.until_ready().await?;
    Ok(cluster)
}

/// Waits until a scrape is as wanted.
async fn until_scrape(cluster: &mut Cluster, what: &str, wanted: impl Fn(&Scrape) -> bool) -> Result<Scrape> {
    cluster.until(what, async |cluster: &Cluster| Ok(Some(cluster.scrape().await?).filter(&wanted))).await
}

/// The metrics that docs/operations.md names, with their full names.
fn documented() -> BTreeSet<String> {
    let document = fs::read_to_string(repository().join("docs/operations.md")).unwrap();
    let section = document.split_once("\n## Metrics\n").unwrap().1;
    let section = section.split_once("\n### ").unwrap().0;
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let names = rows.flat_map(|cell| cell.split(['`', ',', ' ']).filter(|name| !name.is_empty()));
    let ours = names.map(|name| format!("ipam_audit_{name}"));
    let words = section.split('`').skip(1).step_by(2);
    let of_process = words.filter(|word| word.starts_with("process_")).map(str::to_owned);
    ours.chain(of_process).collect()
}

#[tokio::test]
async fn metrics_say_what_reports_say_are_documented_and_go_with_their_objects() -> Result<()> {
    let mut cluster = running(&["--node-metrics"]).await?;
    let report = cluster.list(Kind::Subnet).await?.remove(0);
    let subnet = ("subnet", report.text("/spec/subnet"));
    let all = until_scrape(&mut cluster, "the series of the audit", |scrape| {
        scrape.value("ipam_audit_last_success_timestamp_seconds", &[OF_AUDIT]).is_some()
    })
    .await?;

    // Three addresses of 123 are free; each of the four nodes holds 29 for a pod.
    let of = |name: &str, labels: &[(&str, &str)]| all.value(&format!("ipam_audit_{name}"), labels);
    assert_eq!(of("subnet_available_addresses", &[OF_AUDIT, subnet]), Some(3.0));
    assert_eq!(of("subnet_total_addresses", &[subnet, ("zone", "eu-central-1a")]), Some(123.0));
    assert_eq!(of("subnet_addresses", &[subnet, ("class", "own")]), Some(4.0));
    assert_eq!(of("subnet_addresses", &[subnet, ("class", "pods")]), Some(4.0));
    assert_eq!(of("subnet_held_addresses", &[subnet]), Some(116.0));
    assert_eq!(of("idle_addresses", &[OF_AUDIT]), Some(112.0));
    assert_eq!(of("cluster_held_addresses", &[OF_AUDIT]), Some(116.0));
    assert_eq!(of("cluster_interfaces", &[OF_AUDIT]), Some(4.0));
    assert_eq!(of("nodes", &[OF_AUDIT, ("category", "total")]), Some(4.0));
    assert_eq!(of("nodes", &[OF_AUDIT, ("category", "unknown")]), Some(0.0));
    let node = cluster.list(Kind::Node).await?.remove(0);
    let node = ("node", node.text("/spec/node"));
    assert_eq!(of("node_addresses", &[node, ("state", "pods")]), Some(1.0));
    assert_eq!(of("node_held_addresses", &[node]), Some(29.0));
    assert_eq!(of("leader", &[]), Some(1.0));
    assert!(of("ec2_requests_total", &[("action", "DescribeSubnets"), ("result", "ok")]) >= Some(1.0));
    assert!(of("ec2_budget_remaining", &[("action", "DescribeSubnets")]) > Some(0.0));
    assert!(all.value("process_resident_memory_bytes", &[]) > Some(1e6));

    names_are_those_of_the_document(&mut cluster).await?;
    series_go_with_their_objects(&mut cluster, node.1).await
}

async fn names_are_those_of_the_document(cluster: &mut Cluster) -> Result<()> {
    // Some are there only while something is wrong.
    let fault = cluster.ec2()?.faults().add(Fault::new(Effect::UnauthorizedOperation).on("DescribeSubnets"));
    let faulty = until_scrape(cluster, "a faulty source", |scrape| {
        scrape.count("ipam_audit_source_fault", &[("category", "Denied")]) > 0
    })
    .await?;
    assert!(faulty.value("ipam_audit_ec2_requests_total", &[("result", "failed")]).is_some());
    cluster.ec2()?.faults().remove(fault);
    let served: BTreeSet<String> = faulty.families().into_iter().map(|(name, _, _)| name).collect();
    assert_eq!(served, documented(), "served and documented");
    for (name, kind, help) in faulty.families() {
        let ends = |end: &str| name.ends_with(end);
        assert!(help.len() > 10, "{name} has no help");
        assert!(
            kind != "unknown" && ends("_total") == (kind == "counter") && ends("_info") == (kind == "info"),
            "{name}"
        );
        assert!(!ends("_milliseconds") && !ends("_minutes") && !ends("_kilobytes"), "{name}: base units");
    }
    Ok(())
}

async fn series_go_with_their_objects(cluster: &mut Cluster, node: &str) -> Result<()> {
    Api::<Node>::all(cluster.client()).delete(node, &DeleteParams::default()).await?;
    let fewer = until_scrape(cluster, "three nodes", |scrape| {
        scrape.value("ipam_audit_nodes", &[OF_AUDIT, ("category", "total")]) == Some(3.0)
    })
    .await?;
    assert!(!fewer.values_of_label("node").contains(node), "{:?}", fewer.values_of_label("node"));
    assert_eq!(fewer.values_of_label("node").len(), 3);
    cluster.kubectl(&["delete", "ipamaudit", AUDIT]).await?;
    // Another audit is what the operator looks at next.
    let other = "apiVersion: ipam-audit.dev/v1alpha1\nkind: IpamAudit\nmetadata: {name: another}\nspec: {}\n";
    cluster.plane.apply_yaml(other).await?;
    let scrape = until_scrape(cluster, "the other audit", |scrape| {
        scrape.value("ipam_audit_nodes", &[("audit", "another"), ("category", "total")]).is_some()
    })
    .await?;
    assert_eq!(scrape.values_of_label("audit"), BTreeSet::from(["another".to_owned()]));
    Ok(())
}

#[tokio::test]
async fn it_is_alive_at_once_and_says_what_it_waits_for_until_it_is_ready() -> Result<()> {
    let mut cluster = Cluster::of(crowded()?).await?;
    cluster.install_rights().await?;
    cluster.start_operator(Start::default())?;
    let missing = "- the CRDs";
    let look = async |cluster: &Cluster| {
        let answer = cluster.ask("GET", "/readyz", "").await?;
        Ok(Some(answer).filter(|answer| answer.body.contains("ipamaudits.ipam-audit.dev")))
    };
    let unready = cluster.until(missing, look).await?;
    assert_eq!(unready.code, 503);
    assert!(unready.body.starts_with("waiting for:\n- "), "{}", unready.body);
    assert_eq!(cluster.ask("GET", "/livez", "").await?.code, 200);
    let lost = cluster.ask("GET", "/statz", "").await?;
    assert_eq!(lost.code, 404);
    assert!(lost.body.contains("/debug/state") && lost.body.contains("/metrics"), "{}", lost.body);

    cluster.install().await?;
    let look = async |cluster: &Cluster| {
        Ok(Some(cluster.ask("GET", "/readyz", "").await?).filter(|answer| answer.code == 200))
    };
    assert_eq!(cluster.until("it is ready", look).await?.body, "ok\n");
    Ok(())
}

#[tokio::test]
async fn its_state_can_be_compared_and_its_log_turned_up_while_it_runs() -> Result<()> {
    let mut cluster = running(&["--identity=one"]).await?;
    // The status is written a moment before it is noted that it was.
    let ran = async |cluster: &Cluster| {
        let state = cluster.debug_state().await?;
        Ok(state["audits"]["items"][0]["lastPublication"].is_object().then_some(()))
    };
    cluster.until("the state tells of the audit's publication", ran).await?;
    the_state_has_numbers_and_no_contents(&cluster).await?;
    the_log_is_turned_up_and_down(&mut cluster).await?;

    // Another process that knows the same says the same.
    let before = rows(&cluster.debug_state().await?, &["nodes", "pods", "daemonsets", "aws-node pods"]);
    ensure!(before.iter().all(|(_, rows, _)| *rows > 0), "{before:?}");
    cluster.kill_operator();
    cluster.start_operator(Start { args: vec!["--identity=other".to_owned()], ..Start::default() })?;
    let same = async |cluster: &Cluster| {
        let state = cluster.debug_state().await?;
        let now = rows(&state, &["nodes", "pods", "daemonsets", "aws-node pods"]);
        Ok((now == before && state["identity"] == "other").then_some(()))
    };
    cluster.until("the same rows and checksums", same).await?;
    cluster.kubectl(&["label", "nodes", "--all", "example.com/colour=red"]).await?;
    let changed = async |cluster: &Cluster| {
        let now = rows(&cluster.debug_state().await?, &["nodes", "pods"]);
        Ok((now[0].2 != before[0].2 && now[1] == before[1]).then_some(()))
    };
    cluster.until("another checksum of nodes alone", changed).await
}

/// Name, rows and checksum of watches.
fn rows(state: &Value, watches: &[&str]) -> Vec<(String, u64, String)> {
    let all = state["index"]["watches"].as_array().unwrap();
    let of = |name: &&str| {
        let watch = all.iter().find(|watch| watch["watch"] == **name);
        watch.map(|watch| {
            let checksum = watch["checksum"].as_str().unwrap();
            ((*name).to_owned(), watch["rows"].as_u64().unwrap(), checksum.to_owned())
        })
    };
    watches.iter().filter_map(of).collect()
}

async fn the_state_has_numbers_and_no_contents(cluster: &Cluster) -> Result<()> {
    let answer = cluster.ask("GET", "/debug/state", "").await?;
    let state: Value = serde_json::from_str(&answer.body)?;
    for watch in state["index"]["watches"].as_array().unwrap() {
        assert_eq!((&watch["listed"], &watch["connected"]), (&true.into(), &true.into()), "{watch}");
        assert!(watch["lastList"]["at"].is_string(), "{watch}");
        assert!(watch["listsAre"] == "streamed" && watch["fault"].is_null(), "{watch}");
        // ConfigMaps are read one by one, and have no position.
        assert!(watch["position"].is_string() || watch["watch"] == "configmaps", "{watch}");
    }
    assert_eq!(state["leadership"]["held"], true);
    assert!(state["leadership"]["claimSeconds"].as_f64() > Some(0.0), "{}", state["leadership"]);
    let audit = &state["audits"]["items"][0];
    assert_eq!((&audit["name"], &audit["specGeneration"]), (&AUDIT.into(), &1.into()), "{audit}");
    assert!(audit["lastPublication"]["milliseconds"].is_u64() && audit["restsBecause"].is_string(), "{audit}");
    let scope = &state["ec2"]["items"][0];
    assert_eq!(scope["audits"][0], AUDIT);
    assert!(scope["calls"].as_array().is_some_and(|calls| calls.iter().any(|call| call["requests"] != 0)), "{scope}");
    assert!(scope["sources"].as_array().is_some_and(|sources| sources[1]["ageSeconds"].is_number()), "{scope}");
    assert_eq!(state["settings"]["ec2Interval"], 2.0);
    for node in cluster.list(Kind::Node).await? {
        assert!(!answer.body.contains(node.text("/spec/node")), "a node is named");
    }
    for secret in ["WARM_ENI_TARGET", "10.80.", "bread"] {
        assert!(!answer.body.contains(secret), "{secret}");
    }
    Ok(())
}

async fn the_log_is_turned_up_and_down(cluster: &mut Cluster) -> Result<()> {
    assert!(cluster.logged("DEBUG").is_empty());
    let nonsense = cluster.ask("PUT", "/log-level", "info,x=loud").await?;
    assert!(nonsense.code == 400 && nonsense.body.contains("write a level"), "{nonsense:?}");
    assert_eq!(cluster.ask("PUT", "/log-level", "info,kube_client=debug,hyper_util=debug").await?.code, 200);
    cluster.until_logged("DEBUG").await?;
    assert_eq!(cluster.ask("PUT", "/log-level", "info\n").await?.code, 200);
    assert_eq!(cluster.ask("GET", "/log-level", "").await?.body, "info\n");
    let lines = cluster.logged("DEBUG").len();
    cluster.until_ec2_was_read(2).await?;
    assert_eq!(cluster.logged("DEBUG").len(), lines, "it is quiet again");
    Ok(())
}

/// The lines of a log in JSON; every one has to be an object with a time, a level and a message.
fn json_lines(cluster: &Cluster) -> Result<Vec<Value>> {
    let log = cluster.log();
    let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let read = |line: &str| {
        let line: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
        assert!(line["fields"]["message"].is_string(), "{line}");
        Ok(line)
    };
    whole.lines().map(read).collect()
}

fn audited(cluster: &Cluster) -> Result<Vec<Value>> {
    Ok(json_lines(cluster)?.into_iter().filter(|line| line["fields"]["message"] == "audited").collect())
}

#[tokio::test]
async fn each_audit_that_writes_is_one_line_and_each_audit_a_trace() -> Result<()> {
    let collector = Collector::start()?;
    let endpoint = format!("--otlp-endpoint={}", collector.endpoint());
    let mut cluster = running(&["--log-format=json", &endpoint, "--identity=one"]).await?;
    one_line_for_each_audit_that_writes(&mut cluster).await?;
    an_audit_is_a_trace_with_its_stages(&mut cluster, &collector).await?;
    a_collector_that_fails_costs_two_lines(&mut cluster, &collector).await
}

async fn one_line_for_each_audit_that_writes(cluster: &mut Cluster) -> Result<()> {
    cluster.until_ec2_was_read(2).await?;
    let before = audited(cluster)?;
    assert!(before.iter().skip(1).all(|line| line["fields"]["needed"].as_u64() > Some(0)), "{before:?}");
    cluster.until_ec2_was_read(3).await?;
    assert_eq!(audited(cluster)?.len(), before.len(), "nothing has changed");
    let node = cluster.scenario.plan().nodes[0].clone();
    cluster.run_pod(PodSpec::new("bakery", "rolls", &node.name, idle_address(&node)?)).await?;
    let more = async |cluster: &Cluster| Ok((audited(cluster)?.len() > before.len()).then_some(()));
    cluster.until("a line about the audit of the new pod", more).await?;
    for line in audited(cluster)?.iter().skip(before.len()) {
        assert_eq!(line["level"], "INFO");
        assert!(line["fields"]["needed"].as_u64() > Some(0), "{line}");
    }
    Ok(())
}

/// Everything that a collector has received.
async fn spans(collector: &Collector) -> Result<Vec<Value>> {
    let mut spans = Vec::new();
    for received in collector.received() {
        ensure!(received.path == "/v1/traces" && received.headers["content-type"] == "application/json");
        spans.extend(tokio::task::spawn_blocking(move || parse_traces(&received.body)).await??);
    }
    Ok(spans)
}

async fn an_audit_is_a_trace_with_its_stages(cluster: &mut Cluster, collector: &Collector) -> Result<()> {
    let finished = async |_: &Cluster| {
        let all = spans(collector).await?;
        let audit = all.iter().find(|span| span["name"] == "audit" && span["attributes"]["nodes"] == 4).cloned();
        Ok(audit.map(|audit| (audit, all)))
    };
    let (audit, all) = cluster.until("the trace of an audit", finished).await?;
    assert_eq!((&audit["parent"], &audit["failed"]), (&"".into(), &false.into()));
    assert_eq!(audit["attributes"]["audit"], AUDIT);
    assert!(audit["attributes"]["written"].is_i64() && audit["attributes"]["critical"].is_i64(), "{audit}");
    assert_eq!(audit["resource"]["service.name"], "ipam-audit");
    assert_eq!(audit["resource"]["service.instance.id"], "one");
    let stages: BTreeSet<&str> = all
        .iter()
        .filter(|span| span["trace"] == audit["trace"] && span["parent"] == audit["id"])
        .filter_map(|span| span["name"].as_str())
        .collect();
    assert_eq!(stages, BTreeSet::from(["collect", "snapshot", "evaluate", "render", "publish"]));
    Ok(())
}

async fn a_collector_that_fails_costs_two_lines(cluster: &mut Cluster, collector: &Collector) -> Result<()> {
    let node = cluster.scenario.plan().nodes[1].clone();
    collector.refuse(Some(401));
    cluster.run_pod(PodSpec::new("bakery", "buns", &node.name, idle_address(&node)?)).await?;
    cluster.until_logged("traces cannot be sent: it answers 401 Unauthorized").await?;
    cluster.delete_pod("bakery", "buns").await?;
    cluster.until_audit("the pod is gone", |audit| audit.text("/status/display/idleAddresses") == "111").await?;
    collector.refuse(None);
    cluster.run_pod(PodSpec::new("bakery", "cakes", &node.name, idle_address(&node)?)).await?;
    cluster.until_logged("traces are sent again").await?;
    assert_eq!(cluster.logged("traces cannot be sent").len(), 1, "{}", cluster.log());
    json_lines(cluster)?;
    Ok(())
}
