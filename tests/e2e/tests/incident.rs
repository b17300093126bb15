//! What a user sees of the shipped scenarios, by kubectl alone: the incident, a healthy cluster, and trunks at their limit.

#![expect(clippy::unwrap_used, reason = "what cannot be had fails the test")]

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use ipam_audit_e2e::{AUDIT, Cluster, Kind, Object};
use ipam_audit_testkit::scenario::Scenario;

/// The answer itself fits any terminal; tables of nodes and subnets are as wide as their names.
const WIDTH: usize = 120;

#[tokio::test]
async fn the_incident_is_explained() -> Result<()> {
    let mut cluster = Cluster::running(Scenario::named("incident")?).await?;
    let audit = cluster.until_ready().await?;
    the_summary_answers_what_why_and_what_to_do(&audit);
    problems_are_causes_not_nodes(&audit);
    the_audit_is_one_line(&cluster).await?;
    the_subnets_say_where_their_addresses_went(&cluster).await?;
    a_batch_node_holds_a_hundred_addresses_for_one_pod(&cluster).await?;
    a_web_node_says_who_waits_and_why(&cluster).await?;
    every_report_is_there(&cluster).await?;
    describing_the_audit_reads_as_an_explanation(&cluster).await?;
    events_come_once_and_not_as_a_flood(&mut cluster).await
}

fn the_summary_answers_what_why_and_what_to_do(audit: &Object) {
    let sentences: Vec<&str> = audit.text("/status/summary").lines().collect();
    assert_eq!(
        sentences,
        [
            "3 of 3 subnets are full: the next node in eu-central-1a, eu-central-1b or eu-central-1c finds no room for its \
             pods, and 14 pods already wait.",
            "11,640 addresses are held by nodes for pods that do not exist; all of them on 120 m6a.32xlarge nodes of \
             node group batch, which keep 98 pod addresses each (100 with their interfaces' own) for 1 pod of deployment \
             shop/resizer.",
            "Setting MINIMUM_IP_TARGET=10 WARM_IP_TARGET=3 frees 10,680 addresses within minutes and costs at most 2 EC2 \
             calls per pod start beyond the pool.",
        ]
    );
}

fn problems_are_causes_not_nodes(audit: &Object) {
    let problems = audit.items("/status/problems").iter().map(|problem| {
        let text = |field: &str| problem[field].as_str().unwrap_or_default().to_owned();
        (text("code"), text("severity"), text("group"), problem["count"].as_i64().unwrap_or_default())
    });
    let problem = |code: &str, severity: &str, group: &str, count| {
        (code.to_owned(), severity.to_owned(), group.to_owned(), count)
    };
    assert_eq!(
        problems.collect::<Vec<_>>(),
        [
            problem("IPAM101", "critical", "subnet-0a1f4c8e27d95b360", 1),
            problem("IPAM101", "critical", "subnet-0b72e5d913f8a6c41", 1),
            problem("IPAM101", "critical", "subnet-0c958b2f4e61d7a03", 1),
            problem("IPAM201", "critical", "web", 3),
            problem("IPAM210", "warning", "batch", 120),
            problem("IPAM211", "warning", "web", 3),
        ]
    );
    assert_eq!(audit.number("/status/totals/waitingPods"), Some(14));
}

async fn the_audit_is_one_line(cluster: &Cluster) -> Result<()> {
    let table = cluster.table(&["get", "ipamaudits"]).await?;
    table.fits(WIDTH)?;
    let row = table.row(AUDIT)?;
    let cells = row.cells(["READY", "HEALTHY", "CRITICAL", "WARNING", "NODES", "SUBNETS", "FREE-IPS", "WASTED-IPS"]);
    assert_eq!(cells, ["True", "False", "4", "2", "123", "3", "41", "11,640"]);
    assert!(row.cell("LAST-AUDIT").ends_with(['s', 'm']), "{row:?}");

    let wide = cluster.table(&["get", "ipa", "-o", "wide"]).await?;
    let row = wide.row(AUDIT)?;
    assert!(row.cell("MIN-FREE").contains("13"), "{row:?}");
    assert_eq!(row.cells(["FREE-28", "LEAKED", "RUNWAY"]), ["0", "0", "now"]);
    assert!(row.cell("MESSAGE").starts_with("3 of 3 subnets are full"), "{row:?}");
    Ok(())
}

