//! IPAM118: a subnet that is small for what its nodes hold.

use crate::{
    cni::SizingMode,
    facts::{Facts, NodeFacts, SubnetFacts},
    finding::Severity,
    ids::InstanceType,
    policy::AuditPolicy,
    rules::{Violations, sink, subnets::words},
    text,
};

/// The smallest subnet (length of its prefix) that is not small.
const ROOMY: u8 = 24;
/// Pod addresses of an interface from which whole interfaces are a coarse measure.
const SLOTS: u32 = 14;

rule! {
    /// The subnet is small for nodes that keep whole interfaces warm.
    ///
    /// ## What it means
    ///
    /// By default the CNI takes addresses by the interface: 15, 30 or 50 at once for a large instance type, and it keeps
    /// one interface's worth in reserve. A small subnet holds a handful of such nodes, whatever their pods need.
    ///
    /// ## Why it happens
    ///
    /// Subnets were cut for instances, one address each, and not for pods.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-subnets --subnet-ids SUBNET --query 'Subnets[].[CidrBlock,AvailableIpAddressCount]' --output text
    /// aws ec2 describe-instance-types --instance-types TYPE --query 'InstanceTypes[].NetworkInfo.Ipv4AddressesPerInterface'
    /// ```
    ///
    /// ## What to do
    ///
    /// Set `WARM_IP_TARGET` with `MINIMUM_IP_TARGET`, so that nodes take single addresses, or give nodes larger subnets:
    /// a subnet cannot be resized. A /19 is what eksctl makes.
    ///
    /// ## What it costs
    ///
    /// Lower targets cost EC2 calls when pods start beyond them. New subnets cost nothing, but nodes have to be replaced
    /// to get there.
    ///
    /// ## When it fires
    ///
    /// The subnet is smaller than a /24, and the commonest node that takes its pods' addresses there keeps whole
    /// interfaces (`WARM_ENI_TARGET`) of at least 15 addresses. Not while IPAM101 or IPAM102 is open for it.
    pub SubnetSmall;
    code: "IPAM118",
    name: "subnet-small",
    severity: Info,
    condition: AddressesAvailable,
    sources: [Nodes, Subnets, NetworkInterfaces, AwsNode],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let small = |subnet: &&SubnetFacts<'_>| subnet.subnet.cidr.is_some_and(|cidr| cidr.prefix_len() > ROOMY);
    for subnet in facts.every_subnet().filter(small).filter(|subnet| !subnet.is_full() && !subnet.is_low()) {
        let common =
            subnet.demand.drawers.iter().filter_map(|&at| facts.nodes.get(at)).find(|node| {
                node.node.instance_type.as_ref().map(InstanceType::as_str) == subnet.new_node_type.as_deref()
            });
        let by_interface = common.is_some_and(takes_large_interfaces);
        if let (true, Some(takes), Some(usable)) = (by_interface, subnet.new_node_takes, subnet.usable) {
            found.subnet(&subnet.subnet.id, violation(facts, subnet, takes, usable));
        }
    }
}

fn takes_large_interfaces(node: &NodeFacts<'_>) -> bool {
    let limits = node.limits.as_ref().and_then(crate::limits::Limits::interfaces);
    let large = limits.is_some_and(|limits| limits.slots_per_eni() >= SLOTS);
    let mode = node.cni.as_ref().map(|cni| cni.mode_name(node.limits.as_ref()));
    large && mode == Some(SizingMode::EniTarget.as_str())
}

fn violation(facts: &Facts<'_>, subnet: &SubnetFacts<'_>, takes: u32, usable: u32) -> sink::Violation {
    let hold = usable / takes.max(1);
    sink::Violation {
        severity: Severity::Info,
        message: format!(
            "{} is a /{} of {}: it holds at most {} {}{} of {} at their start",
            words::name(subnet),
            subnet.subnet.cidr.map_or(0, |cidr| cidr.prefix_len()),
            text::count(usable, "address"),
            text::thousands(hold),
            words::node_type(subnet),
            text::plural(hold, "node"),
            text::thousands(takes),
        ),
        remediation: format!(
            "Let nodes take single addresses ({}), or give them larger subnets.",
            facts.advice.settings()
        ),
        evidence: vec![
            sink::evidence("usable", usable),
            sink::evidence("newNodeTakes", takes),
            sink::evidence("nodes", words::nodes(subnet)),
        ],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        snapshot::ClusterSnapshot,
        source::{Reading, Source},
        tests::{fixtures::Cluster, subnets::answers},
    };

    const CODE: &str = "IPAM118";

    fn cluster(cidr: &str, env: &[(&str, &str)]) -> ClusterSnapshot {
        Cluster::new(cidr, env).node("m5.xlarge", 58, &[14], 3).snapshot()
    }

    #[test]
    fn a_small_subnet_of_large_interfaces_holds_few_nodes() {
        assert_eq!(
            answers(&cluster("10.0.0.0/25", &[]), CODE).messages(),
            [
                "subnet-1 (eu-central-1a) is a /25 of 123 addresses: it holds at most 8 m5.xlarge nodes of 15 at their start"
            ]
        );
    }

    #[test]
    fn a_larger_subnet_or_single_addresses_are_fine() {
        assert!(answers(&cluster("10.0.0.0/24", &[]), CODE).passed());
        let single = [("WARM_IP_TARGET", "3"), ("MINIMUM_IP_TARGET", "10")];
        assert!(answers(&cluster("10.0.0.0/25", &single), CODE).passed());
    }

    #[test]
    fn without_the_cni_it_cannot_tell() {
        let mut snapshot = cluster("10.0.0.0/25", &[]);
        snapshot.aws_node = Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::AwsNode]);
    }
}
