//! A subnet of the document.

use std::collections::BTreeMap;

use ipam_audit_core::outcome::{SubnetLedger, SubnetOutcome};
use schemars::JsonSchema;
use serde::Serialize;

use super::parts::ConditionDocument;

/// A subnet in scope.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubnetDocument {
    /// Its id.
    pub id: String,
    /// Its zone.
    pub zone: String,
    /// Its range.
    pub cidr: Option<String>,
    /// Nodes whose primary interface is in it.
    pub nodes: u32,
    /// Its size less the five addresses that AWS keeps.
    pub usable: Option<u32>,
    /// What EC2 counts as free.
    pub free: u32,
    /// Why it is in the audit: `node-home`, `pods`, `eni-config`, `control-plane`, `discovery`.
    pub roles: Vec<String>,
    /// Whole free /28 blocks: bounds, since some occupants may not be visible.
    pub free_prefixes: BoundsDocument,
    /// The largest aligned range that is free, for example `/25`; `null` where no whole block is.
    pub largest_free: Option<String>,
    /// Broken blocks in a hundred of those that are no prefix and could be one.
    pub fragmentation_percent: Option<u32>,
    /// The blocks in order, run by run, for example `1R 14F 1R`: R reserved by AWS, P prefix, F free, f fragmented, U used
    /// by 16 single addresses, X explicitly reserved, p free and reserved for prefixes.
    pub block_map: Option<String>,
    /// What is asked of it next.
    pub needs: Vec<NeedDocument>,
    /// Every address by class; with `free` they add up to the subnet's size.
    pub ledger: Option<LedgerDocument>,
    /// Who the others of the ledger are.
    pub others: BTreeMap<String, u32>,
    /// What a new node of the commonest type here takes at its start.
    pub new_node_takes: Option<u32>,
    /// When it runs out, as far as that is known.
    pub runway: Option<String>,
    /// Its conditions.
    pub conditions: Vec<ConditionDocument>,
    /// Codes of the findings in its report, the worst first.
    pub findings: Vec<String>,
}

/// A number between bounds.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BoundsDocument {
    /// At least so many.
    pub min: Option<u32>,
    /// At most so many.
    pub max: Option<u32>,
}

/// What is asked of a subnet next.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NeedDocument {
    /// `next node`, `next interface`, `next prefix`, `surge` or `control plane`.
    pub what: String,
    /// Addresses, those of whole blocks included.
    pub addresses: u32,
    /// Whole /28 blocks among them.
    pub blocks: u32,
    /// Whether the subnet has them.
    pub met: bool,
}

/// Where a subnet's addresses went.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LedgerDocument {
    /// Kept by AWS.
    pub reserved: u32,
    /// Nodes' interfaces' own.
    pub own: u32,
    /// Pods'.
    pub pods: u32,
    /// Of finished pods.
    pub finished: u32,
    /// Held by nodes, ready for a pod.
    pub warm: u32,
    /// Held by nodes, given back a moment ago.
    pub cooling: u32,
    /// Held by nodes, of no use in the CNI's present mode.
    pub stranded: u32,
    /// Branch interfaces'.
    pub branches: u32,
    /// On interfaces of the CNI or the resource controller that are attached to nothing.
    pub leaked: u32,
    /// Everybody else's.
    pub other: u32,
    /// Kept for a CIDR reservation and not given to anybody.
    pub reserved_ranges: u32,
    /// What EC2's count and its interfaces do not agree on: 0 when all is visible.
    pub unaccounted: i64,
}

impl SubnetDocument {
    pub(super) fn of(subnet: &SubnetOutcome) -> Self {
        Self {
            id: subnet.id.to_string(),
            zone: subnet.zone.to_string(),
            cidr: subnet.cidr.clone(),
            nodes: subnet.nodes,
            usable: subnet.usable,
            free: subnet.free,
            roles: subnet.roles.iter().map(|role| (*role).to_owned()).collect(),
            free_prefixes: BoundsDocument { min: subnet.free_prefixes_min, max: subnet.free_prefixes },
            largest_free: subnet.largest_free.map(|length| format!("/{length}")),
            fragmentation_percent: subnet.fragmentation_percent,
            block_map: subnet.block_map.clone(),
            needs: subnet
                .needs
                .iter()
                .map(|need| NeedDocument {
                    what: need.what.to_owned(),
                    addresses: need.addresses,
                    blocks: need.blocks,
                    met: need.met,
                })
                .collect(),
            ledger: subnet.ledger.as_ref().map(ledger),
            others: subnet.others.iter().map(|(owner, count)| (owner.name().to_owned(), *count)).collect(),
            new_node_takes: subnet.new_node_takes,
            runway: subnet.runway.map(ToOwned::to_owned),
            conditions: subnet.conditions.iter().map(ConditionDocument::of).collect(),
            findings: subnet.findings.iter().map(|finding| finding.code.to_owned()).collect(),
        }
    }
}

fn ledger(ledger: &SubnetLedger) -> LedgerDocument {
    let SubnetLedger {
        reserved,
        own,
        pods,
        finished,
        warm,
        cooling,
        stranded,
        branches,
        leaked,
        other,
        reserved_ranges,
        unaccounted,
    } = *ledger;
    LedgerDocument {
        reserved,
        own,
        pods,
        finished,
        warm,
        cooling,
        stranded,
        branches,
        leaked,
        other,
        reserved_ranges,
        unaccounted,
    }
}