async fn the_subnets_say_where_their_addresses_went(cluster: &Cluster) -> Result<()> {
    let table = cluster.table(&["get", "ipsubnet"]).await?;
    let columns = ["ZONE", "CIDR", "HEALTHY", "USABLE", "FREE", "FREE-28", "PODS", "WARM", "LEAKED", "OTHER", "RUNWAY"];
    for (subnet, zone, cidr, free, other) in [
        ("subnet-0a1f4c8e27d95b360", "eu-central-1a", "10.4.128.0/20", "13", "63"),
        ("subnet-0b72e5d913f8a6c41", "eu-central-1b", "10.4.144.0/20", "14", "62"),
        ("subnet-0c958b2f4e61d7a03", "eu-central-1c", "10.4.160.0/20", "14", "62"),
    ] {
        let row = table.row(subnet)?;
        let expected = [zone, cidr, "False", "4,091", free, "0", "54", "3,880", "0", other, "now"];
        assert_eq!(row.cells(columns), expected, "{subnet}");
        assert_eq!(row.cell("WORST"), "subnet-full");
        let report = cluster.get(Kind::Subnet, subnet).await?.unwrap();
        // usable = free + pods + idle + own + other, and nothing is left over.
        let of = |name: &str| report.number(&format!("/status/addresses/{name}"));
        assert_eq!([of("own"), of("unaccounted"), of("branches")], [Some(81), Some(0), Some(0)]);
        let available = report.condition("AddressesAvailable");
        assert_eq!((available.status, available.reason), ("False", "SubnetFull"));
        assert!(available.message.contains(&format!("{free} of 4,091 addresses free")), "{}", available.message);
        assert!(available.message.contains("a new m6a.32xlarge node takes 50"), "{}", available.message);
    }
    Ok(())
}

async fn a_batch_node_holds_a_hundred_addresses_for_one_pod(cluster: &Cluster) -> Result<()> {
    let table = cluster.table(&["get", "ipnode", "--sort-by=.status.addresses.idle"]).await?;
    let last = table.rows().last().unwrap();
    let columns = ["NODEGROUP", "TYPE", "HEALTHY", "ENIS", "PODS", "HELD", "IDLE", "BRANCH", "WORST"];
    let expected = ["batch", "m6a.32xlarge", "False", "2/15", "1", "98", "97", "-", "warm-pool-too-large"];
    assert_eq!(last.cells(columns), expected);

    let node = cluster.scenario.nodes_of("batch").next().unwrap().clone();
    let report = cluster.get(Kind::Node, &node.name).await?.unwrap();
    let subnet = cluster.scenario.subnet_id(&node.subnet).unwrap();
    let free = cluster.ec2()?.available(subnet).unwrap();
    for (kind, status, reason, message) in [
        (
            "WarmPoolSized",
            "False",
            "WarmPoolTooLarge",
            "98 pod addresses on 2 interfaces serve 1 pod; the burst goal needs 10".to_owned(),
        ),
        (
            "SubnetCapacityAvailable",
            "False",
            "SubnetFull",
            format!("{subnet} has {free} free addresses; a new node there takes 50"),
        ),
        ("AddressesReconciled", "True", "AllAccounted", "100 of 100 addresses accounted for".to_owned()),
        (
            "BranchCapacityAvailable",
            "True",
            "NotUsed",
            "the node has no trunk: security groups for pods are off here".to_owned(),
        ),
    ] {
        let seen = report.condition(kind);
        assert_eq!((seen.status, seen.reason, seen.message), (status, reason, message.as_str()), "{kind}");
    }
    let capacity = report.condition("CapacityAvailable");
    assert_eq!((capacity.status, capacity.reason), ("True", "RoomForPods"));
    let finding = &report.items("/status/findings")[0];
    let remediation = finding["remediation"].as_str().unwrap();
    assert!(remediation.contains("MINIMUM_IP_TARGET=10 WARM_IP_TARGET=3 would free 88 addresses"), "{remediation}");
    assert_eq!(report.text("/status/cni/targets"), "WARM_ENI_TARGET=1");
    Ok(())
}

