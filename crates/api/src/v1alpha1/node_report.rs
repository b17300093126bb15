//! What an audit says of one node.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Finding, audit_status::is_zero};

/// Which node this report is about, and for which audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "ipam-audit.dev",
    version = "v1alpha1",
    kind = "NodeIpamReport",
    plural = "nodeipamreports",
    shortname = "ipnode",
    category = "ipam",
    status = "NodeIpamReportStatus",
    derive = "PartialEq",
    doc = "Where the pod IP addresses of one node went. Written by the controller, one per IpamAudit and node; do not edit.",
    selectable = ".spec.audit",
    selectable = ".spec.node",
    printcolumn(
        name = "NodeGroup",
        type_ = "string",
        json_path = ".status.display.nodeGroup",
        description = "Node group or node pool"
    ),
    printcolumn(
        name = "Type",
        type_ = "string",
        json_path = ".status.display.instanceType",
        description = "Instance type"
    ),
    printcolumn(
        name = "Healthy",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Healthy\")].status",
        description = "Whether no finding is at or above the gate of the audit"
    ),
    printcolumn(
        name = "ENIs",
        type_ = "string",
        json_path = ".status.display.interfaces",
        description = "Network interfaces attached, of the instance type's limit"
    ),
    printcolumn(
        name = "Pods",
        type_ = "string",
        json_path = ".status.display.pods",
        description = "Pods that use the node's addresses"
    ),
    printcolumn(
        name = "Held",
        type_ = "string",
        json_path = ".status.display.held",
        description = "Pod addresses on the node's interfaces"
    ),
    printcolumn(
        name = "Idle",
        type_ = "string",
        json_path = ".status.display.idle",
        description = "Those that no pod uses"
    ),
    printcolumn(
        name = "Branch",
        type_ = "string",
        json_path = ".status.display.branch",
        description = "Branch interfaces in use, of the limit; - without a trunk"
    ),
    printcolumn(
        name = "Worst",
        type_ = "string",
        json_path = ".status.display.worst",
        description = "The worst finding"
    ),
    printcolumn(
        name = "Zone",
        type_ = "string",
        json_path = ".status.zone",
        priority = 1,
        description = "Availability zone"
    ),
    printcolumn(
        name = "Subnet",
        type_ = "string",
        json_path = ".status.subnet",
        priority = 1,
        description = "Subnet of its primary interface"
    ),
    printcolumn(
        name = "Max-Pods",
        type_ = "string",
        json_path = ".status.display.maxPods",
        priority = 1,
        description = "The most pods that the kubelet takes"
    ),
    printcolumn(
        name = "CNI",
        type_ = "string",
        json_path = ".status.display.cni",
        priority = 1,
        description = "The CNI's version and the targets in force"
    ),
    printcolumn(
        name = "Audit",
        type_ = "string",
        json_path = ".spec.audit",
        priority = 1,
        description = "The IpamAudit that the report belongs to"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", priority = 1)
)]
#[x_kube(validation = Rule::new("self == oldSelf")
    .message("a report is about one node for ever: delete it and the controller writes a new one"))]
pub struct NodeIpamReportSpec {
    /// The `IpamAudit` that the report belongs to.
    #[schemars(length(min = 1, max = 253))]
    pub audit: String,
    /// The node that it is about.
    #[schemars(length(min = 1, max = 253))]
    pub node: String,
}

