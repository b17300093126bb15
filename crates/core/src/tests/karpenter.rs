//! Clusters with Karpenter for unit tests, and what a rule says of a snapshot.

use std::{collections::BTreeMap, sync::Arc};

use super::fixtures::{Cluster, now};
use crate::{
    engine,
    finding::Finding,
    inventory::Subnet,
    memory::Memory,
    outcome::RuleAnswer,
    policy::AuditPolicy,
    snapshot::{AwsNodeEnv, ClusterSnapshot, EnvValue, NodeClass, NodePool, Requirement, Workload},
    source::{Reading, Source},
};

/// One rule's answer and its findings, wherever they are.
pub(crate) struct Answers {
    pub(crate) findings: Vec<Finding>,
    answer: RuleAnswer,
}

impl Answers {
    pub(crate) fn passed(&self) -> bool {
        self.answer == RuleAnswer::Passed
    }

    pub(crate) fn missing(&self) -> &[Source] {
        match &self.answer {
            RuleAnswer::Inconclusive { missing, .. } => missing,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn messages(&self) -> Vec<&str> {
        self.findings.iter().map(|finding| finding.message.as_str()).collect()
    }
}

/// What a rule says, by its code.
pub(crate) fn answers(snapshot: &ClusterSnapshot, code: &str) -> Answers {
    let outcome = engine::evaluate(snapshot, &AuditPolicy::default(), &Memory::default());
    let answer = outcome.rules.iter().find(|rule| rule.code == code).unwrap().answer.clone();
    let of_nodes = outcome.nodes.into_iter().flat_map(|node| node.findings);
    let of_subnets = outcome.subnets.into_iter().flat_map(|subnet| subnet.findings);
    let all = outcome.findings.into_iter().chain(of_nodes).chain(of_subnets);
    Answers { findings: all.filter(|finding| finding.code == code).collect(), answer }
}

/// A cluster with one m5.large and whatever Karpenter it is given.
pub(crate) struct Setup {
    snapshot: ClusterSnapshot,
    classes: Vec<NodeClass>,
    pools: Vec<NodePool>,
    deployments: Vec<Workload>,
}

impl Setup {
    /// One node, no Karpenter; every optional source of Karpenter's was read.
    pub(crate) fn new(env: &[(&str, &str)]) -> Self {
        let cluster = Cluster::new("10.0.0.0/20", &[&[("ENABLE_IPv4", "true")], env].concat());
        let snapshot = cluster.node("m5.large", 29, &[9, 9], 5).snapshot();
        Self { snapshot, classes: Vec::new(), pools: Vec::new(), deployments: Vec::new() }
    }

    /// An `EC2NodeClass` without subnets.
    pub(crate) fn class(mut self, name: &str, max_pods: Option<u32>) -> Self {
        self.classes.push(NodeClass { name: name.into(), max_pods, ..NodeClass::default() });
        self
    }

    /// A NodePool that names instance types, or none.
    pub(crate) fn pool(mut self, name: &str, class: &str, types: &[&str]) -> Self {
        let requirement = Requirement {
            key: "node.kubernetes.io/instance-type".into(),
            operator: "In".into(),
            values: types.iter().map(|kind| (*kind).into()).collect(),
        };
        let requirements = if types.is_empty() { Vec::new() } else { vec![requirement] };
        self.pools.push(NodePool { name: name.into(), node_class: class.into(), requirements, node_limit: None });
        self
    }

    /// Lets the last pool have no more nodes than this.
    pub(crate) fn limit(mut self, nodes: u32) -> Self {
        self.pools.last_mut().unwrap().node_limit = Some(nodes);
        self
    }

    /// Lets the node be one of a pool.
    pub(crate) fn node_of(self, pool: &str) -> Self {
        let labels = [("karpenter.sh/nodepool".into(), pool.into())];
        self.change(|snapshot| Arc::make_mut(&mut nodes(snapshot)[0]).labels = labels.into())
    }

    /// A subnet of a class; `subnet-1` is the one in which the node is.
    pub(crate) fn subnet(mut self, class: &str, id: &str, zone: &str, available: u32) -> Self {
        let subnets = &mut self.snapshot.ec2.subnets.last_good.as_mut().unwrap().value;
        let changed = Subnet { id: id.into(), zone: zone.into(), available, ..subnets[0].clone() };
        subnets.retain(|subnet| subnet.id != changed.id);
        subnets.push(changed);
        let class = self.classes.iter_mut().find(|one| *one.name == *class).unwrap();
        class.subnets = class.subnets.iter().cloned().chain([(id.into(), zone.into())]).collect();
        self
    }

    /// Karpenter's Deployment with an environment.
    pub(crate) fn controller(mut self, env: &[(&str, &str)]) -> Self {
        let literal = |(name, value): &(&str, &str)| ((*name).to_owned(), EnvValue::Literal((*value).to_owned()));
        let values: BTreeMap<String, EnvValue> = env.iter().map(literal).collect();
        self.deployments.push(Workload {
            namespace: "kube-system".into(),
            name: "karpenter".into(),
            images: ["public.ecr.aws/karpenter/controller:1.14.1".into()].into(),
            env: Arc::new(AwsNodeEnv { image: String::new(), values }),
            replicas: Some(2),
        });
        self
    }

    /// Changes anything else.
    pub(crate) fn change(mut self, change: impl FnOnce(&mut ClusterSnapshot)) -> Self {
        change(&mut self.snapshot);
        self
    }

    pub(crate) fn snapshot(self) -> ClusterSnapshot {
        let Self { mut snapshot, classes, pools, deployments } = self;
        let objects = &mut snapshot.objects;
        objects.node_classes = Reading::fresh(classes, now());
        objects.node_pools = Reading::fresh(pools, now());
        if objects.node_claims.value().is_none() {
            objects.node_claims = Reading::fresh(Vec::new(), now());
        }
        if !deployments.is_empty() {
            objects.deployments = Reading::fresh(deployments, now());
        }
        snapshot
    }
}

fn nodes(snapshot: &mut ClusterSnapshot) -> &mut Vec<Arc<crate::snapshot::Node>> {
    &mut snapshot.nodes.last_good.as_mut().unwrap().value
}