async fn a_web_node_says_who_waits_and_why(cluster: &Cluster) -> Result<()> {
    let mut waiting = 0;
    for node in cluster.scenario.nodes_of("web") {
        let report = cluster.get(Kind::Node, &node.name).await?.unwrap();
        assert_eq!(report.codes(), ["IPAM201", "IPAM211"], "{}", node.name);
        let capacity = report.condition("CapacityAvailable");
        assert_eq!((capacity.status, capacity.reason), ("False", "PodsWaiting"));
        for fragment in ["wait for an address (0 of 14 pod addresses free)", "shop/checkout-", "free addresses"] {
            assert!(capacity.message.contains(fragment), "{}", capacity.message);
        }
        waiting += report.number("/status/waitingPods").unwrap();
    }
    assert_eq!(waiting, 14);
    Ok(())
}

async fn every_report_is_there(cluster: &Cluster) -> Result<()> {
    let reports = cluster.list(Kind::Node).await?;
    let reported: BTreeSet<&str> = reports.iter().map(Object::name).collect();
    let nodes: BTreeSet<&str> = cluster.scenario.plan().nodes.iter().map(|node| node.name.as_str()).collect();
    assert_eq!(reported, nodes);
    for report in &reports {
        let held = report.number("/status/addresses/held").unwrap();
        let [used, idle] = ["used", "idle"].map(|name| report.number(&format!("/status/addresses/{name}")).unwrap());
        assert_eq!(held, used + idle, "{}", report.name());
    }
    assert_eq!(cluster.list(Kind::Subnet).await?.len(), 3);
    let all = cluster.kubectl(&["get", "ipam", "-o", "name"]).await?;
    assert_eq!(all.lines().count(), 123 + 3 + 1, "the category holds all kinds");
    Ok(())
}

