//! Who an interface belongs to: from its attachment, kind, description and tags, and from which instances are nodes.
//!
//! Only what this cluster's CNI or the resource controller made can be leaked. An interface that says it is another
//! cluster's, or whose instance lives and is no node of this one, is somebody else's.

use std::{collections::BTreeSet, net::Ipv4Addr, sync::Arc};

use jiff::{SignedDuration, Timestamp};

pub(crate) use super::cluster::clusters;
use super::{
    lookup::{Map, Set},
    node::{self, NodeFacts},
    pods::PodIndex,
};
use crate::{
    ids::{EniId, InstanceId},
    inventory::{Instance, Interface, InterfaceKind, InterfaceStatus},
    outcome::{ClusterName, OtherOwner},
    rows::Rows,
    snapshot::{BranchUse, ClusterSnapshot, Platform},
    tags::Tags,
};

/// Description prefix of interfaces that ipamd creates. Case matters: the resource controller's differ by it.
const IPAMD_DESCRIPTION: &str = "aws-K8S-";
/// Descriptions of the VPC resource controller.
const RESOURCE_CONTROLLER_DESCRIPTIONS: [&str; 2] = ["aws-k8s-trunk-eni", "aws-k8s-branch-eni"];
/// Who made an interface, or took it over; written only where the cluster's name is known.
const OWNER: &str = "eks:eni:owner";
/// The values of that tag.
const OWNERS: [&str; 2] = ["amazon-vpc-cni", "eks-vpc-resource-controller"];
/// The instance that an interface was made for.
const INSTANCE: &str = "node.k8s.amazonaws.com/instance_id";
/// When ipamd created an interface; RFC 3339.
/// The user's word that the CNI shall leave an interface alone, with exactly this value.
const NO_MANAGE: &str = "node.k8s.amazonaws.com/no_manage";
/// An interface between its creation and its attachment is younger than this.
const CHURN: SignedDuration = SignedDuration::from_mins(10);

/// The owner of an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// Attached to the node of this index.
    Node(usize),
    /// A branch of security groups for pods.
    Branch,
    /// Made by the CNI or the resource controller and attached to nothing for longer than any churn.
    Leaked,
    /// The same, but so young that it may be on its way to an instance.
    InTransit,
    /// Load balancers, NAT gateways, endpoints, functions, instances of others.
    Other(OtherOwner),
}

/// The owner of each of EC2's interfaces, in their order; none while they are missing.
pub(super) fn all<'a>(
    snapshot: &'a ClusterSnapshot,
    nodes: &[NodeFacts<'a>],
    pods: Option<&PodIndex<'a>>,
    names: &'a BTreeSet<Arc<str>>,
) -> Vec<Owner> {
    let Some(interfaces) = snapshot.ec2.interfaces.value() else { return Vec::new() };
    let known = Known::of(snapshot, nodes, pods, names);
    interfaces.iter().map(|interface| known.owner(interface)).collect()
}

/// The instance that an interface was made for, by its tag or its description.
pub(crate) fn made_for(interface: &Interface) -> Option<InstanceId> {
    let described = || interface.description.strip_prefix(IPAMD_DESCRIPTION);
    interface.tag(INSTANCE).or_else(described).filter(|id| id.starts_with("i-")).map(InstanceId::from)
}

/// Whether ipamd created an interface, rather than took it over.
pub(crate) fn is_by_ipamd(interface: &Interface) -> bool {
    interface.description.starts_with(IPAMD_DESCRIPTION)
}

/// Whether ipamd or the resource controller created an interface, rather than took it over.
pub(crate) fn is_made(interface: &Interface) -> bool {
    is_by_ipamd(interface) || RESOURCE_CONTROLLER_DESCRIPTIONS.contains(&&*interface.description)
}

/// Whether an interface carries the tag that the resource controller's cleaner looks for.
pub(crate) fn has_owner_tag(interface: &Interface) -> bool {
    interface.tag(OWNER).is_some_and(|owner| OWNERS.contains(&owner))
}

