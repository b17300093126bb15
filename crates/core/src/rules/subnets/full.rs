//! IPAM101: a subnet that has not enough free addresses for one more node.

use crate::{
    facts::{Facts, SubnetFacts},
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

rule! {
    /// The subnet has not enough free addresses for one more node or interface.
    ///
    /// ## What it means
    ///
    /// A node takes addresses in one call for a whole interface: its own and every address it asks for, all or nothing.
    /// With fewer free addresses than that, EC2 refuses the call. New nodes start and cannot give their pods addresses;
    /// nodes that are there cannot grow.
    ///
    /// ## Why it happens
    ///
    /// Addresses are reserved by nodes, not used by pods: the CNI keeps a warm pool on every node, and its default is a
    /// whole interface's worth. Large instance types hold many addresses for few pods. Other causes are load balancers,
    /// endpoints and leaked interfaces in the same subnet.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-subnets --subnet-ids SUBNET --query 'Subnets[].AvailableIpAddressCount'
    /// aws ec2 describe-network-interfaces --filters Name=subnet-id,Values=SUBNET \
    ///     --query 'NetworkInterfaces[].[Attachment.InstanceId,length(PrivateIpAddresses),length(Ipv4Prefixes||`[]`)]' --output text
    /// ```
    ///
    /// ## What to do
    ///
    /// Make nodes hold less (`WARM_IP_TARGET` with `MINIMUM_IP_TARGET`, see IPAM210), which frees addresses within
    /// minutes. If the pods themselves need the space, add a subnet in the zone, or a secondary CIDR with custom
    /// networking, or move to prefixes in a subnet with whole free blocks.
    ///
    /// ## What it costs
    ///
    /// Lower warm pools cost EC2 calls when pods start beyond them. A new subnet or CIDR costs nothing by itself, but
    /// nodes have to be placed in it.
    ///
    /// ## When it fires
    ///
    /// `AvailableIpAddressCount` is below what a new node of the commonest instance type in the subnet takes at its
    /// start under the CNI's present settings (17 where that is not known).
    pub SubnetFull;
    code: "IPAM101",
    name: "subnet-full",
    severity: Critical,
    condition: AddressesAvailable,
    sources: [Nodes, Subnets, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for subnet in facts.subnets.iter().filter(|subnet| subnet.is_full()) {
        found.subnet(&subnet.subnet.id, violation(facts, subnet));
    }
}

fn violation(facts: &Facts<'_>, subnet: &SubnetFacts<'_>) -> sink::Violation {
    let free = subnet.subnet.available;
    let usable = subnet.usable.unwrap_or_default();
    let needs = match &subnet.new_node_type {
        Some(kind) => format!("a new {kind} node takes {}", text::thousands(subnet.needed())),
        None => format!("an interface with a prefix takes {}", text::thousands(subnet.needed())),
    };
    let nodes = u32::try_from(subnet.nodes.len()).unwrap_or(u32::MAX);
    let remediation = match subnet.idle() {
        None => "Whether nodes hold addresses that no pod uses is not known: pods could not be read.".to_owned(),
        Some(idle) if idle > subnet.needed() => format!(
            "Let nodes hold less: {} of its addresses are held by {} and used by no pod. IPAM210 says which settings \
             free how many.",
            text::thousands(idle),
            text::count(nodes, "node"),
        ),
        Some(_) => format!("Add a subnet or a secondary CIDR in {}: its addresses are in use.", subnet.subnet.zone),
    };
    sink::Violation {
        severity: Severity::Critical,
        message: format!(
            "{} ({}) has {} of {} addresses free and {}; {needs}",
            subnet.subnet.id,
            subnet.subnet.zone,
            text::thousands(free),
            text::thousands(usable),
            whole_blocks(subnet),
        ),
        remediation,
        evidence: vec![
            sink::evidence("free", free),
            sink::evidence("usable", usable),
            sink::evidence("needed", subnet.needed()),
            sink::evidence("idleOnNodes", text::known(subnet.idle())),
            sink::evidence("podsWaitingInCluster", facts.waiting_pods()),
        ],
    }
}

fn whole_blocks(subnet: &SubnetFacts<'_>) -> String {
    subnet.free_prefixes.map_or_else(
        || "an unknown number of whole /28 blocks".to_owned(),
        |blocks| format!("{} whole /28 {}", text::thousands(blocks), text::plural(blocks, "block")),
    )
}
