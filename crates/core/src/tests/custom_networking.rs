//! Clusters with custom networking or tagged subnets, and what one rule says of them.

use std::sync::Arc;

use super::fixtures::{Cluster, now};
use crate::{
    engine,
    finding::Finding,
    inventory::{SecurityGroup, Subnet},
    memory::Memory,
    outcome::{AuditOutcome, RuleAnswer},
    policy::AuditPolicy,
    snapshot::{AwsNodeEnv, ClusterSnapshot, EniConfig, EnvValue, Node},
    source::Reading,
    tags::Tags,
};

/// Custom networking with an ENIConfig for each zone.
pub(crate) const CUSTOM: &[(&str, &str)] = &[
    ("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true"),
    ("ENI_CONFIG_LABEL_DEF", "topology.kubernetes.io/zone"),
    ("WARM_ENI_TARGET", "1"),
    ("ENABLE_IPv4", "true"),
    ("CLUSTER_NAME", "shop"),
];

/// The settings of the shipped manifest.
pub(crate) const DISCOVERY: &[(&str, &str)] =
    &[("WARM_ENI_TARGET", "1"), ("ENABLE_IPv4", "true"), ("CLUSTER_NAME", "shop"), ("ENABLE_SUBNET_DISCOVERY", "true")];

/// One label, annotation or tag.
pub(crate) fn named(key: &str, value: &str) -> Tags {
    [(key.into(), value.into())].into()
}

/// A subnet of the nodes' VPC.
pub(crate) fn subnet(id: &str, zone: &str, available: u32, tags: &[(&str, &str)]) -> Subnet {
    Subnet {
        id: id.into(),
        vpc: "vpc-1".into(),
        cidr: Some("100.64.0.0/19".parse().unwrap()),
        zone: zone.into(),
        zone_id: None,
        available,
        state: "available".into(),
        owner: None,
        ipv6: false,
        outpost: false,
        tags: tags.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
    }
}

/// An ENIConfig with one security group.
pub(crate) fn eni_config(name: &str, subnet: &str) -> EniConfig {
    EniConfig { name: name.into(), subnet: subnet.into(), security_groups: ["sg-pods".into()].into() }
}

/// Nodes in eu-central-1a whose second interface is in `subnet-pods`, as the ENIConfig of their zone says.
pub(crate) fn custom(nodes: usize, change: impl Fn(&mut Node)) -> ClusterSnapshot {
    let mut cluster = Cluster::new("10.0.0.0/20", CUSTOM);
    for _ in 0..nodes {
        cluster = cluster.node("m5.large", 20, &[0, 9], 4).tweak(|node| {
            node.labels = named("topology.kubernetes.io/zone", "eu-central-1a");
            change(node);
        });
    }
    let mut snapshot = cluster.snapshot();
    for interface in snapshot.ec2.interfaces.last_good.as_mut().unwrap().value.iter_mut() {
        if interface.attachment.as_ref().is_some_and(|attachment| attachment.device_index > 0) {
            interface.subnet = "subnet-pods".into();
        }
    }
    add_subnets(&mut snapshot, [subnet("subnet-pods", "eu-central-1a", 8000, &[])]);
    snapshot.objects.eni_configs = Reading::fresh(vec![eni_config("eu-central-1a", "subnet-pods")], now());
    let group = SecurityGroup { id: "sg-pods".into(), vpc: "vpc-1".into(), name: "pods".into() };
    snapshot.ec2.security_groups = Reading::fresh(vec![group], now());
    snapshot
}

/// Nodes in eu-central-1a with the manifest's settings and a version of the CNI, among other subnets.
pub(crate) fn discovering(
    version: &str,
    env: &[(&str, &str)],
    others: impl IntoIterator<Item = Subnet>,
) -> ClusterSnapshot {
    let cluster = Cluster::new("10.0.0.0/20", env).node("m5.large", 29, &[9, 9], 9);
    let mut snapshot = cluster.snapshot();
    change_env(&mut snapshot, |env| env.image = format!("registry/amazon-k8s-cni:v{version}"));
    add_subnets(&mut snapshot, others);
    snapshot
}

/// Adds subnets.
pub(crate) fn add_subnets(snapshot: &mut ClusterSnapshot, others: impl IntoIterator<Item = Subnet>) {
    let subnets = &mut snapshot.ec2.subnets.last_good.as_mut().unwrap().value;
    subnets.extend(others);
    subnets.sort_by(|a, b| a.id.cmp(&b.id));
}

/// The nodes' home subnet.
pub(crate) fn home(snapshot: &mut ClusterSnapshot) -> &mut Subnet {
    let subnets = &mut snapshot.ec2.subnets.last_good.as_mut().unwrap().value;
    subnets.iter_mut().find(|subnet| subnet.id.as_str() == "subnet-1").unwrap()
}

/// Changes the environment of the template and of all pods.
pub(crate) fn change_env(snapshot: &mut ClusterSnapshot, change: impl Fn(&mut AwsNodeEnv)) {
    let aws_node = &mut snapshot.aws_node.last_good.as_mut().unwrap().value;
    change(Arc::make_mut(&mut aws_node.template));
    for pod in &mut aws_node.pods {
        pod.env = Arc::clone(&aws_node.template);
    }
}

/// Sets a variable in the template and in all pods.
pub(crate) fn set(snapshot: &mut ClusterSnapshot, name: &str, value: &str) {
    change_env(snapshot, |env| {
        env.values.insert(name.to_owned(), EnvValue::Literal(value.to_owned()));
    });
}

/// A first audit.
pub(crate) fn audit(snapshot: &ClusterSnapshot) -> AuditOutcome {
    engine::evaluate(snapshot, &AuditPolicy::default(), &Memory::default())
}

/// What a rule found, in whosever report.
pub(crate) fn findings(snapshot: &ClusterSnapshot, code: &str) -> Vec<Finding> {
    let outcome = audit(snapshot);
    let of_nodes = outcome.nodes.into_iter().flat_map(|node| node.findings);
    let of_subnets = outcome.subnets.into_iter().flat_map(|subnet| subnet.findings);
    let all = outcome.findings.into_iter().chain(of_nodes).chain(of_subnets);
    all.filter(|finding| finding.code == code).collect()
}

/// What a rule answered.
pub(crate) fn answer(snapshot: &ClusterSnapshot, code: &str) -> RuleAnswer {
    let outcome = audit(snapshot);
    outcome.rules.into_iter().find(|rule| rule.code == code).unwrap().answer
}
