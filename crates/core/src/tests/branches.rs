//! A cluster that uses security groups for pods as it should, for tests that then break one thing.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::fixtures::{Cluster, interface, now};
use crate::{
    engine,
    finding::Finding,
    inventory::{Attachment, Interface, InterfaceKind, RouteTable, SecurityGroup},
    limits::{Trunking, lookup},
    memory::Memory,
    outcome::RuleAnswer,
    policy::AuditPolicy,
    snapshot::{
        AwsNode, AwsNodeEnv, BranchUse, ClusterObjects, ClusterSnapshot, CniNode, EnvValue, Event, Node, PodFields,
        PodTraits, SecurityGroupPolicy, Selector,
    },
    source::{FaultCategory, Reading},
};

/// An hour ago: everything has settled since.
pub(crate) fn an_hour_ago() -> Timestamp {
    now() - SignedDuration::from_hours(1)
}

/// Nodes of one type with a trunk each, and one policy for pods `app=db` of namespace `shop`.
pub(crate) fn cluster(kind: &str, nodes: usize) -> ClusterSnapshot {
    cluster_with(kind, nodes, &[("ENABLE_POD_ENI", "true"), ("POD_SECURITY_GROUP_ENFORCING_MODE", "standard")])
}

/// The same with these variables of aws-node.
pub(crate) fn cluster_with(kind: &str, nodes: usize, env: &[(&str, &str)]) -> ClusterSnapshot {
    let empty = Cluster::new("10.0.0.0/20", env);
    let cluster = (0..nodes).fold(empty, |cluster, _| {
        cluster.node(kind, 29, &[4], 2).tweak(|node| {
            node.created_at = Some(an_hour_ago());
            node.branch_slots = slots(kind);
        })
    });
    let mut snapshot = cluster.snapshot();
    snapshot.objects = nothing_else();
    snapshot.objects.security_group_policies = Reading::fresh(vec![policy("db", &["sg-1"])], now());
    snapshot.objects.mutating_webhooks = Reading::fresh(vec!["mpod.vpc.k8s.aws".into()], now());
    let group = SecurityGroup { id: "sg-1".into(), vpc: "vpc-1".into(), name: "db".into() };
    snapshot.ec2.security_groups = Reading::fresh(vec![group], now());
    snapshot.ec2.route_tables = Reading::fresh(Vec::new(), now());
    let names: Vec<_> = snapshot.nodes.value().unwrap().iter().map(|node| node.name.clone()).collect();
    let cni_nodes =
        names.iter().map(|name| CniNode { created_at: Some(an_hour_ago()), ..CniNode::new(name.clone(), true) });
    snapshot.cni_nodes = Reading::fresh(cni_nodes.collect(), now());
    edit_aws_node(&mut snapshot, |aws_node| {
        aws_node.pods.iter_mut().for_each(|pod| pod.started_at = Some(an_hour_ago()));
        aws_node.manifest.init = Some(Arc::new(AwsNodeEnv::default()));
    });
    for pod in edit(&mut snapshot.pods).iter_mut() {
        pod.edit(|pod| pod.traits = Some(Arc::default()));
    }
    for at in 0..nodes {
        let mut trunk = interface(&format!("eni-trunk-{at}"), "subnet-1");
        trunk.kind = InterfaceKind::Trunk;
        trunk.primary = Some([10, 0, 8, u8::try_from(at).unwrap()].into());
        trunk.attachment = Some(Attachment {
            instance: Some(format!("i-{at}").into()),
            device_index: 2,
            card_index: 0,
            delete_on_termination: Some(true),
            attached_at: Some(an_hour_ago()),
        });
        edit(&mut snapshot.ec2.interfaces).push(trunk);
    }
    snapshot
}

fn slots(kind: &str) -> Option<u32> {
    match lookup(kind)?.trunking {
        Trunking::Supported { branches } => Some(branches),
        Trunking::Unsupported | Trunking::Unknown => None,
    }
}

