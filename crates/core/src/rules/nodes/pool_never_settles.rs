//! IPAM213: settings under which a node takes and gives back addresses in turn, for ever.

use std::collections::HashMap;

use crate::{
    facts::{Facts, Kind, NodeFacts, Pool, Shape},
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink},
    source::Source,
    text,
};

rule! {
    /// The node's pool never comes to rest: it takes and gives back the same addresses in turn.
    ///
    /// ## What it means
    ///
    /// With just this many pods the settings want something and its opposite: nothing is free, so an interface or a
    /// prefix is added; it is empty, so it is given back; nothing is free again. Each turn costs EC2 calls, about once a
    /// minute for an interface, on every such node; they count against the limits that all nodes of the account share.
    ///
    /// ## Why it happens
    ///
    /// `WARM_ENI_TARGET=0` (or a text that counts as 0) without `WARM_IP_TARGET`, on a node whose used interfaces are
    /// exactly full; or `WARM_PREFIX_TARGET` with a text that counts as 0, on a node whose prefixes are exactly full.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl set env ds/aws-node -n kube-system --list | grep -E 'WARM|MINIMUM'
    /// aws ec2 describe-network-interfaces --filters Name=attachment.instance-id,Values=INSTANCE \
    ///     --query 'NetworkInterfaces[].[NetworkInterfaceId,Attachment.AttachTime]' --output text
    /// ```
    ///
    /// Asked again a few minutes later, the newest interface has another id and is younger than two minutes again.
    ///
    /// ## What to do
    ///
    /// Set `WARM_IP_TARGET` and `MINIMUM_IP_TARGET` instead; the finding names values.
    ///
    /// ## What it costs
    ///
    /// The warm addresses, on every node, and a rollout of aws-node, during which running pods keep their addresses.
    ///
    /// ## When it fires
    ///
    /// The model of the CNI finds no state of rest for this node's interfaces and pods. Cordoned nodes, nodes younger than
    /// `spec.thresholds.settleSeconds` and nodes on which the CNI takes no addresses by itself are left out.
    pub PoolNeverSettles;
    code: "IPAM213",
    name: "pool-never-settles",
    severity: Warning,
    condition: WarmPoolSized,
    sources: [Nodes, Pods, AwsNode, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    // Few kinds of nodes can be restless at all; only theirs are looked at one by one.
    let mut restless: HashMap<Kind, bool> = HashMap::new();
    for (node, pool) in super::settled_pools(facts).filter(|(node, _)| !node.node.cordoned) {
        if super::sizing_is_unknown(node) {
            found.lacks(Source::AwsNode);
            continue;
        }
        let Some(kind) = Kind::of(node) else { continue };
        let possible = *restless.entry(kind).or_insert_with_key(Kind::may_never_settle);
        if possible && Shape::of(node).is_some_and(|shape| !shape.settles()) {
            found.node(node, violation(facts, node, pool));
        }
    }
}

fn violation(facts: &Facts<'_>, node: &NodeFacts<'_>, pool: &Pool<'_>) -> sink::Violation {
    let settings = node.cni.as_ref().map_or_else(|| "?".to_owned(), |cni| cni.targets_text());
    let prefixes = Kind::of(node).is_some_and(|kind| kind.uses_prefixes());
    sink::Violation {
        severity: Severity::Warning,
        message: format!(
            "with {} {settings} lets the pool never come to rest: {} is taken and given back in turn",
            text::count(pool.used, "pod"),
            if prefixes { "a prefix" } else { "an interface" },
        ),
        remediation: format!("Set {}: the pool then follows its pods and rests.", facts.advice.settings()),
        evidence: vec![
            sink::evidence("pods", pool.used),
            sink::evidence("held", pool.held),
            sink::evidence("settingsNow", settings),
        ],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        outcome::RuleAnswer,
        source::{FaultCategory, Reading, Source},
        tests::{
            fixtures::Cluster,
            nodes::{answer, findings},
        },
    };

    const NONE_WARM: &[(&str, &str)] = &[("WARM_ENI_TARGET", "0")];

    #[test]
    fn interfaces_that_are_exactly_full_never_rest() {
        let found =
            findings("IPAM213", &Cluster::new("10.0.0.0/20", NONE_WARM).node("m5.large", 29, &[9], 9).snapshot());
        assert_eq!(
            found[0].message,
            "with 9 pods WARM_ENI_TARGET=0 lets the pool never come to rest: an interface is taken and given back in turn"
        );
        assert!(found[0].remediation.contains("MINIMUM_IP_TARGET=10 WARM_IP_TARGET=3"), "{}", found[0].remediation);
    }

    #[test]
    fn one_pod_less_rests_and_so_does_the_default() {
        let rests = |env: &[(&str, &str)], pods| {
            findings("IPAM213", &Cluster::new("10.0.0.0/20", env).node("m5.large", 29, &[9], pods).snapshot())
                .is_empty()
        };
        assert!(rests(NONE_WARM, 8));
        assert!(rests(&[("WARM_ENI_TARGET", "1")], 9));
    }

    #[test]
    fn without_the_settings_it_cannot_tell() {
        let mut snapshot = Cluster::new("10.0.0.0/20", NONE_WARM).node("m5.large", 29, &[9], 9).snapshot();
        snapshot.aws_node = Reading::missing(FaultCategory::Denied, "not allowed");
        let missing = vec![Source::AwsNode];
        assert_eq!(answer("IPAM213", &snapshot), RuleAnswer::Inconclusive { missing, suspects: 0 });
    }
}
