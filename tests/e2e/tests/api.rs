//! The API as the API server enforces and prints it: what it refuses and with which words, its columns, its selectors.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use ipam_audit_api::v1alpha1::{
    IpamAudit, IpamAuditSpec, NodeDisplay, NodeIpamReport, NodeIpamReportSpec, NodeIpamReportStatus,
};
use ipam_audit_testkit::controlplane::{ControlPlane, Options};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};

async fn with_crds() -> Result<(ControlPlane, Client)> {
    let plane = ControlPlane::start(Options::default()).await?;
    plane.apply_manifests(&repository().join("crds")).await?;
    let client = plane.client().await?;
    Ok((plane, client))
}

fn repository() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// What a user hears who writes this spec: nothing if it is taken.
async fn heard(client: &Client, spec: &Value) -> Result<Option<String>> {
    let resource = kube::discovery::ApiResource::erase::<IpamAudit>(&());
    let audits: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let mut audit = DynamicObject::new("tried", &resource);
    audit.data = json!({"spec": spec});
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    match audits.create(&dry_run, &audit).await {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) => Ok(Some(status.message.clone())),
        Err(error) => Err(error).context("the API server did not answer"),
    }
}

#[tokio::test]
async fn the_api_server_refuses_what_makes_no_sense_and_says_what_to_write() -> Result<()> {
    let (_plane, client) = with_crds().await?;
    let duration = "write a duration in seconds, minutes or hours";
    let percent = "write a percentage from 1 to 99";
    let refused: Vec<(Value, &str, &str)> = vec![
        (json!({"interval": "5"}), "spec.interval", duration),
        (json!({"interval": "5 minutes"}), "spec.interval", duration),
        (json!({"interval": "5s"}), "spec.interval", "write a duration from 10s to 24h"),
        (json!({"interval": "25h", "thresholds": {"staleAfter": "24h"}}), "spec.interval", "from 10s to 24h"),
        (json!({"interval": "1h"}), "spec", "interval is longer than thresholds.staleAfter"),
        (json!({"interval": "10m", "thresholds": {"staleAfter": "5m"}}), "spec", "write a shorter interval"),
        (json!({"gate": "critical"}), "spec.gate", "\"Critical\""),
        (json!({"scope": {"vpcId": "subnet-1"}}), "spec.scope.vpcId", "for example vpc-0a1b2c3d"),
        (json!({"aws": {"region": "eu-central-1a"}}), "spec.aws.region", "eu-central-1a would be a zone"),
        (json!({"aws": {"region": "Frankfurt"}}), "spec.aws.region", "for example eu-central-1"),
        (json!({"cni": {"namespace": "kube-system/aws-node"}}), "spec.cni.namespace", "for example kube-system"),
        (json!({"cni": {"daemonSet": "kube-system/aws-node"}}), "spec.cni.daemonSet", "without its namespace"),
        (
            json!({"cni": {"trunkEniAnnotation": "a b"}}),
            "spec.cni.trunkEniAnnotation",
            "write the key of an annotation",
        ),
        (json!({"cni": {"trunkEniAnnotation": "a/b/c"}}), "spec.cni.trunkEniAnnotation", "vpc.k8s.aws/trunk-eni-id"),
        (json!({"thresholds": {"subnetFreePercent": 0}}), "spec.thresholds.subnetFreePercent", percent),
        (json!({"thresholds": {"branchUsedPercent": 100}}), "spec.thresholds.branchUsedPercent", percent),
        (json!({"thresholds": {"burstPods": 0}}), "spec.thresholds.burstPods", "write a number of pods"),
        (json!({"thresholds": {"idleAddresses": -1}}), "spec.thresholds.idleAddresses", "write a number of addresses"),
        (json!({"thresholds": {"warmFloor": 1001}}), "spec.thresholds.warmFloor", "write a number of addresses"),
        (json!({"thresholds": {"staleAfter": "1d"}}), "spec.thresholds.staleAfter", duration),
        (
            json!({"thresholds": {"staleAfter": "30s"}, "interval": "20s"}),
            "spec.thresholds.staleAfter",
            "from 1m to 24h",
        ),
        (json!({"disabledRules": ["IPAM1"]}), "spec.disabledRules", "for example IPAM210 or warm-pool-too-large"),
        (json!({"disabledRules": ["IPAM210", "IPAM210"]}), "spec.disabledRules[1]", "Duplicate value"),
        (json!({"outputs": {"nodeReports": "Some"}}), "spec.outputs.nodeReports", "\"WithFindings\""),
        (
            json!({"outputs": {"nodeCondition": {"maxPercent": 0}}}),
            "spec.outputs.nodeCondition.maxPercent",
            "write a percentage from 1 to 100",
        ),
        (json!({"outputs": {"heartbeat": "soon"}}), "spec.outputs.heartbeat", duration),
        (json!({"outputs": {"heartbeat": "1s"}}), "spec.outputs.heartbeat", "from 1m to 24h"),
    ];
    each_is_refused(&client, &refused).await
}