/// Optional objects, all read and none there.
fn nothing_else() -> ClusterObjects {
    fn none<T>() -> Reading<Vec<T>> {
        Reading::fresh(Vec::new(), now())
    }
    ClusterObjects {
        eni_configs: none(),
        security_group_policies: none(),
        service_accounts: none(),
        config_maps: none(),
        events: none(),
        daemon_sets: none(),
        deployments: none(),
        services: none(),
        network_policies: none(),
        mutating_webhooks: none(),
        node_classes: none(),
        node_pools: none(),
        node_claims: none(),
    }
}

/// A policy of namespace `shop` for pods of a label `app`.
pub(crate) fn policy(app: &str, groups: &[&str]) -> SecurityGroupPolicy {
    SecurityGroupPolicy {
        namespace: "shop".into(),
        name: format!("{app}-access").into(),
        pods: Some(selector(app)),
        service_accounts: None,
        groups: groups.iter().map(|group| (*group).into()).collect(),
    }
}

/// A selector by the label `app`.
pub(crate) fn selector(app: &str) -> Selector {
    Selector { labels: [("app".into(), app.into())].into(), expressions: Vec::new() }
}

/// What pods of a label `app` have in common.
pub(crate) fn traits(app: &str) -> PodTraits {
    PodTraits {
        labels: [("app".into(), app.into())].into(),
        branch_containers: [0].into(),
        grace_seconds: Some(30),
        ..PodTraits::default()
    }
}

/// Adds a pod `app=db` with a branch to the node of this number.
pub(crate) fn branch_pod(snapshot: &mut ClusterSnapshot, node: usize, name: &str) {
    let id = format!("eni-branch-{name}");
    let mut branch = interface(&id, "subnet-1");
    branch.kind = InterfaceKind::Branch;
    branch.groups = ["sg-1".into()].into();
    branch.tags = [("vpcresources.k8s.aws/trunk-eni-id".into(), format!("eni-trunk-{node}").into())].into();
    edit(&mut snapshot.ec2.interfaces).push(branch);
    let host = snapshot.nodes.value().unwrap()[node].name.clone();
    let mut pods = snapshot.pods.value().unwrap().clone();
    let model = pods[0].fields();
    let pod = PodFields {
        name: name.into(),
        uid: name.into(),
        workload: Some("Deployment db".into()),
        node: Some(host),
        address: Some([10, 0, 9, 1].into()),
        branch: BranchUse::Has(id.as_str().into()),
        created_at: Some(an_hour_ago()),
        scheduled_at: Some(an_hour_ago()),
        traits: Some(Arc::new(traits("db"))),
        ..model
    };
    pods.push(pod.into());
    snapshot.pods = Reading::fresh(pods, now());
}

/// Changes the view of a source in place.
pub(crate) fn edit<T>(reading: &mut Reading<T>) -> &mut T {
    &mut reading.last_good.as_mut().unwrap().value
}

/// Changes the node of this number.
pub(crate) fn edit_node(snapshot: &mut ClusterSnapshot, node: usize, change: impl FnOnce(&mut Node)) {
    change(Arc::make_mut(&mut edit(&mut snapshot.nodes)[node]));
}

/// Changes the pod of this name.
pub(crate) fn edit_pod(snapshot: &mut ClusterSnapshot, name: &str, change: impl FnOnce(&mut PodFields)) {
    let pod = edit(&mut snapshot.pods).iter_mut().find(|pod| pod.name() == name);
    pod.unwrap().edit(change);
}

/// Changes what the pod of this name has in common with its like.
pub(crate) fn edit_traits(snapshot: &mut ClusterSnapshot, name: &str, change: impl FnOnce(&mut PodTraits)) {
    edit_pod(snapshot, name, |pod| change(Arc::make_mut(pod.traits.as_mut().unwrap())));
}

/// Changes the CNI as it is installed.
pub(crate) fn edit_aws_node(snapshot: &mut ClusterSnapshot, change: impl FnOnce(&mut AwsNode)) {
    change(edit(&mut snapshot.aws_node));
}

