//! IPAM205: prefixes are on and the node's type cannot have them.

use crate::{
    facts::{Facts, Kind, NodeFacts},
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

rule! {
    /// Prefixes are switched on and the node's instance type cannot have them.
    ///
    /// ## What it means
    ///
    /// Only types on the Nitro hypervisor and bare-metal types can have prefixes. On this node the CNI goes on with single
    /// addresses and says nothing: it holds fewer pods than its neighbours and is sized by `WARM_ENI_TARGET` instead of
    /// `WARM_PREFIX_TARGET`.
    ///
    /// ## Why it happens
    ///
    /// `ENABLE_PREFIX_DELEGATION` is one switch for all nodes, and the cluster has nodes of an older generation (t2, m4,
    /// c4, r4 and the like). Bare metal can have prefixes since version 1.10.3 of the CNI.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-instance-types --instance-types TYPE --query 'InstanceTypes[].[Hypervisor,BareMetal]' --output text
    /// kubectl set env ds/aws-node -n kube-system --list | grep PREFIX_DELEGATION
    /// ```
    ///
    /// ## What to do
    ///
    /// Replace the node by one of a current generation. If it stays, check that its max-pods is the figure for single
    /// addresses; IPAM202 says if it is not.
    ///
    /// ## What it costs
    ///
    /// A node of another type; current generations cost less for the same work as a rule.
    ///
    /// ## When it fires
    ///
    /// The node's own aws-node pod has `ENABLE_PREFIX_DELEGATION=true`, and the CNI of its version hands out single
    /// addresses on its type.
    pub PrefixesNotSupported;
    code: "IPAM205",
    name: "prefixes-not-supported",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [Nodes, Pods, AwsNode, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for node in &facts.nodes {
        if Kind::of(node).is_some_and(|kind| kind.ignores_prefixes()) {
            found.node(node, violation(node));
        }
    }
}

fn violation(node: &NodeFacts<'_>) -> sink::Violation {
    let kind = node.node.instance_type.as_ref().map_or("?", |kind| kind.as_str());
    let pods = text::known(node.capacity);
    sink::Violation {
        severity: Severity::Info,
        message: format!("{kind} cannot have prefixes, and the CNI hands out single addresses on it, {pods} at most"),
        remediation: "Replace it by a node of a current generation, or leave it as it is with max-pods to match."
            .into(),
        evidence: vec![sink::evidence("instanceType", kind), sink::evidence("addresses", pods)],
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

    const PREFIXES: &[(&str, &str)] = &[("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_PREFIX_TARGET", "1")];

    #[test]
    fn an_old_type_gets_single_addresses() {
        let found =
            findings("IPAM205", &Cluster::new("10.0.0.0/20", PREFIXES).node("m4.large", 20, &[9], 2).snapshot());
        assert_eq!(
            found[0].message,
            "m4.large cannot have prefixes, and the CNI hands out single addresses on it, 18 at most"
        );
    }

    #[test]
    fn a_current_type_gets_prefixes() {
        assert!(
            findings("IPAM205", &Cluster::new("10.0.0.0/20", PREFIXES).node("m5.large", 110, &[0], 0).snapshot())
                .is_empty()
        );
        let off = Cluster::new("10.0.0.0/20", &[("WARM_ENI_TARGET", "1")]).node("m4.large", 20, &[9], 2);
        assert!(findings("IPAM205", &off.snapshot()).is_empty());
    }

    #[test]
    fn without_the_settings_it_cannot_tell() {
        let mut snapshot = Cluster::new("10.0.0.0/20", PREFIXES).node("m4.large", 20, &[9], 2).snapshot();
        snapshot.aws_node = Reading::missing(FaultCategory::Denied, "not allowed");
        let missing = vec![Source::AwsNode];
        assert_eq!(answer("IPAM205", &snapshot), RuleAnswer::Inconclusive { missing, suspects: 0 });
    }
}
