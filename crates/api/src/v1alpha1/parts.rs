//! What more than one kind has.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Will hurt, or wastes.
    Warning,
    /// Hurts now.
    Critical,
}

/// What a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// `Node`, `Subnet`, `Source` or `Cluster`.
    pub kind: String,
    /// Its name or id.
    pub name: String,
}

/// A named number or word that proves a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// What it is.
    pub name: String,
    /// Its value as text.
    pub value: String,
}

/// One rule that one subject violates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// The rule's code, for example `IPAM101`: stable and never reused. `ipam-audit explain CODE` says more.
    pub code: String,
    /// The rule's name, for example `subnet-full`.
    pub name: String,
    /// How bad it is here.
    pub severity: Severity,
    /// What it is about.
    pub subject: Subject,
    /// One sentence with the number that proves it.
    pub message: String,
    /// The change that fixes it, and what it costs.
    pub remediation: String,
    /// The numbers behind it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub evidence: Vec<Evidence>,
    /// When it was first seen.
    pub first_seen: Time,
    /// When this object was last written with the finding in it. A finding that is listed is open now, however long ago
    /// that was: nothing is written just to move this time.
    pub last_seen: Time,
    /// Identifies the finding over time: a hash of its code and subject, not of its text.
    pub fingerprint: String,
    /// True while the data to check the finding again are missing: it is kept as it was last seen.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unverified: bool,
}
