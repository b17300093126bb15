//! EC2 goes wrong in every way it has: that is said with what to do, nothing known is lost, and it heals by itself.

use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener};

use anyhow::Result;
use ipam_audit_e2e::{AUDIT, Cluster, Kind, Object, Start, crowded};
use ipam_audit_testkit::ec2::{Clock, Effect, Fault, Simulator, World};

/// Ready to start, in a cluster whose EC2 can be made to fail first.
async fn installed() -> Result<Cluster> {
    let mut cluster = Cluster::of(crowded()?).await?;
    cluster.install().await?;
    cluster.audit("{}").await?;
    Ok(cluster)
}

/// Waits until the audit says that its data are not complete, for this reason and in these words.
async fn until_incomplete(cluster: &mut Cluster, reason: &str, words: &[&str]) -> Result<Object> {
    let says = |audit: &Object| {
        let complete = audit.condition("DataComplete");
        let worded = words.iter().all(|word| complete.message.contains(word));
        complete.status == "False" && complete.reason == reason && worded
    };
    cluster.until_audit(&format!("DataComplete is False, {reason}, and says {words:?}"), says).await
}

fn cells(audit: &Object) -> [&str; 4] {
    ["nodes", "subnets", "freeAddresses", "idleAddresses"].map(|cell| audit.text(&format!("/status/display/{cell}")))
}

const COMPLETE: [&str; 4] = ["4", "1", "3", "112"];

/// A source that fails says so when it begins, not at every reading.
fn nothing_is_logged_twice(cluster: &Cluster) {
    let warnings = cluster.warnings();
    let distinct: BTreeSet<&String> = warnings.iter().collect();
    assert_eq!(distinct.len(), warnings.len(), "said more than once:\n{}", cluster.log());
}

#[tokio::test]
async fn faults_that_pass_are_told_with_what_to_do_and_heal_by_themselves() -> Result<()> {
    let mut cluster = Cluster::running(crowded()?).await?;
    cluster.until_ready().await?;
    for (effect, reason, words) in [
        (Effect::RequestLimitExceeded, "Throttled", &["EC2 throttles", "RequestLimitExceeded", "tried again"][..]),
        (Effect::InternalError, "ServerFault", &["InternalError", "tried again"]),
        (Effect::HtmlError, "ServerFault", &["HTTP 500", "tried again"]),
        (Effect::AuthFailure, "Credentials", &["AWS refuses the credentials", "check that the role"]),
    ] {
        let fault = cluster.ec2()?.faults().add(Fault::new(effect));
        let audit = until_incomplete(&mut cluster, reason, words).await?;
        assert_eq!(cells(&audit), COMPLETE, "{reason}: the last good numbers stay");
        assert_eq!(audit.condition("Ready").status, "True", "{reason}: the data are recent enough");
        assert_eq!(cluster.list(Kind::Node).await?.len(), 4);
        cluster.ec2()?.faults().remove(fault);
        let audit = cluster.until_ready().await?;
        assert_eq!(cells(&audit), COMPLETE, "{reason}");
    }
    Ok(())
}

#[tokio::test]
async fn a_denied_action_is_named_and_everything_else_is_audited() -> Result<()> {
    let mut cluster = installed().await?;
    cluster.ec2()?.faults().add(Fault::new(Effect::UnauthorizedOperation).on("DescribeSubnets"));
    cluster.start_operator(Start::default())?;
    let audit = until_incomplete(&mut cluster, "Denied", &["ec2:DescribeSubnets", "allow it in the policy"]).await?;
    assert!(!audit.condition("DataComplete").message.contains("ec2:DescribeNetworkInterfaces"));
    assert_eq!(cells(&audit), ["4", "?", "?", "?"], "missing is not zero");
    assert_ne!(audit.condition("Ready").status, "True");
    let inconclusive: Vec<_> =
        audit.items("/status/rules/inconclusive").iter().filter_map(|code| code.as_str()).collect();
    assert!(["IPAM101", "IPAM102"].iter().all(|code| inconclusive.contains(code)), "they need it: {inconclusive:?}");
    assert!(!["IPAM201", "IPAM210"].iter().any(|code| inconclusive.contains(code)), "they do not: {inconclusive:?}");
    assert_eq!(audit.text("/status/display/critical"), "?", "more may be found");
    let problems = audit.items("/status/problems").iter().filter_map(|problem| problem["code"].as_str());
    assert_eq!(problems.collect::<Vec<_>>(), ["IPAM901", "IPAM210"]);

    let node = &cluster.scenario.plan().nodes[0].name.clone();
    let report = cluster.get(Kind::Node, node).await?.unwrap();
    let display = ["held", "idle", "pods"].map(|cell| report.text(&format!("/status/display/{cell}")));
    assert_eq!(display, ["29", "28", "1"], "its interfaces were read");
    let subnet = report.condition("SubnetCapacityAvailable");
    assert_eq!(subnet.status, "Unknown");
    assert!(subnet.message.contains("subnets"), "{}", subnet.message);

    cluster.until_ec2_was_read(4).await?;
    assert_eq!(cluster.logged("ec2:DescribeSubnets").len(), 1, "said once:\n{}", cluster.log());
    cluster.ec2()?.faults().clear();
    let audit = cluster.until_ready().await?;
    assert_eq!(cells(&audit), COMPLETE);
    Ok(())
}

