//! What an audit says of one subnet.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Finding, audit_status::is_zero};

/// Which subnet this report is about, and for which audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[kube(
    group = "ipam-audit.dev",
    version = "v1alpha1",
    kind = "SubnetIpamReport",
    plural = "subnetipamreports",
    shortname = "ipsubnet",
    category = "ipam",
    status = "SubnetIpamReportStatus",
    derive = "PartialEq",
    doc = "Where the IP addresses of one subnet went. Written by the controller, one per IpamAudit and subnet; do not edit.",
    selectable = ".spec.audit",
    selectable = ".spec.subnet",
    printcolumn(name = "Zone", type_ = "string", json_path = ".status.zone", description = "Availability zone"),
    printcolumn(name = "CIDR", type_ = "string", json_path = ".status.display.cidr", description = "IPv4 range"),
    printcolumn(
        name = "Healthy",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Healthy\")].status",
        description = "Whether no finding is at or above the gate of the audit"
    ),
    printcolumn(
        name = "Usable",
        type_ = "string",
        json_path = ".status.display.usable",
        description = "All addresses but the five that AWS keeps"
    ),
    printcolumn(name = "Free", type_ = "string", json_path = ".status.display.free", description = "Free addresses"),
    printcolumn(
        name = "Free-28",
        type_ = "string",
        json_path = ".status.display.freePrefixes",
        description = "Whole free /28 blocks"
    ),
    printcolumn(
        name = "Pods",
        type_ = "string",
        json_path = ".status.display.pods",
        description = "Addresses that pods use"
    ),
    printcolumn(
        name = "Warm",
        type_ = "string",
        json_path = ".status.display.idle",
        description = "Addresses that nodes hold and no pod uses"
    ),
    printcolumn(
        name = "Leaked",
        type_ = "string",
        json_path = ".status.display.leaked",
        description = "Addresses on interfaces that nobody will clean up"
    ),
    printcolumn(
        name = "Other",
        type_ = "string",
        json_path = ".status.display.other",
        description = "Addresses of everybody else: load balancers, gateways, endpoints, other instances"
    ),
    printcolumn(
        name = "Runway",
        type_ = "string",
        json_path = ".status.display.runway",
        description = "When it runs out"
    ),
    printcolumn(
        name = "Worst",
        type_ = "string",
        json_path = ".status.display.worst",
        description = "The worst finding"
    ),
    printcolumn(
        name = "Nodes",
        type_ = "integer",
        json_path = ".status.nodes",
        priority = 1,
        description = "Nodes whose primary interface is in it"
    ),
    printcolumn(
        name = "Own",
        type_ = "string",
        json_path = ".status.display.own",
        priority = 1,
        description = "The nodes' interfaces' own addresses"
    ),
    printcolumn(
        name = "Branches",
        type_ = "string",
        json_path = ".status.display.branches",
        priority = 1,
        description = "Branch interfaces of pods"
    ),
    printcolumn(
        name = "Unaccounted",
        type_ = "string",
        json_path = ".status.display.unaccounted",
        priority = 1,
        description = "Addresses that EC2 counts and no visible interface has"
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
    .message("a report is about one subnet for ever: delete it and the controller writes a new one"))]
pub struct SubnetIpamReportSpec {
    /// The `IpamAudit` that the report belongs to.
    #[schemars(length(min = 1, max = 253))]
    pub audit: String,
    /// The subnet that it is about.
    #[schemars(length(min = 1, max = 253))]
    pub subnet: String,
}

