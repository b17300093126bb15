//! Clusters of two nodes for the rules about configuration, and what an audit says of them.

use std::sync::Arc;

use super::fixtures::{Cluster, now};
use crate::{
    engine,
    finding::Finding,
    memory::Memory,
    outcome::{AuditOutcome, Condition, ConditionStatus, ConditionType, RuleAnswer},
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

/// What EKS ships, with the name of the cluster as the add-on sets it.
const SHIPPED: &[(&str, &str)] = &[
    ("ADDITIONAL_ENI_TAGS", "{}"),
    ("ANNOTATE_POD_IP", "false"),
    ("AWS_VPC_CNI_NODE_PORT_SUPPORT", "true"),
    ("AWS_VPC_ENI_MTU", "9001"),
    ("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "false"),
    ("AWS_VPC_K8S_CNI_EXTERNALSNAT", "false"),
    ("AWS_VPC_K8S_CNI_LOGLEVEL", "DEBUG"),
    ("AWS_VPC_K8S_CNI_LOG_FILE", "/host/var/log/aws-routed-eni/ipamd.log"),
    ("AWS_VPC_K8S_CNI_RANDOMIZESNAT", "prng"),
    ("AWS_VPC_K8S_CNI_VETHPREFIX", "eni"),
    ("AWS_VPC_K8S_PLUGIN_LOG_FILE", "/var/log/aws-routed-eni/plugin.log"),
    ("AWS_VPC_K8S_PLUGIN_LOG_LEVEL", "DEBUG"),
    ("CLUSTER_ENDPOINT", "https://example.eks.amazonaws.com"),
    ("CLUSTER_NAME", "shop"),
    ("DISABLE_INTROSPECTION", "false"),
    ("DISABLE_METRICS", "false"),
    ("DISABLE_NETWORK_RESOURCE_PROVISIONING", "false"),
    ("ENABLE_IMDS_ONLY_MODE", "false"),
    ("ENABLE_IPv4", "true"),
    ("ENABLE_IPv6", "false"),
    ("ENABLE_MULTI_NIC", "false"),
    ("ENABLE_POD_ENI", "false"),
    ("ENABLE_PREFIX_DELEGATION", "false"),
    ("ENABLE_SUBNET_DISCOVERY", "true"),
    ("NETWORK_POLICY_ENFORCING_MODE", "standard"),
    ("VPC_CNI_VERSION", "v1.23.1"),
    ("VPC_ID", "vpc-1"),
    ("WARM_ENI_TARGET", "1"),
    ("WARM_PREFIX_TARGET", "1"),
];

const IPV6: &[(&str, &str)] = &[
    ("ENABLE_IPv4", "false"),
    ("ENABLE_IPv6", "true"),
    ("ENABLE_PREFIX_DELEGATION", "true"),
    ("WARM_PREFIX_TARGET", "1"),
];

fn codes(snapshot: &ClusterSnapshot) -> Vec<String> {
    audit(snapshot).problems.iter().map(|problem| problem.code.to_owned()).collect()
}

#[test]
fn what_eks_ships_has_no_finding() {
    let configured = |code: &String| code.starts_with("IPAM6");
    assert_eq!(codes(&with(SHIPPED)).into_iter().filter(configured).collect::<Vec<_>>(), Vec::<String>::new());
}

/// Nodes of an IPv6 cluster hold their own address and nothing else.
fn ipv6() -> ClusterSnapshot {
    let one = |cluster: Cluster| cluster.node("m5.large", 110, &[0], 0).waiting_pod();
    one(one(Cluster::new("10.0.0.0/26", IPV6))).snapshot()
}

#[test]
fn nodes_of_an_ipv6_cluster_are_counted_and_their_pools_left_alone() {
    let outcome = audit(&ipv6());
    assert_eq!(outcome.left_alone.get("ipv6"), Some(&2));
    assert_eq!(outcome.problems, Vec::new());
    for node in &outcome.nodes {
        let not_true: Vec<_> =
            node.conditions.iter().filter(|condition| condition.status != ConditionStatus::True).collect();
        assert_eq!(not_true, Vec::<&Condition>::new());
        assert_eq!((node.capacity, node.waiting_pods), (None, Some(0)));
    }
    assert_eq!(outcome.subnets[0].new_node_takes, Some(1));
}

#[test]
fn an_address_family_that_cannot_be_read_proves_no_want_of_addresses() {
    let mut snapshot = with(&[]);
    unread(&mut snapshot, "ENABLE_IPv4");
    assert_eq!(found(&snapshot, "IPAM202"), Vec::new());
    assert!(is_inconclusive(&answer(&snapshot, "IPAM202")));
}

#[test]
fn without_its_pod_a_node_is_what_the_template_says() {
    let mut snapshot = ipv6();
    aws_node(&mut snapshot).pods.clear();
    assert_eq!(audit(&snapshot).left_alone.get("ipv6"), Some(&2));
}

fn consistent(conditions: &[Condition]) -> (ConditionStatus, &'static str) {
    let condition =
        conditions.iter().find(|condition| condition.kind == ConditionType::ConfigurationConsistent).unwrap();
    (condition.status, condition.reason)
}

fn behind() -> ClusterSnapshot {
    let mut snapshot = with(&[]);
    on_node(&mut snapshot, 1, &[("ENABLE_IPv4", "true"), ("WARM_IP_TARGET", "3")]);
    snapshot
}

#[test]
fn a_difference_is_inconsistent_unless_it_is_on_its_way_or_accepted() {
    let outcome = audit(&behind());
    assert_eq!(consistent(&outcome.nodes[0].conditions), (ConditionStatus::True, "Consistent"));
    let unfinished = (ConditionStatus::False, "RolloutUnfinished");
    assert_eq!((consistent(&outcome.nodes[1].conditions), consistent(&outcome.conditions)), (unfinished, unfinished));

    let mut rolling = behind();
    pod(&mut rolling, 0).started_at = Some(minutes_ago(1));
    let outcome = audit(&rolling);
    let under_way = (ConditionStatus::Unknown, "RolloutInProgress");
    assert_eq!((consistent(&outcome.nodes[1].conditions), consistent(&outcome.conditions)), (under_way, under_way));

    let policy = AuditPolicy { disabled_rules: ["IPAM630".to_owned()].into(), ..AuditPolicy::default() };
    let outcome = engine::evaluate(&behind(), &policy, &Memory::default());
    let accepted = (ConditionStatus::True, "DifferenceAccepted");
    assert_eq!((consistent(&outcome.nodes[1].conditions), consistent(&outcome.conditions)), (accepted, accepted));
}

#[test]
fn settings_that_hurt_turn_the_condition_and_information_does_not() {
    let refused = audit(&with(&[("IP_COOLDOWN_PERIOD", "x")]));
    assert_eq!(consistent(&refused.conditions), (ConditionStatus::False, "StartRefused"));
    let informed = audit(&with(&[("DISABLE_METRICS", "true")]));
    assert_eq!(consistent(&informed.conditions), (ConditionStatus::True, "Consistent"));
    assert_eq!(consistent(&audit(&without_daemon_set()).conditions), (ConditionStatus::Unknown, "DataMissing"));
}