#[tokio::test]
async fn a_long_outage_leaves_the_last_good_reports_and_marks_them() -> Result<()> {
    let mut cluster = installed().await?;
    cluster.audit("{interval: 10s, thresholds: {staleAfter: 1m}}").await?;
    cluster.start_operator(Start::default())?;
    cluster.until_ready().await?;
    let node = cluster.scenario.plan().nodes[0].name.clone();
    let subnet = cluster.scenario.subnet_id("a").unwrap().to_owned();
    let before = (cluster.get(Kind::Node, &node).await?.unwrap(), cluster.get(Kind::Subnet, &subnet).await?.unwrap());
    let events = cluster.events().await?;

    let state = cluster.ec2()?.state();
    let address: SocketAddr = cluster.ec2()?.endpoint().trim_start_matches("http://").parse()?;
    cluster.set_ec2(None);
    until_incomplete(&mut cluster, "Unreachable", &["no answer of EC2", "check the region"]).await?;
    let audit =
        cluster.until_audit("the data are stale", |audit| audit.condition("Ready").reason == "DataStale").await?;
    assert_eq!(cells(&audit), COMPLETE, "the last good numbers stay");
    let state_of = |name: &str| {
        let sources = audit.items("/status/sources").iter();
        sources.clone().find(|source| source["name"] == name).and_then(|source| source["state"].as_str())
    };
    assert_eq!(["network-interfaces", "subnets", "pods"].map(state_of), [Some("Stale"), Some("Stale"), Some("Fresh")]);
    reports_are_marked(&mut cluster, &node, &subnet, &before).await?;
    nothing_is_logged_twice(&cluster);

    let ec2 = Simulator::start_on(address, World::load(state)?, Clock::system())?;
    cluster.set_ec2(Some(ec2));
    cluster.until_ready().await?;
    let fresh = |report: &Object| report.items("/status/staleSources").is_empty();
    let node = cluster.until_report((Kind::Node, &node), "nothing is stale", fresh).await?;
    let subnet = cluster.until_report((Kind::Subnet, &subnet), "nothing is stale", fresh).await?;
    assert_eq!(node.conditions(), before.0.conditions());
    assert_eq!(subnet.conditions(), before.1.conditions());
    cluster.until_ec2_was_read(2).await?;
    let (told, others): (Vec<Object>, Vec<Object>) =
        cluster.events().await?.into_iter().partition(|event| event.text("/reason") == "SourceStale");
    let of_type = |kind: &str| told.iter().filter(|event| event.text("/type") == kind).count();
    // Those that are read once an hour may not have been missed.
    assert!((2..=5).contains(&of_type("Warning")), "{told:?}");
    assert_eq!(of_type("Warning"), of_type("Normal"), "each source of EC2 went once and came back once");
    assert_eq!(others, events, "no other finding opened or closed");
    Ok(())
}

async fn reports_are_marked(cluster: &mut Cluster, node: &str, subnet: &str, before: &(Object, Object)) -> Result<()> {
    let stale = |report: &Object| !report.items("/status/staleSources").is_empty();
    let node = cluster.until_report((Kind::Node, node), "marked as stale", stale).await?;
    let subnet = cluster.until_report((Kind::Subnet, subnet), "marked as stale", stale).await?;
    assert!(node.items("/status/staleSources").contains(&"network-interfaces".into()), "{node:?}");
    assert_eq!(node.at("/status/addresses"), before.0.at("/status/addresses"));
    assert_eq!(subnet.at("/status/addresses"), before.1.at("/status/addresses"));
    assert_eq!(
        (node.codes(), subnet.codes()),
        (before.0.codes(), before.1.codes()),
        "findings do not go by themselves"
    );
    for (report, kind) in [
        (&node, "AddressesReconciled"),
        (&node, "SubnetCapacityAvailable"),
        (&subnet, "PrefixesAvailable"),
        (&subnet, "AddressesReconciled"),
    ] {
        let condition = report.condition(kind);
        assert_eq!((condition.status, condition.reason), ("Unknown", "DataMissing"), "{kind}");
        assert!(condition.message.contains("too old"), "{kind}: {}", condition.message);
    }
    let row = cluster.table(&["get", "ipamaudits"]).await?;
    assert_eq!(row.row(AUDIT)?.cell("READY"), "Unknown");
    Ok(())
}

