//! Whether a status says something new. What does not is not written.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::conditions::find;
use crate::v1alpha1::{
    Finding, IpamAuditStatus, Ipamd, NodeIpamReportStatus, SourceStatus, SubnetIpamReportStatus, WorstNode, WorstSubnet,
};

/// Equality of what is said, whenever it was said.
///
/// Every field is taken apart by name, so that a new one cannot be forgotten.
pub trait SameIgnoringTimes {
    /// Whether both say the same.
    fn same_ignoring_times(&self, other: &Self) -> bool;
}

/// Whether an audit's status has to be written: it says something new, or its heartbeat is due.
pub fn needs_write(
    previous: Option<&IpamAuditStatus>,
    next: &IpamAuditStatus,
    heartbeat: Option<SignedDuration>,
    now: Timestamp,
) -> bool {
    let Some(previous) = previous else { return true };
    let due = heartbeat
        .is_some_and(|every| previous.last_audit_time.as_ref().is_none_or(|last| now.duration_since(last.0) >= every));
    due || !previous.same_ignoring_times(next)
}

fn all<T: SameIgnoringTimes>(one: &[T], other: &[T]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| one.same_ignoring_times(other))
}

/// Conditions are a map by type: the API server may keep them in another order.
fn same_conditions(one: &[Condition], other: &[Condition]) -> bool {
    let same = |a: &Condition| {
        let Condition { last_transition_time: _, message, observed_generation, reason, status, type_ } = a;
        find(other, type_).is_some_and(|b| {
            (message, observed_generation, reason, status) == (&b.message, &b.observed_generation, &b.reason, &b.status)
        })
    };
    one.len() == other.len() && one.iter().all(same)
}

fn same_ipamd(one: Option<&Ipamd>, other: Option<&Ipamd>) -> bool {
    let said = |ipamd: &Ipamd| {
        let Ipamd { reachable, total, assigned, interfaces, as_of: _ } = ipamd;
        (*reachable, *total, *assigned, *interfaces)
    };
    one.map(said) == other.map(said)
}

impl SameIgnoringTimes for Finding {
    fn same_ignoring_times(&self, other: &Self) -> bool {
        let Self {
            code,
            name,
            severity,
            subject,
            message,
            remediation,
            evidence,
            first_seen: _,
            last_seen: _,
            fingerprint,
            unverified,
        } = self;
        (code, name, severity, subject, fingerprint)
            == (&other.code, &other.name, &other.severity, &other.subject, &other.fingerprint)
            && (message, remediation, evidence, unverified)
                == (&other.message, &other.remediation, &other.evidence, &other.unverified)
    }
}

impl SameIgnoringTimes for SourceStatus {
    fn same_ignoring_times(&self, other: &Self) -> bool {
        let Self { name, state, as_of: _, message } = self;
        (name, state, message) == (&other.name, &other.state, &other.message)
    }
}

impl SameIgnoringTimes for WorstNode {
    fn same_ignoring_times(&self, other: &Self) -> bool {
        let Self { name, node_group, instance_type, zone, display, findings, conditions } = self;
        (name, node_group, instance_type, zone) == (&other.name, &other.node_group, &other.instance_type, &other.zone)
            && (display, findings) == (&other.display, &other.findings)
            && same_conditions(conditions, &other.conditions)
    }
}

impl SameIgnoringTimes for WorstSubnet {
    fn same_ignoring_times(&self, other: &Self) -> bool {
        let Self { name, zone, cidr, display, findings, conditions } = self;
        (name, zone, cidr, display, findings)
            == (&other.name, &other.zone, &other.cidr, &other.display, &other.findings)
            && same_conditions(conditions, &other.conditions)
    }
}

impl SameIgnoringTimes for IpamAuditStatus {
    fn same_ignoring_times(&self, other: &Self) -> bool {
        let Self {
            observed_generation,
            summary,
            conditions,
            last_audit_time: _,
            last_handled_request,
            totals,
            problems,
            worst_nodes,
            worst_subnets,
            findings,
            rules,
            discovered,
            sources,
            truncated,
            display,
        } = self;
        (observed_generation, summary, totals, problems)
            == (&other.observed_generation, &other.summary, &other.totals, &other.problems)
            && (rules, discovered, truncated, display)
                == (&other.rules, &other.discovered, &other.truncated, &other.display)
            && *last_handled_request == other.last_handled_request
            && same_conditions(conditions, &other.conditions)
            && all(worst_nodes, &other.worst_nodes)
            && all(worst_subnets, &other.worst_subnets)
            && all(findings, &other.findings)
            && all(sources, &other.sources)
    }
}

impl SameIgnoringTimes for NodeIpamReportStatus {
    fn same_ignoring_times(&self, other: &Self) -> bool {
        let Self {
            conditions,
            findings,
            truncated_findings,
            node_group,
            instance_type,
            zone,
            subnet,
            cordoned,
            max_pods,
            capacity,
            interfaces,
            addresses,
            pods,
            waiting_pods,
            branches,
            cni,
            ipamd,
            stale_sources,
            display,
        } = self;
        (node_group, instance_type, zone, subnet, cordoned, max_pods)
            == (&other.node_group, &other.instance_type, &other.zone, &other.subnet, &other.cordoned, &other.max_pods)
            && (interfaces, addresses, pods, waiting_pods, branches, cni)
                == (&other.interfaces, &other.addresses, &other.pods, &other.waiting_pods, &other.branches, &other.cni)
            && same_ipamd(ipamd.as_ref(), other.ipamd.as_ref())
            && (capacity, truncated_findings, stale_sources, display)
                == (&other.capacity, &other.truncated_findings, &other.stale_sources, &other.display)
            && same_conditions(conditions, &other.conditions)
            && all(findings, &other.findings)
    }
}

impl SameIgnoringTimes for SubnetIpamReportStatus {
    fn same_ignoring_times(&self, other: &Self) -> bool {
        let Self {
            conditions,
            findings,
            truncated_findings,
            zone,
            cidr,
            nodes,
            addresses,
            free_prefixes,
            blocks,
            roles,
            needs,
            others,
            new_node_takes,
            runway,
            stale_sources,
            display,
        } = self;
        (zone, cidr, nodes, addresses) == (&other.zone, &other.cidr, &other.nodes, &other.addresses)
            && (blocks, roles, needs, others) == (&other.blocks, &other.roles, &other.needs, &other.others)
            && (free_prefixes, new_node_takes, runway) == (&other.free_prefixes, &other.new_node_takes, &other.runway)
            && (truncated_findings, stale_sources, display)
                == (&other.truncated_findings, &other.stale_sources, &other.display)
            && same_conditions(conditions, &other.conditions)
            && all(findings, &other.findings)
    }
}
