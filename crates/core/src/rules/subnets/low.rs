//! IPAM102: a subnet with a small share of free addresses.

use crate::{
    facts::Facts,
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

rule! {
    /// The subnet has few free addresses left.
    ///
    /// ## What it means
    ///
    /// The subnet can take only a few more nodes. A rolling update, a scale-up or the loss of another zone needs them
    /// at once.
    ///
    /// ## Why it happens
    ///
    /// The same causes as of IPAM101, earlier.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-subnets --subnet-ids SUBNET --query 'Subnets[].[CidrBlock,AvailableIpAddressCount]' --output text
    /// kubectl get ipsubnet SUBNET -o wide
    /// ```
    ///
    /// ## What to do
    ///
    /// Lower what nodes hold, or add address space, before the next scale-up. The finding's text says how many nodes
    /// still fit.
    ///
    /// ## What it costs
    ///
    /// As of IPAM101; acting now instead of at IPAM101 saves an outage.
    ///
    /// ## When it fires
    ///
    /// The share of free addresses is below `spec.thresholds.subnetFreePercent` (default 10) and the subnet is not
    /// full.
    pub SubnetLow;
    code: "IPAM102",
    name: "subnet-low",
    severity: Warning,
    condition: AddressesAvailable,
    sources: [Nodes, Subnets, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations<'_>) {
    for subnet in facts.subnets.iter().filter(|subnet| subnet.is_low()) {
        let free = subnet.subnet.available;
        let usable = subnet.usable.unwrap_or_default();
        let fits = free / subnet.needed().max(1);
        let kind = subnet.new_node_type.as_deref().map_or(String::new(), |kind| format!("{kind} "));
        let violation = sink::Violation {
            severity: Severity::Warning,
            message: format!(
                "{} ({}) has {} of {} addresses free, {} %: room for {} more {kind}{} of {} addresses",
                subnet.subnet.id,
                subnet.subnet.zone,
                text::thousands(free),
                text::thousands(usable),
                text::percent(free, usable),
                text::thousands(fits),
                text::plural(fits, "node"),
                text::thousands(subnet.needed()),
            ),
            remediation: format!(
                "Nodes here hold {} addresses that no pod uses; lower their warm pool, or add address space in {}.",
                text::known(subnet.idle()),
                subnet.subnet.zone,
            ),
            evidence: vec![
                sink::evidence("free", free),
                sink::evidence("usable", usable),
                sink::evidence("thresholdPercent", policy.thresholds.subnet_free_percent),
                sink::evidence("newNodesThatFit", fits),
            ],
        };
        found.subnet(&subnet.subnet.id, violation);
    }
}
