//! What an audit answers.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Finding, NodeDisplay, Severity, SubnetDisplay};

/// What the audit found. Numbers that are not known are absent, never zero; `DataComplete` says why.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct IpamAuditStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The answer in a few sentences: what is wrong, why, what to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub summary: String,

    /// `Ready`, `Healthy`, `DataComplete`, `CapacityAvailable`, `AddressesReconciled` and `ConfigurationConsistent`;
    /// `Reconciling` and `Stalled` only while true, `NodeConditionsWritten` only where `spec.outputs.nodeCondition` asks
    /// for it. `Unknown` means that data are missing or stale.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// When the last audit ran that had something new to say. Audits that find nothing new write nothing; see
    /// `spec.outputs.heartbeat`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_audit_time: Option<Time>,

    /// The value of the annotation `ipam-audit.dev/requested-at` that was answered last: an audit for which EC2 was read
    /// after it was asked for has finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_handled_request: Option<String>,

    /// Sums over the cluster.
    #[serde(default)]
    pub totals: Totals,

    /// Findings put together by cause, the worst first: 120 nodes of a node group with one fault are one problem.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub problems: Vec<ProblemStatus>,

    /// The worst nodes with their conditions, at most 25; all nodes of a small cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub worst_nodes: Vec<WorstNode>,

    /// The worst subnets with their conditions, at most 25.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub worst_subnets: Vec<WorstSubnet>,

    /// Findings about the cluster and its sources of data; those about nodes and subnets are in their reports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub findings: Vec<Finding>,

    /// What the rules answered.
    #[serde(default)]
    pub rules: RulesStatus,

    /// Which cluster, region and VPC were audited, and what tells that it is these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discovered: Option<Discovered>,

    /// What was read, and what could not be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub sources: Vec<SourceStatus>,

    /// How much was left out to keep this object small.
    #[serde(default, skip_serializing_if = "Truncated::is_empty")]
    pub truncated: Truncated,

    /// The cells of `kubectl get ipamaudits`, as text: `?` is not known.
    #[serde(default)]
    pub display: AuditDisplay,
}

/// Sums over the cluster. What is not known is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// Nodes in scope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<i64>,
    /// Pods, finished ones left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<i64>,
    /// Pods that wait for an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_pods: Option<i64>,
    /// Subnets that the nodes use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnets: Option<i64>,
    /// Network interfaces in those subnets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interfaces: Option<i64>,
    /// Free addresses in those subnets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_addresses: Option<i64>,
    /// Free addresses in the subnet that has the fewest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_free_addresses: Option<i64>,
    /// Whole free /28 blocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_prefixes: Option<i64>,
    /// Pod addresses that nodes hold and no pod uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_addresses: Option<i64>,
    /// Addresses on interfaces that nobody will clean up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaked_addresses: Option<i64>,
    /// Critical problems found; a lower bound while `rules.inconclusive` is not empty.
    #[serde(default)]
    pub critical: i64,
    /// Warning problems found; a lower bound while `rules.inconclusive` is not empty.
    #[serde(default)]
    pub warning: i64,
    /// Other problems found; a lower bound while `rules.inconclusive` is not empty.
    #[serde(default)]
    pub info: i64,
}

/// All findings of one rule with one cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProblemStatus {
    /// The rule's code. `ipam-audit explain CODE` says more.
    pub code: String,
    /// The rule's name.
    pub name: String,
    /// The worst severity among the findings.
    pub severity: Severity,
    /// The node group, subnet or source that has it.
    pub group: String,
    /// How many nodes or subnets have it.
    pub count: i64,
    /// One sentence with the number that proves it.
    pub message: String,
    /// The change that fixes it, and what it costs.
    pub remediation: String,
}

/// One of the worst nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorstNode {
    /// Its name.
    pub name: String,
    /// Its node group or node pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_group: Option<String>,
    /// Its instance type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_type: Option<String>,
    /// Its zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Its numbers as text: `?` is not known.
    #[serde(default)]
    pub display: NodeDisplay,
    /// The codes of its findings, the worst first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub findings: Vec<String>,
    /// The conditions of its report.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// One of the worst subnets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorstSubnet {
    /// Its id.
    pub name: String,
    /// Its zone.
    pub zone: String,
    /// Its IPv4 range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cidr: Option<String>,
    /// Its numbers as text: `?` is not known.
    #[serde(default)]
    pub display: SubnetDisplay,
    /// The codes of its findings, the worst first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub findings: Vec<String>,
    /// The conditions of its report.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// What the rules answered. Missing data are never "passed".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RulesStatus {
    /// Rules that looked at everything and found nothing.
    #[serde(default)]
    pub passed: i64,
    /// Rules that found something.
    #[serde(default)]
    pub violated: i64,
    /// Rules that look at something which the operator does not read, or which this cluster does not have.
    #[serde(default)]
    pub not_collected: i64,
    /// What would be a finding if a later look showed it again.
    #[serde(default)]
    pub suspicions: i64,
    /// Findings that `spec.suppressions` accepts: they count nowhere.
    #[serde(default)]
    pub suppressed: i64,
    /// Codes of rules that could not look, because a source is missing that was or should be there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub inconclusive: Vec<String>,
    /// Codes of rules that `spec.disabledRules` switches off.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub disabled: Vec<String>,
}

/// Which cluster, region and VPC were audited. What is not known is absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Discovered {
    /// The name of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_name: Option<DiscoveredValue>,
    /// The region that EC2 is read in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<DiscoveredValue>,
    /// The VPC that is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vpc_id: Option<DiscoveredValue>,
}

/// A value, and what tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DiscoveredValue {
    /// The value.
    pub value: String,
    /// What tells it: a field of the spec, or where it was found.
    pub from: String,
}

/// One source of data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SourceStatus {
    /// Which one: `nodes`, `pods`, `aws-node`, `cninodes`, `vpcs`, `subnets`, `network-interfaces`, `instance-types` or
    /// `cidr-reservations`.
    pub name: String,
    /// `Fresh`; `Failing` if the newest attempt failed and the last good view is recent enough; `Stale` if that is too old to
    /// prove anything; `Pending` while it is read for the first time; `Missing` if it was never read; `NotInstalled` if it
    /// is optional and this cluster does not have it.
    pub state: String,
    /// When its last good view was taken, as of the last write of this status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Time>,
    /// Why it could not be read, and what to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How many entries were left out, by list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Truncated {
    /// Problems, the least severe ones.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub problems: i64,
    /// Nodes that are not among the worst; their reports have them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub nodes: i64,
    /// Subnets that are not among the worst; their reports have them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub subnets: i64,
    /// Findings, the least severe ones.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub findings: i64,
}

impl Truncated {
    /// Whether nothing was left out.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
pub(super) fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// The cells of `kubectl get ipamaudits`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AuditDisplay {
    /// Critical problems: `3`; `3+` or `?` if rules that may find more lack data.
    pub critical: String,
    /// Warning problems, likewise.
    pub warning: String,
    /// Nodes in scope.
    pub nodes: String,
    /// Subnets that they use.
    pub subnets: String,
    /// Free addresses in them.
    pub free_addresses: String,
    /// Pod addresses that nodes hold and no pod uses.
    pub idle_addresses: String,
    /// Free addresses in the subnet that has the fewest, and which that is.
    pub min_free: String,
    /// Whole free /28 blocks.
    pub free_prefixes: String,
    /// Addresses on interfaces that nobody will clean up.
    pub leaked_addresses: String,
    /// When the first subnet runs out.
    pub runway: String,
    /// The answer in one sentence.
    pub message: String,
}
