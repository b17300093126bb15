//! The report of one node.

use ipam_audit_core::{
    outcome::{self as core, NodeOutcome},
    snapshot::IpamdPool,
    source::Source,
    text,
};

use super::{
    Context,
    bounds::{clip, text as bound},
    conditions::{self, Upsert},
    findings,
    trust::seconds,
};
use crate::v1alpha1::{
    Branches, Cni, Interfaces, Ipamd, NodeAddresses, NodeCapacity, NodeDisplay, NodeIpamReportStatus,
};

/// What a report of a node rests on.
const SOURCES: &[Source] = &[Source::Nodes, Source::Pods, Source::AwsNode, Source::Subnets, Source::NetworkInterfaces];
const POOL: &[Source] = &[Source::Pods, Source::NetworkInterfaces];

/// The report of a node. What cannot be seen now but was known before is kept; `staleSources` says why.
pub fn render_node(
    ctx: &Context<'_>,
    node: &NodeOutcome,
    previous: Option<&NodeIpamReportStatus>,
) -> NodeIpamReportStatus {
    let nothing = NodeIpamReportStatus::default();
    let before = previous.unwrap_or(&nothing);
    let now = ctx.now();
    let upsert = Upsert { before: &before.conditions, generation: None, now: &now };
    let (findings, truncated_findings) = findings::render(ctx, &node.findings, &before.findings);
    let text = |name: &dyn ToString| name.to_string();
    let interfaces = node
        .interfaces
        .map(|attached| Interfaces { attached: attached.into(), limit: node.interface_limit.map(Into::into) });
    let mut status = NodeIpamReportStatus {
        conditions: upsert.all(&node.conditions),
        findings,
        truncated_findings,
        node_group: node.node_group.as_ref().map(|name| text(name)),
        instance_type: node.instance_type.as_ref().map(|name| text(name)),
        zone: node.zone.as_ref().map(|name| text(name)),
        subnet: ctx.or_kept(
            node.subnet.as_ref().map(|name| text(name)),
            &[Source::NetworkInterfaces],
            before.subnet.as_ref(),
        ),
        cordoned: node.cordoned,
        max_pods: node.max_pods.map(Into::into),
        capacity: ctx.or_kept(node.capacity.as_ref().map(capacity), POOL, before.capacity.as_ref()),
        interfaces: ctx.or_kept(interfaces, &[Source::NetworkInterfaces], before.interfaces.as_ref()),
        addresses: ctx.or_kept(addresses(node), POOL, before.addresses.as_ref()),
        pods: ctx.or_kept(node.pool_pods.map(Into::into), &[Source::Pods], before.pods.as_ref()),
        waiting_pods: ctx.or_kept(node.waiting_pods.map(Into::into), &[Source::Pods], before.waiting_pods.as_ref()),
        branches: ctx.or_kept(branches(node), &[Source::Pods], before.branches.as_ref()),
        cni: ctx.or_kept(cni(node), &[Source::AwsNode], before.cni.as_ref()),
        ipamd: ipamd(ctx, node, before),
        stale_sources: ctx.unusable(SOURCES),
        display: NodeDisplay::default(),
    };
    status.display = display(&status);
    status
}

/// The report of a node while it is not known which nodes there are: what was known, proven by nothing.
pub fn keep_node(ctx: &Context<'_>, previous: &NodeIpamReportStatus) -> NodeIpamReportStatus {
    let Some(lost) = ctx.lost(SOURCES) else { return previous.clone() };
    let now = ctx.now();
    let upsert = Upsert { before: &previous.conditions, generation: None, now: &now };
    let (findings, truncated_findings) = findings::render(ctx, &[], &previous.findings);
    let mut status = NodeIpamReportStatus {
        conditions: upsert.unknown(lost),
        findings,
        truncated_findings,
        stale_sources: ctx.unusable(SOURCES),
        ..previous.clone()
    };
    status.display = display(&status);
    status
}

