//! Words that findings about subnets share.

use ipnet::Ipv4Net;

use crate::{
    facts::{Facts, Owner, SubnetFacts},
    ids::NodeName,
    text,
};

/// Broken blocks and nodes that a finding names.
const NAMED: usize = 3;

/// A subnet with its zone: `subnet-1 (eu-central-1a)`.
pub(super) fn name(subnet: &SubnetFacts<'_>) -> String {
    format!("{} ({})", subnet.subnet.id, subnet.subnet.zone)
}

/// `13 of 4,091 addresses free`, with what reservations keep for prefixes.
pub(super) fn free(subnet: &SubnetFacts<'_>) -> String {
    let kept = match subnet.kept() {
        0 => String::new(),
        kept => format!(" and {} more kept for prefixes", text::thousands(kept)),
    };
    let usable = text::thousands(subnet.usable.unwrap_or_default());
    format!("{} of {usable} addresses free{kept}", text::thousands(subnet.subnet.available))
}

/// `3 whole /28 blocks`.
pub(super) fn whole_blocks(subnet: &SubnetFacts<'_>) -> String {
    subnet.free_prefixes.map_or_else(
        || "an unknown number of whole /28 blocks".to_owned(),
        |blocks| text::count(blocks, "whole /28 block"),
    )
}

/// `m5.large `, or nothing where the type is not known: it goes before a noun.
pub(super) fn node_type(subnet: &SubnetFacts<'_>) -> String {
    subnet.new_node_type.as_deref().map_or_else(String::new, |name| format!("{name} "))
}

/// How many nodes depend on a subnet.
pub(super) fn nodes(subnet: &SubnetFacts<'_>) -> u32 {
    u32::try_from(subnet.demand.nodes().len()).unwrap_or(u32::MAX)
}

/// Addresses that better settings of the CNI would give back to a subnet.
pub(super) fn would_free(facts: &Facts<'_>, subnet: &SubnetFacts<'_>) -> u32 {
    let drawers = subnet.demand.drawers.iter().filter_map(|&at| facts.nodes.get(at));
    drawers.filter_map(|node| facts.advice.node(node)).map(|better| better.returned).sum()
}

/// The change that gives a subnet most addresses back: other settings, else space.
pub(super) fn make_room(facts: &Facts<'_>, subnet: &SubnetFacts<'_>) -> String {
    let zone = &subnet.subnet.zone;
    let Some(idle) = subnet.idle() else {
        return format!(
            "Add a subnet or a secondary CIDR in {zone}; whether nodes hold addresses that no pod uses is not known, \
             since pods could not be read."
        );
    };
    match would_free(facts, subnet) {
        0 if idle > subnet.needed() => format!(
            "Add a subnet or a secondary CIDR in {zone}: no pod uses {} that nodes hold here, and lower targets would \
             not free them.",
            text::count(idle, "address"),
        ),
        0 => format!("Add a subnet or a secondary CIDR in {zone}: its addresses are in use."),
        freed => format!(
            "Let nodes hold less: {} frees {} here within minutes, of the {} that no pod uses.",
            facts.advice.settings(),
            text::count(freed, "address"),
            text::thousands(idle),
        ),
    }
}

/// The node whose going would make most blocks whole, and how many. One is no gain: its successor breaks another.
fn worth_draining<'f>(facts: &'f Facts<'_>, subnet: &SubnetFacts<'_>) -> Option<(&'f NodeName, u32)> {
    let recoverable = subnet.blocks.as_ref()?.recoverable();
    let (at, blocks) = recoverable.into_iter().max_by_key(|(at, blocks)| (*blocks, std::cmp::Reverse(*at)))?;
    let node = facts.nodes.get(at).filter(|_| blocks > 1)?;
    Some((&node.node.name, blocks))
}

/// The same as evidence: `node-1: 7`.
pub(super) fn drain(facts: &Facts<'_>, subnet: &SubnetFacts<'_>) -> String {
    worth_draining(facts, subnet).map_or_else(|| "none".to_owned(), |(node, blocks)| format!("{node}: {blocks}"))
}

/// The change that makes most blocks whole: a node to drain, else what to move.
pub(super) fn mend_blocks(facts: &Facts<'_>, subnet: &SubnetFacts<'_>) -> String {
    let mend = match (worth_draining(facts, subnet), nearly_free_blocks(facts, subnet)) {
        (Some((node, blocks)), _) => {
            format!("Drain and replace {node}: that makes {} whole", text::count(blocks, "block"))
        }
        (None, nearly) if !nearly.is_empty() => format!("Move what breaks blocks, first {nearly}"),
        (None, _) => "Give prefixes a subnet of their own".to_owned(),
    };
    match reserve(subnet) {
        Some(command) => format!("{mend}; keep what is whole for prefixes: {command}."),
        None => format!("{mend}."),
    }
}

/// The blocks of a range that few addresses break, with who has them: `10.0.0.32/28 (1 address: ELB app/shop)`.
pub(super) fn nearly_free(facts: &Facts<'_>, subnet: &SubnetFacts<'_>, range: Ipv4Net) -> String {
    let nearly = subnet.blocks.as_ref().map(|blocks| blocks.nearly_free(range, NAMED)).unwrap_or_default();
    let named: Vec<String> = nearly
        .into_iter()
        .map(|nearly| {
            let who = holder(facts, nearly.interface);
            let others = if nearly.occupants > 1 { " or others" } else { "" };
            format!("{} ({}: {who}{others})", nearly.block, text::count(nearly.occupants, "address"))
        })
        .collect();
    text::list(&named, "and", NAMED)
}

/// The same, of the whole subnet.
pub(super) fn nearly_free_blocks(facts: &Facts<'_>, subnet: &SubnetFacts<'_>) -> String {
    subnet.subnet.cidr.map(|range| nearly_free(facts, subnet, range)).unwrap_or_default()
}

/// Who has an interface: the node, else what its description says.
fn holder(facts: &Facts<'_>, interface: usize) -> String {
    if let Some(Owner::Node(node)) = facts.owners.get(interface) {
        return facts.nodes.get(*node).map_or_else(String::new, |node| format!("node {}", node.node.name));
    }
    let row = facts.snapshot.ec2.interfaces.value().and_then(|interfaces| interfaces.get(interface));
    row.map_or_else(String::new, |row| match &*row.description {
        "" => row.id.to_string(),
        text => format!("{text}, {}", row.id),
    })
}

/// The command that reserves the largest free range for prefixes; none if nothing is free.
pub(super) fn reserve(subnet: &SubnetFacts<'_>) -> Option<String> {
    let range = subnet.blocks.as_ref()?.largest_unreserved()?;
    Some(format!(
        "aws ec2 create-subnet-cidr-reservation --subnet-id {} --reservation-type prefix --cidr {range}",
        subnet.subnet.id,
    ))
}
