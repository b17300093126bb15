//! Render: an outcome and what is in the cluster become the writes that are needed. Pure; no client in sight.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use ipam_audit_api::{
    convert::{
        Circumstances, Context, Reports, SameIgnoringTimes, keep_node, keep_subnet, needs_write, node_report,
        render_audit, render_node, render_subnet, subnet_report,
    },
    settings::AuditSettings,
    transition::{Transition, transitions},
    v1alpha1::{Finding, IpamAudit, IpamAuditStatus, NodeIpamReport, NodeReports, SubnetIpamReport},
};
use ipam_audit_core::{finding::POD_UID, outcome::AuditOutcome};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{Resource, ResourceExt};

use super::{events::Draft, pressure::Judgement};

/// The reports of one audit as they are in the cluster.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    pub(crate) nodes: HashMap<Arc<str>, Arc<NodeIpamReport>>,
    pub(crate) subnets: HashMap<Arc<str>, Arc<SubnetIpamReport>>,
}

/// One report that has to be written.
#[derive(Debug)]
pub(crate) struct Write<K> {
    pub(crate) report: K,
    /// Whether the object itself is new or differs; else its status alone does.
    pub(crate) object: bool,
    /// What this write makes worth telling.
    pub(crate) events: Vec<Draft>,
}

/// Everything that one audit has to write.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) audit: ObjectReference,
    pub(crate) nodes: Vec<Write<NodeIpamReport>>,
    pub(crate) subnets: Vec<Write<SubnetIpamReport>>,
    pub(crate) gone_nodes: Vec<Arc<NodeIpamReport>>,
    pub(crate) gone_subnets: Vec<Arc<SubnetIpamReport>>,
    /// The audit's own status, if it has to be written.
    pub(crate) status: Option<IpamAuditStatus>,
    /// Transitions of findings of the audit itself.
    pub(crate) events: Vec<Draft>,
    /// What its nodes shall say themselves.
    pub(crate) pressure: Judgement,
}

impl Prepared {
    /// How many objects have to be written or deleted.
    pub(crate) fn writes(&self) -> usize {
        self.nodes.len()
            + self.subnets.len()
            + self.gone_nodes.len()
            + self.gone_subnets.len()
            + usize::from(self.status.is_some())
    }
}

/// What has to be written so that the cluster says what the outcome says.
pub(crate) fn prepare(
    audit: &IpamAudit,
    outcome: &AuditOutcome,
    context: &Context<'_>,
    observed: &Observed,
    settings: &AuditSettings,
    circumstances: &Circumstances,
) -> Prepared {
    let render =
        Render { audit, reference: audit.object_ref(&()), context, events: settings.events, now: outcome.taken_at };
    let nodes = render.nodes(outcome, &observed.nodes, settings.node_reports);
    let subnets = render.subnets(outcome, &observed.subnets);
    let before = audit.status.as_ref();
    let status = {
        let reports = Reports {
            nodes: by_subject(&nodes.desired, |report| report.spec.node.as_str(), |report| report.status.as_ref()),
            subnets: by_subject(
                &subnets.desired,
                |report| report.spec.subnet.as_str(),
                |report| report.status.as_ref(),
            ),
        };
        render_audit(context, audit.metadata.generation, before, &reports, circumstances)
    };
    let old_findings = before.map(|status| status.findings.as_slice()).unwrap_or_default();
    let events = render.events_about(&render.reference, None, old_findings, &status.findings);
    let heartbeat = settings.heartbeat.and_then(|every| SignedDuration::try_from(every).ok());
    let written = needs_write(before, &status, heartbeat, outcome.taken_at);
    Prepared {
        nodes: writes(nodes.desired),
        subnets: writes(subnets.desired),
        gone_nodes: nodes.gone,
        gone_subnets: subnets.gone,
        status: written.then_some(status),
        events,
        pressure: Judgement::of(outcome, context, settings.node_condition),
        audit: render.reference,
    }
}

struct Render<'a> {
    audit: &'a IpamAudit,
    reference: ObjectReference,
    context: &'a Context<'a>,
    events: bool,
    now: Timestamp,
}

/// A report as it has to be.
struct Desired<K> {
    report: K,
    object: bool,
    status: bool,
    events: Vec<Draft>,
}

struct Plan<K> {
    desired: Vec<Desired<K>>,
    gone: Vec<Arc<K>>,
}

/// Those that differ from what is in the cluster.
fn writes<K>(desired: Vec<Desired<K>>) -> Vec<Write<K>> {
    let needed = desired.into_iter().filter(|desired| desired.object || desired.status);
    needed.map(|desired| Write { report: desired.report, object: desired.object, events: desired.events }).collect()
}

