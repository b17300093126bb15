//! Render: an outcome and what is in the cluster become the writes that are needed. Pure; no client in sight.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use ipam_audit_api::{
    convert::{
        Circumstances, Context, ReadPlace, Reports, keep_node, keep_subnet, needs_write, node_report, render_audit,
        render_node, render_subnet, subnet_report,
    },
    names::report_name,
    settings::AuditSettings,
    transition::{Transition, transitions},
    v1alpha1::{
        Finding, IpamAudit, IpamAuditStatus, NodeIpamReport, NodeIpamReportStatus, SubnetIpamReport,
        SubnetIpamReportStatus,
    },
};
use ipam_audit_core::{
    finding::POD_UID,
    outcome::{AuditOutcome, NodeOutcome, SubnetOutcome},
};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Resource, ResourceExt};

use super::{events::Draft, pressure::Judgement};
use crate::state::{Keepable, Kept};

/// The reports of one audit as they are in the cluster.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    pub(crate) nodes: Known<NodeIpamReport>,
    pub(crate) subnets: Known<SubnetIpamReport>,
}

/// The reports of one kind, by name.
pub(crate) type Known<K> = HashMap<Arc<str>, Arc<Kept<K>>>;

/// One report that has to be written.
#[derive(Debug)]
pub(crate) struct Write<K> {
    pub(crate) report: K,
    /// Whether the object itself is new or differs; else its status alone does.
    pub(crate) object: bool,
    /// What this write makes worth telling.
    pub(crate) events: Vec<Draft>,
}

/// That a report has to be written. It is rendered when its turn comes: the first publication of a large cluster writes
/// thousands of reports, and all at once they would take more memory than everything else.
#[derive(Debug)]
pub(crate) struct Needed<K> {
    about: About<K>,
    object: bool,
}

#[derive(Debug)]
enum About<K> {
    /// What the outcome has at this place.
    Seen(usize),
    /// What cannot be seen now, of which nothing is proven any more.
    Unseen(Arc<Kept<K>>),
}

/// What reports are rendered from.
#[derive(Debug)]
pub(crate) struct Material {
    pub(crate) audit: Arc<IpamAudit>,
    pub(crate) outcome: Arc<AuditOutcome>,
    pub(crate) settings: Arc<AuditSettings>,
    pub(crate) observed: Observed,
    /// Where EC2 was read.
    pub(crate) place: ReadPlace,
}

/// Everything that one audit has to write.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) audit: ObjectReference,
    pub(crate) material: Material,
    pub(crate) nodes: Vec<Needed<NodeIpamReport>>,
    pub(crate) subnets: Vec<Needed<SubnetIpamReport>>,
    pub(crate) gone_nodes: Vec<(Arc<str>, Arc<Kept<NodeIpamReport>>)>,
    pub(crate) gone_subnets: Vec<(Arc<str>, Arc<Kept<SubnetIpamReport>>)>,
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

impl Material {
    /// What the outcome's sources are good for.
    pub(crate) fn context(&self) -> Context<'_> {
        Context::new(&self.outcome, &self.settings.policy).at(self.place.clone())
    }

    /// Renders with a context of this material.
    pub(crate) fn render<'a>(&'a self, context: &'a Context<'a>) -> Render<'a> {
        Render { material: self, reference: self.audit.object_ref(&()), context }
    }
}

/// What has to be written so that the cluster says what the outcome says.
pub(crate) fn prepare(material: Material, circumstances: &Circumstances) -> Prepared {
    let Material { audit, outcome, settings, .. } = &material;
    let context = material.context();
    let render = material.render(&context);
    let (nodes, gone_nodes) = render.nodes();
    let (subnets, gone_subnets) = render.subnets();
    let before = audit.status.as_ref();
    let status = render_audit(&context, audit.metadata.generation, before, &render, circumstances);
    let old_findings = before.map(|status| status.findings.as_slice()).unwrap_or_default();
    let events = render.events_about(&render.reference, None, old_findings, &status.findings);
    let heartbeat = settings.heartbeat.and_then(|every| SignedDuration::try_from(every).ok());
    let written = needs_write(before, &status, heartbeat, outcome.taken_at);
    let pressure = Judgement::of(outcome, &context, settings.node_condition);
    Prepared {
        nodes,
        subnets,
        gone_nodes,
        gone_subnets,
        status: written.then_some(status),
        events,
        pressure,
        audit: render.reference.clone(),
        material,
    }
}

