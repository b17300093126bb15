//! What ipamd on each node says of itself: its metrics, where an audit asks for them.
//!
//! Every number is optional: a series that is not in the answer is not known, since versions differ in what they count.
//! Only a counter with labels is different: the CNI's client library shows none of its series before the first event,
//! so that its growth counts from zero.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    ids::NodeName,
    source::{Observed, Reading},
};

/// One node's ipamd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpamdNode {
    /// The node.
    pub node: NodeName,
    /// What it said last, and why there is nothing newer.
    pub said: Reading<IpamdSaid>,
    /// What it had counted some minutes before; none at the first looks.
    pub before: Option<Observed<IpamdTroubles>>,
}

/// One answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpamdSaid {
    /// Its pool of addresses.
    pub pool: IpamdPool,
    /// What went wrong since it started.
    pub troubles: IpamdTroubles,
    /// What it did since it started: for metrics, no finding rests on it.
    pub activity: IpamdActivity,
}

/// What ipamd has, by its own books. With several network cards in use the last card's numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpamdPool {
    /// `awscni_total_ip_addresses`: addresses that pods may have. Below zero after some forced removals.
    pub total: Option<i32>,
    /// `awscni_assigned_ip_addresses`: those that a pod has.
    pub assigned: Option<i32>,
    /// `awscni_total_ipv4_prefixes`.
    pub prefixes: Option<i32>,
    /// `awscni_eni_allocated`: its interfaces, the primary one and a trunk included.
    pub interfaces: Option<i32>,
    /// `awscni_eni_max`.
    pub interface_limit: Option<i32>,
    /// `awscni_ip_max`: with what a trunk, or the primary interface under custom networking, never gives a pod.
    pub address_limit: Option<i32>,
}

/// Counters of failures, summed over their labels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpamdTroubles {
    /// `awscni_no_available_ip_addresses`: pods that it had no address for.
    pub refused: Option<u32>,
    /// `awscni_ipamd_error_count`.
    pub errors: Option<u32>,
    /// Those of them that are about getting addresses and interfaces (`increaseIPPool…`).
    pub growth_errors: Option<u32>,
    /// `awscni_aws_api_error_count`.
    pub aws_errors: Option<u32>,
    /// Those of them that are throttling.
    pub throttled: Option<u32>,
    /// Those of them that are missing rights.
    pub denied: Option<u32>,
    /// `awscni_ec2api_error_count`.
    pub ec2_errors: Option<u32>,
    /// `awscni_aws_utils_error_count`: interfaces that could not be given back.
    pub cleanup_errors: Option<u32>,
    /// `awscni_pod_eni_error_count`.
    pub pod_eni_errors: Option<u32>,
    /// `awscni_force_removed_enis`: interfaces that were taken away under pods.
    pub forced_interfaces: Option<u32>,
    /// `awscni_force_removed_ips`: addresses that were.
    pub forced_addresses: Option<u32>,
}

/// What ipamd did, summed over labels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpamdActivity {
    /// `awscni_add_ip_req_count`.
    pub added: Option<u32>,
    /// `awscni_del_ip_req_count`.
    pub deleted: Option<u32>,
    /// `awscni_ec2api_req_count`.
    pub ec2_requests: Option<u32>,
    /// `awscni_reconcile_count`.
    pub reconciled: Option<u32>,
    /// `awscni_ipamd_action_inprogress`.
    pub in_progress: Option<u32>,
    /// The sum of `awscni_assigned_ip_per_cidr`.
    pub assigned_in_blocks: Option<u32>,
    /// The worst 99th percentile of `awscni_aws_api_latency_ms`, rounded up.
    pub aws_latency_ms: Option<u32>,
}

impl IpamdNode {
    /// How much a counter has grown since the look before, and since when; none without both looks. One that is smaller
    /// than it was began anew when ipamd did.
    pub fn growth(&self, counter: fn(&IpamdTroubles) -> Option<u32>) -> Option<(u32, Timestamp)> {
        let now = self.said.value()?;
        let before = self.before.as_ref()?;
        let (then, now) = (counter(&before.value).unwrap_or(0), counter(&now.troubles).unwrap_or(0));
        Some((now.checked_sub(then).unwrap_or(now), before.as_of))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(before: Option<u32>, now: Option<u32>) -> IpamdNode {
        let troubles = |refused| IpamdTroubles { refused, ..IpamdTroubles::default() };
        let said = IpamdSaid { troubles: troubles(now), ..IpamdSaid::default() };
        IpamdNode {
            node: "node-0".into(),
            said: Reading::fresh(said, Timestamp::UNIX_EPOCH),
            before: Some(Observed { value: troubles(before), as_of: Timestamp::UNIX_EPOCH }),
        }
    }

    #[test]
    fn a_counter_that_appears_grew_from_zero_and_one_that_shrank_began_anew() {
        for (before, now, growth) in
            [(None, None, 0), (None, Some(3), 3), (Some(3), Some(3), 0), (Some(3), Some(5), 2), (Some(9), Some(2), 2)]
        {
            let grown = node(before, now).growth(|troubles| troubles.refused);
            assert_eq!(grown.map(|(grown, _)| grown), Some(growth), "{before:?} {now:?}");
        }
        let first = IpamdNode { before: None, ..node(None, Some(7)) };
        assert_eq!(first.growth(|troubles| troubles.refused), None, "one look is no growth");
    }
}
