//! What is known of each source of data, and how old it is.
//!
//! A [`Reading`] keeps the last good view *and* the reason why it is not fresh, if there is one: a fault never wipes
//! what was known, and what was known never hides a fault. Missing is not zero.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::rights;

/// One of the places the audit reads from. A closed set: it labels metrics and names what is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Source {
    /// Kubernetes nodes.
    Nodes,
    /// Kubernetes pods.
    Pods,
    /// The DaemonSet of the VPC CNI and its running pods.
    AwsNode,
    /// CNINode objects of the VPC resource controller (absent where its CRD is not installed).
    CniNodes,
    /// The metrics of each node's ipamd, where a spec asks for them.
    Ipamd,
    /// ENIConfigs of custom networking (absent where its CRD is not installed).
    EniConfigs,
    /// SecurityGroupPolicies (absent where its CRD is not installed).
    SecurityGroupPolicies,
    /// Kubernetes service accounts.
    ServiceAccounts,
    /// ConfigMaps of `kube-system` that matter for addresses.
    ConfigMaps,
    /// Kubernetes events.
    Events,
    /// DaemonSets.
    DaemonSets,
    /// Deployments.
    Deployments,
    /// Services.
    Services,
    /// NetworkPolicies.
    NetworkPolicies,
    /// MutatingWebhookConfigurations.
    MutatingWebhooks,
    /// Karpenter's EC2NodeClasses.
    NodeClasses,
    /// Karpenter's NodePools.
    NodePools,
    /// Karpenter's NodeClaims.
    NodeClaims,
    /// `ec2:DescribeVpcs`.
    Vpcs,
    /// `ec2:DescribeSubnets`.
    Subnets,
    /// `ec2:DescribeNetworkInterfaces`.
    NetworkInterfaces,
    /// `ec2:DescribeInstanceTypes`.
    InstanceTypes,
    /// `ec2:GetSubnetCidrReservations`.
    CidrReservations,
    /// `ec2:DescribeInstances`.
    Instances,
    /// `ec2:DescribeSecurityGroups`.
    SecurityGroups,
    /// `ec2:DescribeRouteTables`.
    RouteTables,
}

impl Source {
    /// Every source, in the order they are reported.
    pub const ALL: [Self; 26] = [
        Self::Nodes,
        Self::Pods,
        Self::AwsNode,
        Self::CniNodes,
        Self::Ipamd,
        Self::EniConfigs,
        Self::SecurityGroupPolicies,
        Self::ServiceAccounts,
        Self::ConfigMaps,
        Self::Events,
        Self::DaemonSets,
        Self::Deployments,
        Self::Services,
        Self::NetworkPolicies,
        Self::MutatingWebhooks,
        Self::NodeClasses,
        Self::NodePools,
        Self::NodeClaims,
        Self::Vpcs,
        Self::Subnets,
        Self::NetworkInterfaces,
        Self::InstanceTypes,
        Self::CidrReservations,
        Self::Instances,
        Self::SecurityGroups,
        Self::RouteTables,
    ];

    /// The name in conditions, metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nodes => "nodes",
            Self::Pods => "pods",
            Self::AwsNode => "aws-node",
            Self::CniNodes => "cninodes",
            Self::Ipamd => "ipamd",
            Self::EniConfigs => "eniconfigs",
            Self::SecurityGroupPolicies => "security-group-policies",
            Self::ServiceAccounts => "service-accounts",
            Self::ConfigMaps => "config-maps",
            Self::Events => "events",
            Self::DaemonSets => "daemon-sets",
            Self::Deployments => "deployments",
            Self::Services => "services",
            Self::NetworkPolicies => "network-policies",
            Self::MutatingWebhooks => "mutating-webhooks",
            Self::NodeClasses => "ec2-node-classes",
            Self::NodePools => "node-pools",
            Self::NodeClaims => "node-claims",
            Self::Vpcs => "vpcs",
            Self::Subnets => "subnets",
            Self::NetworkInterfaces => "network-interfaces",
            Self::InstanceTypes => "instance-types",
            Self::CidrReservations => "cidr-reservations",
            Self::Instances => "instances",
            Self::SecurityGroups => "security-groups",
            Self::RouteTables => "route-tables",
        }
    }

    /// The IAM action that opens the source, if it is one of EC2 that the operator reads.
    pub fn iam_action(self) -> Option<&'static str> {
        rights::action_of(self)
    }

    /// Whether an audit without it is still complete: the ledger and the capacity of every node stand without it (the
    /// embedded table stands in for instance types), and the rules that need it say that they cannot tell.
    pub const fn is_optional(self) -> bool {
        !matches!(self, Self::Nodes | Self::Pods | Self::AwsNode | Self::Subnets | Self::NetworkInterfaces)
    }

    /// Whether somebody has to be told when it cannot be read: the audit is not complete without it, or its spec asks
    /// for it.
    pub const fn is_missed(self) -> bool {
        matches!(self, Self::Ipamd) || !self.is_optional()
    }

    /// Whether it is read again and again, so that a view without a newer one grows old. Not so the parts of EC2 that are
    /// read now and then because they change rarely.
    pub fn is_polled(self) -> bool {
        matches!(self, Self::Ipamd) || (self.iam_action().is_some() && !self.is_optional())
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a source could not be read. The category is a bounded label; the message is for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFault {
    /// What kind of fault.
    pub category: FaultCategory,
    /// One sentence: what happened and what to do about it.
    pub message: String,
}

/// The kinds of faults; each has one consequence for the reader and for the retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FaultCategory {
    /// A right is missing: the message names it.
    Denied,
    /// No credentials, or credentials that AWS refuses.
    Credentials,
    /// The service asks to come back later.
    Throttled,
    /// No answer: network, DNS, endpoint, time-out.
    Unreachable,
    /// The service failed.
    ServerFault,
    /// The answer or a value in it makes no sense.
    Malformed,
    /// The thing to read is not there: no such VPC, no DaemonSet, nothing in this region.
    NotFound,
    /// Not read yet.
    Pending,
    /// Not read at all by whoever made the snapshot.
    NotCollected,
    /// Not in the files that were given: the cluster may have it or not.
    NotProvided,
}

