//! Objects that say how pods shall be networked: ENIConfigs, CNINodes, SecurityGroupPolicies.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Tags;
use crate::ids::{InstanceId, NodeName, SubnetId};

/// A CNINode: what ipamd asked the VPC resource controller for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CniNode {
    /// The node of the same name.
    pub name: NodeName,
    /// Whether it asks for a trunk (feature `SecurityGroupsForPods`).
    pub wants_trunk: bool,
    /// The ENIConfig it names (feature `CustomNetworking`); some and empty when the feature has no value.
    pub eni_config: Option<Arc<str>>,
    /// The instance of its tag `node.k8s.amazonaws.com/instance_id`.
    pub instance: Option<InstanceId>,
    /// `metadata.creationTimestamp`.
    pub created_at: Option<Timestamp>,
    /// `metadata.deletionTimestamp`.
    pub deleted_at: Option<Timestamp>,
}

impl CniNode {
    /// One of which nothing else is known.
    pub fn new(name: NodeName, wants_trunk: bool) -> Self {
        Self { name, wants_trunk, eni_config: None, instance: None, created_at: None, deleted_at: None }
    }
}

/// An ENIConfig: subnet and security groups of new interfaces under custom networking.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EniConfig {
    /// Its name: nodes choose it by that.
    pub name: Arc<str>,
    /// `spec.subnet`.
    pub subnet: SubnetId,
    /// `spec.securityGroups`.
    pub security_groups: Box<[Arc<str>]>,
}

/// A SecurityGroupPolicy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroupPolicy {
    /// Its namespace: it selects pods of no other.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// `spec.podSelector`; none where absent or null.
    pub pods: Option<Selector>,
    /// `spec.serviceAccountSelector`; none where absent or null.
    pub service_accounts: Option<Selector>,
    /// `spec.securityGroups.groupIds`.
    pub groups: Box<[Arc<str>]>,
}

/// A label selector.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selector {
    /// `matchLabels`.
    pub labels: BTreeMap<Arc<str>, Arc<str>>,
    /// `matchExpressions`.
    pub expressions: Vec<Requirement>,
}

/// One of `matchExpressions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirement {
    /// The label.
    pub key: Arc<str>,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`; anything else matches nothing.
    pub operator: Arc<str>,
    /// The values.
    pub values: Box<[Arc<str>]>,
}

impl Selector {
    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.expressions.is_empty()
    }

    /// Whether labels match, by the rules of Kubernetes.
    pub fn matches(&self, labels: &Tags) -> bool {
        let value = |key: &str| labels.get(key);
        let equal = self.labels.iter().all(|(key, wanted)| value(key) == Some(&**wanted));
        equal && self.expressions.iter().all(|requirement| requirement.matches(value(&requirement.key)))
    }
}

impl Requirement {
    /// Whether a value, or the absence of one, satisfies it.
    pub fn matches(&self, value: Option<&str>) -> bool {
        let listed = |value: &str| self.values.iter().any(|one| **one == *value);
        match &*self.operator {
            "In" => value.is_some_and(listed),
            "NotIn" => !value.is_some_and(listed),
            "Exists" => value.is_some(),
            "DoesNotExist" => value.is_none(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_matches_as_kubernetes_does() {
        let labels: Tags = [("app".into(), "shop".into()), ("tier".into(), "web".into())].into();
        let requirement = |key: &str, operator: &str, values: &[&str]| Requirement {
            key: key.into(),
            operator: operator.into(),
            values: values.iter().map(|value| (*value).into()).collect(),
        };
        let by = |expressions: Vec<Requirement>| Selector { labels: BTreeMap::new(), expressions };
        assert!(Selector::default().matches(&labels) && Selector::default().is_empty());
        assert!(by(vec![requirement("app", "In", &["shop", "bar"])]).matches(&labels));
        assert!(!by(vec![requirement("app", "NotIn", &["shop"])]).matches(&labels));
        assert!(by(vec![requirement("other", "NotIn", &["shop"])]).matches(&labels), "an absent label is not in");
        assert!(by(vec![requirement("tier", "Exists", &[]), requirement("x", "DoesNotExist", &[])]).matches(&labels));
        assert!(!by(vec![requirement("tier", "Near", &[])]).matches(&labels), "unknown operators match nothing");
        let labels_only = Selector { labels: [("app".into(), "other".into())].into(), expressions: Vec::new() };
        assert!(!labels_only.matches(&labels));
    }
}
