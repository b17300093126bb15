//! What a user decides.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AwsSpec, IpamAuditStatus, IpamdSpec, ScopeSpec};

/// What to audit and what counts as a problem. Every field is optional: `spec: {}` audits the whole cluster with
/// thresholds that suit most.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "ipam-audit.dev",
    version = "v1alpha1",
    kind = "IpamAudit",
    plural = "ipamaudits",
    shortname = "ipa",
    shortname = "ipaudit",
    category = "ipam",
    status = "IpamAuditStatus",
    derive = "PartialEq",
    doc = "An audit of where the pod IP addresses of this cluster went: what to look at, and in its status what is wrong, why, and which change fixes it.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether the last audit finished on fresh data"
    ),
    printcolumn(
        name = "Healthy",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Healthy\")].status",
        description = "Whether no problem is at or above spec.gate"
    ),
    printcolumn(
        name = "Critical",
        type_ = "string",
        json_path = ".status.display.critical",
        description = "Critical problems; n+ or ? if some rules lack data"
    ),
    printcolumn(
        name = "Warning",
        type_ = "string",
        json_path = ".status.display.warning",
        description = "Warning problems; n+ or ? if some rules lack data"
    ),
    printcolumn(name = "Nodes", type_ = "string", json_path = ".status.display.nodes", description = "Nodes in scope"),
    printcolumn(
        name = "Subnets",
        type_ = "string",
        json_path = ".status.display.subnets",
        description = "Subnets that those nodes use"
    ),
    printcolumn(
        name = "Free-IPs",
        type_ = "string",
        json_path = ".status.display.freeAddresses",
        description = "Free addresses in those subnets"
    ),
    printcolumn(
        name = "Wasted-IPs",
        type_ = "string",
        json_path = ".status.display.idleAddresses",
        description = "Pod addresses that nodes hold and no pod uses"
    ),
    printcolumn(
        name = "Last-Audit",
        type_ = "date",
        json_path = ".status.lastAuditTime",
        description = "The last audit that had something new to say"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Min-Free",
        type_ = "string",
        json_path = ".status.display.minFree",
        priority = 1,
        description = "Free addresses in the subnet that has the fewest"
    ),
    printcolumn(
        name = "Free-28",
        type_ = "string",
        json_path = ".status.display.freePrefixes",
        priority = 1,
        description = "Whole free /28 blocks"
    ),
    printcolumn(
        name = "Leaked",
        type_ = "string",
        json_path = ".status.display.leakedAddresses",
        priority = 1,
        description = "Addresses on interfaces that nobody will clean up"
    ),
    printcolumn(
        name = "Runway",
        type_ = "string",
        json_path = ".status.display.runway",
        priority = 1,
        description = "When the first subnet runs out"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.display.message",
        priority = 1,
        description = "The answer in one sentence"
    )
)]
#[x_kube(
    validation = Rule::new("!has(self.interval) || !self.interval.matches('^([0-9]+[smh])+$') || \
        (has(self.thresholds) && has(self.thresholds.staleAfter) \
            ? (!self.thresholds.staleAfter.matches('^([0-9]+[smh])+$') || \
                duration(self.thresholds.staleAfter) >= duration(self.interval)) \
            : duration(self.interval) <= duration('15m'))")
        .message("interval is longer than thresholds.staleAfter (15m unless set), so data would always count as stale: \
            write a shorter interval, for example 60s, or a longer thresholds.staleAfter"),
    validation = Rule::new("!has(self.ipamd) || !has(self.ipamd.interval) || !has(self.thresholds) || \
        !has(self.thresholds.staleAfter) || !self.ipamd.interval.matches('^([0-9]+[smh])+$') || \
        !self.thresholds.staleAfter.matches('^([0-9]+[smh])+$') || \
        duration(self.thresholds.staleAfter) >= duration(self.ipamd.interval)")
        .message("ipamd.interval is longer than thresholds.staleAfter, so its answers would always count as stale: \
            write a shorter ipamd.interval, for example 60s, or a longer thresholds.staleAfter")
)]
pub struct IpamAuditSpec {
    /// How often EC2 is read, for example `60s` or `5m`; from `10s` to `24h`. Default `60s`. Changes in the cluster itself
    /// are seen at once, whatever this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(
        validation = Rule::new("self.matches('^([0-9]+[smh])+$')")
            .message("write a duration in seconds, minutes or hours, for example 60s, 5m or 1h30m"),
        validation = Rule::new("!self.matches('^([0-9]+[smh])+$') || \
            (duration(self) >= duration('10s') && duration(self) <= duration('24h'))")
            .message("write a duration from 10s to 24h, for example 60s")
    )]
    pub interval: Option<String>,

    /// Stops this audit; its reports stay as they are. Default `false`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,

    /// What makes the audit unhealthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<Gate>,

    /// Which part of the cluster is audited. Default: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<ScopeSpec>,

    /// How AWS is reached. Credentials come from the environment of the controller, never from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws: Option<AwsSpec>,

    /// Where the VPC CNI is installed and how it marks nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cni: Option<CniSpec>,

    /// Whether each node's ipamd is asked what it has and what fails. Default: nobody is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipamd: Option<IpamdSpec>,

    /// When a number is a finding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thresholds: Option<ThresholdsSpec>,

    /// Other thresholds for some node groups or subnets; the first that matches wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 50))]
    pub overrides: Vec<OverrideSpec>,

    /// Findings that are accepted: they count nowhere and send no event, and the audit's status says how many there are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub suppressions: Vec<SuppressionSpec>,

    /// Rules that are not evaluated, by code or name: `IPAM210` or `warm-pool-too-large`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(max = 64)))]
    #[x_kube(
        merge_strategy = ListMerge::Set,
        validation = Rule::new("self.all(rule, rule.matches('^(IPAM[0-9]{3}|[a-z]+(-[a-z]+)*)$'))")
            .message("write codes or names of rules, for example IPAM210 or warm-pool-too-large; \
                `ipam-audit explain` lists them")
    )]
    pub disabled_rules: Vec<String>,

    /// What is written besides the status of this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<OutputsSpec>,
}

