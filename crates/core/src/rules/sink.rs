//! Where rules put what they find: it stamps the rule's identity, so that no rule can forget it, and it decides whether
//! a suspicion is proven.

use std::{collections::BTreeSet, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use crate::{
    facts::NodeFacts,
    finding::{self, Evidence, Finding, Home, Severity, Subject},
    ids::SubnetId,
    memory::Memory,
    rules::RuleMeta,
    source::Source,
};

/// What one rule says.
#[derive(Debug)]
pub struct Violations<'a> {
    meta: &'static RuleMeta,
    memory: &'a Memory,
    findings: Vec<Finding>,
    suspects: Vec<Suspect>,
    lacks: BTreeSet<Source>,
    well: Vec<Subject>,
}

/// A finding that a second look has yet to prove.
#[derive(Debug)]
pub(crate) struct Suspect {
    /// What the memory keeps.
    pub(crate) identity: String,
    /// Since when.
    pub(crate) since: Timestamp,
    /// What it would be.
    pub(crate) finding: Finding,
    /// Whether it is proven.
    pub(crate) proven: bool,
}

/// What a rule says of one subject.
#[derive(Debug, Clone)]
pub(crate) struct Violation {
    /// How bad it is here; at most the rule's own severity.
    pub severity: Severity,
    /// One sentence with the number that proves it.
    pub message: String,
    /// The change that fixes it.
    pub remediation: String,
    /// The numbers.
    pub evidence: Vec<Evidence>,
}

/// What a violation is about, and in whose report it is.
#[derive(Debug)]
pub(crate) struct Place {
    pub subject: Subject,
    pub home: Home,
    /// Findings of one rule and group are one problem.
    pub group: Arc<str>,
}

impl Place {
    /// A node; findings of one node group are one problem.
    pub(crate) fn node(node: &NodeFacts<'_>) -> Self {
        let name = node.node.name.clone();
        let group = node.node.node_group.clone().unwrap_or_else(|| Arc::from(name.as_str()));
        Self { subject: Subject::Node(name.clone()), home: Home::Node(name), group }
    }

    /// Something on a node, in the node's report.
    pub(crate) fn on_node(node: &NodeFacts<'_>, subject: Subject) -> Self {
        Self { subject, ..Self::node(node) }
    }

    /// A subnet: its own problem.
    pub(crate) fn subnet(id: &SubnetId) -> Self {
        let home = Home::Subnet(id.clone());
        Self { subject: Subject::Subnet(id.clone()), home, group: Arc::from(id.as_str()) }
    }

    /// Something in a subnet, in the subnet's report; one problem per subnet.
    pub(crate) fn in_subnet(id: &SubnetId, subject: Subject) -> Self {
        Self { subject, ..Self::subnet(id) }
    }

    /// Anything else: its own problem, in the audit's report.
    pub(crate) fn audit(subject: Subject) -> Self {
        let group = Arc::from(subject.name());
        Self { subject, home: Home::Audit, group }
    }
}

impl<'a> Violations<'a> {
    /// An empty one for a rule.
    pub fn new(meta: &'static RuleMeta, memory: &'a Memory) -> Self {
        Self { meta, memory, findings: Vec::new(), suspects: Vec::new(), lacks: BTreeSet::new(), well: Vec::new() }
    }

    /// A finding about a node; findings of one node group are one problem.
    pub(crate) fn node(&mut self, node: &NodeFacts<'_>, violation: Violation) {
        self.at(Place::node(node), violation);
    }

    /// A finding about a subnet.
    pub(crate) fn subnet(&mut self, id: &SubnetId, violation: Violation) {
        self.at(Place::subnet(id), violation);
    }

    /// A finding about anything that is neither a node nor a subnet, in the audit's own report.
    pub(crate) fn subject(&mut self, subject: Subject, violation: Violation) {
        self.at(Place::audit(subject), violation);
    }

    /// A finding.
    pub(crate) fn at(&mut self, place: Place, violation: Violation) {
        let finding = self.finding(place, violation);
        self.findings.push(finding);
    }

    /// A finding once the same was seen before, in data at least `apart` older; until then a suspicion.
    ///
    /// `identity` says what "the same" is beyond the subject: the uids of the pods of an address, for example. `seen_at`
    /// is the time of the data, not of the evaluation: two evaluations of one reading prove nothing.
    pub(crate) fn suspicion(
        &mut self,
        place: Place,
        identity: &str,
        seen_at: Timestamp,
        apart: SignedDuration,
        violation: Violation,
    ) {
        let finding = self.finding(place, violation);
        let fingerprint = finding.fingerprint();
        let identity = format!("{fingerprint} {identity}");
        let since = self.memory.suspected_since(&identity).unwrap_or(seen_at);
        let proven = seen_at.duration_since(since) >= apart || self.memory.was_open(&fingerprint);
        self.suspects.push(Suspect { identity, since, finding, proven });
    }

    /// Since when this rule suspects a subject, in data seen before.
    pub(crate) fn suspected_since(&self, subject: &Subject, identity: &str) -> Option<Timestamp> {
        let fingerprint = finding::fingerprint(self.meta.code, subject);
        self.memory.suspected_since(&format!("{fingerprint} {identity}"))
    }

    /// Whether this rule's finding about a subject was open before: thresholds with hysteresis ask.
    pub(crate) fn was_open(&self, subject: &Subject) -> bool {
        self.memory.was_open(&finding::fingerprint(self.meta.code, subject))
    }

    /// The rule would have had to look at a source that is missing, beyond those that it always needs.
    pub(crate) fn lacks(&mut self, source: Source) {
        self.lacks.insert(source);
    }

    /// This subject was looked at and is well, whatever the rule cannot see of others: an earlier finding about it is over.
    pub(crate) fn well(&mut self, subject: Subject) {
        self.well.push(subject);
    }

    /// Whether the rule could not look at everything.
    pub(crate) fn lacks_any(&self) -> bool {
        !self.lacks.is_empty()
    }

    /// The fingerprints of the subjects that are well.
    pub(crate) fn over(&self) -> impl Iterator<Item = String> {
        self.well.iter().map(|subject| finding::fingerprint(self.meta.code, subject))
    }

    fn finding(&self, place: Place, violation: Violation) -> Finding {
        let Violation { severity, message, remediation, evidence } = violation;
        let Place { subject, home, group } = place;
        let severity = severity.min(self.meta.severity);
        let (code, name) = (self.meta.code, self.meta.name);
        Finding { code, name, severity, subject, home, group, message, remediation, evidence }
    }

    pub(crate) fn into_parts(self) -> (Vec<Finding>, Vec<Suspect>, BTreeSet<Source>) {
        (self.findings, self.suspects, self.lacks)
    }
}

/// A named number as evidence.
pub(crate) fn evidence(name: &'static str, value: impl std::fmt::Display) -> Evidence {
    Evidence { name, value: value.to_string() }
}
