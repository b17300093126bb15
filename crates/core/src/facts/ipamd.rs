//! What each node's ipamd says of itself, whether that can be relied upon, and its books beside EC2's and the pods'.

use jiff::{SignedDuration, Timestamp};

use super::{Facts, NodeFacts};
use crate::{
    cni::parse_bool,
    snapshot::{ClusterSnapshot, EnvValue, IpamdNode},
    source::{FaultCategory, Source, SourceFault},
};

/// Puts ipamd's words on the nodes. Both are sorted by name.
pub(super) fn add<'a>(nodes: &mut [NodeFacts<'a>], snapshot: &'a ClusterSnapshot) {
    let Some(rows) = snapshot.ipamd.value() else { return };
    for node in nodes {
        let found = rows.binary_search_by(|row| row.node.cmp(&node.node.name));
        node.ipamd = found.ok().and_then(|at| rows.get(at)).map(AsRef::as_ref);
    }
}

/// Whether ipamd on a node answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer<'a> {
    /// Nobody asked it yet.
    NotAsked,
    /// It does.
    Answers(&'a IpamdNode),
    /// It did, so long ago that this proves nothing any more.
    TooOld,
    /// It does not, because its metrics are switched off.
    MetricsOff,
    /// It does not, on a node that is not Ready.
    NodeNotReady(&'a SourceFault),
    /// It does not, on a node that is Ready.
    Silent(&'a SourceFault),
    /// It was not reached, for a reason that says nothing of it: a missing right, no pod to ask.
    CannotTell(&'a SourceFault),
}

impl Answer<'_> {
    /// In one word; none while that is not known.
    pub(crate) const fn reachable(&self) -> Option<bool> {
        match self {
            Self::Answers(_) => Some(true),
            Self::MetricsOff | Self::Silent(_) => Some(false),
            Self::NotAsked | Self::TooOld | Self::NodeNotReady(_) | Self::CannotTell(_) => None,
        }
    }
}

/// Three counts of one node's pod addresses, where all three are counts of the same things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Books {
    /// Addresses that ipamd may give pods.
    pub(crate) total: u32,
    /// Those that it says a pod has.
    pub(crate) assigned: u32,
    /// Addresses for pods on the node's interfaces, as EC2 says.
    pub(crate) in_ec2: u32,
    /// Pods on the node that have, or want, such an address.
    pub(crate) pods: u32,
    /// The interfaces that ipamd counts; none where its version does not say.
    pub(crate) interfaces: Option<u32>,
    /// The older of ipamd's answer and EC2's.
    pub(crate) seen_at: Timestamp,
}

impl<'a> Facts<'a> {
    /// Whether this audit asks ipamd.
    pub(crate) fn asks_ipamd(&self) -> bool {
        self.sources.iter().any(|state| state.source == Source::Ipamd)
    }

    /// Whether ipamd on a node answers.
    pub(crate) fn ipamd_answer(&self, node: &NodeFacts<'a>) -> Answer<'a> {
        let Some(ipamd) = node.ipamd else {
            // Where nobody ever answered, why is known of all together.
            let of_all = self.snapshot.ipamd.fault.as_ref().filter(|fault| fault.category != FaultCategory::Pending);
            return of_all.map_or(Answer::NotAsked, |fault| why_not(node, fault));
        };
        match &ipamd.said.fault {
            None if self.is_old(ipamd.said.as_of()) => Answer::TooOld,
            None => Answer::Answers(ipamd),
            Some(fault) => why_not(node, fault),
        }
    }

    fn is_old(&self, as_of: Option<Timestamp>) -> bool {
        let limit = SignedDuration::from_secs(self.policy.thresholds.stale_seconds.into());
        as_of.is_none_or(|at| self.snapshot.taken_at.duration_since(at) > limit)
    }

    /// The three counts; none where one is missing, or where they are not of the same things: other cards serve pods,
    /// what the CNI leaves alone still does, or the node is so young that it is being filled.
    pub(crate) fn books(&self, node: &NodeFacts<'a>) -> Option<Books> {
        let Answer::Answers(ipamd) = self.ipamd_answer(node) else { return None };
        let (pool, cni) = (node.pool.as_ref()?, node.cni.as_ref()?);
        let config = cni.config();
        let on = |setting: &crate::cni::Setting<bool>| setting.value_or(false);
        let unsure = cni.lacks(&["ENABLE_MULTI_NIC", "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "ENABLE_PREFIX_DELEGATION"]);
        let primary_serves = || pool.interfaces.first().is_some_and(|on| on.interface.pod_addresses() > 0);
        let differs = on(&config.multi_nic)
            || (on(&config.custom_networking) && primary_serves())
            || pool.interfaces.iter().any(|on| on.uses().stranded > 0)
            || pool.apart.iter().any(|on| on.uses().pods > 0);
        if unsure || differs || node.ipv6 || self.is_young(node) {
            return None;
        }
        let said = ipamd.said.last_good.as_ref()?;
        let ours = &said.value.pool;
        Some(Books {
            total: u32::try_from(ours.total?).ok()?,
            assigned: u32::try_from(ours.assigned?).ok()?,
            in_ec2: pool.managed(),
            pods: node.pool_pods?,
            interfaces: ours.interfaces.and_then(|count| u32::try_from(count).ok()),
            seen_at: said.as_of.min(self.as_of(Source::NetworkInterfaces)?),
        })
    }
}

fn why_not<'a>(node: &NodeFacts<'_>, fault: &'a SourceFault) -> Answer<'a> {
    let speaks_of_ipamd =
        matches!(fault.category, FaultCategory::Unreachable | FaultCategory::Malformed | FaultCategory::ServerFault);
    match node.node.state.ready {
        _ if !speaks_of_ipamd => Answer::CannotTell(fault),
        _ if metrics_are_off(node) => Answer::MetricsOff,
        Some(false) => Answer::NodeNotReady(fault),
        _ => Answer::Silent(fault),
    }
}

fn metrics_are_off(node: &NodeFacts<'_>) -> bool {
    let value = node.aws_node.and_then(|pod| pod.env.values.get("DISABLE_METRICS"));
    matches!(value, Some(EnvValue::Literal(text)) if parse_bool(text) == Some(true))
}
