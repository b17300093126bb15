//! The scenario file: what a cluster and its VPC hold, as a person writes it down.
//!
//! The file states what nodes hold; it never says why, and nothing here works it out. Names of subnets are short labels
//! of the file's own. Workloads are written `namespace/name`.

use std::collections::BTreeMap;

use ipnet::Ipv4Net;
use serde::Deserialize;

use crate::ec2::seed::{Instance, Interface, ReservationKind, Tags};

/// One cluster in one VPC.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ScenarioFile {
    /// Name of the scenario; every generated id depends on it.
    pub(super) name: String,
    /// AWS region.
    pub(super) region: String,
    /// Name of the EKS cluster.
    pub(super) cluster: String,
    /// The VPC.
    pub(super) vpc: VpcSpec,
    /// Subnets of nodes, pods and others.
    pub(super) subnets: Vec<SubnetSpec>,
    /// The VPC CNI. Left out, there is none in the cluster.
    #[serde(default)]
    pub(super) aws_node: Option<AwsNodeSpec>,
    /// Further `DaemonSets`, each with one pod on every node.
    #[serde(default)]
    pub(super) daemon_sets: Vec<DaemonSetSpec>,
    /// Nodes of one kind each; several entries may share a node group's name.
    pub(super) node_groups: Vec<NodeGroupSpec>,
    /// Interfaces that belong to neither nodes nor pods.
    #[serde(default)]
    pub(super) others: Vec<OtherSpec>,
    /// Interfaces that the CNI has left behind.
    #[serde(default)]
    pub(super) leaked: Vec<LeakedSpec>,
    /// Further interfaces of any kind, exactly as stated.
    #[serde(default)]
    pub(super) interfaces: Vec<Interface>,
    /// Further instances, exactly as stated.
    #[serde(default)]
    pub(super) instances: Vec<Instance>,
    /// Further Kubernetes objects, exactly as stated.
    #[serde(default)]
    pub(super) objects: Vec<serde_json::Value>,
    /// Further answers of EC2 by the bundle's file name, exactly as stated: what the simulator does not serve.
    #[serde(default)]
    pub(super) ec2_answers: BTreeMap<String, serde_json::Value>,
    /// Whether the cluster has the `CNINode` definition and one object for each node, as EKS has.
    #[serde(default)]
    pub(super) cni_nodes: bool,
}

/// The VPC.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct VpcSpec {
    /// `vpc-…`
    pub(super) id: String,
    /// Primary CIDR.
    pub(super) cidr: Ipv4Net,
    /// Secondary CIDRs.
    #[serde(default)]
    pub(super) secondary_cidrs: Vec<Ipv4Net>,
}

/// A subnet.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct SubnetSpec {
    /// Short label that the rest of the file uses.
    pub(super) name: String,
    /// `subnet-…`
    pub(super) id: String,
    /// Availability zone.
    pub(super) zone: String,
    /// Block.
    pub(super) cidr: Ipv4Net,
    /// Tags.
    #[serde(default)]
    pub(super) tags: Tags,
    /// CIDR reservations.
    #[serde(default)]
    pub(super) reservations: Vec<ReservationSpec>,
}

/// A subnet CIDR reservation.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ReservationSpec {
    /// Block inside the subnet.
    pub(super) cidr: Ipv4Net,
    /// `prefix` or `explicit`.
    pub(super) kind: ReservationKind,
}

/// The aws-node `DaemonSet` and its pods.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AwsNodeSpec {
    /// Name of the `DaemonSet` in kube-system; its label `k8s-app: aws-node` stays whatever the name.
    #[serde(default = "aws_node")]
    pub(super) name: String,
    /// Image tag, such as `v1.19.2-eksbuild.1`.
    pub(super) version: String,
    /// Environment of container `aws-node`.
    pub(super) env: BTreeMap<String, String>,
}

/// A `DaemonSet`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct DaemonSetSpec {
    /// `namespace/name`
    pub(super) workload: Workload,
    /// Whether its pods use the node's address instead of one of their own.
    #[serde(default)]
    pub(super) host_network: bool,
}