/// Sets a variable of aws-node on every node and in the template.
pub(crate) fn set_env(snapshot: &mut ClusterSnapshot, name: &str, value: &str) {
    edit_aws_node(snapshot, |aws_node| {
        let mut env = aws_node.template.as_ref().clone();
        env.values.insert(name.to_owned(), EnvValue::Literal(value.to_owned()));
        let env = Arc::new(env);
        aws_node.pods.iter_mut().for_each(|pod| pod.env = Arc::clone(&env));
        aws_node.template = env;
    });
}

/// Takes the trunk of the node of this number away.
pub(crate) fn drop_interface(snapshot: &mut ClusterSnapshot, id: &str) {
    edit(&mut snapshot.ec2.interfaces).retain(|interface| interface.id.as_str() != id);
}

/// Changes an interface.
pub(crate) fn edit_interface(snapshot: &mut ClusterSnapshot, id: &str, change: impl FnOnce(&mut Interface)) {
    change(edit(&mut snapshot.ec2.interfaces).iter_mut().find(|interface| interface.id.as_str() == id).unwrap());
}

/// Adds an event of the resource controller, ten minutes old.
pub(crate) fn event(snapshot: &mut ClusterSnapshot, kind: &str, name: &str, reason: &str, message: &str) {
    let namespace = if kind == "Pod" { "shop" } else { "" };
    edit(&mut snapshot.objects.events).push(Event {
        kind: kind.into(),
        namespace: namespace.into(),
        name: name.into(),
        reason: reason.into(),
        severity: "Warning".into(),
        action: None,
        message: message.into(),
        last_at: Some(now() - SignedDuration::from_mins(10)),
    });
}

/// A route table of `subnet-1` with a default route.
pub(crate) fn default_route(snapshot: &mut ClusterSnapshot, target: &str) {
    let routes = vec![("0.0.0.0/0".parse().unwrap(), target.into())];
    let table =
        RouteTable { id: "rtb-1".into(), vpc: "vpc-1".into(), main: true, subnets: ["subnet-1".into()].into(), routes };
    snapshot.ec2.route_tables = Reading::fresh(vec![table], now());
}

/// A source that could not be read.
pub(crate) fn missing<T>() -> Reading<T> {
    Reading::missing(FaultCategory::Denied, "forbidden")
}

/// What a first audit finds by one rule.
pub(crate) fn findings(snapshot: &ClusterSnapshot, code: &str) -> Vec<Finding> {
    let outcome = engine::evaluate(snapshot, &AuditPolicy::default(), &Memory::default());
    let on_nodes = outcome.nodes.into_iter().flat_map(|node| node.findings);
    let on_subnets = outcome.subnets.into_iter().flat_map(|subnet| subnet.findings);
    outcome.findings.into_iter().chain(on_nodes).chain(on_subnets).filter(|finding| finding.code == code).collect()
}

/// The messages of one rule.
pub(crate) fn messages(snapshot: &ClusterSnapshot, code: &str) -> Vec<String> {
    findings(snapshot, code).into_iter().map(|finding| finding.message).collect()
}

/// How one rule answers.
pub(crate) fn answer(snapshot: &ClusterSnapshot, code: &str) -> RuleAnswer {
    let outcome = engine::evaluate(snapshot, &AuditPolicy::default(), &Memory::default());
    outcome.rules.into_iter().find(|rule| rule.code == code).unwrap().answer
}

/// What a second look finds that is two minutes after the first.
pub(crate) fn second_look(snapshot: &ClusterSnapshot, code: &str) -> Vec<Finding> {
    let first = engine::evaluate(snapshot, &AuditPolicy::default(), &Memory::default());
    let mut later = snapshot.clone();
    later.taken_at += SignedDuration::from_mins(2);
    let interfaces = later.ec2.interfaces.value().unwrap().clone();
    later.ec2.interfaces = Reading::fresh(interfaces, later.taken_at);
    let outcome = engine::evaluate(&later, &AuditPolicy::default(), &first.memory);
    let on_nodes = outcome.nodes.into_iter().flat_map(|node| node.findings);
    outcome.findings.into_iter().chain(on_nodes).filter(|finding| finding.code == code).collect()
}
