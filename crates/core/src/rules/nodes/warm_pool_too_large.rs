//! IPAM210: a node that holds many more addresses than its pods and the burst goal need.

use crate::{
    facts::{Facts, NodeAdvice, NodeFacts, Pool},
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink},
    source::Source,
    text,
};

rule! {
    /// The node holds many more pod addresses than its pods need.
    ///
    /// ## What it means
    ///
    /// Addresses on a node's interfaces are taken from the subnet whether a pod uses them or not. This node holds a
    /// pool that no burst of the size you ask for would need; others could use it.
    ///
    /// ## Why it happens
    ///
    /// By default the CNI keeps one whole interface's worth of addresses free (`WARM_ENI_TARGET=1`). The larger the
    /// instance type, the larger an interface: 49 addresses on a 32xlarge. One pod makes the node hold two. The targets
    /// are the same on every node of the cluster, whatever its type and however few pods it runs.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl set env ds/aws-node -n kube-system --list | grep -E 'WARM|MINIMUM'
    /// aws ec2 describe-network-interfaces --filters Name=attachment.instance-id,Values=INSTANCE \
    ///     --query 'NetworkInterfaces[].[NetworkInterfaceId,length(PrivateIpAddresses),length(Ipv4Prefixes||`[]`)]' --output text
    /// ```
    ///
    /// ## What to do
    ///
    /// Set `WARM_IP_TARGET` and `MINIMUM_IP_TARGET` together; the finding names values and what they free. Surplus
    /// addresses go back within minutes, empty interfaces after them. The price is EC2 calls when pods start beyond the
    /// pool: on clusters with much churn choose the minimum near the usual number of pods of a node.
    /// `MINIMUM_IP_TARGET` alone freezes the pool (IPAM212). A cordoned node gives no interface back: drain it to its end,
    /// or set `AWS_MANAGE_ENIS_NON_SCHEDULABLE=true`.
    ///
    /// ## What it costs
    ///
    /// At most the EC2 calls that the finding names for each pod start beyond the pool, and a rollout of aws-node,
    /// during which running pods keep their addresses.
    ///
    /// ## When it fires
    ///
    /// The recommended settings would free more than `spec.thresholds.idleAddresses` (default 16) of the node's
    /// addresses. Severity is warning in a subnet that is low or full, info elsewhere. Nodes younger than
    /// `spec.thresholds.settleSeconds`, and nodes on which the CNI takes no addresses by itself, are left out.
    pub WarmPoolTooLarge;
    code: "IPAM210",
    name: "warm-pool-too-large",
    severity: Warning,
    condition: WarmPoolSized,
    sources: [Nodes, Pods, AwsNode, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations<'_>) {
    for (node, pool) in super::settled_pools(facts) {
        if super::sizing_is_unknown(node) {
            found.lacks(Source::AwsNode);
        }
        let limit = policy.for_node(node.node).idle_addresses;
        if let Some(better) = facts.advice.node(node).filter(|better| better.freed > limit) {
            found.node(node, violation(facts, node, pool, better));
        }
    }
}

fn violation(facts: &Facts<'_>, node: &NodeFacts<'_>, pool: &Pool<'_>, better: &NodeAdvice) -> sink::Violation {
    let interfaces = u32::try_from(pool.interfaces.len()).unwrap_or(u32::MAX);
    let scarce = pool
        .interfaces
        .iter()
        .any(|on| facts.subnet(&on.interface.subnet).is_some_and(|subnet| subnet.is_full() || subnet.is_low()));
    sink::Violation {
        severity: if scarce { Severity::Warning } else { Severity::Info },
        message: format!(
            "{} on {} {} {}; the burst goal needs {}",
            text::count(pool.held, "pod address"),
            text::count(interfaces, "interface"),
            text::verb(pool.held, "serves", "serve"),
            text::count(pool.used, "pod"),
            text::thousands(better.held),
        ),
        remediation: format!(
            "{} would free {} here, at the price of at most {} per pod start beyond the pool.",
            facts.advice.settings(),
            text::count(better.freed, "address"),
            text::count(better.calls_per_pod, "EC2 call"),
        ),
        evidence: vec![
            sink::evidence("held", pool.held),
            sink::evidence("used", pool.used),
            sink::evidence("idle", pool.idle),
            sink::evidence("heldPerPod", text::known(pool.held.checked_div(pool.used))),
            sink::evidence("heldAfterwards", better.held),
            sink::evidence("freed", better.freed),
            sink::evidence("settings", facts.advice.settings()),
            sink::evidence("settingsNow", node.cni.as_ref().map_or_else(|| "?".to_owned(), |cni| cni.targets_text())),
        ],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        outcome::RuleAnswer,
        source::{FaultCategory, Reading, Source},
        tests::{
            fixtures::{Cluster, now},
            nodes::{answer, findings},
        },
    };

    fn large() -> Cluster {
        Cluster::new("10.0.0.0/16", &[("WARM_ENI_TARGET", "1")]).node("m6a.32xlarge", 250, &[49, 49], 1)
    }

    #[test]
    fn a_large_interface_for_one_pod() {
        let found = findings("IPAM210", &large().snapshot());
        assert_eq!(found[0].severity, Severity::Info);
        assert_eq!(found[0].message, "98 pod addresses on 2 interfaces serve 1 pod; the burst goal needs 10");
        assert_eq!(findings("IPAM210", &large().with_free(90).snapshot())[0].severity, Severity::Warning);
    }

    #[test]
    fn a_young_node_and_one_that_others_fill_are_left_alone() {
        assert!(findings("IPAM210", &large().tweak(|node| node.created_at = Some(now())).snapshot()).is_empty());
        let env = &[("DISABLE_NETWORK_RESOURCE_PROVISIONING", "true")];
        let adopted = Cluster::new("10.0.0.0/16", env).node("m6a.32xlarge", 250, &[49, 49], 1);
        assert!(findings("IPAM210", &adopted.snapshot()).is_empty());
        let small = Cluster::new("10.0.0.0/16", &[("WARM_ENI_TARGET", "1")]).node("m5.large", 29, &[9, 9], 1);
        assert!(findings("IPAM210", &small.snapshot()).is_empty());
    }

    #[test]
    fn without_the_settings_it_cannot_tell() {
        let mut snapshot = large().snapshot();
        snapshot.aws_node = Reading::missing(FaultCategory::Denied, "not allowed");
        let missing = vec![Source::AwsNode];
        assert_eq!(answer("IPAM210", &snapshot), RuleAnswer::Inconclusive { missing, suspects: 0 });
    }
}
