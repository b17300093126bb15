//! What was asked, and how it was answered: for assertions on rates, pages and filters.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::query::Request;

/// Requests that the log keeps in full; its counts go on beyond.
const MOST_KEPT: usize = 100_000;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LoggedRequest {
    /// The action.
    pub action: String,
    /// Its parameters, as the protocol spells them.
    pub params: BTreeMap<String, String>,
    /// Who signed it.
    pub access_key: Option<String>,
    /// The region it was signed for.
    pub region: Option<String>,
    /// When it came.
    pub at: Timestamp,
    /// HTTP status of the answer.
    pub status: u16,
    /// EC2's error code, if it was refused.
    pub error: Option<String>,
    /// Size of the answer.
    pub bytes: usize,
}

/// How often an action was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionCount {
    /// All requests.
    pub requests: u64,
    /// Those that were refused, by the simulator or by a fault.
    pub errors: u64,
}

/// The requests since the start or the last reset.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestLog {
    /// Counts by action.
    pub counts: BTreeMap<String, ActionCount>,
    /// The first 100,000 requests, in order.
    pub requests: Vec<LoggedRequest>,
}

/// How a request was answered.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: u16,
    pub(crate) error: Option<String>,
    pub(crate) bytes: usize,
}

impl RequestLog {
    /// Requests of an action.
    pub fn count(&self, action: &str) -> u64 {
        self.counts.get(action).map_or(0, |count| count.requests)
    }

    /// Requests of every action.
    pub fn total(&self) -> u64 {
        self.counts.values().map(|count| count.requests).sum()
    }

    pub(crate) fn record(&mut self, request: &Request, at: Timestamp, outcome: Outcome) {
        let count = self.counts.entry(request.action.clone()).or_default();
        count.requests += 1;
        count.errors += u64::from(outcome.error.is_some());
        if self.requests.len() < MOST_KEPT {
            self.requests.push(LoggedRequest {
                action: request.action.clone(),
                params: request.params.as_map().clone(),
                access_key: request.access_key.clone(),
                region: request.region.clone(),
                at,
                status: outcome.status,
                error: outcome.error,
                bytes: outcome.bytes,
            });
        }
    }
}
