//! The parts of the document that are about no single node or subnet.

use ipam_audit_core::{
    finding::{Evidence, Finding, Home},
    outcome::{Advised, Answer, Condition, Problem, Suppressed, Suspicion, Totals},
    source::SourceState,
    text,
};
use schemars::JsonSchema;
use serde::Serialize;

/// The answer in a few sentences.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SummaryDocument {
    /// What is wrong, or that nothing is.
    pub state: Option<String>,
    /// Who holds addresses that nobody uses.
    pub why: Option<String>,
    /// What to do.
    pub advice: Option<AdviceDocument>,
    /// What could not be looked at.
    pub missing: Option<String>,
}

/// Settings that would help, and what they would do.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdviceDocument {
    /// `MINIMUM_IP_TARGET=10 WARM_IP_TARGET=3`.
    pub settings: String,
    /// The command that sets them.
    pub command: String,
    /// Addresses that subnets get back.
    pub addresses: u32,
    /// EC2 calls that one pod start beyond the pool costs at most.
    pub calls_per_pod: u32,
}

impl SummaryDocument {
    pub(super) fn of(answer: &Answer) -> Self {
        Self {
            state: answer.state.clone(),
            why: answer.why.clone(),
            advice: answer.advice.as_ref().map(|advice| AdviceDocument {
                settings: advice.settings.clone(),
                command: command(advice),
                addresses: advice.addresses,
                calls_per_pod: advice.calls_per_pod,
            }),
            missing: answer.missing.clone(),
        }
    }
}

/// The command that puts an advice into force.
pub(crate) fn command(advice: &Advised) -> String {
    let place = advice.daemon_set.as_deref().unwrap_or("kube-system/aws-node");
    let (namespace, name) = place.split_once('/').unwrap_or(("kube-system", place));
    format!("kubectl set env ds/{name} -n {namespace} {}", advice.settings)
}

/// Sums over the cluster; `null` where the source for them is missing.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TotalsDocument {
    /// Nodes that the VPC CNI manages.
    pub nodes: Option<u32>,
    /// Pods, finished ones left out.
    pub pods: Option<u32>,
    /// Pods that wait for an address.
    pub waiting_pods: Option<u32>,
    /// Subnets that those nodes use.
    pub subnets: Option<u32>,
    /// Interfaces in them.
    pub interfaces: Option<u32>,
    /// Free addresses in them.
    pub free_addresses: Option<u32>,
    /// Whole free /28 blocks in them.
    pub free_prefixes: Option<u32>,
    /// Pod addresses that nodes hold and no pod uses.
    pub idle_addresses: Option<u32>,
    /// Addresses on interfaces that nobody will clean up.
    pub leaked_addresses: Option<u32>,
    /// Problems.
    pub critical: u32,
    /// Problems.
    pub warning: u32,
    /// Problems.
    pub info: u32,
}

impl TotalsDocument {
    pub(super) fn of(totals: &Totals) -> Self {
        Self {
            nodes: totals.nodes,
            pods: totals.pods,
            waiting_pods: totals.waiting_pods,
            subnets: totals.subnets,
            interfaces: totals.interfaces,
            free_addresses: totals.free_addresses,
            free_prefixes: totals.free_prefixes,
            idle_addresses: totals.idle_addresses,
            leaked_addresses: totals.leaked_addresses,
            critical: totals.critical,
            warning: totals.warning,
            info: totals.info,
        }
    }
}

/// A source of data.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceDocument {
    /// `nodes`, `network-interfaces`, …
    pub name: String,
    /// Whether an audit without it is still complete.
    pub optional: bool,
    /// When it was read; `null` if it never was.
    pub as_of: Option<String>,
    /// Why it was not, or not wholly, in one word.
    pub fault: Option<String>,
    /// The same in a sentence, with what to do.
    pub message: Option<String>,
}

impl SourceDocument {
    pub(super) fn of(state: &SourceState) -> Self {
        let fault = state.fault.as_ref();
        Self {
            name: state.source.name().to_owned(),
            optional: state.source.is_optional(),
            as_of: state.as_of.map(|at| at.to_string()),
            fault: fault.map(|fault| fault.category.name().to_owned()),
            message: fault.map(|fault| fault.message.clone()),
        }
    }
}

/// All findings of one rule with one cause.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProblemDocument {
    /// The rule's code.
    pub code: String,
    /// The rule's name.
    pub name: String,
    /// `critical`, `warning` or `info`: the worst among the findings.
    pub severity: String,
    /// What they have in common: a node group, a subnet, an object.
    pub group: String,
    /// How many findings.
    pub count: u32,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remediation: String,
}

impl ProblemDocument {
    pub(super) fn of(problem: &Problem) -> Self {
        Self {
            code: problem.code.to_owned(),
            name: problem.name.to_owned(),
            severity: problem.severity.name().to_owned(),
            group: problem.group.to_string(),
            count: problem.count,
            message: problem.message.clone(),
            remediation: problem.remediation.clone(),
        }
    }
}

