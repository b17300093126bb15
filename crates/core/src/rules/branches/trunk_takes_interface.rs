//! IPAM307: a type with two interfaces, one of which becomes the trunk.

use super::common;
use crate::{
    facts::{Facts, NodeFacts},
    finding::Severity,
    limits::{InterfaceLimits, Limits, Trunking},
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

rule! {
    /// The trunk takes one of the node's only two interfaces.
    ///
    /// ## What it means
    ///
    /// The type has two interfaces. With the trunk on one of them, ordinary pods have the addresses of the primary
    /// interface only: about half. With custom networking the primary serves no pods, so that no ordinary pod can get
    /// an address at all and the node never becomes ready.
    ///
    /// ## Why it happens
    ///
    /// Security groups for pods are on for small types: most Graviton and AMD `medium` sizes, `g4ad.xlarge`,
    /// `g4ad.2xlarge` and a few more.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-instance-types --instance-types TYPE \
    ///     --query 'InstanceTypes[].NetworkInfo.NetworkCards[0].MaximumNetworkInterfaces'
    /// kubectl set env daemonset/aws-node -n kube-system --list | grep -E 'ENABLE_POD_ENI|CUSTOM_NETWORK'
    /// ```
    ///
    /// ## What to do
    ///
    /// Use a larger size, or keep these types away from clusters with both features. With prefix delegation the primary
    /// alone may suffice.
    ///
    /// ## What it costs
    ///
    /// The price of the next size.
    ///
    /// ## When it fires
    ///
    /// `ENABLE_POD_ENI` is on at the node, and its type can have a trunk and has two interfaces on the default card.
    /// Critical with custom networking; a warning if the remaining addresses are fewer than the node's max-pods admits;
    /// else information.
    pub TrunkTakesInterface;
    code: "IPAM307",
    name: "trunk-takes-interface",
    severity: Critical,
    condition: ConfigurationConsistent,
    sources: [Nodes, AwsNode],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for node in facts.nodes.iter().filter(|node| node.signals.intended == Some(true)) {
        let Some(limits) = node.limits.as_ref().filter(|limits| is_small(limits)) else { continue };
        if let Some(interfaces) = limits.interfaces() {
            found.at(common::type_place(node), violation(node, interfaces));
        }
    }
}

fn is_small(limits: &Limits) -> bool {
    let able = matches!(limits.trunking(), Trunking::Supported { .. });
    able && limits.interfaces().is_some_and(|interfaces| interfaces.enis == 2)
}

fn violation(node: &NodeFacts<'_>, limits: InterfaceLimits) -> sink::Violation {
    let kind = common::type_name(node);
    let apart = node.cni.as_ref().is_some_and(|cni| cni.networks_apart());
    let short = common::short_of_addresses(node);
    let (severity, state) = match short {
        _ if apart => (Severity::Critical, "with custom networking no ordinary pod can get an address".to_owned()),
        Some((can, may)) => (
            Severity::Warning,
            format!(
                "{} are left for the {} that max-pods admits",
                text::count(can, "pod address"),
                text::count(may, "pod")
            ),
        ),
        None => (Severity::Info, format!("{} are left on the other", text::count(limits.slots_per_eni(), "slot"))),
    };
    sink::Violation {
        severity,
        message: format!("{kind} has 2 interfaces and the trunk takes one: {state}"),
        remediation: format!("Use a larger size than {kind}, or switch security groups for pods off for these nodes."),
        evidence: vec![
            sink::evidence("interfaceLimit", limits.enis),
            sink::evidence("capacity", text::known(node.capacity)),
            sink::evidence("maxPods", text::known(node.node.max_pods)),
        ],
    }
}

#[cfg(test)]
mod tests {
    use crate::{finding::Severity, outcome::RuleAnswer, tests::branches::*};

    #[test]
    fn custom_networking_leaves_no_address() {
        let mut snapshot = cluster("c7g.medium", 1);
        set_env(&mut snapshot, "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true");
        let found = findings(&snapshot, "IPAM307");
        assert_eq!(found[0].severity, Severity::Critical);
        assert_eq!(
            found[0].message,
            "c7g.medium has 2 interfaces and the trunk takes one: with custom networking no ordinary pod can get an address"
        );
    }

    #[test]
    fn half_the_addresses_are_a_warning_only_where_pods_could_use_them() {
        let mut snapshot = cluster("c7g.medium", 1);
        assert_eq!(findings(&snapshot, "IPAM307")[0].severity, Severity::Warning);
        edit_node(&mut snapshot, 0, |node| node.max_pods = Some(3));
        assert_eq!(findings(&snapshot, "IPAM307")[0].severity, Severity::Info);
        assert_eq!(answer(&cluster("m5.large", 1), "IPAM307"), RuleAnswer::Passed);
    }

    #[test]
    fn without_the_cni_it_cannot_tell() {
        let mut snapshot = cluster("c7g.medium", 1);
        snapshot.aws_node = missing();
        assert!(matches!(answer(&snapshot, "IPAM307"), RuleAnswer::Inconclusive { .. }));
    }
}
