//! IPAM211: a node whose next pod finds no free address although the node has room for it.

use super::no_growth;
use crate::{
    facts::{Facts, NodeFacts, Pool},
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

rule! {
    /// The node has room for more pods and no free address for them.
    ///
    /// ## What it means
    ///
    /// The scheduler sees room on the node and will place a pod there. The CNI has no free address for it: the pod
    /// waits until the pool grows, and for ever if it cannot.
    ///
    /// ## Why it happens
    ///
    /// The subnet cannot give what the node asks for; or the settings stop the pool from growing, as
    /// `MINIMUM_IP_TARGET` does without `WARM_IP_TARGET`; or targets of 0 make it grow only once it is empty.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl set env ds/aws-node -n kube-system --list | grep -E 'WARM|MINIMUM'
    /// kubectl get pods -A --field-selector spec.nodeName=NODE -o wide
    /// ```
    ///
    /// ## What to do
    ///
    /// The finding names the cause. For settings: keep at least a few addresses free (`WARM_IP_TARGET=3` or more with a
    /// `MINIMUM_IP_TARGET` near the usual number of pods). For the subnet: see IPAM101.
    ///
    /// ## What it costs
    ///
    /// More warm addresses are taken from the subnet on every node: the number of nodes times the difference.
    ///
    /// ## When it fires
    ///
    /// The node's free addresses are fewer than `spec.thresholds.warmFloor` (default 1), while its max-pods and its
    /// instance type leave room for more pods.
    pub WarmPoolTooSmall;
    code: "IPAM211",
    name: "warm-pool-too-small",
    severity: Warning,
    condition: WarmPoolSized,
    sources: [Nodes, Pods, AwsNode, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations<'_>) {
    for (node, pool) in facts.nodes.iter().filter_map(|node| Some((node, node.pool.as_ref()?))) {
        if pool.spare() < policy.thresholds.warm_floor && node.room().is_some_and(|room| room > 0) {
            found.node(node, violation(facts, policy, node, pool));
        }
    }
}

fn violation(facts: &Facts<'_>, policy: &AuditPolicy, node: &NodeFacts<'_>, pool: &Pool<'_>) -> sink::Violation {
    let cause = no_growth::why(facts, node);
    sink::Violation {
        severity: Severity::Warning,
        message: format!(
            "{} of {} free for the next pod, with room for {} more by the node's limits; {}",
            text::thousands(pool.spare()),
            text::count(pool.held, "pod address"),
            node.room().map_or_else(|| "?".to_owned(), |room| text::count(room, "pod")),
            cause.state,
        ),
        remediation: cause.remedy,
        evidence: vec![
            sink::evidence("held", pool.held),
            sink::evidence("idle", pool.spare()),
            sink::evidence("floor", policy.thresholds.warm_floor),
            sink::evidence("settingsNow", node.cni.as_ref().map_or_else(|| "?".to_owned(), |cni| cni.targets_text())),
        ],
    }
}
