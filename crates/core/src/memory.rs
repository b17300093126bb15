//! What one evaluation leaves to the next: suspicions with the time they arose, and which findings were open.
//!
//! Reads of Kubernetes and EC2 are never of one instant, so some states look wrong that are only skew. A rule that
//! could be fooled reports a *suspicion*; it becomes a finding when a later look, at least so many seconds apart, shows
//! the very same thing. Thresholds with hysteresis ask whether their finding was open before.
//!
//! It is small (one entry per suspicion or finding, none per node or pod) and holds no data of the cluster but names.
//! A process that starts anew may fill `open` from the findings it once wrote: what was proven stays proven.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The memory between two evaluations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// When each suspicion arose: the time of the data that showed it first, by its identity.
    pub suspicions: BTreeMap<String, Timestamp>,
    /// Fingerprints of the findings that were open.
    pub open: BTreeSet<String>,
}

impl Memory {
    /// Whether a finding was open before.
    pub fn was_open(&self, fingerprint: &str) -> bool {
        self.open.contains(fingerprint)
    }

    /// When something was suspected first, if it was.
    pub fn suspected_since(&self, identity: &str) -> Option<Timestamp> {
        self.suspicions.get(identity).copied()
    }
}