/// Where the node's addresses went. Numbers that are not known are absent, never zero.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeIpamReportStatus {
    /// `Healthy`, `CapacityAvailable`, `AddressesReconciled`, `ConfigurationConsistent`, `WarmPoolSized`,
    /// `SubnetCapacityAvailable` and `BranchCapacityAvailable`, as far as they are evaluated, and `IpamdReachable` where
    /// ipamd is asked. `Unknown` means that data are missing or stale.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// Its findings, the worst first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub findings: Vec<Finding>,
    /// Findings that were left out to keep this object small, the least severe ones.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub truncated_findings: i64,

    /// Its node group or node pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_group: Option<String>,
    /// Its instance type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_type: Option<String>,
    /// Its zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The subnet of its primary interface.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet: Option<String>,
    /// Whether it is cordoned.
    #[serde(default)]
    pub cordoned: bool,
    /// The most pods that its kubelet takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_pods: Option<i64>,
    /// Pods that it admits, against addresses that it can give them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<NodeCapacity>,
    /// Its network interfaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interfaces: Option<Interfaces>,
    /// Where its addresses went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addresses: Option<NodeAddresses>,
    /// Pods that use, or want, one of its addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<i64>,
    /// Pods on it that wait for an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_pods: Option<i64>,
    /// Its branch interfaces; absent without a trunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branches: Option<Branches>,
    /// The VPC CNI that runs on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cni: Option<Cni>,
    /// What its ipamd says of itself; absent unless `spec.ipamd` of the audit asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipamd: Option<Ipamd>,

    /// Sources that are missing or stale: what rests on them is what was last known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub stale_sources: Vec<String>,
    /// The cells of `kubectl get ipnode`, as text: `?` is not known.
    #[serde(default)]
    pub display: NodeDisplay,
}

/// Network interfaces of a node, on its default network card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Interfaces {
    /// How many are attached.
    pub attached: i64,
    /// How many the instance type allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
}

/// The addresses of a node: `held = used + idle`, and `own` on top.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeAddresses {
    /// Pod addresses on its interfaces.
    pub held: i64,
    /// Those that a pod uses.
    pub used: i64,
    /// Those that no pod uses.
    pub idle: i64,
    /// The interfaces' own addresses, which no pod can have.
    pub own: i64,
    /// /28 prefixes among what is held.
    pub prefixes: i64,
    /// Idle: those of finished pods.
    #[serde(default)]
    pub finished: i64,
    /// Idle: ready for a pod.
    #[serde(default)]
    pub warm: i64,
    /// Idle: given back a moment ago.
    #[serde(default)]
    pub cooling: i64,
    /// Idle: of no use in the CNI's present mode.
    #[serde(default)]
    pub stranded: i64,
}

/// Pods that a node admits, against addresses that it can give them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeCapacity {
    /// Pods that can have an address at all, whatever the CNI's targets are.
    pub addresses: i64,
    /// Pods in need of one that max-pods admits.
    pub schedulable: i64,
    /// Pods that could be placed and never have one.
    pub unreachable: i64,
}

/// Branch interfaces of a node, for security groups for pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Branches {
    /// How many are in use.
    pub used: i64,
    /// How many the instance type allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<i64>,
    /// Whether the node's aws-node pod is told to use a trunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intended: Option<bool>,
    /// Whether the node's CNINode asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested: Option<bool>,
    /// Whether the node publishes branch slots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<bool>,
    /// The trunk interface in EC2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
}

/// The VPC CNI as it runs on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cni {
    /// Its version, as the image's tag says it.
    pub version: String,
    /// What sizes the pool of addresses, for example `eni-target` or `ip-target`.
    pub mode: String,
    /// The targets in force, for example `WARM_ENI_TARGET=1`.
    pub targets: String,
}

/// ipamd of a node by its own metrics, to hold beside `addresses` (EC2's view) and `pods`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ipamd {
    /// Whether it answers; absent while that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reachable: Option<bool>,
    /// Addresses that it may give pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<i64>,
    /// Those that it says a pod has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assigned: Option<i64>,
    /// Network interfaces that it knows, the primary one and a trunk included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interfaces: Option<i64>,
    /// When it said so. It moves only with what it says: an answer that says the same is not written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<Time>,
}

/// The cells of `kubectl get ipnode`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeDisplay {
    /// Node group or node pool.
    pub node_group: String,
    /// Instance type.
    pub instance_type: String,
    /// Interfaces attached of those allowed: `2/15`.
    pub interfaces: String,
    /// Pods that use its addresses.
    pub pods: String,
    /// Pod addresses on its interfaces.
    pub held: String,
    /// Those that no pod uses.
    pub idle: String,
    /// Branch interfaces in use of those allowed: `8/9`; `-` without a trunk.
    pub branch: String,
    /// The most pods that its kubelet takes.
    pub max_pods: String,
    /// The CNI's version and the targets in force.
    pub cni: String,
    /// The worst finding; `-` if there is none.
    pub worst: String,
}