/// What tells one cluster's interfaces from another's.
#[derive(Debug)]
struct Known<'a> {
    nodes: Map<&'a InstanceId, usize>,
    /// Instances of nodes whose addresses the VPC CNI does not manage.
    left_alone: Map<&'a InstanceId, Platform>,
    /// Own addresses of nodes without an instance of ours.
    left_alone_at: BTreeSet<Ipv4Addr>,
    instances: Map<&'a InstanceId, &'a Instance>,
    /// What this cluster is called.
    own_names: &'a BTreeSet<Arc<str>>,
    /// Branches that pods name.
    pods_branches: Set<&'a EniId>,
    /// The moment of EC2's view, not of the evaluation: an old view knows nothing of what came after.
    now: Timestamp,
}

impl<'a> Known<'a> {
    fn of(
        snapshot: &'a ClusterSnapshot,
        nodes: &[NodeFacts<'a>],
        pods: Option<&PodIndex<'a>>,
        own_names: &'a BTreeSet<Arc<str>>,
    ) -> Self {
        let by_instance = node::by_instance(nodes);
        let others = || {
            let all = snapshot.nodes.value().into_iter().flatten();
            all.filter(|node| node.platform != Platform::LinuxEc2)
        };
        let branches = pods.into_iter().flat_map(|pods| &pods.with_branch).filter_map(|pod| match &pod.branch() {
            BranchUse::Has(branch) => Some(branch),
            BranchUse::No | BranchUse::Wanted => None,
        });
        let instances = snapshot.ec2.instances.value().unwrap_or(Rows::NONE);
        Self {
            left_alone: others().filter_map(|node| Some((node.instance.as_ref()?, node.platform))).collect(),
            left_alone_at: others().filter_map(|node| node.state.address).collect(),
            instances: instances.iter().map(|instance| (&instance.id, instance)).collect(),
            own_names,
            pods_branches: branches.collect(),
            now: snapshot.ec2.interfaces.as_of().unwrap_or(snapshot.taken_at),
            nodes: by_instance,
        }
    }

    fn owner(&self, interface: &Interface) -> Owner {
        let attached = interface.attachment.as_ref().and_then(|attachment| attachment.instance.as_ref());
        if let Some(&node) = attached.and_then(|instance| self.nodes.get(instance)) {
            return Owner::Node(node);
        }
        if interface.kind == InterfaceKind::Branch && self.pods_branches.contains(&interface.id) {
            return Owner::Branch;
        }
        if let Some(other) = self.somebody_else(interface, attached) {
            return Owner::Other(other);
        }
        let is_free = interface.status == InterfaceStatus::Available;
        match interface.kind {
            InterfaceKind::Branch if !is_free => Owner::Branch,
            _ if is_free && attached.is_none() && made_for_pods(interface) => self.unattached(interface),
            _ => Owner::Other(requester(interface, attached.is_some())),
        }
    }

    fn unattached(&self, interface: &Interface) -> Owner {
        match interface.created_at {
            Some(created) if self.now.duration_since(created) < CHURN => Owner::InTransit,
            _ => Owner::Leaked,
        }
    }

    /// Whoever an interface names, if that is not this cluster's CNI.
    fn somebody_else(&self, interface: &Interface, attached: Option<&InstanceId>) -> Option<OtherOwner> {
        match attached.and_then(|instance| self.left_alone.get(instance)) {
            Some(Platform::AutoMode) => return Some(OtherOwner::AutoMode),
            Some(_) => return Some(OtherOwner::LeftAloneNode),
            None => {}
        }
        if interface.primary.is_some_and(|address| self.left_alone_at.contains(&address)) {
            return Some(OtherOwner::LeftAloneNode);
        }
        if interface.tag("eks:kubernetes-cni-node-name").is_some() {
            return Some(OtherOwner::AutoMode);
        }
        let service = service(interface);
        if service.is_some() {
            return service;
        }
        let made_for = made_for(interface);
        let instance = attached.or(made_for.as_ref()).and_then(|instance| self.instances.get(instance));
        let is_foreign = |tags: &Tags| {
            let mut clusters = clusters(tags).peekable();
            clusters.peek().is_some() && clusters.all(|cluster| !self.own_names.contains(cluster))
        };
        if is_foreign(&interface.tags) || instance.is_some_and(|instance| is_foreign(&instance.tags)) {
            return Some(OtherOwner::OtherCluster);
        }
        // Made for an instance that lives and is no node here: it will be a node, or is another cluster's.
        let lives = |instance: &&Instance| !instance.is_gone() && !self.nodes.contains_key(&instance.id);
        let elsewhere = attached.is_none() && interface.kind != InterfaceKind::Branch;
        (elsewhere && instance.copied().is_some_and(|instance| lives(&instance))).then_some(OtherOwner::OtherInstance)
    }
}

/// What this cluster is called: as its CNI knows it, and by what it, its controller and its node groups write on what is its own.
pub(super) fn cluster_names(
    snapshot: &ClusterSnapshot,
    nodes: &[NodeFacts<'_>],
    known: Option<&ClusterName>,
) -> BTreeSet<Arc<str>> {
    let mut names: BTreeSet<Arc<str>> = known.map(|known| known.name.clone()).into_iter().collect();
    let mut add = |name: &str| {
        if !names.contains(name) {
            names.insert(name.into());
        }
    };
    let mut seen: Option<&Arc<super::Cni>> = None;
    for cni in nodes.iter().filter_map(|node| node.cni.as_ref()) {
        if !seen.is_some_and(|seen| Arc::ptr_eq(seen, cni)) {
            cni.config.cluster_name.as_deref().into_iter().for_each(&mut add);
        }
        seen = Some(cni);
    }
    let attached = nodes.iter().flat_map(|node| node.interfaces.iter().flatten());
    attached.for_each(|interface| clusters(&interface.tags).for_each(&mut add));
    let instances = snapshot.ec2.instances.value().into_iter().flatten();
    let by_instance = node::by_instance(nodes);
    let of_nodes = instances.filter(|instance| by_instance.contains_key(&instance.id));
    of_nodes.for_each(|instance| clusters(&instance.tags).for_each(&mut add));
    names
}

/// Whether a user says that an interface is no business of the CNI.
pub(crate) fn is_users(interface: &Interface) -> bool {
    interface.tag(NO_MANAGE) == Some("true")
}

/// Whether the CNI or the resource controller made an interface, or took it over, and the user did not say otherwise.
fn made_for_pods(interface: &Interface) -> bool {
    let taken_over = has_owner_tag(interface) || interface.tag(INSTANCE).is_some();
    (is_made(interface) || taken_over) && !is_users(interface) && !interface.requester_managed
}

/// The service that has an interface, by its kind, then by its description.
fn service(interface: &Interface) -> Option<OtherOwner> {
    let InterfaceKind::Other(kind) = &interface.kind else { return described(&interface.description) };
    Some(match &**kind {
        "load_balancer" | "network_load_balancer" | "gateway_load_balancer" => OtherOwner::LoadBalancer,
        "nat_gateway" | "natGateway" => OtherOwner::NatGateway,
        "vpc_endpoint" | "gateway_load_balancer_endpoint" | "ec2_instance_connect_endpoint" => OtherOwner::Endpoint,
        "lambda" => OtherOwner::Function,
        "efs" => OtherOwner::FileSystem,
        "transit_gateway" => OtherOwner::TransitGateway,
        _ => OtherOwner::Service,
    })
}

/// Who asked for an interface that neither its kind nor its description tells.
fn requester(interface: &Interface, on_instance: bool) -> OtherOwner {
    match interface.requester.as_deref() {
        _ if on_instance => OtherOwner::OtherInstance,
        Some("amazon-elb") => OtherOwner::LoadBalancer,
        Some("amazon-rds" | "amazon-elasticache" | "amazon-redshift") => OtherOwner::Database,
        _ if interface.requester_managed => OtherOwner::Service,
        _ => OtherOwner::Unknown,
    }
}

/// The service that writes such descriptions.
fn described(text: &str) -> Option<OtherOwner> {
    const PREFIXES: [(&str, OtherOwner); 12] = [
        ("Amazon EKS ", OtherOwner::ControlPlane),
        ("ELB ", OtherOwner::LoadBalancer),
        ("Interface for NAT Gateway", OtherOwner::NatGateway),
        ("VPC Endpoint Interface", OtherOwner::Endpoint),
        ("AWS Lambda VPC ENI", OtherOwner::Function),
        ("RDSNetworkInterface", OtherOwner::Database),
        ("ElastiCache", OtherOwner::Database),
        ("RedshiftNetworkInterface", OtherOwner::Database),
        ("DAX ", OtherOwner::Database),
        ("EFS ", OtherOwner::FileSystem),
        ("Network Interface for Transit Gateway Attachment", OtherOwner::TransitGateway),
        ("arn:aws:ecs:", OtherOwner::ContainerTask),
    ];
    let by_prefix = PREFIXES.iter().find(|(prefix, _)| text.starts_with(prefix)).map(|(_, owner)| *owner);
    let is_task = || text.starts_with("arn:aws") && text.contains(":ecs:");
    by_prefix
        .or_else(|| is_task().then_some(OtherOwner::ContainerTask))
        .or_else(|| text.to_ascii_lowercase().contains("mount target").then_some(OtherOwner::FileSystem))
}

/// Whether ipamd leaves an attached interface alone.
///
/// The primary is always managed. The no-manage tag counts only with exactly `true`; any other value means managed.
/// Without it, the interface is managed if it names this instance or if untagged interfaces are managed.
pub(super) fn is_unmanaged(interface: &Interface, instance: &InstanceId, manage_untagged: bool) -> bool {
    if interface.attachment.as_ref().is_some_and(crate::inventory::Attachment::is_primary) {
        return false;
    }
    if interface.kind == InterfaceKind::EfaOnly {
        return true;
    }
    match interface.tag(NO_MANAGE) {
        Some(value) => value == "true",
        None => interface.tag(INSTANCE) != Some(instance.as_str()) && !manage_untagged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{facts::Facts, tests::fixtures::interface};

    /// The owner of one interface in the fixtures' cluster `prod` of two nodes, and one node that is left alone.
    fn owner_of(change: impl FnOnce(&mut Interface)) -> Owner {
        let mut snapshot = crate::tests::addresses::cluster();
        let mut windows = (*snapshot.nodes.value().unwrap()[0]).clone();
        windows.name = "windows".into();
        windows.instance = Some("i-windows".into());
        windows.platform = Platform::Windows;
        snapshot.nodes.last_good.as_mut().unwrap().value.push(windows.into());
        let mut row = interface("eni-x", "subnet-1");
        change(&mut row);
        crate::tests::addresses::interfaces(&mut snapshot).push(row);
        let (policy, memory) = Default::default();
        Facts::of(&snapshot, &policy, &memory).owners.pop().unwrap()
    }

    fn unattached(description: &str, tags: &[(&str, &str)]) -> Owner {
        owner_of(|row| {
            row.status = InterfaceStatus::Available;
            row.description = description.into();
            row.tags = tags.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        })
    }

    #[test]
    fn what_the_cni_made_is_leaked_once_it_is_no_churn() {
        let created = |minutes: i64| {
            owner_of(|row| {
                row.status = InterfaceStatus::Available;
                row.description = "aws-K8S-i-1".into();
                row.created_at = Some(crate::tests::fixtures::now() - SignedDuration::from_mins(minutes));
            })
        };
        assert_eq!([created(180), created(5)], [Owner::Leaked, Owner::InTransit]);
        assert_eq!(unattached("aws-K8S-i-1", &[]), Owner::Leaked);
        assert_eq!(unattached("aws-k8s-trunk-eni", &[]), Owner::Leaked);
        assert_eq!(unattached("mine", &[(OWNER, "amazon-vpc-cni")]), Owner::Leaked, "taken over, then left behind");
        assert_eq!(unattached("AWS-K8S-i-1", &[]), Owner::Other(OtherOwner::Unknown), "case matters");
        assert_eq!(unattached("aws-K8S-i-1", &[(NO_MANAGE, "true")]), Owner::Other(OtherOwner::Unknown));
    }

    #[test]
    fn another_cluster_is_known_by_its_tag() {
        for key in ["cluster.k8s.amazonaws.com/name", "eks:cluster-name"] {
            assert_eq!(unattached("aws-K8S-i-1", &[(key, "prod")]), Owner::Leaked);
            assert_eq!(unattached("aws-K8S-i-1", &[(key, "staging")]), Owner::Other(OtherOwner::OtherCluster));
        }
        let owned = [("kubernetes.io/cluster/staging", "owned")];
        assert_eq!(unattached("aws-k8s-trunk-eni", &owned), Owner::Other(OtherOwner::OtherCluster));
    }

    #[test]
    fn others_are_told_apart_by_kind_description_and_requester() {
        let described = |text: &str| owner_of(|row| row.description = text.into());
        let of_kind = |word: &str| owner_of(|row| row.kind = InterfaceKind::parse(word));
        let asked_by = |who: &str| {
            owner_of(|row| {
                row.requester = Some(who.into());
                row.requester_managed = true;
            })
        };
        for (owner, name) in [
            (described("ELB app/shop/1"), "load-balancer"),
            (of_kind("network_load_balancer"), "load-balancer"),
            (of_kind("nat_gateway"), "nat-gateway"),
            (described("VPC Endpoint Interface vpce-1"), "endpoint"),
            (of_kind("lambda"), "function"),
            (described("RDSNetworkInterface"), "database"),
            (described("EFS mount target for fs-1"), "file-system"),
            (of_kind("transit_gateway"), "transit-gateway"),
            (described("Amazon EKS staging"), "control-plane"),
            (described("arn:aws-cn:ecs:cn-north-1:1:attachment/x"), "container-task"),
            (asked_by("amazon-elb"), "load-balancer"),
            (asked_by("amazon-something"), "service"),
            (of_kind("quicksight"), "service"),
            (described("whatever"), "unknown"),
        ] {
            assert!(matches!(owner, Owner::Other(who) if who.name() == name), "{owner:?} is not {name}");
        }
    }

    #[test]
    fn instances_are_nodes_left_alone_or_others() {
        let on = |instance: &str| {
            owner_of(|row| {
                row.attachment = Some(crate::inventory::Attachment {
                    instance: Some(instance.into()),
                    device_index: 1,
                    card_index: 0,
                    delete_on_termination: None,
                    attached_at: None,
                });
            })
        };
        assert_eq!(on("i-1"), Owner::Node(1));
        assert_eq!(on("i-windows"), Owner::Other(OtherOwner::LeftAloneNode));
        assert_eq!(on("i-else"), Owner::Other(OtherOwner::OtherInstance));
    }

    #[test]
    fn the_no_manage_tag_counts_only_with_exactly_true() {
        let instance = InstanceId::from("i-1");
        let tagged = |key: &str, value: &str| {
            let mut row = interface("eni-1", "subnet-1");
            row.tags = [(key.into(), value.into())].into();
            row
        };
        let no_manage = "node.k8s.amazonaws.com/no_manage";
        assert!(is_unmanaged(&tagged(no_manage, "true"), &instance, true));
        assert!(!is_unmanaged(&tagged(no_manage, "True"), &instance, true));
        assert!(!is_unmanaged(&tagged("node.k8s.amazonaws.com/instance_id", "i-1"), &instance, false));
        assert!(is_unmanaged(&tagged("other", "x"), &instance, false));
        assert!(!is_unmanaged(&tagged("other", "x"), &instance, true));
    }
}
