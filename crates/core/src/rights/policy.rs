//! The table as an IAM policy.

use serde::Serialize;

use super::{EC2, Feature};

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Policy {
    version: &'static str,
    statement: Vec<Statement>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    sid: &'static str,
    effect: &'static str,
    action: Vec<&'static str>,
    resource: &'static str,
}

/// The least policy for the controller with these optional features, ready for `aws iam create-policy`.
///
/// # Errors
/// If it cannot be written as JSON, which a test excludes.
pub fn iam_policy(with: &[Feature]) -> serde_json::Result<String> {
    let needed = |feature: Feature| feature == Feature::Audit || with.contains(&feature);
    let mut action: Vec<&str> = EC2.iter().filter(|right| needed(right.feature)).map(|right| right.action).collect();
    action.sort_unstable();
    action.dedup();
    let statement = vec![Statement { sid: "IpamAuditReadsEc2", effect: "Allow", action, resource: "*" }];
    serde_json::to_string_pretty(&Policy { version: "2012-10-17", statement }).map(|text| text + "\n")
}
