//! IPAM802: a Windows node that offers no addresses, or another number than its type has.

use super::{Settings, nodes, old_controller, place, recent_event};
use crate::{
    facts::{Facts, karpenter::limits_of},
    finding::Severity,
    net,
    policy::AuditPolicy,
    rules::{Violations, sink},
    snapshot::{Event, Node},
    text,
};

/// Events in which the controller says why it does not serve a node.
const CAUSES: [&str; 3] = ["Unsupported", "CNINodeCreationFailed", "InsufficientCidrBlocks"];

rule! {
    /// A Windows node offers no addresses, or another number than its instance type has.
    ///
    /// ## What it means
    ///
    /// The controller publishes on each Windows node how many pods can have an address
    /// (`vpc.amazonaws.com/PrivateIPv4Address`). The scheduler places pods by that number: with none it places no pod,
    /// with too many some of them never start.
    ///
    /// ## Why it happens
    ///
    /// The controller does not know the type, cannot make the node's CNINode, or was switched between single addresses
    /// and prefixes while kubelet's number stayed. Windows nodes use one interface only, whatever the type allows.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get node NODE -o jsonpath='{.status.allocatable.vpc\.amazonaws\.com/PrivateIPv4Address}'
    /// kubectl get events -A --field-selector involvedObject.kind=Node,involvedObject.name=NODE
    /// ```
    ///
    /// ## What to do
    ///
    /// Look at the node's events; restart kubelet on the node, or replace it, after a change of mode.
    ///
    /// ## What it costs
    ///
    /// A restart of the node's pods.
    ///
    /// ## When it fires
    ///
    /// The node is older than `settleSeconds` (300), the controller manages Windows addresses, and the published number
    /// is none or 0 (critical), or differs from the addresses of one interface less its own, times 16 with prefixes on
    /// types that can have them (warning).
    pub WindowsAddressCapacity;
    code: "IPAM802",
    name: "windows-address-capacity",
    severity: Critical,
    condition: CapacityAvailable,
    sources: [Nodes],
    check: check,
}

fn check(facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations<'_>) {
    let nodes = nodes(facts);
    if nodes.is_empty() {
        return;
    }
    // Without the controller nothing is published: IPAM801 says so.
    let old = old_controller(facts, found);
    let Some(settings) = Settings::of(facts, found) else { return };
    if old.is_some() || !settings.manages_addresses() {
        return;
    }
    let now = facts.snapshot.taken_at;
    let settle = i64::from(policy.thresholds.settle_seconds);
    let settled = |node: &&&Node| node.created_at.is_none_or(|at| now.duration_since(at).as_secs() > settle);
    for node in nodes.iter().filter(settled) {
        let expected = expected(facts, node, settings.uses_prefixes());
        if let Some(violation) = violation(node, expected, recent_event(facts, node, &CAUSES)) {
            found.at(place(node), violation);
        }
    }
}

/// Addresses of the one interface that Windows uses, less its own.
fn expected(facts: &Facts<'_>, node: &Node, prefixes: bool) -> Option<u32> {
    let limits = limits_of(facts.snapshot, node.instance_type.as_ref()?.as_str())?.interfaces()?;
    let each = if prefixes && limits.hypervisor.supports_prefixes() { net::ADDRESSES_PER_PREFIX } else { 1 };
    Some(limits.slots_per_eni() * each)
}

fn violation(node: &Node, expected: Option<u32>, event: Option<&Event>) -> Option<sink::Violation> {
    let offered = node.state.windows_addresses.unwrap_or_default();
    let kind = node.instance_type.as_ref().map_or("its type", |kind| kind.as_str());
    let (severity, state) = match (offered, expected) {
        (0, Some(expected)) => {
            (Severity::Critical, format!("offers no pod addresses; one interface of {kind} has {expected}"))
        }
        (0, None) => (Severity::Critical, "offers no pod addresses".to_owned()),
        (offered, Some(expected)) if offered != expected => (
            Severity::Warning,
            format!("offers {}; one interface of {kind} has {expected}", text::count(offered, "pod address")),
        ),
        _ => return None,
    };
    let cause = event.map_or_else(String::new, |event| format!("; event {}: {}", event.reason, event.message));
    Some(sink::Violation {
        severity,
        message: format!("{state}{cause}"),
        remediation: "Look at the node's events; after a change of mode restart its kubelet or replace it.".to_owned(),
        evidence: vec![sink::evidence("allocatable", offered), sink::evidence("expected", text::known(expected))],
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        source::{Reading, Source},
        tests::{
            fixtures::now,
            karpenter::answers,
            windows::{node_event, windows},
        },
    };

    const CODE: &str = "IPAM802";
    const ON: (&str, &str) = ("enable-windows-ipam", "true");
    const PREFIXES: (&str, &str) = ("enable-windows-prefix-delegation", "true");

    #[test]
    fn no_addresses_are_critical_and_the_event_says_why() {
        let mut snapshot = windows(&[ON], |node| node.state.windows_addresses = Some(0));
        let event = node_event("Unsupported", "the instance type is not supported");
        snapshot.objects.events = Reading::fresh(vec![event], now());
        let seen = answers(&snapshot, CODE);
        assert_eq!(
            seen.messages(),
            ["offers no pod addresses; one interface of m5.large has 9; event Unsupported: the instance type is not \
                 supported"]
        );
        assert_eq!(seen.findings[0].severity, Severity::Critical);
    }

    #[test]
    fn another_number_than_that_of_the_mode_warns() {
        let seen = answers(&windows(&[ON, PREFIXES], |node| node.state.windows_addresses = Some(9)), CODE);
        assert_eq!(seen.messages(), ["offers 9 pod addresses; one interface of m5.large has 144"]);
        assert_eq!(seen.findings[0].severity, Severity::Warning);
    }

    #[test]
    fn the_right_number_a_young_node_and_the_feature_off_are_none() {
        assert!(answers(&windows(&[ON], |node| node.state.windows_addresses = Some(9)), CODE).passed());
        assert!(answers(&windows(&[ON, PREFIXES], |node| node.state.windows_addresses = Some(144)), CODE).passed());
        let young = windows(&[ON], |node| {
            (node.state.windows_addresses, node.created_at) = (None, Some(now() - jiff::SignedDuration::from_secs(60)));
        });
        assert!(answers(&young, CODE).passed());
        assert!(answers(&windows(&[], |node| node.state.windows_addresses = None), CODE).passed());
    }

    #[test]
    fn without_config_maps_it_cannot_tell() {
        let mut snapshot = windows(&[ON], |_| {});
        snapshot.objects.config_maps = Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::ConfigMaps]);
    }
}