/// Where the subnet's addresses went. Numbers that are not known are absent, never zero.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubnetIpamReportStatus {
    /// `Healthy`, `AddressesAvailable`, `PrefixesAvailable` and `AddressesReconciled`. `Unknown` means that data are
    /// missing or stale.
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

    /// Its zone.
    #[serde(default)]
    pub zone: String,
    /// Its IPv4 range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cidr: Option<String>,
    /// Nodes whose primary interface is in it.
    #[serde(default)]
    pub nodes: i64,
    /// Where its addresses went.
    #[serde(default)]
    pub addresses: SubnetAddresses,
    /// Whole free /28 blocks, as far as occupants are visible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_prefixes: Option<i64>,
    /// The subnet as aligned blocks of 16 addresses; absent for a range smaller than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<Blocks>,
    /// Why it is in the audit: `node-home`, `pods`, `eni-config`, `control-plane`, `discovery`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub roles: Vec<String>,
    /// What is asked of it next.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub needs: Vec<Need>,
    /// Who else has addresses here, with their number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub others: Vec<Occupant>,
    /// What a new node of the commonest instance type here takes at its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_node_takes: Option<i64>,
    /// When it runs out: `now`, or absent while not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runway: Option<String>,

    /// Sources that are missing or stale: what rests on them is what was last known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub stale_sources: Vec<String>,
    /// The cells of `kubectl get ipsubnet`, as text: `?` is not known.
    #[serde(default)]
    pub display: SubnetDisplay,
}

/// The addresses of a subnet. When all are known,
/// `usable = free + pods + idle + own + branches + leaked + other + unaccounted`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubnetAddresses {
    /// All but the five that AWS keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usable: Option<i64>,
    /// What EC2 counts as free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free: Option<i64>,
    /// Those that pods use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<i64>,
    /// Those that nodes hold and no pod uses: `finished + warm + cooling + stranded`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle: Option<i64>,
    /// Idle: those of finished pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<i64>,
    /// Idle: ready for a pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warm: Option<i64>,
    /// Idle: given back a moment ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cooling: Option<i64>,
    /// Idle: of no use in the CNI's present mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stranded: Option<i64>,
    /// The nodes' interfaces' own addresses, trunks included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<i64>,
    /// Branch interfaces of pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branches: Option<i64>,
    /// Those on interfaces of the CNI or the resource controller that are attached to nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaked: Option<i64>,
    /// Everybody else: load balancers, gateways, endpoints, other instances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<i64>,
    /// Kept for a CIDR reservation and not given to anybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reserved_ranges: Option<i64>,
    /// What EC2's count and its interfaces do not agree on, for example interfaces of another account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unaccounted: Option<i64>,
}

/// A subnet as aligned blocks of 16 addresses: what prefixes are made of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Blocks {
    /// Whole free blocks, even if each occupant that is not visible broke one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_at_least: Option<i64>,
    /// The largest aligned range that is free, for example `/25`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub largest_free: Option<String>,
    /// Broken blocks in a hundred of those that are no prefix and could be one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fragmentation_percent: Option<i64>,
    /// The blocks in order, run by run, for example `1R 14F 1R`: `R` reserved by AWS, `P` prefix, `F` free, `f` fragmented,
    /// `U` used by 16 single addresses, `X` explicitly reserved, `p` free and reserved for prefixes. At most 2 kB; what
    /// was cut is counted at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<String>,
}

/// What is asked of a subnet next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Need {
    /// `next node`, `next interface`, `next prefix`, `surge` or `control plane`.
    pub what: String,
    /// Addresses, those of whole blocks included.
    pub addresses: i64,
    /// Whole /28 blocks among them.
    pub blocks: i64,
    /// Whether the subnet has them, as far as is visible.
    pub met: bool,
}

/// Somebody else in a subnet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Occupant {
    /// `load-balancer`, `nat-gateway`, `endpoint`, …
    pub owner: String,
    /// How many addresses.
    pub addresses: i64,
}

/// The cells of `kubectl get ipsubnet`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SubnetDisplay {
    /// Its IPv4 range.
    pub cidr: String,
    /// All addresses but the five that AWS keeps.
    pub usable: String,
    /// Free addresses.
    pub free: String,
    /// Whole free /28 blocks.
    pub free_prefixes: String,
    /// Addresses that pods use.
    pub pods: String,
    /// Addresses that nodes hold and no pod uses.
    pub idle: String,
    /// The nodes' interfaces' own addresses.
    pub own: String,
    /// Branch interfaces of pods.
    pub branches: String,
    /// Addresses on interfaces that nobody will clean up.
    pub leaked: String,
    /// Addresses of everybody else.
    pub other: String,
    /// Addresses that EC2 counts and no visible interface has.
    pub unaccounted: String,
    /// When it runs out.
    pub runway: String,
    /// The worst finding; `-` if there is none.
    pub worst: String,
}
