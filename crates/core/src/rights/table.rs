//! The table. A row is added where a request is added; nothing else has to be written by hand.

use super::{
    Ec2Right,
    Feature::{Audit, Cleanup, NodeConditions, PodProxy},
    KubernetesRight,
    Scope::{Cluster, Cni, Own},
};
use crate::source::Source;

/// What each row has unless it says otherwise.
const COMMON: KubernetesRight =
    KubernetesRight { group: "", resources: &[], names: &[], verbs: &[], scope: Cluster, feature: Audit, why: "" };

const CORE: &str = "";
const EVENTS: &str = "events.k8s.io";
const OURS: &str = "ipam-audit.dev";

/// Every right in Kubernetes.
pub const KUBERNETES: &[KubernetesRight] = &[
    KubernetesRight {
        group: CORE,
        resources: &["nodes", "pods"],
        verbs: &["list", "watch"],
        why: "what is audited",
        ..COMMON
    },
    KubernetesRight {
        group: "apps",
        resources: &["daemonsets"],
        verbs: &["list", "watch"],
        why: "the settings of the VPC CNI",
        ..COMMON
    },
    KubernetesRight {
        group: "apps",
        resources: &["deployments"],
        verbs: &["list", "watch"],
        why: "the settings of Karpenter and of a VPC resource controller in the cluster; no other is kept",
        ..COMMON
    },
    KubernetesRight {
        group: CORE,
        resources: &["serviceaccounts"],
        verbs: &["list", "watch"],
        why: "the role of the VPC CNI, and which pods a SecurityGroupPolicy selects",
        ..COMMON
    },
    KubernetesRight {
        group: CORE,
        resources: &["services"],
        verbs: &["list", "watch"],
        why: "the range of service addresses, and services that pods with a security group cannot be reached by",
        ..COMMON
    },
    KubernetesRight {
        group: "networking.k8s.io",
        resources: &["networkpolicies"],
        verbs: &["list", "watch"],
        why: "policies that are not enforced for pods with a security group",
        ..COMMON
    },
    KubernetesRight {
        group: "admissionregistration.k8s.io",
        resources: &["mutatingwebhookconfigurations"],
        verbs: &["list", "watch"],
        why: "whether pods can be given a security group at all",
        ..COMMON
    },
    KubernetesRight {
        group: "vpcresources.k8s.aws",
        resources: &["cninodes", "securitygrouppolicies"],
        verbs: &["list", "watch"],
        why: "security groups for pods, where installed",
        ..COMMON
    },
    KubernetesRight {
        group: "crd.k8s.amazonaws.com",
        resources: &["eniconfigs"],
        verbs: &["list", "watch"],
        why: "custom networking, where installed",
        ..COMMON
    },
    KubernetesRight {
        group: "karpenter.sh",
        resources: &["nodepools", "nodeclaims"],
        verbs: &["list", "watch"],
        why: "the nodes that Karpenter may add, where installed",
        ..COMMON
    },
    KubernetesRight {
        group: "karpenter.k8s.aws",
        resources: &["ec2nodeclasses"],
        verbs: &["list", "watch"],
        why: "the subnets and the limits of the nodes that Karpenter may add, where installed",
        ..COMMON
    },
    KubernetesRight {
        group: EVENTS,
        resources: &["events"],
        verbs: &["list", "watch", "create"],
        why: "that a pod got no address, an interface or a node could not be made; and the operator's own events",
        ..COMMON
    },
    KubernetesRight {
        group: "apiextensions.k8s.io",
        resources: &["customresourcedefinitions"],
        names: &["ipamaudits.ipam-audit.dev", "nodeipamreports.ipam-audit.dev", "subnetipamreports.ipam-audit.dev"],
        verbs: &["get"],
        why: "whether the operator's own kinds are installed, and of this version",
        ..COMMON
    },
    KubernetesRight {
        group: OURS,
        resources: &["ipamaudits"],
        verbs: &["list", "watch"],
        why: "what a user asks for; never written",
        ..COMMON
    },
    KubernetesRight {
        group: OURS,
        resources: &["ipamaudits/status", "nodeipamreports/status", "subnetipamreports/status"],
        verbs: &["patch"],
        why: "what an audit found",
        ..COMMON
    },
    KubernetesRight {
        group: OURS,
        resources: &["nodeipamreports", "subnetipamreports"],
        verbs: &["list", "watch", "create", "patch", "delete"],
        why: "the reports",
        ..COMMON
    },
    KubernetesRight {
        group: CORE,
        resources: &["configmaps"],
        verbs: &["get"],
        scope: Cni,
        why: "ConfigMaps that the environment of the VPC CNI refers to, amazon-vpc-cni, aws-node and kube-proxy-config",
        ..COMMON
    },
    KubernetesRight {
        group: "coordination.k8s.io",
        resources: &["leases"],
        verbs: &["create"],
        scope: Own,
        why: "the Lease by which one replica leads, made when there is none",
        ..COMMON
    },
    KubernetesRight {
        group: "coordination.k8s.io",
        resources: &["leases"],
        names: &["ipam-audit"],
        verbs: &["get", "update"],
        scope: Own,
        why: "the Lease by which one replica leads",
        ..COMMON
    },
    KubernetesRight {
        group: CORE,
        resources: &["nodes/status"],
        verbs: &["patch"],
        feature: NodeConditions,
        why: "the condition ipam-audit.dev/IPPressure, applied as its only owner",
        ..COMMON
    },
    KubernetesRight {
        group: CORE,
        resources: &["pods/proxy"],
        verbs: &["get"],
        scope: Cni,
        feature: PodProxy,
        why: "ipamd's own numbers, from port 61678 of the pods of aws-node",
        ..COMMON
    },
    KubernetesRight {
        group: CORE,
        resources: &["nodes"],
        verbs: &["list"],
        feature: Cleanup,
        why: "which nodes have the condition ipam-audit.dev/IPPressure",
        ..COMMON
    },
    KubernetesRight {
        group: CORE,
        resources: &["nodes/status"],
        verbs: &["patch"],
        feature: Cleanup,
        why: "to take it away",
        ..COMMON
    },
    KubernetesRight {
        group: OURS,
        resources: &["nodeipamreports", "subnetipamreports"],
        verbs: &["list", "delete"],
        feature: Cleanup,
        why: "to take the reports away",
        ..COMMON
    },
    KubernetesRight {
        group: EVENTS,
        resources: &["events"],
        verbs: &["list", "delete"],
        feature: Cleanup,
        why: "to take the operator's events away, with --events",
        ..COMMON
    },
    KubernetesRight {
        group: "coordination.k8s.io",
        resources: &["leases"],
        names: &["ipam-audit"],
        verbs: &["get", "delete"],
        scope: Own,
        feature: Cleanup,
        why: "whether a controller still runs; to take its Lease away, with --lease",
    },
];

