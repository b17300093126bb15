//! IPAM430: a node that runs nothing, or takes nothing more, and holds addresses.

use jiff::SignedDuration;

use super::waste;
use crate::{
    facts::{Facts, NodeFacts, Pool},
    policy::AuditPolicy,
    rules::{
        Violations,
        sink::{self, Place},
    },
    text,
};

rule! {
    /// A cordoned, draining or empty node holds addresses that no pod will use.
    ///
    /// ## What it means
    ///
    /// The node keeps its warm pool although no pod will come: its addresses are missing elsewhere for as long as it
    /// stands.
    ///
    /// ## Why it happens
    ///
    /// A drain that was not finished, an autoscaler that may not remove the node, or a node group whose minimum is too
    /// large. On a cordoned node the CNI neither takes nor gives back interfaces unless
    /// `AWS_MANAGE_ENIS_NON_SCHEDULABLE` is `true`; taints of other tools it does not look at, and keeps the pool full.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get node NODE -o jsonpath='{.spec.taints}'
    /// kubectl get pods -A --field-selector spec.nodeName=NODE
    /// ```
    ///
    /// ## What to do
    ///
    /// Finish the drain and end the node, or uncordon it. An empty node is the node group's to remove.
    ///
    /// ## What it costs
    ///
    /// Nothing for an empty node; a move for the pods that are left on others.
    ///
    /// ## When it fires
    ///
    /// For longer than `spec.thresholds.cordonedSeconds` (default 3600) a node is cordoned, drained by another tool or runs only
    /// pods of DaemonSets, and more than `spec.thresholds.idleAddresses` (default 16) of its addresses have no pod. Warning in a
    /// subnet that is low or full, info elsewhere.
    pub UnusedNodeHoldsAddresses;
    code: "IPAM430",
    name: "unused-node-holds-addresses",
    severity: Warning,
    condition: WarmPoolSized,
    sources: [Nodes, Pods, NetworkInterfaces],
    check: check,
}

/// Why no pod will come.
#[derive(Debug, Clone, Copy)]
enum State<'a> {
    /// Cordoned, for so long if that is known.
    Cordoned(Option<SignedDuration>),
    /// Another tool drains it.
    Drained(&'a str),
    /// Only pods of DaemonSets.
    Empty,
}

fn check(facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations<'_>) {
    let now = facts.snapshot.taken_at;
    for (node, pool) in facts.nodes.iter().filter_map(|node| Some((node, node.pool.as_ref()?))) {
        let thresholds = policy.for_node(node.node);
        let Some(state) = State::of(node, now).filter(|_| pool.idle > thresholds.idle_addresses) else { continue };
        let grace = SignedDuration::from_secs(thresholds.cordoned_seconds.into());
        match state {
            State::Cordoned(Some(length)) if length < grace => {}
            State::Cordoned(Some(length)) => found.node(node, violation(facts, node, pool, state, length)),
            _ => {
                let violation = violation(facts, node, pool, state, grace);
                found.suspicion(Place::node(node), state.name(), now, grace, violation);
            }
        }
    }
}

impl<'a> State<'a> {
    fn of(node: &NodeFacts<'a>, now: jiff::Timestamp) -> Option<Self> {
        let state = &node.node.state;
        if node.node.cordoned {
            return Some(Self::Cordoned(state.cordoned_since.map(|since| now.duration_since(since))));
        }
        if let Some(by) = &state.drained_by {
            return Some(Self::Drained(by));
        }
        (node.work_pods == Some(0)).then_some(Self::Empty)
    }

    /// What must not change between two looks.
    const fn name(self) -> &'static str {
        match self {
            Self::Cordoned(_) => "cordoned",
            Self::Drained(_) => "drained",
            Self::Empty => "empty",
        }
    }

    fn text(self, length: SignedDuration, pods: u32) -> String {
        let length = text::age(length);
        let left = text::count(pods, "pod");
        match self {
            Self::Cordoned(Some(_)) => format!("cordoned for {length}, with {left} left"),
            Self::Cordoned(None) => format!("cordoned for at least {length}, with {left} left"),
            Self::Drained(by) => format!("drained by {by} for at least {length}, with {left} left"),
            Self::Empty => format!("without any pod but those of DaemonSets for at least {length}"),
        }
    }

    fn remedy(self, node: &NodeFacts<'_>, back: &str) -> String {
        let manages = node.cni.as_ref().is_some_and(|cni| cni.config().manage_non_schedulable.value_or(false));
        match self {
            Self::Cordoned(_) if manages => format!("Finish the drain and end the node: that gives {back}."),
            Self::Cordoned(_) => format!(
                "Finish the drain and end the node: that gives {back}; with AWS_MANAGE_ENIS_NON_SCHEDULABLE=true the CNI \
                 gives unused interfaces of cordoned nodes back by itself."
            ),
            Self::Drained(by) => format!(
                "Find out why {by} does not finish: the end of the node gives {back}; the CNI does not look at this taint \
                 and keeps the pool full."
            ),
            Self::Empty => format!("Let its node group shrink by this node: that gives {back}."),
        }
    }
}