/// A name with its kind.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamedDocument {
    /// `Node`, `Subnet`, `Pod`, `NetworkInterface`, …
    pub kind: String,
    /// Its name; `namespace/name` where it has a namespace.
    pub name: String,
}

/// One rule and one subject.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FindingDocument {
    /// The rule's code.
    pub code: String,
    /// The rule's name.
    pub name: String,
    /// `critical`, `warning` or `info`.
    pub severity: String,
    /// What it is about.
    pub subject: NamedDocument,
    /// Whose report it belongs to: a node's, a subnet's, or the audit's own (`null`).
    pub report: Option<NamedDocument>,
    /// Findings of one code and group are one problem.
    pub group: String,
    /// What is wrong, with the number that proves it.
    pub message: String,
    /// What to do.
    pub remediation: String,
    /// The numbers behind it.
    pub evidence: Vec<EvidenceDocument>,
    /// Identifies the finding over time.
    pub fingerprint: String,
}

/// A named number or word.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EvidenceDocument {
    /// What it is.
    pub name: String,
    /// Its value as text.
    pub value: String,
}

impl FindingDocument {
    pub(super) fn of(finding: &Finding) -> Self {
        let named = |kind: &str, name: &str| NamedDocument { kind: kind.to_owned(), name: name.to_owned() };
        Self {
            code: finding.code.to_owned(),
            name: finding.name.to_owned(),
            severity: finding.severity.name().to_owned(),
            subject: named(finding.subject.kind(), finding.subject.name()),
            report: match &finding.home {
                Home::Audit => None,
                Home::Subnet(id) => Some(named("Subnet", id.as_str())),
                Home::Node(name) => Some(named("Node", name.as_str())),
            },
            group: finding.group.to_string(),
            message: finding.message.clone(),
            remediation: finding.remediation.clone(),
            evidence: finding.evidence.iter().map(evidence).collect(),
            fingerprint: finding.fingerprint(),
        }
    }
}

fn evidence(evidence: &Evidence) -> EvidenceDocument {
    EvidenceDocument { name: evidence.name.to_owned(), value: evidence.value.clone() }
}

/// What would be a finding if a later look showed it again.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SuspicionDocument {
    /// Since when it is suspected.
    pub since: String,
    /// What it would be.
    pub finding: FindingDocument,
}

impl SuspicionDocument {
    pub(super) fn of(suspicion: &Suspicion) -> Self {
        Self { since: suspicion.since.to_string(), finding: FindingDocument::of(&suspicion.finding) }
    }
}

/// A finding that the policy accepts.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SuppressedDocument {
    /// Why it is accepted.
    pub reason: String,
    /// Until when; `null` for good.
    pub until: Option<String>,
    /// The finding.
    pub finding: FindingDocument,
}

impl SuppressedDocument {
    pub(super) fn of(suppressed: &Suppressed) -> Self {
        Self {
            reason: suppressed.reason.clone(),
            until: suppressed.until.map(|until| until.to_string()),
            finding: FindingDocument::of(&suppressed.finding),
        }
    }
}

/// What the rules answered.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RulesDocument {
    /// How many looked at everything and found nothing.
    pub passed: u32,
    /// How many found something.
    pub violated: u32,
    /// Codes of those that are switched off.
    pub disabled: Vec<String>,
    /// Those that could not look at everything, and why.
    pub inconclusive: Vec<InconclusiveRule>,
}

/// A rule that could not look at everything.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InconclusiveRule {
    /// Its code.
    pub code: String,
    /// Its name.
    pub name: String,
    /// The sources that it lacks.
    pub missing: Vec<String>,
    /// Suspicions that a later look has yet to prove.
    pub suspicions: u32,
    /// Why, in a sentence.
    pub why: String,
}

impl InconclusiveRule {
    pub(super) fn new(code: &str, name: &str, missing: Vec<String>, suspicions: u32) -> Self {
        let lacks = (!missing.is_empty()).then(|| format!("it lacks {}", text::list(&missing, "and", 8)));
        let suspects = (suspicions > 0)
            .then(|| format!("{} until a second look shows the same", text::count(suspicions, "suspicion")));
        let why: Vec<String> = [lacks, suspects].into_iter().flatten().collect();
        Self { code: code.to_owned(), name: name.to_owned(), missing, suspicions, why: why.join("; ") }
    }
}

/// A condition, as in the reports of the operator.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConditionDocument {
    /// `Healthy`, `AddressesReconciled`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// One CamelCase word.
    pub reason: String,
    /// One sentence.
    pub message: String,
}

impl ConditionDocument {
    pub(super) fn of(condition: &Condition) -> Self {
        Self {
            kind: condition.kind.name().to_owned(),
            status: condition.status.name().to_owned(),
            reason: condition.reason.to_owned(),
            message: condition.message.to_string(),
        }
    }
}
