//! IPAM551: a subnet that is opted out, and a CNI that takes the tag for an offer.

use std::collections::BTreeMap;

use super::words;
use crate::{
    facts::{
        Facts,
        discovery::{Outlook, ROLE_TAG, Regime},
    },
    finding::Severity,
    ids::SubnetId,
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

rule! {
    /// A subnet is opted out by tag, and this version of the CNI uses it because of the tag.
    ///
    /// ## What it means
    ///
    /// From version 1.18 to 1.21 only the presence of the tag `kubernetes.io/role/cni` counts. The value `0`, which opts a
    /// subnet out since 1.22, offers it to these nodes.
    ///
    /// ## Why it happens
    ///
    /// The tags were written for a newer version than the one that runs, on all nodes or on some of them.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get pods -n kube-system -l k8s-app=aws-node -o jsonpath='{range .items[*]}{.spec.containers[0].image}{"\n"}{end}' | sort | uniq -c
    /// aws ec2 describe-subnets --filters Name=tag:kubernetes.io/role/cni,Values=0 --query 'Subnets[].SubnetId' --output text
    /// ```
    ///
    /// ## What to do
    ///
    /// Update the CNI to 1.22.1 or newer, or remove the tag from the subnet until then.
    ///
    /// ## What it costs
    ///
    /// Nothing. Interfaces that are in the subnet stay there until their node goes.
    ///
    /// ## When it fires
    ///
    /// A subnet of a node's zone, not the node's own, has the tag with value `0`, and the node runs a CNI from 1.18 to
    /// 1.21 with discovery on. A warning once interfaces of such nodes are in it, information until then.
    pub SubnetOptOutUnheeded;
    code: "IPAM551",
    name: "subnet-opt-out-unheeded",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [Nodes, AwsNode, Subnets, NetworkInterfaces],
    check: check,
}

/// Who uses a subnet that is opted out.
#[derive(Debug, Default)]
struct Users {
    nodes: u32,
    interfaces: u32,
    version: String,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let mut used: BTreeMap<&SubnetId, Users> = BTreeMap::new();
    for outlook in words::outlooks(facts, found).iter().filter(|outlook| outlook.regime == Regime::AnyValue) {
        let opted_out = outlook.tried.iter().filter(|subnet| subnet.tag(ROLE_TAG) == Some("0"));
        for subnet in opted_out.filter(|subnet| subnet.id != outlook.home.id) {
            let users = used.entry(&subnet.id).or_default();
            users.nodes += outlook.count();
            users.interfaces += interfaces_in(facts, outlook, &subnet.id);
            users.version = outlook.cni.version_text();
        }
    }
    for (id, users) in used {
        let violation = sink::Violation {
            severity: if users.interfaces > 0 { Severity::Warning } else { Severity::Info },
            message: format!(
                "{id} is opted out by {ROLE_TAG}=0, which CNI {} on {} takes for an offer: {} of theirs {} in it",
                users.version,
                text::count(users.nodes, "node"),
                text::count(users.interfaces, "interface"),
                text::verb(users.interfaces, "is", "are"),
            ),
            remediation: format!("Update the CNI to 1.22.1 or newer, or remove the tag from {id} until then."),
            evidence: vec![
                sink::evidence("nodes", users.nodes),
                sink::evidence("interfaces", users.interfaces),
                sink::evidence("version", &users.version),
            ],
        };
        found.subnet(id, violation);
    }
}

fn interfaces_in(facts: &Facts<'_>, outlook: &Outlook<'_>, id: &SubnetId) -> u32 {
    let interfaces = outlook.nodes(facts).filter_map(|node| node.pool.as_ref()).flat_map(|pool| &pool.interfaces);
    u32::try_from(interfaces.filter(|on| on.interface.subnet == *id).count()).unwrap_or(u32::MAX)
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

    const CODE: &str = "IPAM551";

    fn opted_out(version: &str) -> ClusterSnapshot {
        let other = subnet("subnet-2", "eu-central-1a", 900, &[(ROLE_TAG, "0")]);
        let mut snapshot = discovering(version, DISCOVERY, [other]);
        snapshot.ec2.interfaces.last_good.as_mut().unwrap().value[1].subnet = "subnet-2".into();
        snapshot
    }

    #[test]
    fn the_opt_out_is_an_offer_to_older_versions() {
        let found = findings(&opted_out("1.20.1"), CODE);
        assert_eq!(
            found[0].message,
            "subnet-2 is opted out by kubernetes.io/role/cni=0, which CNI 1.20.1 on 1 node takes for an offer: 1 \
             interface of theirs is in it"
        );
        assert_eq!(found[0].severity, Severity::Warning);
    }

    #[test]
    fn newer_versions_heed_it_and_the_oldest_do_not_look() {
        assert_eq!(answer(&opted_out("1.22.0"), CODE), RuleAnswer::Passed);
        assert_eq!(answer(&opted_out("1.17.1"), CODE), RuleAnswer::Passed);
    }

    #[test]
    fn without_interfaces_it_cannot_tell() {
        let mut snapshot = opted_out("1.20.1");
        snapshot.ec2.interfaces = Reading::missing(FaultCategory::Denied, "not allowed");
        let missing = vec![Source::NetworkInterfaces];
        assert_eq!(answer(&snapshot, CODE), RuleAnswer::Inconclusive { missing, suspects: 0 });
    }
}
