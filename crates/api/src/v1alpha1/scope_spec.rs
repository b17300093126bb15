//! Where an audit looks: which part of the cluster, and by which way into AWS.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Which part of the cluster is audited.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScopeSpec {
    /// The VPC whose subnets and interfaces are read, for example `vpc-0a1b2c3d`. Default: that of the nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^vpc-[0-9a-z]+$')")
        .message("write the id of a VPC, for example vpc-0a1b2c3d; `aws ec2 describe-vpcs` lists them"))]
    pub vpc_id: Option<String>,

    /// The name of the EKS cluster: interfaces and instances that say they are of another one are not this cluster's.
    /// Default: what the VPC CNI, the nodes' labels or the tags of their instances tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 100))]
    #[x_kube(validation = Rule::new("self.matches('^[0-9A-Za-z][-0-9A-Za-z_]{0,99}$')")
        .message("write the name of an EKS cluster: letters, digits, - and _; `aws eks list-clusters` lists them"))]
    pub cluster_name: Option<String>,

    /// Nodes whose labels match are audited. Default: all nodes. Addresses of other nodes in the same subnets count as
    /// used by others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<LabelSelector>,
}

/// How AWS is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AwsSpec {
    /// The region of the VPC, for example `eu-central-1`. Default: that of the controller's environment, else that of the
    /// nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z]{2,}(-[a-z]+)+-[0-9]+$')")
        .message("write a region, for example eu-central-1; eu-central-1a would be a zone"))]
    pub region: Option<String>,

    /// Where EC2 is asked, for example `https://ec2.us-iso-east-1.c2s.ic.gov`. Default: AWS' own endpoint of the region, or
    /// what the controller's environment says. It is for EC2 alone: no other service is asked there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 255))]
    #[x_kube(validation = Rule::new(
        "self.matches('^https?://([0-9A-Za-z]([-0-9A-Za-z.]*[0-9A-Za-z])?|\\\\[[0-9A-Fa-f:]+\\\\])(:[0-9]{1,5})?/?$')")
        .message("write a URL of a scheme, a host and if need be a port, for example https://ec2.eu-central-1.amazonaws.com"))]
    pub endpoint: Option<String>,

    /// A role that is assumed to read EC2: for a VPC that another account owns and shares.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assume_role: Option<AssumeRoleSpec>,
}

/// A role that is assumed, with the credentials of the controller's environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct AssumeRoleSpec {
    /// Its ARN, of any partition: `arn:aws:iam::111122223333:role/ipam-audit`.
    #[schemars(length(max = 2048))]
    #[x_kube(validation = Rule::new("self.matches('^arn:aws(-[a-z]+)*:iam::[0-9]{12}:role/[-0-9A-Za-z+=,.@_/]+$')")
        .message("write the ARN of a role, for example arn:aws:iam::111122223333:role/ipam-audit"))]
    pub role_arn: String,

    /// The external id that its trust policy asks for, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1224))]
    #[x_kube(validation = Rule::new("self.matches('^[-0-9A-Za-z_+=,.@:/]{2,}$')")
        .message("write the external id of the role's trust policy: at least two letters, digits or _+=,.@:/-"))]
    pub external_id: Option<String>,

    /// How CloudTrail of the other account names the controller. Default `ipam-audit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new("self.matches('^[-0-9A-Za-z_+=,.@]{2,}$')")
        .message("write a name of at least two letters, digits or _+=,.@-, for example ipam-audit"))]
    pub session_name: Option<String>,
}