async fn describing_the_audit_reads_as_an_explanation(cluster: &Cluster) -> Result<()> {
    let text = cluster.kubectl(&["describe", "ipamaudit", AUDIT]).await?;
    for part in [
        "3 of 3 subnets are full",
        "node group batch",
        "98 pod addresses each (100 with",
        "14 pods already wait",
        "MINIMUM_IP_TARGET=10 WARM_IP_TARGET=3",
        "IPAM101",
        "SubnetFull",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    Ok(())
}

/// 129 findings open at once; a reader of events gets the worst of them and one word about the rest.
async fn events_come_once_and_not_as_a_flood(cluster: &mut Cluster) -> Result<()> {
    cluster.until_ec2_was_read(2).await?;
    let events = cluster.events().await?;
    assert!((7..=25).contains(&events.len()), "{} events", events.len());
    let mut seen: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for event in &events {
        let (about, note) = (event.text("/regarding/name"), event.text("/note"));
        *seen.entry((about, note)).or_default() += 1;
        assert_eq!(event.text("/type"), "Warning", "{note}");
        assert!(!event.text("/regarding/uid").is_empty(), "{note}");
    }
    assert_eq!(seen.values().max(), Some(&1), "an event came twice: {seen:?}");
    let reason = |wanted: &str| events.iter().filter(|event| event.text("/reason") == wanted).collect::<Vec<_>>();
    let full = reason("SubnetFull");
    assert_eq!(full.len(), 3);
    for event in full {
        assert_eq!((event.text("/regarding/kind"), event.text("/regarding/name")), ("IpamAudit", AUDIT));
        assert!(event.text("/note").starts_with("IPAM101: "), "{}", event.text("/note"));
    }
    assert_eq!(reason("PodsWaiting").len(), 3, "what hurts now is told first");
    assert!(reason("PodsWaiting").iter().all(|event| event.text("/regarding/kind") == "Node"));

    let told = events.iter().filter(|event| event.text("/note").starts_with("IPAM")).count();
    let left_out = (129 - told).to_string();
    let roll_up = events.iter().find(|event| !event.text("/note").starts_with("IPAM")).unwrap();
    assert!(roll_up.text("/note").contains(&left_out), "{told} told, but: {}", roll_up.text("/note"));

    let web = &cluster.scenario.nodes_of("web").next().unwrap().name;
    let described = cluster.kubectl(&["describe", "node", web]).await?;
    assert!(described.contains("PodsWaiting") && described.contains("IPAM201: "), "{described}");
    Ok(())
}

#[tokio::test]
async fn a_healthy_cluster_has_nothing_to_report() -> Result<()> {
    let mut cluster = Cluster::running(Scenario::named("healthy")?).await?;
    let audit = cluster.until_ready().await?;
    assert_eq!(audit.text("/status/summary"), "6 nodes in 3 subnets have room: 2,968 addresses free.");
    let row = cluster.table(&["get", "ipamaudits"]).await?;
    let columns = ["READY", "HEALTHY", "CRITICAL", "WARNING", "NODES", "SUBNETS", "FREE-IPS", "WASTED-IPS"];
    assert_eq!(row.row(AUDIT)?.cells(columns), ["True", "True", "0", "0", "6", "3", "2,968", "18"]);
    assert_eq!(audit.items("/status/problems").len(), 0);

    let mut objects = vec![audit];
    objects.extend(cluster.list(Kind::Node).await?);
    objects.extend(cluster.list(Kind::Subnet).await?);
    assert_eq!(objects.len(), 1 + 6 + 3);
    for object in &objects {
        let all = object.conditions();
        assert!(all.len() >= 4, "{}: {all:?}", object.name());
        let not_true: Vec<_> = all.iter().filter(|condition| !condition.ends_with("=True")).collect();
        assert_eq!(not_true, Vec::<&String>::new(), "{}", object.name());
        assert_eq!(object.codes(), Vec::<&str>::new(), "{}", object.name());
    }
    cluster.until_ec2_was_read(2).await?;
    assert_eq!(cluster.events().await?, []);
    assert_eq!(cluster.warnings(), Vec::<String>::new(), "there is nothing to warn of");
    Ok(())
}

#[tokio::test]
async fn trunks_are_measured_by_their_own_limit() -> Result<()> {
    let mut cluster = Cluster::running(Scenario::named("branch-limit")?).await?;
    let audit = cluster.until_ready().await?;
    let row = cluster.table(&["get", "ipamaudits"]).await?;
    let columns = ["HEALTHY", "CRITICAL", "WARNING", "NODES", "SUBNETS"];
    assert_eq!(row.row(AUDIT)?.cells(columns), ["False", "1", "1", "5", "2"]);
    let problems = audit.items("/status/problems").iter();
    let problems =
        problems.map(|problem| (problem["code"].as_str(), problem["group"].as_str(), problem["count"].as_i64()));
    assert_eq!(
        problems.collect::<Vec<_>>(),
        [(Some("IPAM301"), Some("payments"), Some(4)), (Some("IPAM301"), Some("settlement"), Some(1))]
    );

    let table = cluster.table(&["get", "ipnode"]).await?;
    let mut slots: Vec<[&str; 4]> =
        table.rows().iter().map(|row| row.cells(["TYPE", "BRANCH", "HEALTHY", "WORST"])).collect();
    slots.sort_unstable();
    let near = ["m5.large", "8/9", "False", "branch-limit-near"];
    let fifty = ["c5.4xlarge", "50/54", "False", "branch-limit-near"];
    let full = ["m5.large", "9/9", "False", "branch-limit-near"];
    assert_eq!(slots, [fifty, near, near, near, full]);

    let at_limit = cluster.list(Kind::Node).await?;
    let at_limit = at_limit.iter().find(|report| report.text("/status/display/branch") == "9/9").unwrap();
    let condition = at_limit.condition("BranchCapacityAvailable");
    assert_eq!((condition.status, condition.reason), ("False", "BranchLimitNear"));
    let expected =
        format!("9 of 9 branch slots in use on the trunk of {}; the limit is that of m5.large", at_limit.name());
    assert_eq!(condition.message, expected);
    Ok(())
}
