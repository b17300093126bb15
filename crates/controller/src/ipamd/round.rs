//! One round: every node is asked once, a few at a time and in another order each time, within the interval.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, OnceLock},
    time::Duration,
};

use futures::{StreamExt, stream};
use ipam_audit_api::views::{AwsNodePodRow, NodeRow};
use ipam_audit_core::{
    ids::NodeName,
    snapshot::Platform,
    source::{FaultCategory, SourceFault},
};
use jiff::Timestamp;
use kube::core::{Selector, SelectorExt};

use super::{
    Asker, Terms, Way,
    ask::{Door, Question},
    rows::Answer,
};
use crate::state::Parts;

/// The answers of one round, each with its time.
pub(super) type Answers = Vec<(NodeName, Timestamp, Answer)>;

/// Asks them all; whom, and what they said in time. A right that is missing is missing for all of them: the rest of
/// the round is spared.
pub(super) async fn ask_all(asker: &Asker, way: Way, terms: &Terms) -> (Vec<NodeName>, Answers) {
    let mut doors = asker.state.read(|parts| doors(parts, way, &terms.nodes));
    let order = RandomState::new();
    doors.sort_by_cached_key(|(node, _)| order.hash_one(node.as_str()));
    let targets = doors.iter().map(|(node, _)| node.clone()).collect();
    let denied: OnceLock<SourceFault> = OnceLock::new();
    let question = Question { client: &asker.client, port: way.port, timeout: terms.timeout };
    let visits = stream::iter(doors).map(|(node, door)| {
        let (question, denied) = (&question, &denied);
        async move {
            let answer = match (denied.get(), door) {
                (Some(fault), _) => Err(fault.clone()),
                (None, Ok(door)) => question.ask(&door).await,
                (None, Err(nobody)) => Err(nobody),
            };
            if let Err(fault) = &answer
                && fault.category == FaultCategory::Denied
            {
                drop(denied.set(fault.clone()));
            }
            (node, Timestamp::now(), answer)
        }
    });
    let limit = tokio::time::sleep(longest(terms));
    let answers = visits.buffer_unordered(terms.concurrency).take_until(limit).collect().await;
    (targets, answers)
}

/// A round that takes longer than its interval is cut short; the nodes that are left keep what is known of them.
fn longest(terms: &Terms) -> Duration {
    terms.interval.max(terms.timeout)
}

/// Where each node's ipamd is asked, or why nowhere.
fn doors(parts: &Parts, way: Way, nodes: &[Selector]) -> Vec<(NodeName, Result<Door, SourceFault>)> {
    let pods = if way.through_api_server { pods(parts) } else { HashMap::new() };
    let wanted = |row: &&NodeRow| {
        row.node().platform == Platform::LinuxEc2
            && nodes.iter().any(|nodes| nodes.selects_all() || matches(nodes, row))
    };
    let door = |row: &NodeRow| {
        let node = row.node();
        let door = match (way.through_api_server, node.state.address) {
            (true, _) => pods.get(&node.name).cloned().ok_or_else(no_pod),
            (false, Some(address)) => Ok(Door::Address(address)),
            (false, None) => Err(no_address()),
        };
        (node.name.clone(), door)
    };
    parts.nodes.rows.rows().filter(wanted).map(door).collect()
}

fn matches(nodes: &Selector, row: &NodeRow) -> bool {
    let labels = row.labels().iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    nodes.matches(&labels)
}

/// The CNI's pod on each node. While one replaces another a node has two: the one that serves counts.
fn pods(parts: &Parts) -> HashMap<NodeName, Door> {
    let mut pods: HashMap<NodeName, (&Arc<str>, &AwsNodePodRow)> = HashMap::new();
    for (namespace, pod) in parts.cni.running() {
        let known = pods.entry(pod.node.clone()).or_insert((namespace, pod));
        if pod.ready && !known.1.ready {
            *known = (namespace, pod);
        }
    }
    let door = |(node, (namespace, pod)): (NodeName, (&Arc<str>, &AwsNodePodRow))| {
        (node, Door::Pod { namespace: namespace.clone(), name: pod.name.clone() })
    };
    pods.into_iter().map(door).collect()
}

fn no_pod() -> SourceFault {
    let message = "there is no aws-node pod on the node to ask through".to_owned();
    SourceFault { category: FaultCategory::NotFound, message }
}

fn no_address() -> SourceFault {
    let message = "the node has no internal IPv4 address to ask at".to_owned();
    SourceFault { category: FaultCategory::NotFound, message }
}
