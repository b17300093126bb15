//! IPAM514: an ENIConfig that names its nodes' own subnet.

use super::words;
use crate::{
    facts::Facts,
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{Violations, sink},
    source::Source,
    text,
};

rule! {
    /// An ENIConfig names the nodes' own subnet.
    ///
    /// ## What it means
    ///
    /// Custom networking moves pods to another subnet than their node's. Here it is the same one: pods gain nothing, and
    /// each node still loses the pod addresses of its primary interface.
    ///
    /// ## Why it happens
    ///
    /// The node group was moved into the pod subnet, or the ENIConfig is there for its security groups only.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get eniconfig ENICONFIG -o jsonpath='{.spec.subnet}{"\n"}'
    /// aws ec2 describe-instances --instance-ids INSTANCE --query 'Reservations[].Instances[].SubnetId' --output text
    /// ```
    ///
    /// ## What to do
    ///
    /// Name another subnet in the ENIConfig, or give these nodes back to plain networking. Nothing if the security groups
    /// are the purpose.
    ///
    /// ## What it costs
    ///
    /// One interface's pod addresses on each node, as it is now.
    ///
    /// ## When it fires
    ///
    /// A node with custom networking on resolves to an ENIConfig with the subnet of its own primary interface.
    /// Information only.
    pub EniConfigInNodeSubnet;
    code: "IPAM514",
    name: "eni-config-in-node-subnet",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [Nodes, AwsNode],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for used in words::uses(facts, found) {
        let Some(config) = used.config else { continue };
        if !words::has(facts, found, Source::NetworkInterfaces) {
            return;
        }
        let at_home = used.nodes(facts).filter(|node| node.home() == Some(&config.subnet)).count();
        let number = u32::try_from(at_home).unwrap_or(u32::MAX);
        if number == 0 {
            continue;
        }
        let violation = sink::Violation {
            severity: Severity::Info,
            message: format!(
                "ENIConfig {} names {}, which is the own subnet of {number} of the {} that ask for it: {} primary \
                 {} no pods for nothing",
                config.name,
                config.subnet,
                text::count(used.count(), "node"),
                text::verb(number, "its", "their"),
                text::verb(number, "interface serves", "interfaces serve"),
            ),
            remediation: format!(
                "Name another subnet of the zone in ENIConfig {}, unless its security groups are its purpose.",
                config.name
            ),
            evidence: vec![sink::evidence("subnet", &config.subnet), sink::evidence("nodes", number)],
        };
        found.subject(Subject::EniConfig(config.name.clone()), violation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        outcome::RuleAnswer,
        source::{FaultCategory, Reading},
        tests::{
            custom_networking::{answer, custom, eni_config, findings},
            fixtures::now,
        },
    };

    const CODE: &str = "IPAM514";

    #[test]
    fn the_own_subnet_costs_an_interface_for_nothing() {
        let mut snapshot = custom(2, |_| {});
        snapshot.objects.eni_configs = Reading::fresh(vec![eni_config("eu-central-1a", "subnet-1")], now());
        assert_eq!(
            findings(&snapshot, CODE)[0].message,
            "ENIConfig eu-central-1a names subnet-1, which is the own subnet of 2 of the 2 nodes that ask for it: their \
             primary interfaces serve no pods for nothing"
        );
        assert_eq!(answer(&custom(2, |_| {}), CODE), RuleAnswer::Passed);
    }

    #[test]
    fn without_interfaces_no_node_has_a_subnet() {
        let mut snapshot = custom(2, |_| {});
        snapshot.ec2.interfaces = Reading::missing(FaultCategory::Denied, "not allowed");
        let missing = vec![Source::NetworkInterfaces];
        assert_eq!(answer(&snapshot, CODE), RuleAnswer::Inconclusive { missing, suspects: 0 });
    }
}