/// Each row is a spec, the field that is wrong with it and what a user hears about it.
async fn each_is_refused(client: &Client, rows: &[(Value, &str, &str)]) -> Result<()> {
    for (spec, field, words) in rows {
        let heard = heard(client, spec).await?.with_context(|| format!("{spec} was taken"))?;
        ensure!(heard.contains(&format!("{field}:")) && heard.contains(words), "{spec}: {heard}");
    }
    Ok(())
}

#[tokio::test]
async fn where_ec2_is_asked_and_as_whom_has_to_be_a_place_and_a_role() -> Result<()> {
    let (_plane, client) = with_crds().await?;
    let mut refused: Vec<(Value, &str, &str)> = vec![
        (json!({"scope": {"clusterName": ""}}), "spec.scope.clusterName", "write the name of an EKS cluster"),
        (json!({"scope": {"clusterName": "-batch"}}), "spec.scope.clusterName", "`aws eks list-clusters` lists them"),
        (
            json!({"scope": {"clusterName": "arn:aws:eks:eu-central-1:111122223333:cluster/batch"}}),
            "spec.scope.clusterName",
            "letters, digits, - and _",
        ),
        (json!({"scope": {"clusterName": "a".repeat(101)}}), "spec.scope.clusterName", "may not be more than 100"),
        (json!({"aws": {"region": "us-iso-east-1b"}}), "spec.aws.region", "for example eu-central-1"),
        (json!({"aws": {"region": "us-iso"}}), "spec.aws.region", "for example eu-central-1"),
    ];
    for endpoint in [
        "ec2.eu-central-1.amazonaws.com",
        "ftp://ec2.eu-central-1.amazonaws.com",
        "https://",
        "https://ec2.eu-central-1.amazonaws.com/?Action=DescribeSubnets",
        "https://user:password@ec2.example.com",
        "http://127.0.0.1:port",
    ] {
        let words = "write a URL of a scheme, a host and if need be a port";
        refused.push((json!({"aws": {"endpoint": endpoint}}), "spec.aws.endpoint", words));
    }
    for role in [
        "ipam-audit",
        "arn:aws:iam::1111:role/ipam-audit",
        "arn:aws:iam::111122223333:user/ipam-audit",
        "arn:aws:sts::111122223333:assumed-role/ipam-audit/session",
        "arn:gcp:iam::111122223333:role/ipam-audit",
    ] {
        let words = "for example arn:aws:iam::111122223333:role/ipam-audit";
        refused.push((json!({"aws": {"assumeRole": {"roleArn": role}}}), "spec.aws.assumeRole.roleArn", words));
    }
    let arn = "arn:aws:iam::111122223333:role/ipam-audit";
    refused.extend([
        (json!({"aws": {"assumeRole": {}}}), "spec.aws.assumeRole.roleArn", "Required value"),
        (
            json!({"aws": {"assumeRole": {"roleArn": arn, "externalId": "a b"}}}),
            "spec.aws.assumeRole.externalId",
            "the external id of the role's trust policy",
        ),
        (
            json!({"aws": {"assumeRole": {"roleArn": arn, "sessionName": "a"}}}),
            "spec.aws.assumeRole.sessionName",
            "write a name of at least two letters",
        ),
    ]);
    each_is_refused(&client, &refused).await
}

