//! IPAM201: pods that kubelet could not start because the CNI had no address.

use super::no_growth;
use crate::{
    facts::{Facts, NodeFacts},
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

/// Pods that a message names.
const NAMED: usize = 3;

rule! {
    /// Pods on the node wait for an address.
    ///
    /// ## What it means
    ///
    /// The scheduler placed the pods, and kubelet cannot start them: the CNI on the node answered that it has no
    /// address to give (`failed to assign an IP address to container`). They stay in ContainerCreating.
    ///
    /// ## Why it happens
    ///
    /// The node's pool is empty and cannot grow: its subnet is full, the settings forbid growth, or the node is at the
    /// limit of its instance type. The finding says which.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get events -A --field-selector reason=FailedCreatePodSandBox | grep 'failed to assign an IP address'
    /// kubectl get pods -A --field-selector spec.nodeName=NODE,status.phase=Pending
    /// ```
    ///
    /// ## What to do
    ///
    /// Free addresses in the node's subnet (IPAM101, IPAM210), or correct the settings (IPAM211). Pods start by
    /// themselves within seconds once the node gets an address.
    ///
    /// ## What it costs
    ///
    /// Nothing beyond what the change of IPAM101, IPAM210 or IPAM211 costs.
    ///
    /// ## When it fires
    ///
    /// A pod without an address is on the node, and kubelet's event FailedCreatePodSandBox says that no address was
    /// assigned.
    pub PodsWaiting;
    code: "IPAM201",
    name: "pods-waiting",
    severity: Critical,
    condition: CapacityAvailable,
    sources: [Nodes, Pods],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for node in facts.nodes.iter().filter(|node| !node.waiting.is_empty()) {
        found.node(node, violation(facts, node));
    }
}

fn violation(facts: &Facts<'_>, node: &NodeFacts<'_>) -> sink::Violation {
    let names: Vec<String> = node.waiting.iter().map(|pod| format!("{}/{}", pod.namespace, pod.name)).collect();
    let waiting = u32::try_from(names.len()).unwrap_or(u32::MAX);
    let cause = no_growth::why(facts, node);
    let pool = node.pool.as_ref().map_or_else(String::new, |pool| {
        format!(" ({} of {} free)", text::thousands(pool.spare()), text::count(pool.held, "pod address"))
    });
    sink::Violation {
        severity: Severity::Critical,
        message: format!(
            "{} {} for an address{pool}: {}; {}",
            text::count(waiting, "pod"),
            text::verb(waiting, "waits", "wait"),
            text::list(&names, "and", NAMED),
            cause.state,
        ),
        remediation: cause.remedy,
        evidence: vec![
            sink::evidence("waitingPods", waiting),
            sink::evidence("idle", text::known(node.pool.as_ref().map(|pool| pool.spare()))),
        ],
    }
}