#[tokio::test]
async fn ec2_that_is_away_at_the_start_is_waited_for() -> Result<()> {
    let mut cluster = installed().await?;
    let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    cluster.start_operator(Start { ec2_endpoint: Some(format!("http://{address}")), ..Start::default() })?;
    let words = ["no answer of EC2", &address.to_string(), "VPC endpoint"];
    let audit = until_incomplete(&mut cluster, "Unreachable", &words).await?;
    assert_eq!(cells(&audit), ["4", "?", "?", "?"]);
    let row = cluster.table(&["get", "ipamaudits"]).await?;
    assert_eq!(row.row(AUDIT)?.cells(["READY", "HEALTHY", "NODES", "FREE-IPS"]), ["Unknown", "Unknown", "4", "?"]);
    let reports = cluster.until("four reports", async |cluster: &Cluster| {
        Ok(Some(cluster.list(Kind::Node).await?).filter(|all| all.len() == 4))
    });
    for report in reports.await? {
        assert!(report.at("/status/addresses").is_null(), "missing is not zero: {report:?}");
        assert_eq!(["held", "idle"].map(|cell| report.text(&format!("/status/display/{cell}"))), ["?", "?"]);
    }
    nothing_is_logged_twice(&cluster);

    let ec2 = Simulator::start_on(address, World::load(cluster.scenario.to_ec2_seed())?, Clock::system())?;
    cluster.set_ec2(Some(ec2));
    let audit = cluster.until_ready().await?;
    assert_eq!(cells(&audit), COMPLETE);
    Ok(())
}

#[tokio::test]
async fn a_wrong_region_or_vpc_is_named_and_corrected_in_the_spec() -> Result<()> {
    let mut cluster = installed().await?;
    cluster.start_operator(Start { region: Some("us-east-1".to_owned()), ..Start::default() })?;
    let audit = until_incomplete(&mut cluster, "NotFound", &["us-east-1", "check the region"]).await?;
    assert_eq!(cells(&audit), ["4", "?", "?", "?"]);

    cluster.audit("{aws: {region: eu-central-1}}").await?;
    let audit = cluster.until_ready().await?;
    assert_eq!(cells(&audit), COMPLETE);

    cluster.audit("{aws: {region: eu-central-1}, scope: {vpcId: vpc-0123456789abcdef0}}").await?;
    until_incomplete(&mut cluster, "NotFound", &["vpc-0123456789abcdef0", "is not in eu-central-1"]).await?;

    cluster.audit(&format!("{{aws: {{region: eu-central-1}}, scope: {{vpcId: {}}}}}", cluster.scenario.vpc())).await?;
    let audit = cluster.until_ready().await?;
    assert_eq!(cells(&audit), COMPLETE);
    Ok(())
}

#[tokio::test]
async fn without_credentials_the_audit_says_where_to_give_them() -> Result<()> {
    let mut cluster = installed().await?;
    let profile = cluster.plane.state_dir().join("credentials");
    let env = vec![
        ("AWS_ACCESS_KEY_ID", String::new()),
        ("AWS_SECRET_ACCESS_KEY", String::new()),
        ("AWS_SHARED_CREDENTIALS_FILE", profile.display().to_string()),
    ];
    cluster.start_operator(Start { env, ..Start::default() })?;
    let audit = until_incomplete(&mut cluster, "Credentials", &["no credentials", "IRSA or EKS Pod Identity"]).await?;
    assert_eq!(cells(&audit), ["4", "?", "?", "?"]);
    assert_eq!(cluster.ec2()?.request_log().total(), 0, "nothing is sent unsigned");

    fs::write(&profile, "[default]\naws_access_key_id = rig\naws_secret_access_key = rig\n")?;
    let audit = cluster.until_ready().await?;
    assert_eq!(cells(&audit), COMPLETE);
    nothing_is_logged_twice(&cluster);
    Ok(())
}
