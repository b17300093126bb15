//! Optional Kubernetes objects: what a cluster may have beside nodes, pods and the CNI.
//!
//! Each has its own [`Reading`]: a reader that does not collect one leaves it missing, and the rules that need it say
//! that they cannot tell.

use std::{net::Ipv4Addr, sync::Arc};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{AwsNodeEnv, EniConfig, SecurityGroupPolicy, Selector, Tags};
use crate::{
    ids::{NodeName, SubnetId, Zone},
    source::{Reading, Source, SourceState},
};

/// The optional objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterObjects {
    /// ENIConfigs, sorted by name.
    pub eni_configs: Reading<Vec<EniConfig>>,
    /// SecurityGroupPolicies, sorted by namespace and name.
    pub security_group_policies: Reading<Vec<SecurityGroupPolicy>>,
    /// ServiceAccounts, sorted by namespace and name.
    pub service_accounts: Reading<Vec<ServiceAccount>>,
    /// ConfigMaps of `kube-system` that matter: `amazon-vpc-cni`, `aws-node`, `kube-proxy-config`.
    pub config_maps: Reading<Vec<ConfigMap>>,
    /// Events that speak of addresses, interfaces or trunks.
    pub events: Reading<Vec<Event>>,
    /// DaemonSets, sorted by namespace and name.
    pub daemon_sets: Reading<Vec<Workload>>,
    /// Deployments, sorted by namespace and name.
    pub deployments: Reading<Vec<Workload>>,
    /// Services, sorted by namespace and name.
    pub services: Reading<Vec<Service>>,
    /// NetworkPolicies, sorted by namespace and name.
    pub network_policies: Reading<Vec<NetworkPolicy>>,
    /// Names of webhooks of all MutatingWebhookConfigurations, sorted.
    pub mutating_webhooks: Reading<Vec<Arc<str>>>,
    /// Karpenter's EC2NodeClasses, sorted by name.
    pub node_classes: Reading<Vec<NodeClass>>,
    /// Karpenter's NodePools, sorted by name.
    pub node_pools: Reading<Vec<NodePool>>,
    /// Karpenter's NodeClaims, sorted by name.
    pub node_claims: Reading<Vec<NodeClaim>>,
}

impl Default for ClusterObjects {
    fn default() -> Self {
        Self {
            eni_configs: Reading::not_collected(),
            security_group_policies: Reading::not_collected(),
            service_accounts: Reading::not_collected(),
            config_maps: Reading::not_collected(),
            events: Reading::not_collected(),
            daemon_sets: Reading::not_collected(),
            deployments: Reading::not_collected(),
            services: Reading::not_collected(),
            network_policies: Reading::not_collected(),
            mutating_webhooks: Reading::not_collected(),
            node_classes: Reading::not_collected(),
            node_pools: Reading::not_collected(),
            node_claims: Reading::not_collected(),
        }
    }
}

impl ClusterObjects {
    /// The state of each.
    pub fn states(&self) -> [SourceState; 13] {
        [
            self.eni_configs.state(Source::EniConfigs),
            self.security_group_policies.state(Source::SecurityGroupPolicies),
            self.service_accounts.state(Source::ServiceAccounts),
            self.config_maps.state(Source::ConfigMaps),
            self.events.state(Source::Events),
            self.daemon_sets.state(Source::DaemonSets),
            self.deployments.state(Source::Deployments),
            self.services.state(Source::Services),
            self.network_policies.state(Source::NetworkPolicies),
            self.mutating_webhooks.state(Source::MutatingWebhooks),
            self.node_classes.state(Source::NodeClasses),
            self.node_pools.state(Source::NodePools),
            self.node_claims.state(Source::NodeClaims),
        ]
    }
}

/// A ServiceAccount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceAccount {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its labels, sorted by key.
    pub labels: Tags,
    /// Annotation `eks.amazonaws.com/role-arn`.
    pub role: Option<Arc<str>>,
}

