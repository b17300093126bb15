//! IPAM550: a subnet whose discovery tag says neither yes nor no.

use std::collections::BTreeMap;

use super::words;
use crate::{
    facts::{
        Facts,
        discovery::{self, Outlook, ROLE_TAG},
    },
    finding::Severity,
    ids::SubnetId,
    inventory::Subnet,
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

rule! {
    /// A subnet's discovery tag has a value that is neither 1 nor 0.
    ///
    /// ## What it means
    ///
    /// `kubernetes.io/role/cni=1` offers a subnet to the CNI, `0` opts it out. Any other value offers it too, also `false`;
    /// an empty value counts as no tag since version 1.22 and as an offer before.
    ///
    /// ## Why it happens
    ///
    /// The tag was copied from `kubernetes.io/role/elb`, whose value does not matter, or written as a truth value.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-subnets --subnet-ids SUBNET --query 'Subnets[].Tags' --output table
    /// kubectl get pods -n kube-system -l k8s-app=aws-node -o jsonpath='{.items[0].spec.containers[0].image}{"\n"}'
    /// ```
    ///
    /// ## What to do
    ///
    /// Set the value to `1` or `0`, whichever is meant.
    ///
    /// ## What it costs
    ///
    /// Nothing.
    ///
    /// ## When it fires
    ///
    /// A node with subnet discovery is in the subnet's zone, and the tag's value is neither `0` nor `1`. A warning if the
    /// value reads as a no and the CNI takes it for a yes; information otherwise. Not for a subnet that is tagged for
    /// other clusters only.
    pub SubnetTagValueOdd;
    code: "IPAM550",
    name: "subnet-tag-value-odd",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [Nodes, AwsNode, Subnets, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let mut odd: BTreeMap<&SubnetId, (&Subnet, &Outlook<'_>)> = BTreeMap::new();
    for outlook in words::outlooks(facts, found).iter().filter(|outlook| outlook.regime.discovers()) {
        for subnet in
            outlook.zone().filter(|subnet| subnet.tag(ROLE_TAG).is_some_and(|value| !["0", "1"].contains(&value)))
        {
            if subnet.tag(ROLE_TAG) == Some("") || discovery::is_offered(&outlook.cni, subnet) {
                odd.entry(&subnet.id).or_insert((subnet, outlook));
            }
        }
    }
    for (id, (subnet, outlook)) in odd {
        let value = subnet.tag(ROLE_TAG).unwrap_or_default();
        let tried = outlook.tried.iter().any(|tried| tried.id == *id);
        let violation = sink::Violation {
            severity: if tried && reads_as_no(value) { Severity::Warning } else { Severity::Info },
            message: format!(
                "{id} is tagged {ROLE_TAG}={value}, and CNI {} on {} of {} {}",
                outlook.cni.version_text(),
                text::count(outlook.count(), "node"),
                subnet.zone,
                if tried { "takes that for an offer" } else { "takes that for no tag" },
            ),
            remediation: format!("Set the tag {ROLE_TAG} of {id} to 1 to offer the subnet, or to 0 to opt it out."),
            evidence: vec![sink::evidence("value", value), sink::evidence("freeAddresses", subnet.available)],
        };
        found.subnet(id, violation);
    }
}

fn reads_as_no(value: &str) -> bool {
    ["false", "no", "off", "none", "disabled", "exclude"].iter().any(|no| value.eq_ignore_ascii_case(no))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        outcome::RuleAnswer,
        snapshot::ClusterSnapshot,
        source::{FaultCategory, Reading, Source},
        tests::custom_networking::{DISCOVERY, answer, discovering, findings, subnet},
    };

    const CODE: &str = "IPAM550";

    fn tagged(version: &str, value: &str) -> ClusterSnapshot {
        discovering(version, DISCOVERY, [subnet("subnet-2", "eu-central-1a", 900, &[(ROLE_TAG, value)])])
    }

    #[test]
    fn a_no_that_is_taken_for_a_yes_is_a_warning() {
        let found = findings(&tagged("1.23.1", "false"), CODE);
        assert_eq!(
            found[0].message,
            "subnet-2 is tagged kubernetes.io/role/cni=false, and CNI 1.23.1 on 1 node of eu-central-1a takes that for an \
             offer"
        );
        assert_eq!(found[0].severity, Severity::Warning);
        assert_eq!(findings(&tagged("1.23.1", "true"), CODE)[0].severity, Severity::Info);
    }

    #[test]
    fn an_empty_value_is_no_tag_since_values_count() {
        assert!(findings(&tagged("1.23.1", ""), CODE)[0].message.ends_with("takes that for no tag"));
        assert!(findings(&tagged("1.21.0", ""), CODE)[0].message.ends_with("takes that for an offer"));
    }

    #[test]
    fn one_and_zero_pass_and_other_zones_do_not_matter() {
        assert_eq!(answer(&tagged("1.23.1", "1"), CODE), RuleAnswer::Passed);
        assert_eq!(answer(&tagged("1.23.1", "0"), CODE), RuleAnswer::Passed);
        let elsewhere = subnet("subnet-2", "eu-central-1b", 900, &[(ROLE_TAG, "true")]);
        assert_eq!(answer(&discovering("1.23.1", DISCOVERY, [elsewhere]), CODE), RuleAnswer::Passed);
    }

    #[test]
    fn without_subnets_it_cannot_tell() {
        let mut snapshot = tagged("1.23.1", "true");
        snapshot.ec2.subnets = Reading::missing(FaultCategory::Denied, "not allowed");
        assert_eq!(answer(&snapshot, CODE), RuleAnswer::Inconclusive { missing: vec![Source::Subnets], suspects: 0 });
    }
}
