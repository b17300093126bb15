//! Whether a status says something new. What does not is not written.

use std::{
    fmt::Debug,
    hash::{DefaultHasher, Hash, Hasher},
    io,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, OwnerReference, Time};
use kube::{Resource, ResourceExt};
use serde::{Serialize, de::DeserializeOwned};

use super::conditions::find;
use crate::{
    names::{LABEL_AUDIT, LABEL_MANAGED_BY, LABEL_NODE, LABEL_SUBNET, LABEL_ZONE},
    v1alpha1::{
        Finding, IpamAudit, IpamAuditStatus, NodeIpamReport, NodeIpamReportStatus, SourceStatus, SubnetIpamReport,
        SubnetIpamReportStatus, WorstNode, WorstSubnet,
    },
};

/// The labels that this program sets.
const LABELS: [&str; 5] = [LABEL_MANAGED_BY, LABEL_AUDIT, LABEL_NODE, LABEL_SUBNET, LABEL_ZONE];

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

/// A report, as far as two of them can say the same at different times.
pub trait Said: Resource<DynamicType = ()> + Sized {
    /// The status of its kind.
    type Status: Clone + Debug + Default + Serialize + DeserializeOwned + Send + Sync + 'static;

    /// Its status.
    fn status(&self) -> Option<&Self::Status>;

    /// Takes the times out, and puts into order what has none.
    fn timeless(status: &mut Self::Status);

    /// The findings of a status.
    fn findings(status: &Self::Status) -> &[Finding];

    /// What is this program's own of an object: what others may add is left out.
    fn own_parts(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for label in LABELS {
            self.labels().get(label).hash(&mut hasher);
        }
        let ours = |owner: &&OwnerReference| owner.kind == IpamAudit::kind(&());
        for owner in self.owner_references().iter().filter(ours) {
            (&owner.name, &owner.uid, owner.controller).hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// What a status says, whenever it was said, as a number: two that say the same have the same.
pub fn digest<K: Said>(mut status: K::Status) -> u64 {
    struct Into(DefaultHasher);

    impl io::Write for Into {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.write(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    K::timeless(&mut status);
    let mut hasher = Into(DefaultHasher::new());
    // These types have no maps with odd keys, and hashing does not fail.
    match serde_json::to_writer(&mut hasher, &status) {
        Ok(()) => hasher.0.finish(),
        Err(_) => 0,
    }
}

/// Conditions are a map by type: the API server may keep them in another order.
fn without_times(conditions: &mut [Condition], findings: &mut [Finding]) {
    let never = Time(Timestamp::UNIX_EPOCH);
    for condition in conditions.iter_mut() {
        condition.last_transition_time = never.clone();
    }
    conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
    for finding in findings {
        (finding.first_seen, finding.last_seen) = (never.clone(), never.clone());
    }
}

impl Said for NodeIpamReport {
    type Status = NodeIpamReportStatus;

    fn status(&self) -> Option<&NodeIpamReportStatus> {
        self.status.as_ref()
    }

    fn timeless(status: &mut NodeIpamReportStatus) {
        without_times(&mut status.conditions, &mut status.findings);
        if let Some(ipamd) = &mut status.ipamd {
            ipamd.as_of = None;
        }
    }

    fn findings(status: &NodeIpamReportStatus) -> &[Finding] {
        &status.findings
    }
}

impl Said for SubnetIpamReport {
    type Status = SubnetIpamReportStatus;

    fn status(&self) -> Option<&SubnetIpamReportStatus> {
        self.status.as_ref()
    }

    fn timeless(status: &mut SubnetIpamReportStatus) {
        without_times(&mut status.conditions, &mut status.findings);
    }

    fn findings(status: &SubnetIpamReportStatus) -> &[Finding] {
        &status.findings
    }
}