/// A ConfigMap of `kube-system`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigMap {
    /// Its name.
    pub name: Arc<str>,
    /// Its data, sorted by key.
    pub data: Tags,
}

impl ConfigMap {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.data.get(key)
    }
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Kind of the object it is about. Match on kind and name: the resource controller writes names for uids.
    pub kind: Arc<str>,
    /// Namespace of that object; empty for nodes.
    pub namespace: Arc<str>,
    /// Name of that object.
    pub name: Arc<str>,
    /// `MissingIAMPermissions`, `TrunkENICreationFailed`, …
    pub reason: Arc<str>,
    /// `Normal` or `Warning`.
    pub severity: Arc<str>,
    /// `action` of `events.k8s.io`: for missing permissions, the API's name.
    pub action: Option<Arc<str>>,
    /// Its text, clipped to 1024 characters.
    pub message: Arc<str>,
    /// When it last happened.
    pub last_at: Option<Timestamp>,
}

/// A DaemonSet or a Deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Images of its containers, in order.
    pub images: Box<[Arc<str>]>,
    /// The environment of its first container; with only literal values where references cannot be read.
    pub env: Arc<AwsNodeEnv>,
    /// `spec.replicas`, or the number of nodes that a DaemonSet wants.
    pub replicas: Option<u32>,
}

impl Workload {
    /// Whether it is Karpenter's controller.
    pub fn is_karpenter(&self) -> bool {
        is_karpenter(&self.name, self.images.iter().map(|image| &**image))
    }

    /// Whether it is a VPC resource controller of old times, which ran in the cluster.
    pub fn is_resource_controller(&self) -> bool {
        is_resource_controller(&self.namespace, &self.name)
    }
}

/// Whether a Deployment of this name, whose containers have these images, is Karpenter's controller.
pub fn is_karpenter<'a>(name: &str, images: impl IntoIterator<Item = &'a str>) -> bool {
    name == "karpenter" || images.into_iter().any(|image| image.contains("karpenter/controller"))
}

/// Whether a Deployment of this place is a VPC resource controller of old times.
pub fn is_resource_controller(namespace: &str, name: &str) -> bool {
    (namespace, name) == ("kube-system", "vpc-resource-controller")
}

/// A Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its IPv4 cluster address; none for headless ones.
    pub cluster_address: Option<Ipv4Addr>,
    /// Whether `externalTrafficPolicy` is `Local`.
    pub local_traffic: bool,
    /// Its pod selector; none where it has none.
    pub selector: Option<Selector>,
}

/// A NetworkPolicy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkPolicy {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// The pods it is about.
    pub pods: Selector,
}

/// Karpenter's EC2NodeClass.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeClass {
    /// Its name.
    pub name: Arc<str>,
    /// `spec.kubelet.maxPods`, where it is a number.
    pub max_pods: Option<u32>,
    /// Whether `spec.kubelet.maxPods` is an expression.
    pub max_pods_is_expression: bool,
    /// `status.subnets`: id and zone.
    pub subnets: Box<[(SubnetId, Zone)]>,
    /// Condition `SubnetsReady`, and its message.
    pub subnets_ready: Option<(bool, Arc<str>)>,
}

/// Karpenter's NodePool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePool {
    /// Its name.
    pub name: Arc<str>,
    /// The EC2NodeClass it uses.
    pub node_class: Arc<str>,
    /// Its requirements: key, operator, values.
    pub requirements: Vec<super::Requirement>,
    /// `spec.limits.nodes`, where it is set.
    pub node_limit: Option<u32>,
}

/// Karpenter's NodeClaim.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeClaim {
    /// Its name.
    pub name: Arc<str>,
    /// The NodePool that made it.
    pub node_pool: Option<Arc<str>>,
    /// The node it became.
    pub node: Option<NodeName>,
    /// Condition `Launched` when it is not true: reason and message.
    pub launch_failure: Option<(Arc<str>, Arc<str>)>,
}
