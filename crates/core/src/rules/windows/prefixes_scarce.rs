//! IPAM804: Windows nodes for which EC2 has no prefix left.

use std::{collections::BTreeMap, sync::Arc};

use super::{nodes, place, recent_event};
use crate::{
    facts::Facts,
    finding::Severity,
    ids::SubnetId,
    inventory::Attachment,
    policy::AuditPolicy,
    rules::{
        Violations,
        sink::{self, Place},
    },
    snapshot::Node,
    source::Source,
};

rule! {
    /// A Windows node gets no prefix: its subnet has no whole block of 16 addresses left.
    ///
    /// ## What it means
    ///
    /// With prefix delegation each 16 pods of a Windows node need one aligned /28 block in which nothing is taken. There
    /// is none in the subnet, whatever its count of free addresses says. New pods on the node wait; the controller tries
    /// again every two minutes.
    ///
    /// ## Why it happens
    ///
    /// Single addresses of other interfaces are scattered over the subnet.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get events -A --field-selector reason=InsufficientCidrBlocks
    /// aws ec2 get-subnet-cidr-reservations --subnet-id SUBNET
    /// ```
    ///
    /// ## What to do
    ///
    /// Reserve a range of the subnet for prefixes (`aws ec2 create-subnet-cidr-reservation --reservation-type prefix`), or
    /// give Windows nodes a subnet of their own.
    ///
    /// ## What it costs
    ///
    /// Addresses of the reserved range are no longer given out one by one.
    ///
    /// ## When it fires
    ///
    /// The controller's event `InsufficientCidrBlocks` about the node is less than an hour old.
    pub WindowsPrefixesScarce;
    code: "IPAM804",
    name: "windows-prefixes-scarce",
    severity: Warning,
    condition: PrefixesAvailable,
    sources: [Nodes],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let nodes = nodes(facts);
    if nodes.is_empty() {
        return;
    }
    if facts.is_missing(Source::Events) {
        found.lacks(Source::Events);
        return;
    }
    let refused: Vec<&Node> =
        nodes.into_iter().filter(|node| recent_event(facts, node, &["InsufficientCidrBlocks"]).is_some()).collect();
    let subnets = subnets(facts, &refused);
    for node in refused {
        let subnet = node.instance.as_ref().and_then(|instance| subnets.get(instance.as_str()).copied());
        let group = subnet.map(|id| Arc::from(id.as_str()));
        let place = place(node);
        let place = Place { group: group.unwrap_or_else(|| Arc::clone(&place.group)), ..place };
        found.at(place, violation(subnet));
    }
}

/// The subnets of some nodes' primary interfaces, by instance.
fn subnets<'a>(facts: &Facts<'a>, nodes: &[&Node]) -> BTreeMap<&'a str, &'a SubnetId> {
    let wanted: Vec<&str> = nodes.iter().filter_map(|node| Some(node.instance.as_ref()?.as_str())).collect();
    if wanted.is_empty() {
        return BTreeMap::new();
    }
    let interfaces = facts.snapshot.ec2.interfaces.value().into_iter().flatten();
    let primary = interfaces.filter_map(|interface| {
        let attachment = interface.attachment.as_ref().filter(|attachment| Attachment::is_primary(attachment))?;
        Some((attachment.instance.as_ref()?.as_str(), &interface.subnet))
    });
    primary.filter(|(instance, _)| wanted.contains(instance)).collect()
}

fn violation(subnet: Option<&SubnetId>) -> sink::Violation {
    let name = subnet.map_or("its subnet", SubnetId::as_str);
    sink::Violation {
        severity: Severity::Warning,
        message: format!("got no prefix within the last hour: {name} has no whole block of 16 addresses left"),
        remediation: format!("Reserve a range of {name} for prefixes, or move Windows nodes to a subnet of their own."),
        evidence: vec![sink::evidence("subnet", name)],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        source::{Reading, Source},
        tests::{
            fixtures::now,
            karpenter::answers,
            windows::{node_event, windows},
        },
    };

    const CODE: &str = "IPAM804";

    #[test]
    fn the_event_is_about_the_subnet() {
        let mut snapshot = windows(&[], |_| {});
        snapshot.objects.events = Reading::fresh(vec![node_event("InsufficientCidrBlocks", "no block")], now());
        let seen = answers(&snapshot, CODE);
        assert_eq!(
            seen.messages(),
            ["got no prefix within the last hour: subnet-1 has no whole block of 16 addresses left"]
        );
        assert_eq!(&*seen.findings[0].group, "subnet-1");
    }

    #[test]
    fn an_old_event_is_none() {
        let mut snapshot = windows(&[], |_| {});
        let mut event = node_event("InsufficientCidrBlocks", "no block");
        event.last_at = Some(now() - jiff::SignedDuration::from_hours(2));
        snapshot.objects.events = Reading::fresh(vec![event], now());
        assert!(answers(&snapshot, CODE).passed());
    }

    #[test]
    fn without_events_it_cannot_tell_and_without_windows_it_need_not() {
        assert_eq!(answers(&windows(&[], |_| {}), CODE).missing(), [Source::Events]);
        let linux = crate::tests::fixtures::Cluster::new("10.0.0.0/20", &[]).node("m5.large", 29, &[9], 1).snapshot();
        assert!(answers(&linux, CODE).passed());
    }
}
