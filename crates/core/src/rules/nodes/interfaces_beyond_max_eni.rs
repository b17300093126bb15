//! IPAM207: more interfaces are attached than `MAX_ENI` allows.

use crate::{
    facts::{Facts, Kind, NodeFacts},
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

rule! {
    /// More interfaces are attached to the node than the CNI's settings allow.
    ///
    /// ## What it means
    ///
    /// The CNI attaches nothing to this node any more, whatever its pods need. What is attached stays in use.
    ///
    /// ## Why it happens
    ///
    /// `MAX_ENI` was lowered under running nodes, or something else attaches interfaces to them. The cap counts the
    /// primary interface and the trunk; those that the CNI leaves alone are deducted from it.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl set env ds/aws-node -n kube-system --list | grep MAX_ENI
    /// aws ec2 describe-network-interfaces --filters Name=attachment.instance-id,Values=INSTANCE \
    ///     --query 'NetworkInterfaces[].[NetworkInterfaceId,Description,Attachment.AttachTime]' --output text
    /// ```
    ///
    /// ## What to do
    ///
    /// Replace the node, or raise `MAX_ENI` to what is attached. Tag interfaces that are not for pods with
    /// `node.k8s.amazonaws.com/no_manage=true`, and count them in max-pods.
    ///
    /// ## What it costs
    ///
    /// Nothing while the node's pods are served.
    ///
    /// ## When it fires
    ///
    /// `MAX_ENI` is below the limit of the instance type, and more interfaces than it are attached to the default network
    /// card.
    pub InterfacesBeyondMaxEni;
    code: "IPAM207",
    name: "interfaces-beyond-max-eni",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [Nodes, Pods, AwsNode, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for node in &facts.nodes {
        let cap = Kind::of(node).and_then(|kind| kind.lost().max_eni);
        let attached = node.interfaces.as_ref().and_then(|list| u32::try_from(list.len()).ok());
        if let (Some(cap), Some(attached)) = (cap, attached)
            && attached > cap
        {
            found.node(node, violation(node, cap, attached));
        }
    }
}

fn violation(node: &NodeFacts<'_>, cap: u32, attached: u32) -> sink::Violation {
    let limit = text::known(node.limits.as_ref().and_then(crate::facts::interface_limit));
    sink::Violation {
        severity: Severity::Info,
        message: format!("{} {} attached, and MAX_ENI={cap}", text::count(attached, "interface"), {
            text::verb(attached, "is", "are")
        }),
        remediation: format!("Replace the node, or set MAX_ENI={attached} (its type allows {limit})."),
        evidence: vec![sink::evidence("attached", attached), sink::evidence("maxEni", cap)],
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

    const CAPPED: &[(&str, &str)] = &[("MAX_ENI", "2"), ("WARM_IP_TARGET", "3"), ("MINIMUM_IP_TARGET", "10")];

    #[test]
    fn a_cap_below_what_is_attached() {
        let found =
            findings("IPAM207", &Cluster::new("10.0.0.0/20", CAPPED).node("m5.large", 20, &[9, 9, 9], 12).snapshot());
        assert_eq!(found[0].message, "3 interfaces are attached, and MAX_ENI=2");
        assert_eq!(found[0].remediation, "Replace the node, or set MAX_ENI=3 (its type allows 3).");
    }

    #[test]
    fn a_cap_that_is_kept() {
        assert!(
            findings("IPAM207", &Cluster::new("10.0.0.0/20", CAPPED).node("m5.large", 20, &[9, 9], 12).snapshot())
                .is_empty()
        );
    }

    #[test]
    fn without_interfaces_it_cannot_tell() {
        let mut snapshot = Cluster::new("10.0.0.0/20", CAPPED).node("m5.large", 20, &[9, 9, 9], 12).snapshot();
        snapshot.ec2.interfaces = Reading::missing(FaultCategory::Denied, "not allowed");
        let missing = vec![Source::NetworkInterfaces];
        assert_eq!(answer("IPAM207", &snapshot), RuleAnswer::Inconclusive { missing, suspects: 0 });
    }
}
