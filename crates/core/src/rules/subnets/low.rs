//! IPAM102: a subnet with a small share of free addresses.

use crate::{
    facts::Facts,
    finding::{Severity, Subject},
    outcome::ConditionType,
    policy::AuditPolicy,
    rules::{Rule, RuleMeta, Violations, sink},
    source::Source,
    text,
};

/// A subnet that will be full soon.
pub(in crate::rules) struct SubnetLow;

static META: RuleMeta = RuleMeta {
    code: "IPAM102",
    name: "subnet-low",
    reason: "SubnetLow",
    title: "The subnet has few free addresses left",
    severity: Severity::Warning,
    condition: ConditionType::AddressesAvailable,
    sources: &[Source::Nodes, Source::Subnets, Source::NetworkInterfaces],
    meaning: "The subnet can take only a few more nodes. A rolling update, a scale-up or the loss of another zone needs \
              them at once.",
    cause: "The same causes as of IPAM101, earlier.",
    fix: "Lower what nodes hold, or add address space, before the next scale-up. The finding's text says how many nodes \
          still fit.",
    fires_when: "The share of free addresses is below `spec.thresholds.subnetFreePercent` (default 10) and the subnet is \
                 not full.",
};

impl Rule for SubnetLow {
    fn meta(&self) -> &'static RuleMeta {
        &META
    }

    fn evaluate(&self, facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations) {
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
            found.subject(Subject::Subnet(subnet.subnet.id.clone()), violation);
        }
    }
}
