//! What a user decided: thresholds and their exceptions, the gate, rules that are switched off, findings that are
//! accepted for a while. Already validated.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    finding::{Finding, Severity},
    inventory::Subnet,
    snapshot::Node,
};

/// The decisions of one audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditPolicy {
    /// Findings at or above it make the audit unhealthy; none never does.
    pub gate: Option<Severity>,
    /// When a number is a finding.
    pub thresholds: Thresholds,
    /// Other thresholds for nodes of some node groups; the first that matches wins.
    pub node_groups: Vec<Exception>,
    /// Other thresholds for some subnets, by id or tag `Name`; the first that matches wins.
    pub subnets: Vec<Exception>,
    /// Codes or names of rules that are not evaluated.
    pub disabled_rules: BTreeSet<String>,
    /// Findings that are accepted.
    pub suppressions: Vec<Suppression>,
    /// What the cluster is called; none for what its CNI, its nodes and their tags tell.
    pub cluster: Option<Arc<str>>,
}

impl Default for AuditPolicy {
    fn default() -> Self {
        Self {
            gate: Some(Severity::Critical),
            thresholds: Thresholds::default(),
            node_groups: Vec::new(),
            subnets: Vec::new(),
            disabled_rules: BTreeSet::new(),
            suppressions: Vec::new(),
            cluster: None,
        }
    }
}

impl AuditPolicy {
    /// The thresholds for a node.
    pub fn for_node(&self, node: &Node) -> &Thresholds {
        let group = node.node_group.as_deref();
        let exception = self.node_groups.iter().find(|one| group.is_some_and(|group| one.names.matches(group)));
        exception.map_or(&self.thresholds, |one| &one.thresholds)
    }

    /// The thresholds for a subnet.
    pub fn for_subnet(&self, subnet: &Subnet) -> &Thresholds {
        let matches = |names: &Pattern| {
            names.matches(subnet.id.as_str()) || subnet.tag("Name").is_some_and(|name| names.matches(name))
        };
        let exception = self.subnets.iter().find(|one| matches(&one.names));
        exception.map_or(&self.thresholds, |one| &one.thresholds)
    }

    /// The suppression that accepts a finding at this moment.
    pub fn suppression(&self, finding: &Finding, now: Timestamp) -> Option<&Suppression> {
        self.suppressions.iter().find(|one| !one.is_expired(now) && one.covers(finding))
    }
}

/// Thresholds for things of some names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exception {
    /// Which.
    pub names: Pattern,
    /// Their thresholds.
    pub thresholds: Thresholds,
}

/// A name in which each `*` stands for any text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pattern(Arc<str>);

impl Pattern {
    /// From its text.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// Whether it fits a name.
    pub fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
        let mut parts = parts.peekable();
        if parts.peek().is_none() {
            return rest.is_empty();
        }
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return rest.ends_with(part);
            }
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        true
    }
}

/// A finding that somebody accepts, why, and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppression {
    /// Code or name of the rule.
    pub rule: String,
    /// Names of the subjects, or of their node groups; none for all.
    pub subjects: Option<Pattern>,
    /// Why it is accepted.
    pub reason: String,
    /// When it ends; none never does.
    pub until: Option<Timestamp>,
}

impl Suppression {
    /// Whether its time is over.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    fn covers(&self, finding: &Finding) -> bool {
        let named = |names: &Pattern| names.matches(finding.subject.name()) || names.matches(&finding.group);
        [finding.code, finding.name].contains(&self.rule.as_str()) && self.subjects.as_ref().is_none_or(named)
    }
}

/// The numbers that findings are measured against. Each default carries its reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thresholds {
    /// A subnet with a smaller share of free addresses is low (percent).
    pub subnet_free_percent: u32,
    /// A subnet with fewer free addresses is low, whatever its size: one prefix is 16.
    pub subnet_free_addresses: u32,
    /// How far (in percent points, or in sixteenths of the absolute number) a subnet must recover before it is no
    /// longer low: without it a subnet at the line opens and resolves with every pod.
    pub subnet_hysteresis_percent: u32,
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
    /// Seconds between two looks that prove a suspicion: longer than a branch's cool-down and EC2's own lag.
    pub suspicion_seconds: u32,
    /// Seconds for which an unattached interface is a suspicion: attaching takes a minute, cleaning up five.
    pub leak_seconds: u32,
    /// Share of a subnet's addresses on leaked interfaces that is worse than a leak (percent).
    pub leaked_percent: u32,
    /// Seconds after which a cordoned, draining or empty node that still holds addresses is waste.
    pub cordoned_seconds: u32,
    /// Seconds that a new node, interface or object gets to become what it should be.
    pub settle_seconds: u32,
    /// Share of its nodes that a subnet shall be able to replace at once (percent): a rolling upgrade's surge.
    pub surge_percent: u32,
    /// Used or fragmented share of a subnet's blocks from which prefixes get scarce (percent).
    pub fragmentation_percent: u32,
    /// Share of a pod subnet held by others than the cluster that is worth knowing (percent).
    pub others_percent: u32,
    /// Free addresses that the control plane asks for in each of its subnets before an upgrade.
    pub control_plane_addresses: u32,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            subnet_free_percent: 10,
            subnet_free_addresses: 16,
            subnet_hysteresis_percent: 2,
            burst_pods: 10,
            idle_addresses: 16,
            warm_floor: 1,
            branch_used_percent: 85,
            stale_seconds: 900,
            suspicion_seconds: 60,
            leak_seconds: 600,
            leaked_percent: 5,
            cordoned_seconds: 3600,
            settle_seconds: 300,
            surge_percent: 10,
            fragmentation_percent: 50,
            others_percent: 30,
            control_plane_addresses: 6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_as_a_shell_would() {
        for (pattern, name, fits) in [
            ("batch", "batch", true),
            ("batch", "batch-2", false),
            ("batch*", "batch-2", true),
            ("*", "", true),
            ("*-gpu", "ml-gpu", true),
            ("*-gpu", "ml-gpu-2", false),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("ab*ab", "ab", false),
            ("", "", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(name), fits, "{pattern} on {name}");
        }
    }
}
