//! Who an interface belongs to, from EC2's side alone: attachment, kind, description and tags.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::{
    ids::InstanceId,
    inventory::{Interface, InterfaceKind, InterfaceStatus},
};

/// Description prefix of interfaces that ipamd creates. Case matters: the resource controller's differ by it.
const IPAMD_DESCRIPTION: &str = "aws-K8S-";
/// Descriptions of the VPC resource controller.
const RESOURCE_CONTROLLER_DESCRIPTIONS: [&str; 2] = ["aws-k8s-trunk-eni", "aws-k8s-branch-eni"];
/// When ipamd created an interface; RFC 3339.
const CREATED_AT: &str = "node.k8s.amazonaws.com/createdAt";
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
    Other,
}

/// The owner of an interface, given the nodes' instances.
pub(super) fn of(interface: &Interface, nodes: &BTreeMap<&InstanceId, usize>, now: Timestamp) -> Owner {
    if interface.kind == InterfaceKind::Branch {
        return Owner::Branch;
    }
    let instance = interface.attachment.as_ref().and_then(|attachment| attachment.instance.as_ref());
    if let Some(&node) = instance.and_then(|instance| nodes.get(instance)) {
        return Owner::Node(node);
    }
    if interface.status != InterfaceStatus::Available || !made_for_pods(interface) {
        return Owner::Other;
    }
    let created: Option<Timestamp> = interface.tag(CREATED_AT).and_then(|text| text.parse().ok());
    match created {
        Some(created) if now.duration_since(created) < CHURN => Owner::InTransit,
        _ => Owner::Leaked,
    }
}

fn made_for_pods(interface: &Interface) -> bool {
    interface.description.starts_with(IPAMD_DESCRIPTION)
        || RESOURCE_CONTROLLER_DESCRIPTIONS.contains(&&*interface.description)
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
    match interface.tag("node.k8s.amazonaws.com/no_manage") {
        Some(value) => value == "true",
        None => interface.tag("node.k8s.amazonaws.com/instance_id") != Some(instance.as_str()) && !manage_untagged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::fixtures::interface;

    #[test]
    fn an_unattached_interface_of_the_cni_is_leaked_once_it_is_no_churn() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let with = |description: &str, created: Option<&str>| {
            let mut row = interface("eni-1", "subnet-1");
            row.status = InterfaceStatus::Available;
            row.description = description.into();
            row.tags = created.map(|at| (CREATED_AT.into(), at.into())).into_iter().collect();
            of(&row, &BTreeMap::new(), now)
        };
        assert_eq!(with("aws-K8S-i-1", Some("2026-11-21T09:00:00Z")), Owner::Leaked);
        assert_eq!(with("aws-K8S-i-1", Some("2026-11-21T11:55:00Z")), Owner::InTransit);
        assert_eq!(with("aws-K8S-i-1", None), Owner::Leaked);
        assert_eq!(with("aws-k8s-trunk-eni", None), Owner::Leaked);
        assert_eq!(with("AWS-K8S-i-1", None), Owner::Other, "the description is case-sensitive");
        assert_eq!(with("ELB app/shop", None), Owner::Other);
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