/// The severity from which on a problem makes the audit unhealthy: `Critical` (default), `Warning`, or `None` for never. It
/// decides the condition `Healthy` alone; findings never touch `Ready`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Gate {
    /// Never.
    None,
    /// Critical problems only.
    Critical,
    /// Critical problems and warnings.
    Warning,
}

/// Where the VPC CNI is installed and how it marks nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CniSpec {
    /// The namespace of its DaemonSet. Default `kube-system`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')")
        .message("write the name of a namespace, for example kube-system"))]
    pub namespace: Option<String>,

    /// The name of its DaemonSet. Default `aws-node`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$')")
        .message("write the name of a DaemonSet without its namespace, for example aws-node"))]
    pub daemon_set: Option<String>,

    /// The node annotation that names the node's trunk interface, where something sets one. Read as one signal among
    /// others, required by none. Default `vpc.k8s.aws/trunk-eni-id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 317))]
    #[x_kube(validation = Rule::new(
        "self.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$')")
        .message("write the key of an annotation: an optional prefix and a slash, then a name of at most 63 letters, \
            digits, - _ or ., for example vpc.k8s.aws/trunk-eni-id"))]
    pub trunk_eni_annotation: Option<String>,
}

/// When a number is a finding.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ThresholdsSpec {
    /// A subnet with a smaller share of free addresses is low, in percent. Default 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 99")
        .message("write a percentage from 1 to 99, for example 10"))]
    pub subnet_free_percent: Option<i32>,

    /// A subnet with fewer free addresses is low, whatever its size. Default 16, one prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 0 && self <= 65536")
        .message("write a number of addresses from 0 to 65536, for example 16"))]
    pub subnet_free_addresses: Option<i32>,

    /// The share of its nodes that a subnet shall be able to replace at once, in percent: a rolling upgrade's surge.
    /// Default 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 0 && self <= 100")
        .message("write a percentage from 0 to 100, for example 10"))]
    pub surge_percent: Option<i32>,

    /// How many pods a node shall be able to start at once: the burst goal of its warm pool. Default 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 1000")
        .message("write a number of pods from 1 to 1000, for example 10"))]
    pub burst_pods: Option<i32>,

    /// How many addresses a node may hold beyond its pods and the burst goal before it is a finding. Default 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 0 && self <= 65536")
        .message("write a number of addresses from 0 to 65536, for example 16"))]
    pub idle_addresses: Option<i32>,

    /// How many free addresses a node's warm pool shall keep. Default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 0 && self <= 1000")
        .message("write a number of addresses from 0 to 1000, for example 1"))]
    pub warm_floor: Option<i32>,

    /// A trunk with a larger share of its branch slots in use is near its limit, in percent. Default 85.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 99")
        .message("write a percentage from 1 to 99, for example 85"))]
    pub branch_used_percent: Option<i32>,

    /// How many seconds a node may be cordoned, draining or empty before the addresses it holds count as waste. Default
    /// 3600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 60 && self <= 604800")
        .message("write a number of seconds from 60 to 604800, for example 3600"))]
    pub cordoned_seconds: Option<i32>,

    /// How many seconds a new node, interface or object gets to become what it should be. Default 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 0 && self <= 86400")
        .message("write a number of seconds from 0 to 86400, for example 300"))]
    pub settle_seconds: Option<i32>,

    /// How many seconds two looks have to be apart to prove a suspicion: longer than the cool-down of branches and the
    /// lag of EC2. Default 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 10 && self <= 86400")
        .message("write a number of seconds from 10 to 86400, for example 60"))]
    pub suspicion_seconds: Option<i32>,

    /// The same for interfaces that are attached to nothing. Default 600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 60 && self <= 86400")
        .message("write a number of seconds from 60 to 86400, for example 600"))]
    pub leak_seconds: Option<i32>,

    /// The share of a subnet's addresses on leaked interfaces that is a finding of its own, in percent. Default 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 99")
        .message("write a percentage from 1 to 99, for example 5"))]
    pub leaked_percent: Option<i32>,

    /// The share of broken blocks from which on prefixes get scarce, in percent. Default 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 99")
        .message("write a percentage from 1 to 99, for example 50"))]
    pub fragmentation_percent: Option<i32>,

    /// The share of a pod subnet in others' hands that is worth knowing, in percent. Default 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 99")
        .message("write a percentage from 1 to 99, for example 30"))]
    pub others_percent: Option<i32>,

    /// How much further than its threshold a subnet has to recover before it is no longer low, in percent points.
    /// Default 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 0 && self <= 50")
        .message("write percent points from 0 to 50, for example 2"))]
    pub subnet_hysteresis_percent: Option<i32>,

    /// Free addresses that the control plane needs in each of its subnets for an upgrade. Default 6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 0 && self <= 64")
        .message("write a number of addresses from 0 to 64, for example 6"))]
    pub control_plane_addresses: Option<i32>,

    /// The age from which on data count as stale and prove nothing, for example `15m`; from `1m` to `24h`, and not below
    /// `spec.interval`. Default `15m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(
        validation = Rule::new("self.matches('^([0-9]+[smh])+$')")
            .message("write a duration in seconds, minutes or hours, for example 15m or 1h"),
        validation = Rule::new("!self.matches('^([0-9]+[smh])+$') || \
            (duration(self) >= duration('1m') && duration(self) <= duration('24h'))")
            .message("write a duration from 1m to 24h, for example 15m")
    )]
    pub stale_after: Option<String>,
}

