//! What an audit is without EC2, how often EC2 is read, and where and as whom it is asked.

use anyhow::{Context, Result};
use ipam_audit_e2e::{Cluster, Object, Start, crowded};
use ipam_audit_testkit::ec2::{Effect, Fault};

/// Every action that a complete audit calls.
const ACTIONS: [&str; 8] = [
    "ec2:DescribeVpcs",
    "ec2:DescribeSubnets",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeInstanceTypes",
    "ec2:GetSubnetCidrReservations",
    "ec2:DescribeInstances",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeRouteTables",
];

async fn installed() -> Result<Cluster> {
    let mut cluster = Cluster::of(crowded()?).await?;
    cluster.install().await?;
    cluster.audit("{}").await?;
    Ok(cluster)
}

fn codes<'a>(audit: &'a Object, pointer: &str, field: Option<&str>) -> Vec<&'a str> {
    let code = |item: &'a serde_json::Value| field.map_or(item, |field| &item[field]).as_str();
    audit.items(pointer).iter().filter_map(code).collect()
}

#[tokio::test]
async fn without_any_right_in_ec2_the_rules_of_the_cluster_run_and_all_rights_are_named_in_one_message() -> Result<()> {
    let mut cluster = installed().await?;
    cluster.ec2()?.faults().add(Fault::new(Effect::UnauthorizedOperation));
    cluster.start_operator(Start::default())?;
    let named = |audit: &Object| {
        let complete = audit.condition("DataComplete");
        complete.status == "False" && ACTIONS.iter().all(|action| complete.message.contains(action))
    };
    let audit = cluster.until_audit("DataComplete names every action", named).await?;
    let complete = audit.condition("DataComplete");
    assert_eq!(complete.reason, "Denied");
    assert!(complete.message.len() < 1_024, "{} bytes: {}", complete.message.len(), complete.message);
    assert_eq!(complete.message.matches("allow them in the policy").count(), 1, "{}", complete.message);
    assert_eq!(audit.text("/status/display/nodes"), "4");
    assert_eq!(audit.text("/status/display/freeAddresses"), "?", "missing is not zero");
    assert!(audit.number("/status/rules/passed").unwrap_or_default() > 10, "rules of the cluster alone have answered");
    let inconclusive = codes(&audit, "/status/rules/inconclusive", None);
    assert!(["IPAM101", "IPAM210"].iter().all(|code| inconclusive.contains(code)), "{inconclusive:?}");
    cluster.ec2()?.faults().clear();
    let audit = cluster.until_ready().await?;
    assert_eq!(audit.text("/status/display/freeAddresses"), "3");
    assert_eq!(audit.text("/status/discovered/vpcId/value"), cluster.scenario.vpc());
    assert_eq!(audit.text("/status/discovered/vpcId/from"), "the interfaces of the nodes");
    assert_eq!(audit.text("/status/discovered/region/value"), "eu-central-1");
    Ok(())
}

#[tokio::test]
async fn an_optional_right_that_is_missing_costs_only_its_rules() -> Result<()> {
    let mut cluster = installed().await?;
    cluster.ec2()?.faults().add(Fault::new(Effect::UnauthorizedOperation).on("DescribeRouteTables"));
    cluster.start_operator(Start::default())?;
    let said = |audit: &Object| audit.condition("DataComplete").message.contains("ec2:DescribeRouteTables");
    let audit = cluster.until_audit("DataComplete names the action", said).await?;
    assert_eq!(audit.condition("Ready").status, "True", "the audit stands");
    let problems = codes(&audit, "/status/problems", Some("code"));
    assert!(problems.contains(&"IPAM101"), "{problems:?}");
    Ok(())
}

#[tokio::test]
async fn an_endpoint_of_the_spec_goes_before_that_of_the_environment() -> Result<()> {
    let mut cluster = installed().await?;
    let endpoint = cluster.ec2()?.endpoint();
    cluster.audit(&format!("{{aws: {{endpoint: '{endpoint}'}}}}")).await?;
    let nowhere = Some("http://127.0.0.1:9".to_owned());
    cluster.start_operator(Start { ec2_endpoint: nowhere, ..Start::default() })?;
    let audit = cluster.until_ready().await.context("EC2 is asked where the spec says")?;
    assert_eq!(audit.text("/status/display/freeAddresses"), "3");
    Ok(())
}
