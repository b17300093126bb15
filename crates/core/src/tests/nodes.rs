//! Helpers for tests of rules about nodes.

use jiff::SignedDuration;

use crate::{
    engine,
    finding::Finding,
    memory::Memory,
    outcome::{AuditOutcome, RuleAnswer},
    policy::AuditPolicy,
    snapshot::{ClusterSnapshot, Pod, PodFields},
};

fn outcome(snapshot: &ClusterSnapshot) -> AuditOutcome {
    engine::evaluate(snapshot, &AuditPolicy::default(), &Memory::default())
}

/// What one rule finds at a first look.
pub(crate) fn findings(code: &str, snapshot: &ClusterSnapshot) -> Vec<Finding> {
    let outcome = outcome(snapshot);
    let nodes = outcome.nodes.into_iter().flat_map(|node| node.findings);
    nodes.chain(outcome.findings).filter(|finding| finding.code == code).collect()
}

/// What one rule answers at a first look.
pub(crate) fn answer(code: &str, snapshot: &ClusterSnapshot) -> RuleAnswer {
    outcome(snapshot).rules.into_iter().find(|rule| rule.code == code).unwrap().answer
}

/// The same with so many pods of the host's network on the first node.
pub(crate) fn host_pods(number: u32, mut snapshot: ClusterSnapshot) -> ClusterSnapshot {
    let node = snapshot.nodes.value().unwrap()[0].name.clone();
    let pods = &mut snapshot.pods.last_good.as_mut().unwrap().value;
    let like = pods.get(0).map(Pod::fields);
    let Some(like) = like else { panic!("a pod to copy") };
    let host = |at| PodFields {
        name: format!("host-{at}").into(),
        uid: format!("host-{at}").into(),
        node: Some(node.clone()),
        address: None,
        host_network: true,
        refused_at: None,
        ..like.clone()
    };
    pods.extend((0..number).map(|at| host(at).into()));
    snapshot
}

/// What one rule finds at a second look so many seconds later that shows the same.
pub(crate) fn later(code: &str, snapshot: &ClusterSnapshot, seconds: i64) -> Vec<Finding> {
    let memory = outcome(snapshot).memory;
    let mut second = snapshot.clone();
    let after = SignedDuration::from_secs(seconds);
    second.taken_at += after;
    second.ec2.interfaces.last_good.as_mut().unwrap().as_of += after;
    let outcome = engine::evaluate(&second, &AuditPolicy::default(), &memory);
    let nodes = outcome.nodes.into_iter().flat_map(|node| node.findings);
    nodes.chain(outcome.findings).filter(|finding| finding.code == code).collect()
}
