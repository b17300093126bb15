//! The table. A row is added where a request is added; nothing else has to be written by hand.

use super::{
    Ec2Right,
    Feature::{Audit, NodeConditions, PodProxy},
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
        group: "vpcresources.k8s.aws",
        resources: &["cninodes"],
        verbs: &["list", "watch"],
        why: "security groups for pods, where installed",
        ..COMMON
    },
    KubernetesRight {
        group: EVENTS,
        resources: &["events"],
        verbs: &["list", "watch", "create"],
        why: "kubelet's word that a pod got no address; and the operator's own events",
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
        why: "ConfigMaps that the environment of the VPC CNI refers to",
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
];
