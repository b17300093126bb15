//! What rules about security groups for pods share: when a node has settled, and how things are said.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::{
    facts::{Facts, NodeFacts, sgp},
    finding::Subject,
    policy::AuditPolicy,
    rules::{Violations, sink::Place},
    snapshot::{Event, Pod},
    source::Source,
    text,
};

/// Names that a message carries.
pub(super) const NAMED: usize = 3;
/// Characters of somebody else's text that a message carries.
const CLIPPED: usize = 160;

/// Whether node, CNI and CNINode had the time to become what they should be. A node of unknown age did not.
pub(super) fn settled(facts: &Facts<'_>, policy: &AuditPolicy, node: &NodeFacts<'_>) -> bool {
    let Some(created) = node.node.created_at else { return false };
    let aws_node = facts.snapshot.aws_node.value().and_then(|aws_node| {
        let at = aws_node.pods.binary_search_by(|pod| pod.node.cmp(&node.node.name)).ok()?;
        aws_node.pods.get(at)?.started_at
    });
    let asked = node.signals.cni_node.and_then(|cni_node| cni_node.created_at);
    let newest = [Some(created), aws_node, asked].into_iter().flatten().max();
    let settle = policy.for_node(node.node).settle_seconds;
    node.node.state.deleted_at.is_none() && newest.is_some_and(|newest| older(facts, newest, settle))
}

/// Whether a moment is more than so many seconds ago.
pub(super) fn older(facts: &Facts<'_>, than: Timestamp, seconds: u32) -> bool {
    facts.snapshot.taken_at.duration_since(than) > SignedDuration::from_secs(seconds.into())
}

/// Notes if the policies are not known, or may have changed since they were.
pub(super) fn note_policies(facts: &Facts<'_>, found: &mut Violations<'_>) {
    let source = Source::SecurityGroupPolicies;
    if facts.pod_groups.in_use && (facts.is_missing(source) || facts.is_failing(source)) {
        found.lacks(source);
    }
}

/// Notes what keeps the rule from knowing which pods the policies select.
pub(super) fn note_unresolved(facts: &Facts<'_>, found: &mut Violations<'_>) {
    note_policies(facts, found);
    for source in &facts.pod_groups.unresolved {
        found.lacks(*source);
    }
}

/// Pods that no node has a branch slot for: with them, a trunk that is missing hurts now.
pub(super) fn pods_without_slot(facts: &Facts<'_>) -> u32 {
    number(facts.pod_groups.pods.iter().filter(|pod| lacks_slot(facts, pod.pod)).count())
}

/// Whether the scheduler says that a pod finds no branch slot.
pub(super) fn lacks_slot(facts: &Facts<'_>, pod: &Pod) -> bool {
    let said_by_event =
        || facts.pod_groups.failure("Pod", pod.namespace(), &pod.name().to_string()).is_some_and(is_scheduler);
    pod.node().is_none() && (pod.traits().is_some_and(|traits| traits.lacks_branch_slot) || said_by_event())
}

fn is_scheduler(event: &Event) -> bool {
    &*event.reason == "FailedScheduling"
}

/// A pod on a node; findings of one workload are one problem.
pub(super) fn pod_place(node: &NodeFacts<'_>, pod: &Pod) -> Place {
    Place { group: sgp::owner(pod), ..Place::on_node(node, pod_subject(pod)) }
}

/// A pod as a subject.
pub(super) fn pod_subject(pod: &Pod) -> Subject {
    Subject::Pod(pod.full_name().into())
}

/// A node; findings of one instance type are one problem.
pub(super) fn type_place(node: &NodeFacts<'_>) -> Place {
    Place { group: Arc::from(type_name(node)), ..Place::node(node) }
}

/// What a node can address and what its max-pods admits, where that is more. With IPv6 one interface suffices.
pub(super) fn short_of_addresses(node: &NodeFacts<'_>) -> Option<(u32, u32)> {
    let ipv6 = node.cni.as_ref().is_some_and(|cni| cni.serves_ipv6());
    node.capacity.zip(node.node.max_pods).filter(|(can, may)| !ipv6 && can < may)
}

/// The node's instance type in words.
pub(super) fn type_name<'a>(node: &NodeFacts<'a>) -> &'a str {
    node.node.instance_type.as_ref().map_or("its type", |name| name.as_str())
}

/// A count of policies: their plural is none of the regular ones.
pub(super) fn policies(count: u32) -> String {
    format!("{} {}", text::thousands(count), text::verb(count, "SecurityGroupPolicy", "SecurityGroupPolicies"))
}

/// What an event says, as short as it can be: EC2's own code where there is one.
pub(super) fn said(event: &Event) -> String {
    if let Some(code) = sgp::error_code(&event.message) {
        return format!("{code} (event {})", event.reason);
    }
    let clipped: String = event.message.chars().take(CLIPPED).collect();
    format!("{} (event {})", clipped.trim().trim_end_matches('.'), event.reason)
}

/// What to do about a failure that the resource controller reported.
pub(super) fn remedy(event: &Event) -> String {
    let code = sgp::error_code(&event.message).unwrap_or_default();
    if code.starts_with("Unauthorized") || code.starts_with("AccessDenied") {
        return "Attach the managed policy AmazonEKSVPCResourceController to the cluster's IAM role.".to_owned();
    }
    if code.contains("InsufficientFreeAddresses") || code.contains("InsufficientCidr") {
        return "Free addresses in the subnet or move the nodes to one that has some.".to_owned();
    }
    if code.contains("SecurityGroup") || code.contains("InvalidGroup") {
        return "Correct the security groups of the SecurityGroupPolicies.".to_owned();
    }
    format!("Remove the cause that event {} names.", event.reason)
}

/// A count that is surely small enough.
pub(super) fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
