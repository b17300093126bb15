//! IPAM708: a node class that finds no subnets.

use super::{can_tell, node_class};
use crate::{
    facts::{Facts, karpenter::ClassFacts},
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink},
    source::Source,
    text,
};

rule! {
    /// An `EC2NodeClass` finds no subnets.
    ///
    /// ## What it means
    ///
    /// Karpenter launches no node for any NodePool that uses the class. Pods that need a new node stay Pending.
    ///
    /// ## Why it happens
    ///
    /// The tags or ids of `spec.subnetSelectorTerms` match no subnet: a tag was renamed, the cluster's name changed, or
    /// the subnets are in another region or account. Tags of one term must all match; one term is enough.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get ec2nodeclass NAME -o jsonpath='{.spec.subnetSelectorTerms}{"\n"}{.status.conditions}'
    /// aws ec2 describe-subnets --filters Name=tag:karpenter.sh/discovery,Values=CLUSTER \
    ///     --query 'Subnets[].[SubnetId,AvailabilityZone]' --output text
    /// ```
    ///
    /// ## What to do
    ///
    /// Tag the subnets as the selector wants, or correct the selector. Karpenter looks again within a minute.
    ///
    /// ## What it costs
    ///
    /// Nothing.
    ///
    /// ## When it fires
    ///
    /// The condition `SubnetsReady` of a node class is false: critical if a NodePool uses the class, else information.
    pub KarpenterNoSubnets;
    code: "IPAM708",
    name: "karpenter-no-subnets",
    severity: Critical,
    condition: CapacityAvailable,
    sources: [Nodes],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    if !can_tell(facts, found, &[Source::NodeClasses, Source::NodePools]) {
        return;
    }
    for class in &facts.karpenter.classes {
        if let Some((false, message)) = &class.class.subnets_ready {
            found.subject(node_class(class), violation(class, message));
        }
    }
}

fn violation(class: &ClassFacts<'_>, message: &str) -> sink::Violation {
    let pools: Vec<String> = class.pools.iter().map(|pool| pool.pool.name.to_string()).collect();
    let count = u32::try_from(pools.len()).unwrap_or(u32::MAX);
    let consequence = match pools.len() {
        0 => "no NodePool uses it".to_owned(),
        _ => format!("{} {} cannot launch nodes", text::plural(count, "NodePool"), text::list(&pools, "and", 3)),
    };
    let said = if message.is_empty() { String::new() } else { format!(" ({message})") };
    sink::Violation {
        severity: if pools.is_empty() { Severity::Info } else { Severity::Critical },
        message: format!("EC2NodeClass {} has no usable subnets{said}: {consequence}", class.class.name),
        remediation: format!(
            "Tag the subnets as spec.subnetSelectorTerms of {} wants, or correct its terms.",
            class.class.name
        ),
        evidence: vec![sink::evidence("nodePools", count)],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        snapshot::{ClusterSnapshot, NodeClass},
        source::{Reading, Source},
        tests::{
            fixtures::now,
            karpenter::{Setup, answers},
        },
    };

    const CODE: &str = "IPAM708";

    fn with_condition(pool_of: &str, ready: bool) -> ClusterSnapshot {
        let mut snapshot = Setup::new(&[]).pool("general", pool_of, &[]).snapshot();
        let subnets_ready = Some((ready, "SubnetSelector did not match any Subnets".into()));
        let class = NodeClass { name: "default".into(), subnets_ready, ..NodeClass::default() };
        snapshot.objects.node_classes = Reading::fresh(vec![class], now());
        snapshot
    }

    #[test]
    fn a_class_in_use_without_subnets_is_critical() {
        let seen = answers(&with_condition("default", false), CODE);
        assert_eq!(
            seen.messages(),
            ["EC2NodeClass default has no usable subnets (SubnetSelector did not match any Subnets): NodePool \
                 general cannot launch nodes"]
        );
        assert_eq!(seen.findings[0].severity, Severity::Critical);
        assert_eq!(answers(&with_condition("other", false), CODE).findings[0].severity, Severity::Info);
    }

    #[test]
    fn ready_subnets_are_none() {
        assert!(answers(&with_condition("default", true), CODE).passed());
    }

    #[test]
    fn without_its_pools_it_cannot_tell() {
        let mut snapshot = with_condition("default", false);
        snapshot.objects.node_pools = Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::NodePools]);
    }
}
