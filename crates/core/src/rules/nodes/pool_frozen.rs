//! IPAM212: settings under which a node's pool stops growing before the node is full.

use crate::{
    facts::{Facts, NodeFacts},
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink},
    source::Source,
    text,
};

rule! {
    /// The settings stop the node's pool from growing before the node is full.
    ///
    /// ## What it means
    ///
    /// The CNI takes addresses up to a number and then no more, whatever comes. Pods beyond it never start, although the
    /// scheduler, the instance type and the subnet all have room for them.
    ///
    /// ## Why it happens
    ///
    /// `MINIMUM_IP_TARGET` is set and `WARM_IP_TARGET` is not, or is 0. The minimum alone switches the other targets off
    /// and leaves a warm target of none: once the minimum is there, nothing is ever missing. With prefixes the number is
    /// the minimum rounded up to whole prefixes of 16. Versions before 1.16.3 also stop so under
    /// `WARM_PREFIX_TARGET=0`.
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
    /// Set `WARM_IP_TARGET` to 1 or more beside the minimum; the finding names values. The pool then follows its pods
    /// within seconds.
    ///
    /// ## What it costs
    ///
    /// The warm addresses, on every node, and a rollout of aws-node, during which running pods keep their addresses.
    ///
    /// ## When it fires
    ///
    /// The model of the CNI says that a node with these settings serves fewer pods than it could, and this node does not
    /// hold more from before. It is critical where the node's pods have reached the number, warning elsewhere. Nodes
    /// younger than `spec.thresholds.settleSeconds` are left out.
    pub PoolFrozen;
    code: "IPAM212",
    name: "pool-frozen",
    severity: Critical,
    condition: WarmPoolSized,
    sources: [Nodes, Pods, AwsNode, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for (node, _) in super::settled_pools(facts) {
        if super::sizing_is_unknown(node) {
            found.lacks(Source::AwsNode);
        } else if let Some(limit) = super::frozen_at(node) {
            found.node(node, violation(facts, node, limit));
        }
    }
}

fn violation(facts: &Facts<'_>, node: &NodeFacts<'_>, limit: u32) -> sink::Violation {
    let capacity = node.pod_capacity();
    let useful = capacity.map(|capacity| capacity.addresses.min(capacity.schedulable));
    let pods = node.pool_pods.unwrap_or_default();
    let settings = node.cni.as_ref().map_or_else(|| "?".to_owned(), |cni| cni.targets_text());
    sink::Violation {
        severity: if pods >= limit { Severity::Critical } else { Severity::Warning },
        message: format!(
            "{settings} stops the pool at {} of the {} that the node has room for; {} {} there",
            text::count(limit, "address"),
            text::known(useful),
            text::count(pods, "pod"),
            text::verb(pods, "is", "are"),
        ),
        remediation: format!("Set {}: the pool then follows its pods.", facts.advice.settings()),
        evidence: vec![
            sink::evidence("stopsAt", limit),
            sink::evidence("room", text::known(useful)),
            sink::evidence("pods", pods),
            sink::evidence("settingsNow", settings),
        ],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        outcome::RuleAnswer,
        snapshot::EnvValue,
        source::{FaultCategory, Reading, Source},
        tests::{
            fixtures::Cluster,
            nodes::{answer, findings},
        },
    };

    const FROZEN: &[(&str, &str)] = &[("MINIMUM_IP_TARGET", "5")];

    #[test]
    fn a_minimum_alone_stops_the_pool() {
        let found = findings("IPAM212", &Cluster::new("10.0.0.0/20", FROZEN).node("m5.large", 29, &[5], 3).snapshot());
        assert_eq!(found[0].severity, Severity::Warning);
        assert_eq!(
            found[0].message,
            "MINIMUM_IP_TARGET=5 stops the pool at 5 addresses of the 27 that the node has room for; 3 pods are there"
        );
    }

    #[test]
    fn a_node_that_is_there_hurts_now_and_is_not_said_twice() {
        let snapshot = Cluster::new("10.0.0.0/20", FROZEN).node("m5.large", 29, &[5], 5).snapshot();
        assert_eq!(findings("IPAM212", &snapshot)[0].severity, Severity::Critical);
        assert!(findings("IPAM211", &snapshot).is_empty());
    }

    #[test]
    fn prefixes_are_rounded_up() {
        let env = &[("MINIMUM_IP_TARGET", "22"), ("ENABLE_PREFIX_DELEGATION", "true")];
        let found = findings("IPAM212", &Cluster::new("10.0.0.0/20", env).node("m5.large", 110, &[0], 0).snapshot());
        assert!(found[0].message.contains("stops the pool at 32 addresses of the 110"), "{}", found[0].message);
    }

    #[test]
    fn a_minimum_that_serves_all_pods_or_an_older_larger_pool_is_fine() {
        let enough = Cluster::new("10.0.0.0/20", &[("MINIMUM_IP_TARGET", "27")]).node("m5.large", 29, &[9, 9, 9], 3);
        assert!(findings("IPAM212", &enough.snapshot()).is_empty());
        let older = Cluster::new("10.0.0.0/20", FROZEN).node("m5.large", 29, &[9, 9, 9], 3);
        assert!(findings("IPAM212", &older.snapshot()).is_empty());
        let warm = &[("MINIMUM_IP_TARGET", "5"), ("WARM_IP_TARGET", "1")];
        assert!(
            findings("IPAM212", &Cluster::new("10.0.0.0/20", warm).node("m5.large", 29, &[5], 4).snapshot()).is_empty()
        );
    }

    #[test]
    fn a_target_that_cannot_be_read_is_not_unset() {
        let mut snapshot = Cluster::new("10.0.0.0/20", FROZEN).node("m5.large", 29, &[5], 3).snapshot();
        let aws_node = &mut snapshot.aws_node.last_good.as_mut().unwrap().value;
        let mut env = (*aws_node.template).clone();
        env.values.insert("WARM_IP_TARGET".into(), EnvValue::Unresolved("config map warm".into()));
        aws_node.pods[0].env = std::sync::Arc::new(env);
        let missing = vec![Source::AwsNode];
        assert_eq!(answer("IPAM212", &snapshot), RuleAnswer::Inconclusive { missing, suspects: 0 });
    }

    #[test]
    fn without_the_settings_it_cannot_tell() {
        let mut snapshot = Cluster::new("10.0.0.0/20", FROZEN).node("m5.large", 29, &[5], 3).snapshot();
        snapshot.aws_node = Reading::missing(FaultCategory::Denied, "not allowed");
        let missing = vec![Source::AwsNode];
        assert_eq!(answer("IPAM212", &snapshot), RuleAnswer::Inconclusive { missing, suspects: 0 });
    }
}