fn addresses(node: &NodeOutcome) -> Option<NodeAddresses> {
    node.addresses.map(|addresses| NodeAddresses {
        held: addresses.held.into(),
        used: addresses.used.into(),
        idle: addresses.idle.into(),
        own: addresses.own.into(),
        prefixes: addresses.prefixes.into(),
        finished: addresses.finished.into(),
        warm: addresses.warm.into(),
        cooling: addresses.cooling.into(),
        stranded: addresses.stranded.into(),
    })
}

fn capacity(capacity: &core::NodeCapacity) -> NodeCapacity {
    NodeCapacity {
        addresses: capacity.addresses.into(),
        schedulable: capacity.schedulable.into(),
        unreachable: capacity.unreachable.into(),
    }
}

fn branches(node: &NodeOutcome) -> Option<Branches> {
    node.branches.as_ref().map(|slots| {
        let chain = slots.chain.as_ref();
        Branches {
            used: slots.used.into(),
            limit: slots.limit.map(Into::into),
            intended: chain.and_then(|chain| chain.intended),
            requested: chain.and_then(|chain| chain.requested),
            resource: chain.and_then(|chain| chain.resource),
            interface: chain.and_then(|chain| chain.interface.as_ref()).map(ToString::to_string),
        }
    })
}

fn cni(node: &NodeOutcome) -> Option<Cni> {
    node.cni.as_ref().map(|seen| Cni {
        version: clip(&seen.version, bound::CELL),
        mode: seen.mode.to_owned(),
        targets: clip(&seen.targets, bound::CELL),
    })
}

/// What ipamd said last, or before while nobody has asked it anew; gone when it is no longer asked.
fn ipamd(ctx: &Context<'_>, node: &NodeOutcome, before: &NodeIpamReportStatus) -> Option<Ipamd> {
    let outcome = node.ipamd.as_ref()?;
    let said = outcome.said.as_ref().map(|said| said.pool);
    let number = |number: fn(&IpamdPool) -> Option<i32>| said.as_ref().and_then(number).map(Into::into);
    let now = Ipamd {
        reachable: outcome.reachable,
        total: number(|pool| pool.total),
        assigned: number(|pool| pool.assigned),
        interfaces: number(|pool| pool.interfaces),
        as_of: outcome.as_of.map(seconds),
    };
    let known = (said.is_some() || outcome.reachable.is_some()).then_some(now);
    ctx.or_kept(known, &[Source::Ipamd], before.ipamd.as_ref())
}

/// The cells of `kubectl get ipnode`, from what the report says.
fn display(status: &NodeIpamReportStatus) -> NodeDisplay {
    let addresses = status.addresses.as_ref();
    let trunk_unknown = conditions::is_unknown(&status.conditions, "BranchCapacityAvailable");
    NodeDisplay {
        node_group: name(status.node_group.as_ref()),
        instance_type: name(status.instance_type.as_ref()),
        interfaces: status.interfaces.as_ref().map_or_else(unknown, |seen| of_limit(seen.attached, seen.limit)),
        pods: number(status.pods),
        held: number(addresses.map(|addresses| addresses.held)),
        idle: number(addresses.map(|addresses| addresses.idle)),
        branch: match &status.branches {
            Some(branches) => of_limit(branches.used, branches.limit),
            None if trunk_unknown => unknown(),
            None => "-".to_owned(),
        },
        max_pods: number(status.max_pods),
        cni: status.cni.as_ref().map_or_else(unknown, |cni| format!("{} {}", cni.version, cni.targets)),
        worst: findings::worst(&status.findings, conditions::is_unknown(&status.conditions, "Healthy")),
    }
}

fn name(name: Option<&String>) -> String {
    name.cloned().unwrap_or_else(unknown)
}

fn unknown() -> String {
    "?".to_owned()
}

fn of_limit(used: i64, limit: Option<i64>) -> String {
    format!("{}/{}", number(Some(used)), number(limit))
}

/// A number for a column: `11,439`, `-3`, or `?` if it is not known.
pub(super) fn number(number: Option<i64>) -> String {
    number.map_or_else(unknown, |number| {
        let sign = if number < 0 { "-" } else { "" };
        format!("{sign}{}", text::thousands(number.unsigned_abs()))
    })
}