/// Turns an outcome into reports.
pub(crate) struct Render<'a> {
    material: &'a Material,
    reference: ObjectReference,
    context: &'a Context<'a>,
}

/// The reports that differ from what is in the cluster, and those that are there and should not be.
type Plan<K> = (Vec<Needed<K>>, Vec<(Arc<str>, Arc<Kept<K>>)>);

impl Reports for Render<'_> {
    fn node(&self, node: &NodeOutcome) -> Option<NodeIpamReportStatus> {
        let known =
            self.material.observed.nodes.get(&*report_name(&self.material.audit.name_any(), node.name.as_str()));
        let status = render_node(self.context, node, known.and_then(|known| known.status()).as_ref());
        self.material.settings.node_reports.include(status.findings.len()).then_some(status)
    }

    fn subnet(&self, subnet: &SubnetOutcome) -> Option<SubnetIpamReportStatus> {
        let known =
            self.material.observed.subnets.get(&*report_name(&self.material.audit.name_any(), subnet.id.as_str()));
        Some(render_subnet(self.context, subnet, known.and_then(|known| known.status()).as_ref()))
    }
}

impl Render<'_> {
    fn nodes(&self) -> Plan<NodeIpamReport> {
        let Material { audit, outcome, settings, observed, .. } = self.material;
        let (mut needed, mut wanted) = (Vec::new(), HashSet::new());
        for (at, node) in outcome.nodes.iter().enumerate() {
            let report = node_report(audit, node);
            let known = observed.nodes.get(report.name_any().as_str());
            let status = render_node(self.context, node, self.before(known).as_ref());
            if settings.node_reports.include(status.findings.len()) {
                wanted.insert(report.name_any());
                needed.extend(differs(known, &report, status).map(|object| Needed { about: About::Seen(at), object }));
            }
        }
        if !self.context.knows_nodes() {
            // Without the list of nodes none of them is gone; what was said of them is only not proven any more.
            (needed, wanted) = (Vec::new(), HashSet::new());
            Self::keep(&observed.nodes, |before| keep_node(self.context, before), &mut needed, &mut wanted);
        }
        (needed, gone(&observed.nodes, &wanted))
    }

    fn subnets(&self) -> Plan<SubnetIpamReport> {
        let Material { audit, outcome, observed, .. } = self.material;
        let (mut needed, mut wanted) = (Vec::new(), HashSet::new());
        for (at, subnet) in outcome.subnets.iter().enumerate() {
            let report = subnet_report(audit, subnet);
            let known = observed.subnets.get(report.name_any().as_str());
            let status = render_subnet(self.context, subnet, self.before(known).as_ref());
            wanted.insert(report.name_any());
            needed.extend(differs(known, &report, status).map(|object| Needed { about: About::Seen(at), object }));
        }
        if !self.context.knows_subnets() {
            Self::keep(&observed.subnets, |before| keep_subnet(self.context, before), &mut needed, &mut wanted);
        }
        (needed, gone(&observed.subnets, &wanted))
    }

    /// What was said before, where that has a part in what is said now.
    fn before<K: Keepable>(&self, known: Option<&Arc<Kept<K>>>) -> Option<K::Status> {
        known.filter(|known| self.context.needs_before(known.codes()))?.status()
    }

    /// Reports whose subjects cannot be seen stay, and say that.
    fn keep<K: Keepable>(
        observed: &Known<K>,
        kept: impl Fn(&K::Status) -> K::Status,
        needed: &mut Vec<Needed<K>>,
        wanted: &mut HashSet<String>,
    ) {
        for (name, known) in observed.iter().filter(|(name, _)| !wanted.contains(&***name)).collect::<Vec<_>>() {
            let Some(before) = known.status() else { continue };
            wanted.insert(name.to_string());
            if !known.says(kept(&before)) {
                needed.push(Needed { about: About::Unseen(known.clone()), object: false });
            }
        }
    }

    /// The report of a node, and what it makes worth telling.
    pub(crate) fn node_write(&self, needed: &Needed<NodeIpamReport>) -> Option<Write<NodeIpamReport>> {
        let Material { audit, outcome, observed, .. } = self.material;
        let at = match &needed.about {
            About::Seen(at) => *at,
            About::Unseen(known) => {
                let mut report = known.report()?;
                report.status = Some(keep_node(self.context, report.status.as_ref()?));
                return Some(Write { report, object: false, events: Vec::new() });
            }
        };
        let node = outcome.nodes.get(at)?;
        let mut report = node_report(audit, node);
        let before = observed.nodes.get(report.name_any().as_str()).and_then(|known| known.status());
        let status = render_node(self.context, node, before.as_ref());
        let regarding = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(node.name.to_string()),
            uid: Some(node.uid.to_string()),
            ..ObjectReference::default()
        };
        let old_findings = before.as_ref().map(|before| before.findings.as_slice()).unwrap_or_default();
        let events = self.events_about(&regarding, Some(&self.reference), old_findings, &status.findings);
        report.status = Some(status);
        Some(Write { report, object: needed.object, events })
    }

    /// The report of a subnet, and what it makes worth telling.
    pub(crate) fn subnet_write(&self, needed: &Needed<SubnetIpamReport>) -> Option<Write<SubnetIpamReport>> {
        let Material { audit, outcome, observed, .. } = self.material;
        let at = match &needed.about {
            About::Seen(at) => *at,
            About::Unseen(known) => {
                let mut report = known.report()?;
                report.status = Some(keep_subnet(self.context, report.status.as_ref()?));
                return Some(Write { report, object: false, events: Vec::new() });
            }
        };
        let subnet = outcome.subnets.get(at)?;
        let mut report = subnet_report(audit, subnet);
        let before = observed.subnets.get(report.name_any().as_str()).and_then(|known| known.status());
        let status = render_subnet(self.context, subnet, before.as_ref());
        let old_findings = before.as_ref().map(|before| before.findings.as_slice()).unwrap_or_default();
        let events = self.events_about(&self.reference, None, old_findings, &status.findings);
        report.status = Some(status);
        Some(Write { report, object: needed.object, events })
    }

    fn events_about(
        &self,
        regarding: &ObjectReference,
        related: Option<&ObjectReference>,
        before: &[Finding],
        after: &[Finding],
    ) -> Vec<Draft> {
        if !self.material.settings.events {
            return Vec::new();
        }
        let draft = |transition: Transition| match pod(&transition.finding) {
            Some(pod) => Draft::new(&transition, pod, Some(self.reference.clone())),
            None => Draft::new(&transition, regarding.clone(), related.cloned()),
        };
        transitions(before, after, self.material.outcome.taken_at).into_iter().map(draft).collect()
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

/// Whether a report has to be written, and then whether the object itself has to be, too.
fn differs<K: Keepable>(known: Option<&Arc<Kept<K>>>, report: &K, status: K::Status) -> Option<bool> {
    let object = known.is_none_or(|known| !known.is_like(report));
    (object || known.is_none_or(|known| !known.says(status))).then_some(object)
}

/// Reports that nothing is to be said about any more, sorted by name.
fn gone<K>(observed: &Known<K>, wanted: &HashSet<String>) -> Vec<(Arc<str>, Arc<Kept<K>>)> {
    let unwanted = observed.iter().filter(|(name, _)| !wanted.contains(&***name));
    let mut gone: Vec<_> = unwanted.map(|(name, report)| (name.clone(), report.clone())).collect();
    gone.sort_by(|a, b| a.0.cmp(&b.0));
    gone
}
