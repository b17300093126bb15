//! IPAM515: subnets are offered by tag, and custom networking does not look at tags.

use super::words;
use crate::{
    facts::{Facts, discovery::ROLE_TAG},
    finding::{Severity, Subject},
    ids::VpcId,
    inventory::Subnet,
    policy::AuditPolicy,
    rules::{Violations, sink},
    source::Source,
    text,
};

rule! {
    /// Subnets are tagged for discovery while custom networking is on.
    ///
    /// ## What it means
    ///
    /// Under custom networking the ENIConfig chooses the subnet. Subnets with the tag `kubernetes.io/role/cni` are not
    /// looked for: space in them helps no node of this cluster.
    ///
    /// ## Why it happens
    ///
    /// Both features give pods more address space. They were tried one after the other, or the tag serves another cluster
    /// of the VPC.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-subnets --filters Name=tag-key,Values=kubernetes.io/role/cni \
    ///     --query 'Subnets[].[SubnetId,AvailabilityZone,AvailableIpAddressCount]' --output text
    /// kubectl set env ds/aws-node -n kube-system --list | grep CUSTOM_NETWORK_CFG
    /// ```
    ///
    /// ## What to do
    ///
    /// Decide for one of the two. Discovery needs no ENIConfigs and does not take the primary interface from pods; custom
    /// networking allows other security groups for pods and keeps pods out of the nodes' subnets.
    ///
    /// ## What it costs
    ///
    /// A change from one to the other needs new nodes.
    ///
    /// ## When it fires
    ///
    /// All nodes whose settings are known run with custom networking, and a subnet of their VPC that no ENIConfig in use
    /// names is offered by tag. Information only.
    pub SubnetTagsUnheeded;
    code: "IPAM515",
    name: "subnet-tags-unheeded",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [Nodes, AwsNode],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let networking = &facts.custom_networking;
    if !networking.is_on() || !facts.discovery.outlooks().is_empty() {
        return;
    }
    let needed = [Source::EniConfigs, Source::Subnets, Source::NetworkInterfaces];
    let uses = words::uses(facts, found);
    if uses.is_empty() || !needed.into_iter().all(|source| words::has(facts, found, source)) {
        return;
    }
    let vpc: Option<&VpcId> = facts.nodes.iter().find_map(|node| Some(&words::home(facts, node)?.vpc));
    let offered = |subnet: &&Subnet| {
        let by_tag = subnet.tag(ROLE_TAG).is_some_and(|value| !value.is_empty() && value != "0");
        by_tag && Some(&subnet.vpc) == vpc && !networking.subnets().any(|named| *named == subnet.id)
    };
    let subnets = facts.snapshot.ec2.subnets.value().into_iter().flatten();
    let offered: Vec<&Subnet> = subnets.filter(offered).collect();
    let number = u32::try_from(offered.len()).unwrap_or(u32::MAX);
    if number == 0 {
        return;
    }
    let names: Vec<String> = offered.iter().map(|subnet| subnet.id.to_string()).collect();
    let free: u32 = offered.iter().map(|subnet| subnet.available).sum();
    let violation = sink::Violation {
        severity: Severity::Info,
        message: format!(
            "{} ({}) with {} {} offered by the tag {ROLE_TAG}, which custom networking does not look at",
            text::count(number, "subnet"),
            text::list(&names, "and", words::NAMED),
            text::count(free, "free address"),
            text::verb(number, "is", "are"),
        ),
        remediation: "Decide for ENIConfigs or for subnet discovery; remove the tags if they serve no other cluster."
            .to_owned(),
        evidence: vec![sink::evidence("subnets", number), sink::evidence("freeAddresses", free)],
    };
    found.subject(Subject::Cluster, violation);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        outcome::RuleAnswer,
        source::{FaultCategory, Reading},
        tests::custom_networking::{add_subnets, answer, custom, findings, subnet},
    };

    const CODE: &str = "IPAM515";

    #[test]
    fn offered_space_that_nobody_looks_at_is_named() {
        let mut snapshot = custom(2, |_| {});
        add_subnets(
            &mut snapshot,
            [
                subnet("subnet-offered", "eu-central-1a", 3900, &[(ROLE_TAG, "1")]),
                subnet("subnet-refused", "eu-central-1a", 3900, &[(ROLE_TAG, "0")]),
            ],
        );
        assert_eq!(
            findings(&snapshot, CODE)[0].message,
            "1 subnet (subnet-offered) with 3,900 free addresses is offered by the tag kubernetes.io/role/cni, which \
             custom networking does not look at"
        );
        assert_eq!(answer(&custom(2, |_| {}), CODE), RuleAnswer::Passed);
    }

    #[test]
    fn without_subnets_it_cannot_tell() {
        let mut snapshot = custom(2, |_| {});
        snapshot.ec2.subnets = Reading::missing(FaultCategory::Denied, "not allowed");
        assert_eq!(answer(&snapshot, CODE), RuleAnswer::Inconclusive { missing: vec![Source::Subnets], suspects: 0 });
    }
}
