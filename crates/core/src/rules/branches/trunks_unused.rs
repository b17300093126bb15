//! IPAM303: security groups for pods are on, and no policy uses them.

use super::common;
use crate::{
    facts::Facts,
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{Violations, sink},
    source::Source,
    text,
};

rule! {
    /// Security groups for pods are on, but no SecurityGroupPolicy uses them.
    ///
    /// ## What it means
    ///
    /// Every node keeps one interface slot for a trunk that carries nothing. The pod addresses of one interface are
    /// lost on each of them.
    ///
    /// ## Why it happens
    ///
    /// The feature was tried, or is on by default in a template, and the policies were deleted or never written.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get securitygrouppolicies -A
    /// aws ec2 describe-network-interfaces --filters Name=interface-type,Values=trunk \
    ///     --query 'length(NetworkInterfaces)'
    /// ```
    ///
    /// ## What to do
    ///
    /// If no policy is planned, set `ENABLE_POD_ENI=false` and replace the nodes: a trunk goes only with its node.
    ///
    /// ## What it costs
    ///
    /// A rolling replacement of the nodes.
    ///
    /// ## When it fires
    ///
    /// `ENABLE_POD_ENI` is on, there is no policy with selector and groups, and no pod has a branch. A warning if a
    /// node with a trunk has fewer pod addresses than its max-pods admits, else information.
    pub TrunksUnused;
    code: "IPAM303",
    name: "trunks-unused",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [Nodes, Pods, AwsNode],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let groups = &facts.pod_groups;
    if groups.enabled != Some(true) {
        return;
    }
    if groups.policies.is_none() {
        return found.lacks(Source::SecurityGroupPolicies);
    }
    let Some(aws_node) = facts.snapshot.aws_node.value() else { return };
    if groups.effective().next().is_some() || !groups.pods.is_empty() {
        return;
    }
    let with_trunk = || facts.nodes.iter().filter(|node| node.signals.attached == Some(true));
    let trunks = common::number(with_trunk().count());
    let short = with_trunk().filter(|node| common::short_of_addresses(node).is_some());
    let short = common::number(short.count());
    let violation = sink::Violation {
        severity: if short > 0 { Severity::Warning } else { Severity::Info },
        message: format!(
            "security groups for pods are on, but no SecurityGroupPolicy uses them: {} {} an interface slot each for \
             nothing, and {} of these nodes {} fewer pod addresses than max-pods admits",
            text::count(trunks, "trunk"),
            text::verb(trunks, "takes", "take"),
            text::thousands(short),
            text::verb(short, "has", "have"),
        ),
        remediation: "Set ENABLE_POD_ENI=false on aws-node and replace the nodes that have a trunk.".to_owned(),
        evidence: vec![sink::evidence("trunks", trunks), sink::evidence("nodesShortOfAddresses", short)],
    };
    found.subject(Subject::DaemonSet(aws_node.daemon_set.clone()), violation);
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        outcome::RuleAnswer,
        source::{Reading, Source},
        tests::{branches::*, fixtures::now},
    };

    #[test]
    fn trunks_without_any_policy_are_waste() {
        let mut snapshot = cluster("m5.large", 3);
        snapshot.objects.security_group_policies = Reading::fresh(Vec::new(), now());
        let found = findings(&snapshot, "IPAM303");
        assert_eq!(found[0].severity, Severity::Warning);
        assert_eq!(
            found[0].message,
            "security groups for pods are on, but no SecurityGroupPolicy uses them: 3 trunks take an interface slot each \
             for nothing, and 3 of these nodes have fewer pod addresses than max-pods admits"
        );
        for node in 0..3 {
            edit_node(&mut snapshot, node, |node| node.max_pods = Some(18));
        }
        assert_eq!(findings(&snapshot, "IPAM303")[0].severity, Severity::Info, "nothing is lost that pods could use");
    }

    #[test]
    fn one_policy_is_use_enough_and_unknown_ones_are_no_none() {
        assert_eq!(answer(&cluster("m5.large", 1), "IPAM303"), RuleAnswer::Passed);
        let mut snapshot = cluster("m5.large", 1);
        snapshot.objects.security_group_policies = missing();
        let lacks = RuleAnswer::Inconclusive { missing: vec![Source::SecurityGroupPolicies], suspects: 0 };
        assert_eq!(answer(&snapshot, "IPAM303"), lacks);
    }
}