/// Nodes that are alike.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct NodeGroupSpec {
    /// Name of the managed node group.
    pub(super) name: String,
    /// Instance type.
    pub(super) instance_type: String,
    /// How many nodes in which subnet.
    pub(super) nodes: BTreeMap<String, u32>,
    /// Its CPUs.
    pub(super) cpu: u32,
    /// Its memory, as Kubernetes writes it.
    pub(super) memory: String,
    /// kubelet's limit of pods.
    pub(super) max_pods: u32,
    /// Further labels.
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, String>,
    /// Whether the nodes are cordoned.
    #[serde(default)]
    pub(super) cordoned: bool,
    /// For how many minutes they have been cordoned, if anybody knows.
    #[serde(default)]
    pub(super) cordoned_minutes: Option<u32>,
    /// For how many minutes they have been nodes; a day and some hours unless stated.
    #[serde(default)]
    pub(super) age_minutes: Option<u32>,
    /// What each node's interfaces hold; the first is the primary one.
    pub(super) interfaces: Vec<InterfaceSpec>,
    /// The trunk of security groups for pods.
    #[serde(default)]
    pub(super) trunk: Option<TrunkSpec>,
    /// Whether its nodes' `CNINodes` ask for a trunk that is not there.
    #[serde(default)]
    pub(super) wants_trunk: bool,
    /// The `ENIConfig` that ipamd has written into the nodes' `CNINodes`.
    #[serde(default)]
    pub(super) eni_config: Option<String>,
    /// Running pods of Deployments on each node, with an address of the node's pool.
    #[serde(default)]
    pub(super) pods: BTreeMap<Workload, u32>,
    /// Security groups of their branches; the cluster's unless stated.
    #[serde(default)]
    pub(super) branch_groups: Vec<String>,
    /// Running pods on each node with a branch interface of their own.
    #[serde(default)]
    pub(super) branch_pods: BTreeMap<Workload, u32>,
    /// Pods that wait for an address, so many in all, dealt out over the nodes of this entry in turn.
    #[serde(default)]
    pub(super) waiting_pods: BTreeMap<Workload, u32>,
}

/// What an interface of a node holds beside its primary address.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct InterfaceSpec {
    /// Secondary addresses.
    #[serde(default)]
    pub(super) secondary: u32,
    /// Delegated /28 prefixes.
    #[serde(default)]
    pub(super) prefixes: u32,
    /// Label of its subnet, when that is not the node's.
    #[serde(default)]
    pub(super) subnet: Option<String>,
    /// `no_manage`: attached by somebody else and left alone by the CNI.
    #[serde(default)]
    pub(super) unmanaged: bool,
}

/// The trunk of a node.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct TrunkSpec {
    /// Its device index; the VPC resource controller takes the highest free one.
    pub(super) device_index: u32,
    /// Its security groups; the cluster's unless stated.
    #[serde(default)]
    pub(super) groups: Vec<String>,
    /// Branches that it may carry, as the node's capacity says.
    pub(super) slots: u32,
    /// Label of its subnet, and of its branches', when that is not the node's.
    #[serde(default)]
    pub(super) subnet: Option<String>,
}

/// Interfaces of AWS services or plain instances.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct OtherSpec {
    /// Who it belongs to.
    pub(super) owner: OtherOwner,
    /// What to call it: the load balancer, the endpoint, the function.
    pub(super) name: String,
    /// How many in each subnet, by label.
    pub(super) count: BTreeMap<String, u32>,
}

/// Owners of interfaces that are not the cluster's nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum OtherOwner {
    /// An Application Load Balancer.
    ApplicationLoadBalancer,
    /// A Network Load Balancer.
    NetworkLoadBalancer,
    /// A NAT gateway.
    NatGateway,
    /// An interface VPC endpoint.
    VpcEndpoint,
    /// Lambda functions.
    Lambda,
    /// A database of RDS.
    Rds,
    /// A cache of `ElastiCache`.
    ElastiCache,
    /// The EKS control plane's own interfaces.
    EksControlPlane,
    /// An instance that is no node of the cluster.
    Instance,
}

/// Interfaces of instances that are gone.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct LeakedSpec {
    /// Label of the subnet.
    pub(super) subnet: String,
    /// How many.
    pub(super) count: u32,
    /// Secondary addresses of each.
    #[serde(default)]
    pub(super) secondary: u32,
    /// Prefixes of each.
    #[serde(default)]
    pub(super) prefixes: u32,
    /// How long ago the CNI made it.
    pub(super) age_hours: u32,
}

/// A workload, written `namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Workload {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl TryFrom<String> for Workload {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(format!("a workload is written namespace/name, not {text:?}")),
        }
    }
}

fn aws_node() -> String {
    "aws-node".to_owned()
}