#[tokio::test]
async fn asking_ipamd_and_marking_nodes_has_its_bounds() -> Result<()> {
    let (_plane, client) = with_crds().await?;
    let refused: Vec<(Value, &str, &str)> = vec![
        (json!({"ipamd": {"scrape": "Always"}}), "spec.ipamd.scrape", "\"NodeAddress\", \"PodProxy\""),
        (json!({"ipamd": {"port": 0}}), "spec.ipamd.port", "write a port from 1 to 65535"),
        (json!({"ipamd": {"port": 65536}}), "spec.ipamd.port", "for example 61678"),
        (json!({"ipamd": {"concurrency": 0}}), "spec.ipamd.concurrency", "write a number of nodes from 1 to 128"),
        (json!({"ipamd": {"concurrency": 129}}), "spec.ipamd.concurrency", "for example 16"),
        (json!({"ipamd": {"interval": "1"}}), "spec.ipamd.interval", "write a duration in seconds or minutes"),
        (json!({"ipamd": {"interval": "9s"}}), "spec.ipamd.interval", "from 10s to 15m"),
        (json!({"ipamd": {"interval": "16m"}}), "spec.ipamd.interval", "from 10s to 15m"),
        (json!({"ipamd": {"timeout": "soon"}}), "spec.ipamd.timeout", "write a duration in seconds"),
        (json!({"ipamd": {"timeout": "31s"}}), "spec.ipamd.timeout", "from 1s to 30s"),
        (
            json!({"ipamd": {"interval": "10m"}, "thresholds": {"staleAfter": "5m"}}),
            "spec",
            "write a shorter ipamd.interval",
        ),
        (
            json!({"outputs": {"nodeCondition": {"enabled": true, "maxPercent": 101}}}),
            "spec.outputs.nodeCondition.maxPercent",
            "write a percentage from 1 to 100",
        ),
        (
            json!({"outputs": {"nodeCondition": {"enabled": "yes"}}}),
            "spec.outputs.nodeCondition.enabled",
            "must be of type boolean",
        ),
    ];
    each_is_refused(&client, &refused).await
}

#[tokio::test]
async fn the_api_server_takes_what_the_documents_show() -> Result<()> {
    let (plane, client) = with_crds().await?;
    let taken = [
        json!({}),
        // What is left of a section whose lines are all commented out.
        json!({"scope": null, "thresholds": null, "interval": null, "gate": null}),
        json!({"interval": "1h30m", "thresholds": {"staleAfter": "2h", "subnetFreePercent": 5, "idleAddresses": 0}}),
        json!({"aws": {"region": "us-gov-west-1"}, "scope": {"vpcId": "vpc-0a1b2c3d4e5f60718"}}),
        json!({"scope": {"nodeSelector": {"matchExpressions": [{"key": "pool", "operator": "In", "values": ["a"]}]}}}),
        json!({"cni": {"namespace": "networking", "daemonSet": "aws-node-canary", "trunkEniAnnotation": "example.com/trunk"}}),
        json!({"disabledRules": ["IPAM210", "subnet-low"], "gate": "Warning", "suspend": true}),
        json!({"outputs": {"nodeReports": "WithFindings", "events": false, "heartbeat": "10m"}}),
        json!({"outputs": {"nodeCondition": {"enabled": true, "maxPercent": 100}}}),
        json!({"outputs": {"nodeCondition": {"enabled": false, "maxPercent": 1}}}),
    ];
    each_is_taken(&client, &taken).await?;
    let samples = repository().join("deploy/samples");
    let apply = ["apply", "--dry-run=server", "--validate=strict", "-f", samples.to_str().context("not UTF-8")?];
    plane.kubectl(&apply).await?.stdout_if_successful()?;
    Ok(())
}

