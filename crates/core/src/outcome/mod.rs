//! What an audit says: per node, per subnet and as a whole, with conditions, ready to be rendered.
//!
//! A number that is not known is `None` here and `?` on a screen; it is never zero.

mod condition;
mod node;
mod subnet;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use jiff::Timestamp;
use serde::Serialize;

use crate::{
    finding::{Finding, Severity},
    ids::VpcId,
    memory::Memory,
    source::{Source, SourceState},
    text,
};

pub use condition::{Condition, ConditionStatus, ConditionType};
pub use node::{
    BranchSlots, CniSeen, InterfaceOutcome, IpamdOutcome, NodeAddresses, NodeCapacity, NodeOutcome, SubnetChoice,
    TrunkChain,
};
pub use subnet::{Need, OtherOwner, SubnetLedger, SubnetOutcome};

/// The outcome of one evaluation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AuditOutcome {
    /// When the snapshot was taken.
    pub taken_at: Timestamp,
    /// The answer: what is wrong, why, what to do.
    pub answer: Answer,
    /// The totals behind it.
    pub totals: Totals,
    /// What the cluster is called, if anything tells.
    pub cluster: Option<ClusterName>,
    /// The VPC that was read.
    pub vpc: Option<VpcId>,
    /// What is known of each source.
    pub sources: Vec<SourceState>,
    /// What each rule answered, in the registry's order.
    pub rules: Vec<RuleResult>,
    /// Findings put together by cause, the worst first.
    pub problems: Vec<Problem>,
    /// Findings that are in no node's and no subnet's report.
    pub findings: Vec<Finding>,
    /// Findings that the policy accepts: they count nowhere.
    pub suppressed: Vec<Suppressed>,
    /// What a second look has yet to prove.
    pub suspects: Vec<Suspicion>,
    /// Fingerprints of findings that are over although their rules could not look at everything.
    pub over: BTreeSet<String>,
    /// Nodes in scope whose addresses the VPC CNI does not manage, by why.
    pub left_alone: BTreeMap<&'static str, u32>,
    /// For the next evaluation.
    pub memory: Memory,
    /// Conditions of the audit that come from the engine; `Ready` is the controller's.
    pub conditions: Vec<Condition>,
    /// Every node in scope, sorted by name.
    pub nodes: Vec<NodeOutcome>,
    /// Every subnet with a role, sorted by id. Totals count only those that hold an interface of a node.
    pub subnets: Vec<SubnetOutcome>,
}

/// The name of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClusterName {
    /// The name.
    pub name: Arc<str>,
    /// What tells it, in words.
    pub from: &'static str,
}

/// The answer in a few sentences, each with its numbers. What is not known is left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// What is wrong; that nothing is; or, without anything to go by, nothing.
    pub state: Option<String>,
    /// Who holds addresses that nobody uses.
    pub why: Option<String>,
    /// Which settings would help.
    pub advice: Option<Advised>,
    /// What could not be looked at.
    pub missing: Option<String>,
}

impl Answer {
    /// All of it, a line each.
    pub fn text(&self) -> String {
        let advice = self.advice.as_ref().map(ToString::to_string);
        let parts = [self.state.as_ref(), self.why.as_ref(), advice.as_ref(), self.missing.as_ref()];
        let lines: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
        lines.join("\n")
    }
}

/// Settings that would help, and what they would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Advised {
    /// As a user writes them: `MINIMUM_IP_TARGET=10 WARM_IP_TARGET=3`.
    pub settings: String,
    /// Addresses that subnets get back.
    pub addresses: u32,
    /// EC2 calls that one pod start beyond the pool costs at most.
    pub calls_per_pod: u32,
    /// Where they are set: `namespace/name` of the DaemonSet.
    pub daemon_set: Option<Arc<str>>,
}

impl fmt::Display for Advised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Setting {} frees {} within minutes and costs at most {} per pod start beyond the pool.",
            self.settings,
            text::count(self.addresses, "address"),
            text::count(self.calls_per_pod, "EC2 call"),
        )
    }
}

/// Sums over the cluster; `None` when the source for them is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Nodes in scope.
    pub nodes: Option<u32>,
    /// Pods, finished ones left out.
    pub pods: Option<u32>,
    /// Pods that wait for an address.
    pub waiting_pods: Option<u32>,
    /// Subnets in use by nodes.
    pub subnets: Option<u32>,
    /// Interfaces in those subnets.
    pub interfaces: Option<u32>,
    /// Free addresses in those subnets.
    pub free_addresses: Option<u32>,
    /// Free addresses in the worst of them.
    pub min_free_addresses: Option<u32>,
    /// Whole free /28 blocks in them.
    pub free_prefixes: Option<u32>,
    /// Pod addresses held by nodes and used by no pod.
    pub idle_addresses: Option<u32>,
    /// Addresses on interfaces that nobody will clean up.
    pub leaked_addresses: Option<u32>,
    /// Problems by severity.
    pub critical: u32,
    /// Problems by severity.
    pub warning: u32,
    /// Problems by severity.
    pub info: u32,
}

/// A finding that the policy accepts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Suppressed {
    /// The finding.
    pub finding: Finding,
    /// Why it is accepted.
    pub reason: String,
    /// Until when; none for good.
    pub until: Option<Timestamp>,
}

/// What would be a finding if a later look showed it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Suspicion {
    /// Since when it is suspected.
    pub since: Timestamp,
    /// What it would be.
    pub finding: Finding,
}

/// What one rule answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleResult {
    /// The rule's code.
    pub code: &'static str,
    /// Its answer.
    pub answer: RuleAnswer,
}

/// The four answers of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum RuleAnswer {
    /// Looked at everything, found nothing.
    Passed,
    /// Found something.
    Violated {
        /// How many findings.
        findings: u32,
    },
    /// Could not look at all, or not at everything.
    Inconclusive {
        /// The sources that it lacks.
        missing: Vec<Source>,
        /// What a second look has yet to prove.
        suspects: u32,
    },
    /// Switched off by the user.
    Disabled,
}

/// All findings of one code and group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The rule's code.
    pub code: &'static str,
    /// The rule's name.
    pub name: &'static str,
    /// The worst severity among its findings.
    pub severity: Severity,
    /// The node group, subnet or source that it is about.
    pub group: Arc<str>,
    /// How many subjects have it.
    pub count: u32,
    /// The message: that of the finding if there is one, of the first and worst if there are more.
    pub message: String,
    /// What to do.
    pub remediation: String,
}
