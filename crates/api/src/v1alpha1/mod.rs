//! Version `v1alpha1`: three cluster-scoped kinds, each with a status subresource.
//!
//! Users write `IpamAudit`; the controller writes the two kinds of reports and every status. Descriptions are user
//! documentation: they become the schema, `kubectl explain` and the API reference. Lists of our own are atomic, because
//! one writer owns them; conditions are a map by type, as everywhere in Kubernetes.

#![expect(unreachable_pub, reason = "the derive of KubeSchema repeats each struct inside a function")]

mod audit_spec;
mod audit_status;
mod ipamd_spec;
mod node_report;
mod parts;
mod scope_spec;
mod subnet_report;

pub use audit_spec::{
    CniSpec, Gate, IpamAudit, IpamAuditSpec, NodeConditionSpec, NodeReports, OutputsSpec, OverrideSpec,
    SuppressionSpec, ThresholdsSpec,
};
pub use audit_status::{
    AuditDisplay, Discovered, DiscoveredValue, IpamAuditStatus, ProblemStatus, RulesStatus, SourceStatus, Totals,
    Truncated, WorstNode, WorstSubnet,
};
pub use ipamd_spec::{IpamdScrape, IpamdSpec};
pub use node_report::{
    Branches, Cni, Interfaces, Ipamd, NodeAddresses, NodeCapacity, NodeDisplay, NodeIpamReport, NodeIpamReportSpec,
    NodeIpamReportStatus,
};
pub use parts::{Evidence, Finding, Severity, Subject};
pub use scope_spec::{AssumeRoleSpec, AwsSpec, ScopeSpec};
pub use subnet_report::{
    Blocks, Need, Occupant, SubnetAddresses, SubnetDisplay, SubnetIpamReport, SubnetIpamReportSpec,
    SubnetIpamReportStatus,
};