fn by_subject<'d, K, S>(
    desired: &'d [Desired<K>],
    subject: impl Fn(&'d K) -> &'d str,
    status: impl Fn(&'d K) -> Option<&'d S>,
) -> BTreeMap<&'d str, &'d S> {
    let reports = desired.iter().map(|desired| &desired.report);
    reports.filter_map(|report| Some((subject(report), status(report)?))).collect()
}

impl Render<'_> {
    fn nodes(
        &self,
        outcome: &AuditOutcome,
        observed: &HashMap<Arc<str>, Arc<NodeIpamReport>>,
        which: NodeReports,
    ) -> Plan<NodeIpamReport> {
        let mut desired = Vec::with_capacity(outcome.nodes.len());
        for node in &outcome.nodes {
            let mut report = node_report(self.audit, node);
            let known = observed.get(report.name_any().as_str());
            let before = known.and_then(|known| known.status.as_ref());
            let status = render_node(self.context, node, before);
            if !which.include(status.findings.len()) {
                continue;
            }
            let regarding = ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Node".to_owned()),
                name: Some(node.name.to_string()),
                uid: Some(node.uid.to_string()),
                ..ObjectReference::default()
            };
            let old_findings = before.map(|status| status.findings.as_slice()).unwrap_or_default();
            let related = Some(&self.reference);
            desired.push(Desired {
                object: known.is_none_or(|known| !same_object(known.as_ref(), &report)),
                status: before.is_none_or(|before| !before.same_ignoring_times(&status)),
                events: self.events_about(&regarding, related, old_findings, &status.findings),
                report: {
                    report.status = Some(status);
                    report
                },
            });
        }
        if !self.context.knows_nodes() {
            // Without the list of nodes none of them is gone; what was said of them is only not proven any more.
            desired = observed.values().filter_map(|known| self.kept_node(known)).collect();
        }
        let gone = gone(observed, &desired);
        Plan { desired, gone }
    }

    fn subnets(
        &self,
        outcome: &AuditOutcome,
        observed: &HashMap<Arc<str>, Arc<SubnetIpamReport>>,
    ) -> Plan<SubnetIpamReport> {
        let mut desired = Vec::with_capacity(outcome.subnets.len());
        for subnet in &outcome.subnets {
            let mut report = subnet_report(self.audit, subnet);
            let known = observed.get(report.name_any().as_str());
            let before = known.and_then(|known| known.status.as_ref());
            let status = render_subnet(self.context, subnet, before);
            let old_findings = before.map(|status| status.findings.as_slice()).unwrap_or_default();
            desired.push(Desired {
                object: known.is_none_or(|known| !same_object(known.as_ref(), &report)),
                status: before.is_none_or(|before| !before.same_ignoring_times(&status)),
                events: self.events_about(&self.reference, None, old_findings, &status.findings),
                report: {
                    report.status = Some(status);
                    report
                },
            });
        }
        if !self.context.knows_subnets() {
            let seen = |known: &SubnetIpamReport| desired.iter().any(|new| new.report.spec.subnet == known.spec.subnet);
            let kept: Vec<_> =
                observed.values().filter(|known| !seen(known)).filter_map(|known| self.kept_subnet(known)).collect();
            desired.extend(kept);
        }
        let gone = gone(observed, &desired);
        Plan { desired, gone }
    }

    fn kept_node(&self, known: &NodeIpamReport) -> Option<Desired<NodeIpamReport>> {
        let before = known.status.as_ref()?;
        let status = keep_node(self.context, before);
        Some(Desired {
            object: false,
            status: !before.same_ignoring_times(&status),
            events: Vec::new(),
            report: NodeIpamReport { status: Some(status), ..known.clone() },
        })
    }

    fn kept_subnet(&self, known: &SubnetIpamReport) -> Option<Desired<SubnetIpamReport>> {
        let before = known.status.as_ref()?;
        let status = keep_subnet(self.context, before);
        Some(Desired {
            object: false,
            status: !before.same_ignoring_times(&status),
            events: Vec::new(),
            report: SubnetIpamReport { status: Some(status), ..known.clone() },
        })
    }

    fn events_about(
        &self,
        regarding: &ObjectReference,
        related: Option<&ObjectReference>,
        before: &[Finding],
        after: &[Finding],
    ) -> Vec<Draft> {
        if !self.events {
            return Vec::new();
        }
        let draft = |transition: Transition| match pod(&transition.finding) {
            Some(pod) => Draft::new(&transition, pod, Some(self.reference.clone())),
            None => Draft::new(&transition, regarding.clone(), related.cloned()),
        };
        transitions(before, after, self.now).into_iter().map(draft).collect()
    }
}

/// The pod that a finding is about, if its uid is known: from the finding itself, which outlives the pod and this process.
fn pod(finding: &Finding) -> Option<ObjectReference> {
    let (namespace, name) = finding.subject.name.split_once('/').filter(|_| finding.subject.kind == "Pod")?;
    let uid = finding.evidence.iter().find(|evidence| evidence.name == POD_UID)?;
    Some(ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        uid: Some(uid.value.clone()),
        ..ObjectReference::default()
    })
}

/// Whether everything but the status is as it should be. Labels that others added are theirs.
fn same_object<K: Resource<DynamicType = ()>>(known: &K, wanted: &K) -> bool {
    let labelled = wanted.labels().iter().all(|(key, value)| known.labels().get(key) == Some(value));
    let owners = |object: &K| -> Vec<OwnerReference> { object.owner_references().to_vec() };
    labelled && owners(wanted).iter().all(|owner| owners(known).contains(owner))
}

/// Reports that nothing is to be said about any more, sorted.
fn gone<K: Resource<DynamicType = ()>>(observed: &HashMap<Arc<str>, Arc<K>>, desired: &[Desired<K>]) -> Vec<Arc<K>> {
    let wanted: std::collections::HashSet<String> = desired.iter().map(|desired| desired.report.name_any()).collect();
    let mut gone: Vec<_> = observed.iter().filter(|(name, _)| !wanted.contains(&***name)).collect();
    gone.sort_by_key(|(name, _)| *name);
    gone.into_iter().map(|(_, report)| report.clone()).collect()
}
