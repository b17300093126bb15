//! Conditions of the audit, of a node and of a subnet.

use std::sync::Arc;

use serde::Serialize;

/// `True`, `False` or `Unknown`, as in `metav1.Condition`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum ConditionStatus {
    /// The good state, in positive polarity.
    True,
    /// The bad state.
    False,
    /// Data for it are missing or stale.
    Unknown,
}

impl ConditionStatus {
    /// The word in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// A condition without its times, which the publisher keeps.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Condition {
    /// Its type.
    pub kind: ConditionType,
    /// Its status.
    pub status: ConditionStatus,
    /// One CamelCase word; for a finding, the finding's name.
    pub reason: &'static str,
    /// One sentence with numbers; nodes that say the same share it.
    pub message: Arc<str>,
}

/// The types of conditions, positive polarity. A closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum ConditionType {
    /// No finding at or above the gate.
    Healthy,
    /// Every required source was read.
    DataComplete,
    /// Addresses are left: for the cluster, and for a node within its own limits.
    CapacityAvailable,
    /// Every address is accounted for.
    AddressesReconciled,
    /// The CNI's settings make sense and agree.
    ConfigurationConsistent,
    /// The warm pool fits the pods it serves.
    WarmPoolSized,
    /// The subnet of the next interface has what it needs.
    SubnetCapacityAvailable,
    /// The trunk has branch slots left.
    BranchCapacityAvailable,
    /// ipamd answers when it is asked for its metrics.
    IpamdReachable,
    /// The subnet has addresses.
    AddressesAvailable,
    /// The subnet has whole /28 blocks.
    PrefixesAvailable,
}

impl ConditionType {
    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "Healthy",
            Self::DataComplete => "DataComplete",
            Self::CapacityAvailable => "CapacityAvailable",
            Self::AddressesReconciled => "AddressesReconciled",
            Self::ConfigurationConsistent => "ConfigurationConsistent",
            Self::WarmPoolSized => "WarmPoolSized",
            Self::SubnetCapacityAvailable => "SubnetCapacityAvailable",
            Self::BranchCapacityAvailable => "BranchCapacityAvailable",
            Self::IpamdReachable => "IpamdReachable",
            Self::AddressesAvailable => "AddressesAvailable",
            Self::PrefixesAvailable => "PrefixesAvailable",
        }
    }
}
