//! What a user decided: thresholds, the gate and the rules that are switched off. Already validated.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::finding::Severity;

/// The decisions of one audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditPolicy {
    /// Findings at or above it make the audit unhealthy; none never does.
    pub gate: Option<Severity>,
    /// When a number is a finding.
    pub thresholds: Thresholds,
    /// Codes or names of rules that are not evaluated.
    pub disabled_rules: BTreeSet<String>,
}

impl Default for AuditPolicy {
    fn default() -> Self {
        Self { gate: Some(Severity::Critical), thresholds: Thresholds::default(), disabled_rules: BTreeSet::new() }
    }
}

/// The numbers that findings are measured against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thresholds {
    /// A subnet with a smaller share of free addresses is low (percent).
    pub subnet_free_percent: u32,
    /// Pods that a node shall be able to start at once: the burst goal of its warm pool.
    pub burst_pods: u32,
    /// Idle addresses of a node beyond the burst goal that are a finding.
    pub idle_addresses: u32,
    /// Free addresses that a node's warm pool shall not go below.
    pub warm_floor: u32,
    /// A trunk with a larger share of its branch slots used is near its limit (percent).
    pub branch_used_percent: u32,
    /// Age in seconds beyond which the data of a source count as stale.
    pub stale_seconds: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            subnet_free_percent: 10,
            burst_pods: 10,
            idle_addresses: 16,
            warm_floor: 1,
            branch_used_percent: 85,
            stale_seconds: 900,
        }
    }
}
