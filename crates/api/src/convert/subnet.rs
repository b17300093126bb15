//! The report of one subnet.

use ipam_audit_core::{
    outcome::{self as core, SubnetOutcome},
    source::Source,
};

use super::{
    Context,
    conditions::{self, Upsert},
    findings,
    node::number,
};
use crate::v1alpha1::{Blocks, Need, Occupant, SubnetAddresses, SubnetDisplay, SubnetIpamReportStatus};

/// What a report of a subnet rests on.
const SOURCES: &[Source] = &[Source::Nodes, Source::Pods, Source::Subnets, Source::NetworkInterfaces];

/// The report of a subnet.
pub fn render_subnet(
    ctx: &Context<'_>,
    subnet: &SubnetOutcome,
    previous: Option<&SubnetIpamReportStatus>,
) -> SubnetIpamReportStatus {
    let none = SubnetIpamReportStatus::default();
    let before = previous.unwrap_or(&none);
    let now = ctx.now();
    let upsert = Upsert { before: &before.conditions, generation: None, now: &now };
    let (findings, truncated_findings) = findings::render(ctx, &subnet.findings, &before.findings);
    let mut status = SubnetIpamReportStatus {
        conditions: upsert.all(&subnet.conditions),
        findings,
        truncated_findings,
        zone: subnet.zone.to_string(),
        cidr: subnet.cidr.clone(),
        nodes: subnet.nodes.into(),
        addresses: addresses(subnet, &before.addresses),
        free_prefixes: subnet.free_prefixes.map(Into::into),
        blocks: subnet.block_map.as_ref().map(|map| Blocks {
            free_at_least: subnet.free_prefixes_min.map(Into::into),
            largest_free: subnet.largest_free.map(|length| format!("/{length}")),
            fragmentation_percent: subnet.fragmentation_percent.map(Into::into),
            map: Some(map.clone()),
        }),
        roles: subnet.roles.iter().map(|role| (*role).to_owned()).collect(),
        needs: subnet.needs.iter().map(need).collect(),
        others: subnet
            .others
            .iter()
            .map(|(owner, addresses)| Occupant { owner: owner.name().to_owned(), addresses: (*addresses).into() })
            .collect(),
        new_node_takes: subnet.new_node_takes.map(Into::into),
        runway: subnet.runway.map(ToOwned::to_owned),
        stale_sources: ctx.unusable(SOURCES),
        display: SubnetDisplay::default(),
    };
    status.display = display(&status);
    status
}

/// The report of a subnet while it is not known which subnets there are: what was known, proven by nothing.
pub fn keep_subnet(ctx: &Context<'_>, previous: &SubnetIpamReportStatus) -> SubnetIpamReportStatus {
    let Some(lost) = ctx.lost(SOURCES) else { return previous.clone() };
    let now = ctx.now();
    let upsert = Upsert { before: &previous.conditions, generation: None, now: &now };
    let (findings, truncated_findings) = findings::render(ctx, &[], &previous.findings);
    let mut status = SubnetIpamReportStatus {
        conditions: upsert.unknown(lost),
        findings,
        truncated_findings,
        stale_sources: ctx.unusable(SOURCES),
        ..previous.clone()
    };
    status.display = display(&status);
    status
}

/// Where the addresses went. Without the pods nobody can tell used from idle, so the ledger stays as it was.
fn addresses(subnet: &SubnetOutcome, before: &SubnetAddresses) -> SubnetAddresses {
    let (usable, free) = (subnet.usable.map(Into::into), Some(subnet.free.into()));
    let Some(ledger) = &subnet.ledger else { return SubnetAddresses { usable, free, ..before.clone() } };
    SubnetAddresses {
        usable,
        free,
        pods: Some(ledger.pods.into()),
        idle: Some(ledger.idle().into()),
        finished: Some(ledger.finished.into()),
        warm: Some(ledger.warm.into()),
        cooling: Some(ledger.cooling.into()),
        stranded: Some(ledger.stranded.into()),
        own: Some(ledger.own.into()),
        branches: Some(ledger.branches.into()),
        leaked: Some(ledger.leaked.into()),
        other: Some(ledger.other.into()),
        reserved_ranges: Some(ledger.reserved_ranges.into()),
        unaccounted: Some(ledger.unaccounted),
    }
}

fn need(need: &core::Need) -> Need {
    Need { what: need.what.to_owned(), addresses: need.addresses.into(), blocks: need.blocks.into(), met: need.met }
}

/// The cells of `kubectl get ipsubnet`, from what the report says.
fn display(status: &SubnetIpamReportStatus) -> SubnetDisplay {
    let addresses = &status.addresses;
    let or_unknown = |text: Option<&String>| text.cloned().unwrap_or_else(|| "?".to_owned());
    SubnetDisplay {
        cidr: or_unknown(status.cidr.as_ref()),
        usable: number(addresses.usable),
        free: number(addresses.free),
        free_prefixes: number(status.free_prefixes),
        pods: number(addresses.pods),
        idle: number(addresses.idle),
        own: number(addresses.own),
        branches: number(addresses.branches),
        leaked: number(addresses.leaked),
        other: number(addresses.other),
        unaccounted: number(addresses.unaccounted),
        runway: or_unknown(status.runway.as_ref()),
        worst: findings::worst(&status.findings, conditions::is_unknown(&status.conditions, "Healthy")),
    }
}