/// Other thresholds for what matches. What they leave out is as in `spec.thresholds`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.nodeGroup) != has(self.subnet)")
    .message("write either nodeGroup or subnet, for example nodeGroup: batch-*"))]
pub struct OverrideSpec {
    /// Node groups or node pools by name; `*` stands for any text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub node_group: Option<String>,

    /// Subnets by id or by their tag `Name`; `*` stands for any text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub subnet: Option<String>,

    /// The thresholds. `staleAfter` has no effect here: sources are not of a node group.
    pub thresholds: ThresholdsSpec,
}

/// Findings that somebody accepts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SuppressionSpec {
    /// The rule, by code or name: `IPAM210` or `warm-pool-too-large`.
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^(IPAM[0-9]{3}|[a-z0-9]+(-[a-z0-9]+)*)$')")
        .message("write the code or the name of a rule, for example IPAM210 or warm-pool-too-large; \
            `ipam-audit explain` lists them"))]
    pub rule: String,

    /// Names of subjects or of their node groups; `*` stands for any text. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub subject: Option<String>,

    /// Why it is accepted. Whoever reads it next year will ask.
    #[schemars(length(min = 1, max = 512))]
    pub reason: String,

    /// When it ends, as `2027-01-31T00:00:00Z`. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
}

/// What is written besides the status of the audit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutputsSpec {
    /// Which nodes get a report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_reports: Option<NodeReports>,

    /// Whether events are written when findings open, worsen and resolve. Default `true`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<bool>,

    /// Puts the condition `ipam-audit.dev/IPPressure` on nodes. Default: not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_condition: Option<NodeConditionSpec>,

    /// Writes `status.lastAuditTime` at least this often, for example `10m`; from `1m` to `24h`. Default: not at all, an
    /// audit that finds nothing new writes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(
        validation = Rule::new("self.matches('^([0-9]+[smh])+$')")
            .message("write a duration in seconds, minutes or hours, for example 10m or 1h"),
        validation = Rule::new("!self.matches('^([0-9]+[smh])+$') || \
            (duration(self) >= duration('1m') && duration(self) <= duration('24h'))")
            .message("write a duration from 1m to 24h, for example 10m")
    )]
    pub heartbeat: Option<String>,
}

/// The condition `ipam-audit.dev/IPPressure` on the nodes in scope: `True` where the next pod would find no address. It
/// needs rights of its own (`ipam-audit rbac --with node-conditions`) and must not be a reason for node repair.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeConditionSpec {
    /// Whether nodes get it. Default `false`; it is removed where it is no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,

    /// The largest share of nodes that may say `True` at a time, in percent, at least one node: whatever keeps pods off
    /// such nodes cannot empty the cluster. Default 20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self >= 1 && self <= 100")
        .message("write a percentage from 1 to 100, for example 20"))]
    pub max_percent: Option<i32>,
}

/// Which nodes get a `NodeIpamReport`: `All` (default), `WithFindings`, or `None`. Events about nodes need the report: it
/// remembers what was said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NodeReports {
    /// Every node in scope.
    #[default]
    All,
    /// Nodes with at least one finding.
    WithFindings,
    /// No node.
    None,
}
