//! Where the operator has its keys from in a pod: IRSA and EKS Pod Identity, in every partition; and what it says without.
//!
//! Its token is one that the API server made for its `ServiceAccount`, in a file, as kubelet projects it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, ensure};
use ipam_audit_e2e::{Cluster, NAMESPACE, Object, SERVICE_ACCOUNT, Start, crowded};
use ipam_audit_testkit::issuer::{Issuer, Way};
use ipam_audit_testkit::moto::Moto;
use ipam_audit_testkit::scenario::Scenario;
use tokio::task::spawn_blocking;

type Env = Vec<(&'static str, String)>;

const ROLE: &str = "arn:aws:iam::111122223333:role/ipam-audit";
/// Everything that could give a token away is logged.
const TRACE: &str = "--log=trace";

async fn installed(scenario: Scenario) -> Result<Cluster> {
    let mut cluster = Cluster::of(scenario).await?;
    cluster.install().await?;
    cluster.audit("{}").await?;
    Ok(cluster)
}

/// A token for the operator.
async fn token(cluster: &Cluster, audience: &str) -> Result<String> {
    let args = ["create", "token", SERVICE_ACCOUNT, "-n", NAMESPACE, "--audience", audience];
    let token = cluster.kubectl(&args).await?.trim().to_owned();
    ensure!(token.starts_with("eyJ"), "this is no token: {token}");
    Ok(token)
}

/// Where it is in the pod.
fn file(cluster: &Cluster) -> PathBuf {
    cluster.plane.state_dir().join("token")
}

fn without_keys() -> Env {
    ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(|name| (name, String::new())).to_vec()
}

/// What EKS sets in a pod whose `ServiceAccount` has the annotation `eks.amazonaws.com/role-arn`.
fn irsa(role: &str, sts: &str, token: &Path) -> Env {
    let token = token.display().to_string();
    vec![
        ("AWS_ROLE_ARN", role.to_owned()),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", token),
        ("AWS_STS_REGIONAL_ENDPOINTS", "regional".to_owned()),
        // The only one that EKS does not set: nobody here is at AWS' own names.
        ("AWS_ENDPOINT_URL_STS", sts.to_owned()),
    ]
}

/// What EKS sets in a pod whose `ServiceAccount` has an association.
fn pod_identity(issuer: &Issuer, token: &Path) -> Env {
    vec![
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", issuer.agent()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.display().to_string()),
    ]
}

/// Waits until the audit lacks credentials, in these words.
async fn until_lacking(cluster: &mut Cluster, words: &[&str]) -> Result<Object> {
    let says = |audit: &Object| {
        let complete = audit.condition("DataComplete");
        complete.reason == "Credentials" && words.iter().all(|word| complete.message.contains(word))
    };
    cluster.until_audit(&format!("DataComplete is False and says {words:?}"), says).await
}

fn keys_that_signed(cluster: &Cluster) -> Result<BTreeSet<String>> {
    Ok(cluster.ec2()?.request_log().requests.into_iter().filter_map(|request| request.access_key).collect())
}

fn keys_given(issuer: &Issuer, way: Way, to: &str) -> BTreeSet<String> {
    issuer.given().into_iter().filter(|given| given.way == way && given.to == to).map(|given| given.key).collect()
}

fn faults_told(cluster: &Cluster) -> Vec<String> {
    cluster.warnings().into_iter().filter(|line| line.starts_with("EC2: ")).collect()
}

/// An error if something secret stands where users and their tools look.
async fn nothing_is_given_away(cluster: &Cluster, tokens: &[&str]) -> Result<()> {
    let mut told = vec![cluster.log(), cluster.kubectl(&["get", "ipamaudits,events", "-A", "-o", "yaml"]).await?];
    for path in ["/debug/state", "/metrics"] {
        told.push(cluster.ask("GET", path, "").await?.body);
    }
    // As they are, and as they are in forms.
    let secrets = ["secret of ASIA", "session of ASIA", "secret%20of", "session%20of"];
    for secret in tokens.iter().chain(&secrets) {
        ensure!(!told.iter().any(|text| text.contains(secret)), "{secret} was given away");
    }
    Ok(())
}

#[tokio::test]
async fn by_irsa_ec2_is_asked_as_the_role_and_that_may_assume_another() -> Result<()> {
    let mut cluster = installed(crowded()?).await?;
    let moto = spawn_blocking(Moto::start).await??;
    let (file, token) = (file(&cluster), token(&cluster, "sts.amazonaws.com").await?);
    fs::write(&file, &token)?;
    // Pod Identity would give keys, too.
    let agent = Issuer::start()?;
    agent.take(&token);
    let env = [without_keys(), irsa(ROLE, moto.endpoint(), &file), pod_identity(&agent, &file)].concat();
    cluster.start_operator(Start { env, ..Start::default() })?;
    cluster.until_ready().await?;
    let keys = keys_that_signed(&cluster)?;
    assert!(!keys.is_empty());
    for key in keys {
        let caller = moto.caller(&key)?;
        assert!(caller.starts_with("arn:aws:sts::111122223333:assumed-role/ipam-audit/"), "{key} is of {caller}");
    }
    assert_eq!((agent.given(), agent.refused()), (Vec::new(), 0), "IRSA goes before Pod Identity");

    cluster.audit("{aws: {assumeRole: {roleArn: 'arn:aws:iam::444455556666:role/reader'}}}").await?;
    let as_reader = async |cluster: &Cluster| {
        let callers: Result<Vec<String>> = keys_that_signed(cluster)?.iter().map(|key| moto.caller(key)).collect();
        let reader = "arn:aws:sts::444455556666:assumed-role/reader/ipam-audit";
        Ok(callers?.iter().any(|caller| caller == reader).then_some(()))
    };
    cluster.until("EC2 is asked as the other role", as_reader).await?;
    cluster.until_ready().await?;
    nothing_is_given_away(&cluster, &[&token]).await
}

#[tokio::test]
async fn what_is_wrong_with_the_token_of_irsa_is_told_and_heals_and_a_new_one_is_taken() -> Result<()> {
    let mut cluster = installed(crowded()?).await?;
    let (file, issuer) = (file(&cluster), Issuer::start()?);
    // Shorter than the time before their end at which new ones are asked for.
    issuer.lasting(Duration::from_millis(1));
    let env = [without_keys(), irsa(ROLE, &issuer.sts(), &file)].concat();
    cluster.start_operator(Start { env, args: vec![TRACE.to_owned()], ..Start::default() })?;
    until_lacking(&mut cluster, &["token cannot be read", "AWS_WEB_IDENTITY_TOKEN_FILE", "(No such file"]).await?;
    assert_eq!(issuer.refused(), 0, "nobody was asked");

    let first = token(&cluster, "sts.amazonaws.com").await?;
    fs::write(&file, &first)?;
    let words = [
        "refused",
        "names the ServiceAccount",
        "(AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity)",
    ];
    until_lacking(&mut cluster, &words).await?;
    assert_eq!(cluster.ec2()?.request_log().total(), 0, "nothing is sent unsigned");

    issuer.take(&first);
    cluster.until_ready().await?;
    assert!(keys_that_signed(&cluster)?.is_subset(&keys_given(&issuer, Way::Irsa, &first)));
    let told = faults_told(&cluster);

    let second = token(&cluster, "sts.amazonaws.com").await?;
    issuer.take(&second);
    fs::write(&file, &second)?;
    let is_used = async |cluster: &Cluster| {
        let of_second = keys_given(&issuer, Way::Irsa, &second);
        Ok((!keys_that_signed(cluster)?.is_disjoint(&of_second)).then_some(()))
    };
    cluster.until("EC2 is asked with keys for the new token", is_used).await?;
    cluster.until_ready().await?;
    assert_eq!(faults_told(&cluster), told, "a new token is no news");
    nothing_is_given_away(&cluster, &[&first, &second]).await
}

#[tokio::test]
async fn by_pod_identity_ec2_is_asked_with_the_keys_of_the_agent_or_it_is_told_why_there_are_none() -> Result<()> {
    let mut cluster = installed(crowded()?).await?;
    let (file, issuer) = (file(&cluster), Issuer::start()?);
    let env = [without_keys(), pod_identity(&issuer, &file)].concat();
    cluster.start_operator(Start { env, args: vec![TRACE.to_owned()], ..Start::default() })?;
    let words = ["token cannot be read", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "(No such file"];
    until_lacking(&mut cluster, &words).await?;

    let token = token(&cluster, "pods.eks.amazonaws.com").await?;
    fs::write(&file, &token)?;
    let words = ["refused", "an association of the cluster (EKS Pod Identity) names the ServiceAccount", "400"];
    until_lacking(&mut cluster, &words).await?;
    assert!(issuer.refused() > 0);
    assert_eq!(cluster.ec2()?.request_log().total(), 0, "nothing is sent unsigned");

    issuer.take(&token);
    cluster.until_ready().await?;
    let keys = keys_that_signed(&cluster)?;
    assert!(!keys.is_empty() && keys.is_subset(&keys_given(&issuer, Way::PodIdentity, &token)), "{keys:?}");
    nothing_is_given_away(&cluster, &[&token]).await
}

#[tokio::test]
async fn in_a_private_partition_the_zones_of_the_nodes_tell_the_region_and_ec2_is_asked_as_a_role_of_it() -> Result<()>
{
    const REGION: &str = "us-isob-east-1";
    let scenario = include_str!("../scenarios/crowded.yaml").replace("eu-central-1", REGION);
    let mut cluster = installed(Scenario::from_yaml(&scenario)?).await?;
    let (file, issuer) = (file(&cluster), Issuer::start()?);
    let token = token(&cluster, "sts.amazonaws.com").await?;
    fs::write(&file, &token)?;
    issuer.take(&token);
    let role = "arn:aws-iso-b:iam::111122223333:role/ipam-audit";
    let mut env = [without_keys(), irsa(role, &issuer.sts(), &file)].concat();
    env.push(("AWS_REGION", String::new()));
    cluster.start_operator(Start { env, ..Start::default() })?;
    let audit = cluster.until_ready().await?;
    assert_eq!(audit.text("/status/discovered/region/value"), REGION);
    assert_eq!(audit.text("/status/discovered/region/from"), "the zones of the nodes");
    assert_eq!(audit.text("/status/display/freeAddresses"), "3");
    assert!(issuer.given().iter().all(|given| given.role.as_deref() == Some(role)));
    for request in cluster.ec2()?.request_log().requests {
        assert_eq!(request.region.as_deref(), Some(REGION), "{}", request.action);
    }

    cluster.audit("{aws: {assumeRole: {roleArn: 'arn:aws-iso-b:iam::444455556666:role/reader'}}}").await?;
    let as_reader = async |cluster: &Cluster| {
        let given = issuer.given().into_iter().filter(|given| given.way == Way::AssumeRole);
        let keys: BTreeSet<String> = given.map(|given| given.key).collect();
        Ok((!keys_that_signed(cluster)?.is_disjoint(&keys)).then_some(()))
    };
    cluster.until("EC2 is asked as the other role", as_reader).await?;
    cluster.until_ready().await?;
    Ok(())
}
