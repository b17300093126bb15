//! What the VPC CNI, the VPC resource controller and AWS services write on their interfaces.

use super::file::{AwsNodeSpec, OtherOwner, OtherSpec, ScenarioFile};
use super::names::Names;
use crate::ec2::seed::{Attachment, Interface, InterfaceKind, Tags};

pub(super) const INSTANCE_ID: &str = "node.k8s.amazonaws.com/instance_id";
pub(super) const CREATED_AT: &str = "node.k8s.amazonaws.com/createdAt";
pub(super) const NO_MANAGE: &str = "node.k8s.amazonaws.com/no_manage";
pub(super) const CLUSTER_NAME: &str = "cluster.k8s.amazonaws.com/name";
const ENI_OWNER: &str = "eks:eni:owner";
const TRUNK_ID: &str = "vpcresources.k8s.aws/trunk-eni-id";
const VLAN_ID: &str = "vpcresources.k8s.aws/vlan-id";
pub(super) const TRUNK_DESCRIPTION: &str = "aws-k8s-trunk-eni";
pub(super) const BRANCH_DESCRIPTION: &str = "aws-k8s-branch-eni";
/// The first version of the CNI that writes the owner tag.
const OWNER_TAG_SINCE: [u32; 3] = [1, 19, 4];

/// The description of an interface that ipamd has created.
pub(super) fn cni_description(instance: &str) -> String {
    format!("aws-K8S-{instance}")
}

/// ipamd's tags, which it writes on the primary interface as well. Those of the cluster need `CLUSTER_NAME`.
pub(super) fn of_cni(file: &ScenarioFile, instance: &str) -> Tags {
    let mut tags = Tags::from([(INSTANCE_ID.to_owned(), instance.to_owned())]);
    if let Some(aws_node) = &file.aws_node
        && let Some(cluster) = aws_node.env.get("CLUSTER_NAME")
    {
        tags.insert(CLUSTER_NAME.to_owned(), cluster.clone());
        if version(aws_node) >= OWNER_TAG_SINCE {
            tags.insert(ENI_OWNER.to_owned(), "amazon-vpc-cni".to_owned());
        }
    }
    tags
}

/// The resource controller's tags of a trunk.
pub(super) fn of_controller(file: &ScenarioFile, instance: &str) -> Tags {
    Tags::from([
        (INSTANCE_ID.to_owned(), instance.to_owned()),
        (ENI_OWNER.to_owned(), "eks-vpc-resource-controller".to_owned()),
        (format!("kubernetes.io/cluster/{}", file.cluster), "owned".to_owned()),
    ])
}

/// The resource controller's tags of a branch.
pub(super) fn of_branch(file: &ScenarioFile, instance: &str, trunk: &str, vlan: u16) -> Tags {
    let mut tags = of_controller(file, instance);
    tags.insert(TRUNK_ID.to_owned(), trunk.to_owned());
    tags.insert(VLAN_ID.to_owned(), vlan.to_string());
    tags
}

/// Makes an interface that of an AWS service or of an instance outside the cluster.
pub(super) fn of_other(file: &ScenarioFile, other: &OtherSpec, mut interface: Interface, names: &Names) -> Interface {
    let name = other.name.as_str();
    let (kind, description, requester) = match other.owner {
        OtherOwner::ApplicationLoadBalancer => ("interface", format!("ELB app/{name}"), "amazon-elb"),
        OtherOwner::NetworkLoadBalancer => ("network_load_balancer", format!("ELB net/{name}"), "amazon-elb"),
        OtherOwner::NatGateway => ("nat_gateway", format!("Interface for NAT Gateway {name}"), "amazon-nat"),
        OtherOwner::VpcEndpoint => ("vpc_endpoint", format!("VPC Endpoint Interface {name}"), "amazon-vpce"),
        OtherOwner::Lambda => ("lambda", format!("AWS Lambda VPC ENI-{name}"), "amazon-lambda"),
        OtherOwner::Rds => ("interface", "RDSNetworkInterface".to_owned(), "amazon-rds"),
        OtherOwner::ElastiCache => ("interface", format!("ElastiCache {name}"), "amazon-elasticache"),
        OtherOwner::EksControlPlane => ("interface", format!("Amazon EKS {}", file.cluster), "amazon-eks"),
        OtherOwner::Instance => ("interface", name.to_owned(), ""),
    };
    interface.kind = InterfaceKind::from(kind.to_owned());
    interface.description = description;
    interface.groups = vec![names.aws_id("sg", &[name])];
    let id = interface.id.clone().unwrap_or_default();
    if requester.is_empty() {
        interface.attachment = Some(Attachment::new(names.aws_id("i", &[&id]), 0));
    } else {
        interface.requester_managed = true;
        interface.requester_id = Some(requester.to_owned());
        interface.attachment = Some(Attachment {
            instance: None,
            instance_owner: Some(requester.to_owned()),
            delete_on_termination: false,
            ..Attachment::new("", 1)
        });
    }
    interface
}

fn version(aws_node: &AwsNodeSpec) -> [u32; 3] {
    let release = aws_node.version.trim_start_matches('v').split('-').next().unwrap_or_default();
    let mut numbers = release.split('.').map(|number| number.parse().unwrap_or(0));
    [(); 3].map(|()| numbers.next().unwrap_or(0))
}