async fn each_is_taken(client: &Client, specs: &[Value]) -> Result<()> {
    for spec in specs {
        let heard = heard(client, spec).await?;
        ensure!(heard.is_none(), "{spec}: {heard:?}");
    }
    Ok(())
}

#[tokio::test]
async fn the_api_server_takes_every_partition_region_and_way_to_ask() -> Result<()> {
    let (_plane, client) = with_crds().await?;
    let mut taken = vec![
        json!({"scope": {"clusterName": "batch_7-eu"}}),
        json!({"scope": {"clusterName": "a".repeat(100)}}),
        json!({"ipamd": {}}),
        json!({"ipamd": {"scrape": "Disabled"}}),
        json!({"ipamd": {"scrape": "NodeAddress", "port": 61678, "concurrency": 128, "timeout": "30s"}}),
        json!({"ipamd": {"scrape": "PodProxy", "interval": "15m", "concurrency": 1, "port": 65535, "timeout": "1s"}}),
        json!({"ipamd": {"interval": "5m"}, "thresholds": {"staleAfter": "5m"}}),
    ];
    for region in
        ["us-iso-east-1", "us-isob-east-1", "eu-isoe-west-1", "cn-northwest-1", "mx-central-1", "eusc-de-east-1"]
    {
        taken.push(json!({"aws": {"region": region}}));
    }
    for endpoint in [
        "https://ec2.us-iso-east-1.c2s.ic.gov",
        "https://vpce-0a1b2c3d-4e5f6071.ec2.eu-central-1.vpce.amazonaws.com/",
        "http://127.0.0.1:4566",
        "http://localhost",
        "http://[fd00::17]:4566",
    ] {
        taken.push(json!({"aws": {"endpoint": endpoint}}));
    }
    for partition in ["aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f", "aws-eusc"] {
        let arn = format!("arn:{partition}:iam::111122223333:role/audit/ipam-audit");
        taken.push(json!({"aws": {"assumeRole": {"roleArn": arn}}}));
        taken.push(json!({"aws": {"assumeRole":
            {"roleArn": arn, "externalId": "team:ips/7", "sessionName": "ipam-audit@batch"}}}));
    }
    each_is_taken(&client, &taken).await
}

#[tokio::test]
async fn what_is_left_out_stays_out() -> Result<()> {
    let (_plane, client) = with_crds().await?;
    let audits: Api<IpamAudit> = Api::all(client);
    let created = audits.create(&PostParams::default(), &IpamAudit::new("plain", IpamAuditSpec::default())).await?;
    assert_eq!(created.spec, IpamAuditSpec::default(), "a default in the stored object would outlive the version");
    Ok(())
}

fn condition(kind: &str, status: &str) -> Condition {
    Condition {
        last_transition_time: Time("2026-11-21T12:00:00Z".parse().unwrap_or_default()),
        message: "said".to_owned(),
        observed_generation: None,
        reason: "Said".to_owned(),
        status: status.to_owned(),
        type_: kind.to_owned(),
    }
}

fn report(name: &str, audit: &str, node: &str) -> NodeIpamReport {
    let spec = NodeIpamReportSpec { audit: audit.to_owned(), node: node.to_owned() };
    let display = NodeDisplay {
        node_group: "batch".to_owned(),
        interfaces: "2/15".to_owned(),
        held: "11,439".to_owned(),
        idle: "?".to_owned(),
        ..NodeDisplay::default()
    };
    let conditions = vec![condition("Healthy", "False"), condition("CapacityAvailable", "True")];
    let status = NodeIpamReportStatus { conditions, display, ..NodeIpamReportStatus::default() };
    NodeIpamReport { status: Some(status), ..NodeIpamReport::new(name, spec) }
}

/// Writes a report as the controller does: the object, then its status.
async fn write(client: &Client, report: &NodeIpamReport) -> Result<NodeIpamReport> {
    let reports: Api<NodeIpamReport> = Api::all(client.clone());
    let name = report.metadata.name.as_deref().context("a report has a name")?;
    let params = PatchParams::apply("e2e").force();
    let object = NodeIpamReport { status: None, ..report.clone() };
    reports.patch(name, &params, &Patch::Apply(&object)).await?;
    Ok(reports.patch_status(name, &params, &Patch::Apply(report)).await?)
}

