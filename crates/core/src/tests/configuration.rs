//! Clusters of two nodes for the rules about configuration, and what an audit says of them.

use std::sync::Arc;

use super::fixtures::{Cluster, now};
use crate::{
    engine,
    finding::Finding,
    memory::Memory,
    outcome::{AuditOutcome, RuleAnswer},
    policy::AuditPolicy,
    snapshot::{AwsNode, AwsNodeEnv, AwsNodePod, ClusterSnapshot, EnvValue, Node},
    source::{FaultCategory, Reading},
};

/// Two nodes of which each holds nine addresses and runs three pods.
pub(crate) fn with(env: &[(&str, &str)]) -> ClusterSnapshot {
    let one = |cluster: Cluster| cluster.node("m5.large", 29, &[9], 3);
    one(one(Cluster::new("10.0.0.0/20", env))).snapshot()
}

/// So many nodes, each the same.
pub(crate) fn nodes(env: &[(&str, &str)], number: usize) -> ClusterSnapshot {
    (0..number).fold(Cluster::new("10.0.0.0/16", env), |cluster, _| cluster.node("m5.large", 29, &[9], 3)).snapshot()
}

/// The same without a DaemonSet.
pub(crate) fn without_daemon_set() -> ClusterSnapshot {
    let mut snapshot = with(&[]);
    snapshot.aws_node = Reading::missing(FaultCategory::NotFound, "there is no DaemonSet of the VPC CNI");
    snapshot
}

/// The DaemonSet and its pods.
pub(crate) fn aws_node(snapshot: &mut ClusterSnapshot) -> &mut AwsNode {
    &mut snapshot.aws_node.last_good.as_mut().unwrap().value
}

/// The pod of a node.
pub(crate) fn pod(snapshot: &mut ClusterSnapshot, node: usize) -> &mut AwsNodePod {
    &mut aws_node(snapshot).pods[node]
}

/// A node.
pub(crate) fn node(snapshot: &mut ClusterSnapshot, node: usize) -> &mut Node {
    Arc::make_mut(&mut snapshot.nodes.last_good.as_mut().unwrap().value[node])
}

/// Changes the template and all pods alike.
pub(crate) fn everywhere(snapshot: &mut ClusterSnapshot, change: impl Fn(&mut AwsNodeEnv)) {
    let aws_node = aws_node(snapshot);
    change(Arc::make_mut(&mut aws_node.template));
    for pod in &mut aws_node.pods {
        pod.env = Arc::clone(&aws_node.template);
    }
}

/// Lets everything run another version.
pub(crate) fn run_version(snapshot: &mut ClusterSnapshot, tag: &str) {
    everywhere(snapshot, |env| env.image = format!("registry/amazon-k8s-cni:{tag}"));
}

/// Lets a variable come from where nobody can read it.
pub(crate) fn unread(snapshot: &mut ClusterSnapshot, name: &str) {
    let value = || EnvValue::Unresolved("secret cni, key x: Secrets are not read".into());
    everywhere(snapshot, |env| {
        env.values.insert(name.to_owned(), value());
    });
}

/// Lets one node's pod run these variables, and no others, with the same image.
pub(crate) fn on_node(snapshot: &mut ClusterSnapshot, node: usize, env: &[(&str, &str)]) {
    let literal = |(name, value): &(&str, &str)| ((*name).to_owned(), EnvValue::Literal((*value).to_owned()));
    let values = env.iter().map(literal).collect();
    let pod = pod(snapshot, node);
    pod.env = Arc::new(AwsNodeEnv { image: pod.env.image.clone(), values });
}

/// The audit of it.
pub(crate) fn audit(snapshot: &ClusterSnapshot) -> AuditOutcome {
    engine::evaluate(snapshot, &AuditPolicy::default(), &Memory::default())
}

/// All findings of one code, wherever they are reported.
pub(crate) fn found(snapshot: &ClusterSnapshot, code: &str) -> Vec<Finding> {
    let outcome = audit(snapshot);
    let of_nodes = outcome.nodes.into_iter().flat_map(|node| node.findings);
    let of_subnets = outcome.subnets.into_iter().flat_map(|subnet| subnet.findings);
    let all = outcome.findings.into_iter().chain(of_nodes).chain(of_subnets);
    all.filter(|finding| finding.code == code).collect()
}

/// The one finding of a code.
pub(crate) fn only(snapshot: &ClusterSnapshot, code: &str) -> Finding {
    let mut findings = found(snapshot, code);
    assert_eq!(findings.len(), 1, "{findings:?}");
    findings.remove(0)
}

/// What the rule of a code answered.
pub(crate) fn answer(snapshot: &ClusterSnapshot, code: &str) -> RuleAnswer {
    let rules = audit(snapshot).rules;
    rules.into_iter().find(|rule| rule.code == code).map(|rule| rule.answer).unwrap()
}

/// Whether a rule could not tell.
pub(crate) fn is_inconclusive(answer: &RuleAnswer) -> bool {
    matches!(answer, RuleAnswer::Inconclusive { .. })
}

/// So many minutes before the fixtures' now.
pub(crate) fn minutes_ago(minutes: i64) -> jiff::Timestamp {
    now() - jiff::SignedDuration::from_mins(minutes)
}