/// Every action of EC2.
pub const EC2: &[Ec2Right] = &[
    Ec2Right { action: "ec2:DescribeVpcs", source: Source::Vpcs, feature: Audit, why: "the blocks of the VPC" },
    Ec2Right {
        action: "ec2:DescribeSubnets",
        source: Source::Subnets,
        feature: Audit,
        why: "the subnets and how many addresses each has left",
    },
    Ec2Right {
        action: "ec2:DescribeNetworkInterfaces",
        source: Source::NetworkInterfaces,
        feature: Audit,
        why: "who holds which address",
    },
    Ec2Right {
        action: "ec2:DescribeInstanceTypes",
        source: Source::InstanceTypes,
        feature: Audit,
        why: "limits of types that are newer than the built-in table",
    },
    Ec2Right {
        action: "ec2:GetSubnetCidrReservations",
        source: Source::CidrReservations,
        feature: Audit,
        why: "parts of subnets that prefixes may not come from",
    },
    Ec2Right {
        action: "ec2:DescribeInstances",
        source: Source::Instances,
        feature: Audit,
        why: "whether the instance of an interface is stopped or gone, and which cluster it is of",
    },
    Ec2Right {
        action: "ec2:DescribeSecurityGroups",
        source: Source::SecurityGroups,
        feature: Audit,
        why: "whether the groups that ENIConfigs and SecurityGroupPolicies name exist",
    },
    Ec2Right {
        action: "ec2:DescribeRouteTables",
        source: Source::RouteTables,
        feature: Audit,
        why: "which subnets are public, and which have no way out",
    },
];