#[tokio::test]
async fn reports_are_printed_selected_and_fixed_to_their_subject() -> Result<()> {
    let (plane, client) = with_crds().await?;
    let first = report("node-1", "cluster", "node-1");
    let written = write(&client, &first).await?;
    assert_eq!(written.status, first.status, "nothing is added, dropped or put in another order");
    write(&client, &report("node-1.batch", "batch", "node-1")).await?;

    let table = plane.kubectl(&["get", "ipnode", "node-1"]).await?.stdout_if_successful()?;
    let mut lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let heading = "NAME NODEGROUP TYPE HEALTHY ENIS PODS HELD IDLE BRANCH WORST";
    assert_eq!(lines.next().map(|line| line.join(" ")).as_deref(), Some(heading));
    let row = lines.next().unwrap_or_default();
    assert_eq!((row.first(), row.contains(&"11,439"), row.contains(&"?")), (Some(&"node-1"), true, true), "{table}");

    for (selector, want) in [("spec.audit=batch", "node-1.batch"), ("spec.audit=cluster,spec.node=node-1", "node-1")] {
        let args = ["get", "ipnode", "--field-selector", selector, "-o", "name"];
        let names = plane.kubectl(&args).await?.stdout_if_successful()?;
        assert_eq!(names.trim(), format!("nodeipamreport.ipam-audit.dev/{want}"));
    }
    let all = plane.kubectl(&["get", "ipam", "-o", "name"]).await?.stdout_if_successful()?;
    assert_eq!(all.lines().count(), 2, "{all}");

    let moved = write(&client, &report("node-1", "cluster", "node-2")).await;
    let refused = format!("{:#}", moved.err().context("a report changed its subject")?);
    ensure!(refused.contains("a report is about one node for ever"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn the_columns_are_those_that_the_documents_promise() -> Result<()> {
    let (plane, client) = with_crds().await?;
    let audits: Api<IpamAudit> = Api::all(client);
    audits.create(&PostParams::default(), &IpamAudit::new("cluster", IpamAuditSpec::default())).await?;
    let narrow = "NAME READY HEALTHY CRITICAL WARNING NODES SUBNETS FREE-IPS WASTED-IPS LAST-AUDIT AGE";
    for (name, args, heading) in [
        ("ipa", vec!["get", "ipa"], narrow.to_owned()),
        ("wide", vec!["get", "ipaudit", "-o", "wide"], format!("{narrow} MIN-FREE FREE-28 LEAKED RUNWAY MESSAGE")),
    ] {
        let table = plane.kubectl(&args).await?.stdout_if_successful()?;
        let first = table.lines().next().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(first, heading, "{name}");
    }
    let explained = plane.kubectl(&["explain", "ipamaudit.spec.thresholds.burstPods"]).await?.stdout_if_successful()?;
    let explained = explained.split_whitespace().collect::<Vec<_>>().join(" ");
    ensure!(explained.contains("the burst goal of its warm pool"), "{explained}");
    Ok(())
}

#[tokio::test]
async fn the_shipped_deployment_is_accepted_under_restricted_pod_security() -> Result<()> {
    let (plane, _client) = with_crds().await?;
    let deploy = repository().join("deploy");
    plane.apply_manifests(&deploy.join("rbac.yaml")).await?;
    for (folder, what) in [("", "deployment.apps/ipam-audit"), ("cleanup", "job.batch/ipam-audit-cleanup")] {
        let folder = deploy.join(folder);
        let folder = folder.to_str().context("not UTF-8")?;
        let applied = plane.kubectl(&["apply", "--server-side", "--dry-run=server", "-k", folder]).await?;
        ensure!(applied.success, "{}", applied.stderr);
        ensure!(applied.stdout.contains(&format!("{what} serverside-applied")), "{}", applied.stdout);
        ensure!(applied.stderr.trim().is_empty(), "the API server warns: {}", applied.stderr);
    }
    Ok(())
}