fn violation(
    facts: &Facts<'_>,
    node: &NodeFacts<'_>,
    pool: &Pool<'_>,
    state: State<'_>,
    length: SignedDuration,
) -> sink::Violation {
    let all = pool.held + pool.own;
    let home = node.home().map_or_else(String::new, |home| format!(" to {home}"));
    let back = format!("{} back{home}", text::count(all, "address"));
    sink::Violation {
        severity: waste::severity(facts, node),
        message: format!(
            "{}; {} of its {} have no pod",
            state.text(length, node.work_pods.unwrap_or_default()),
            text::thousands(pool.idle),
            text::count(pool.held, "pod address"),
        ),
        remediation: state.remedy(node, &back),
        evidence: vec![
            sink::evidence("state", state.name()),
            sink::evidence("held", pool.held),
            sink::evidence("idle", pool.idle),
            sink::evidence("own", pool.own),
        ],
    }
}

#[cfg(test)]
mod tests {

    use jiff::SignedDuration;

    use crate::{
        finding::Severity,
        outcome::RuleAnswer,
        snapshot::ClusterSnapshot,
        source::{FaultCategory, Reading, Source},
        tests::{
            addresses::{answer, of, once, pods, twice},
            fixtures::{Cluster, now},
        },
    };

    const CODE: &str = "IPAM430";

    fn cluster(pods: u32) -> Cluster {
        Cluster::new("10.0.0.0/23", &[("WARM_ENI_TARGET", "1")]).node("m5.xlarge", 58, &[14, 14], pods)
    }

    fn cordoned(hours: i64) -> ClusterSnapshot {
        let since = now() - SignedDuration::from_hours(hours);
        let node = cluster(2).tweak(|node| {
            node.cordoned = true;
            node.state.cordoned_since = Some(since);
        });
        node.snapshot()
    }

    #[test]
    fn a_node_cordoned_for_long_is_waste() {
        let finding = of(&once(&cordoned(3)), CODE).remove(0);
        assert_eq!(finding.severity, Severity::Info);
        assert_eq!(finding.message, "cordoned for 3 h, with 2 pods left; 26 of its 28 pod addresses have no pod");
        assert_eq!(
            finding.remediation,
            "Finish the drain and end the node: that gives 30 addresses back to subnet-1; with \
             AWS_MANAGE_ENIS_NON_SCHEDULABLE=true the CNI gives unused interfaces of cordoned nodes back by itself."
        );
        assert_eq!(of(&once(&cordoned(0)), CODE), []);
    }

    #[test]
    fn in_a_subnet_that_is_full_it_is_a_warning() {
        let mut snapshot = cordoned(3);
        snapshot.ec2.subnets.last_good.as_mut().unwrap().value[0].available = 3;
        assert_eq!(of(&once(&snapshot), CODE)[0].severity, Severity::Warning);
    }

    #[test]
    fn an_empty_node_is_waste_after_an_hour_of_looking() {
        let mut snapshot = cluster(1).snapshot();
        pods(&mut snapshot)[0].edit(|pod| pod.workload = Some("DaemonSet agent".into()));
        assert_eq!(of(&twice(&snapshot, 3_599), CODE), []);
        let finding = of(&twice(&snapshot, 3_600), CODE).remove(0);
        assert!(
            finding.message.starts_with("without any pod but those of DaemonSets for at least 60 min; 27 of its 28")
        );
        assert_eq!(of(&twice(&cluster(1).snapshot(), 3_600), CODE), [], "a pod of a Deployment is work");
    }

    #[test]
    fn a_node_that_another_tool_drains_is_named_with_it() {
        let snapshot = cluster(2).tweak(|node| node.state.drained_by = Some("karpenter".into())).snapshot();
        let finding = of(&twice(&snapshot, 3_600), CODE).remove(0);
        assert!(finding.message.starts_with("drained by karpenter for at least 60 min, with 2 pods left"));
    }

    #[test]
    fn without_pods_it_cannot_tell() {
        let mut snapshot = cordoned(3);
        snapshot.pods = Reading::missing(FaultCategory::Denied, "denied");
        let answer = answer(&once(&snapshot), CODE);
        assert_eq!(answer, RuleAnswer::Inconclusive { missing: vec![Source::Pods], suspects: 0 });
    }
}