impl FaultCategory {
    /// The label in metrics, logs and condition reasons.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Denied => "Denied",
            Self::Credentials => "Credentials",
            Self::Throttled => "Throttled",
            Self::Unreachable => "Unreachable",
            Self::ServerFault => "ServerFault",
            Self::Malformed => "Malformed",
            Self::NotFound => "NotFound",
            Self::Pending => "Pending",
            Self::NotCollected => "NotCollected",
            Self::NotProvided => "NotProvided",
        }
    }
}

/// A value and the moment it was true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed<T> {
    /// What was seen.
    pub value: T,
    /// When it was seen.
    pub as_of: Timestamp,
}

/// All that is known of one source: the last good view, and why there is no newer or no fuller one.
///
/// With both a view and a fault, the view is either old (a later attempt failed) or lacks what the fault names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading<T> {
    /// The last good view, however old.
    pub last_good: Option<Observed<T>>,
    /// Why the newest attempt failed or is incomplete; none if all is well.
    pub fault: Option<SourceFault>,
}

impl<T> Reading<T> {
    /// A source that was just read.
    pub fn fresh(value: T, as_of: Timestamp) -> Self {
        Self { last_good: Some(Observed { value, as_of }), fault: None }
    }

    /// A source that was never read.
    pub fn missing(category: FaultCategory, message: impl Into<String>) -> Self {
        Self { last_good: None, fault: Some(SourceFault { category, message: message.into() }) }
    }

    /// A source that whoever made the snapshot does not read at all.
    pub fn not_collected() -> Self {
        Self::missing(FaultCategory::NotCollected, "not collected")
    }

    /// The newest attempt on top of what was known before: a good view replaces it, a fault keeps it.
    #[must_use]
    pub fn after(self, attempt: Result<Observed<T>, SourceFault>) -> Self {
        match attempt {
            Ok(observed) => Self { last_good: Some(observed), fault: None },
            Err(fault) => Self { last_good: self.last_good, fault: Some(fault) },
        }
    }

    /// The same with another shape of its view.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Reading<U> {
        let shape = |Observed { value, as_of }| Observed { value: change(value), as_of };
        Reading { last_good: self.last_good.map(shape), fault: self.fault }
    }

    /// The last good view, if there ever was one.
    pub fn value(&self) -> Option<&T> {
        self.last_good.as_ref().map(|observed| &observed.value)
    }

    /// When the last good view was taken.
    pub fn as_of(&self) -> Option<Timestamp> {
        self.last_good.as_ref().map(|observed| observed.as_of)
    }

    /// What is known about the source itself, without the data.
    pub fn state(&self, source: Source) -> SourceState {
        SourceState { source, as_of: self.as_of(), fault: self.fault.clone() }
    }
}

impl<T> Default for Reading<T> {
    fn default() -> Self {
        Self::missing(FaultCategory::Pending, "not read yet")
    }
}

/// The state of one source in an outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceState {
    /// Which one.
    pub source: Source,
    /// When the last good view was taken; none if there never was one.
    pub as_of: Option<Timestamp>,
    /// Why the newest attempt failed.
    pub fault: Option<SourceFault>,
}

impl SourceState {
    /// Whether there is nothing to go by at all.
    pub fn is_missing(&self) -> bool {
        self.as_of.is_none()
    }

    /// Whether whoever made the snapshot does not read it at all.
    pub fn is_not_collected(&self) -> bool {
        self.fault.as_ref().is_some_and(|fault| fault.category == FaultCategory::NotCollected)
    }

    /// Whether the last good view is too old to prove anything.
    ///
    /// Watches have no age of their own while they run: a source without a fault is as good as its last event. Nor have
    /// the parts of EC2 that are read now and then because they change rarely.
    pub fn is_stale(&self, now: Timestamp, limit: SignedDuration) -> bool {
        let ages = self.fault.is_some() || self.source.is_polled();
        ages && self.as_of.is_some_and(|at| now.duration_since(at) > limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_now_and_then_is_not_stale_in_between() {
        let hour = SignedDuration::from_hours(1);
        let state = |source, fault: Option<FaultCategory>| SourceState {
            source,
            as_of: Some(Timestamp::UNIX_EPOCH),
            fault: fault.map(|category| SourceFault { category, message: String::new() }),
        };
        let now = Timestamp::UNIX_EPOCH + hour;
        let too_old = |source, fault| state(source, fault).is_stale(now, hour / 4);
        assert!(too_old(Source::Subnets, None), "read at every reading");
        assert!(!too_old(Source::CidrReservations, None) && !too_old(Source::Instances, None));
        assert!(too_old(Source::CidrReservations, Some(FaultCategory::Denied)));
        assert!(!too_old(Source::Pods, None));
    }

    #[test]
    fn a_fault_keeps_the_last_good_view() {
        let seen = Reading::fresh(7, Timestamp::UNIX_EPOCH);
        let fault = SourceFault { category: FaultCategory::Throttled, message: "later".into() };
        let after = seen.after(Err(fault.clone()));
        assert_eq!((after.value(), after.fault.as_ref()), (Some(&7), Some(&fault)));
        let healed = after.after(Ok(Observed { value: 8, as_of: Timestamp::UNIX_EPOCH }));
        assert_eq!((healed.value(), healed.fault.as_ref()), (Some(&8), None));
    }
}
