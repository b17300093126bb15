//! Why an unattached interface of the CNI or the resource controller is still there.
//!
//! Two cleaners exist. The CNI on every node looks at its start and then hourly for unattached interfaces that it made;
//! the resource controller in the control plane looks every half hour for those with its tags and deletes what it sees
//! twice. A leak that neither will ever see is the user's to remove; one that a cleaner should have removed by now says
//! that the cleaner does not work.

use jiff::{SignedDuration, Timestamp};

use crate::{
    cni::CniVersion,
    facts::{Cni, Facts, owner},
    ids::InstanceId,
    inventory::{Interface, InterfaceKind},
    text,
};

/// Both cleaners have had their chance: an hour between two looks of the CNI, two of the controller, and some minutes.
const OVERDUE: SignedDuration = SignedDuration::from_hours(2);
/// The first version that writes the tag by which the resource controller finds the CNI's interfaces.
const WRITES_OWNER: CniVersion = CniVersion::new(1, 19, 4);

/// What is known of a leak.
#[derive(Debug)]
pub(super) struct Leak<'a> {
    pub(super) interface: &'a Interface,
    /// Since its creation, where it says when.
    pub(super) age: Option<SignedDuration>,
    pub(super) instance: Option<InstanceId>,
    pub(super) cause: Cause,
}

/// Who should have removed it, and why it did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// A cleaner will come.
    Pending,
    /// A cleaner should have come.
    Overdue,
    /// `DISABLE_LEAKED_ENI_CLEANUP`.
    CleanupDisabled,
    /// The CNI provisions nothing, and so removes nothing.
    ProvisioningDisabled,
    /// In IPv6 clusters the CNI removes nothing.
    Ipv6,
    /// `CLUSTER_NAME` is set, and the interface has no tag of a cluster.
    NoClusterTag,
    /// It has no tag that names its instance.
    NoInstanceTag,
    /// A trunk or a branch, or one taken over, without the tags that the controller looks for.
    NoOwnerTag,
    /// No node runs the CNI.
    NoCni,
}

impl<'a> Leak<'a> {
    /// `since` says when it was seen first: trunks and branches do not say when they were made.
    pub(super) fn of(facts: &Facts<'_>, interface: &'a Interface, since: Timestamp, now: Timestamp) -> Self {
        let age = interface.created_at.map(|created| now.duration_since(created));
        let at_least = age.unwrap_or_else(|| now.duration_since(since));
        Self { interface, age, instance: owner::made_for(interface), cause: cause(facts, interface, at_least) }
    }

    /// What it is, in a message.
    pub(super) fn kind(&self) -> &'static str {
        match self.interface.kind {
            InterfaceKind::Trunk => "trunk",
            InterfaceKind::Branch => "branch interface",
            _ => "interface",
        }
    }

    /// What it was for and what became of that.
    pub(super) fn made_for(&self, facts: &Facts<'_>) -> String {
        let Some(instance) = &self.instance else { return "it names no instance".to_owned() };
        if let Some(node) = facts.nodes.iter().find(|node| node.node.instance.as_ref() == Some(instance)) {
            return format!("it was made for node {}, which is still there", node.node.name);
        }
        let Some(instances) = facts.snapshot.ec2.instances.value() else {
            return format!("it was made for {instance}, which is no node now");
        };
        match instances.iter().find(|row| row.id == *instance) {
            None => format!("it was made for {instance}, which is no node now and not among EC2's instances"),
            Some(row) if row.is_gone() => format!("it was made for {instance}, which is {} for good", row.state),
            Some(row) => format!("it was made for {instance}, which is {} and no node", row.state),
        }
    }

    /// The cluster that it says it belongs to.
    pub(super) fn cluster(&self) -> Option<&str> {
        owner::clusters(&self.interface.tags).next()
    }
}

fn cause(facts: &Facts<'_>, interface: &Interface, age: SignedDuration) -> Cause {
    let in_time = if age >= OVERDUE { Cause::Overdue } else { Cause::Pending };
    if owner::has_owner_tag(interface) && owner::clusters(&interface.tags).next().is_some() {
        return in_time;
    }
    if !owner::is_by_ipamd(interface) {
        return Cause::NoOwnerTag;
    }
    let Some(cni) = facts.nodes.iter().find_map(|node| node.cni.as_ref()) else { return Cause::NoCni };
    blind_spot(cni, interface).unwrap_or(in_time)
}

/// Why the CNI's own cleaner passes over an interface.
fn blind_spot(cni: &Cni, interface: &Interface) -> Option<Cause> {
    let config = cni.config();
    let version = cni.known_version().unwrap_or(CniVersion::NEWEST);
    if config.leak_cleanup_disabled.value_or(false) {
        Some(Cause::CleanupDisabled)
    } else if config.adopts_only(version) {
        Some(Cause::ProvisioningDisabled)
    } else if cni.is_ipv6() {
        Some(Cause::Ipv6)
    } else if interface.tag("node.k8s.amazonaws.com/instance_id").is_none() {
        Some(Cause::NoInstanceTag)
    } else if config.cluster_name.is_some() && owner::clusters(&interface.tags).next().is_none() {
        Some(Cause::NoClusterTag)
    } else {
        None
    }
}

impl Cause {
    /// The word that parts problems of different causes.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Overdue => "overdue",
            Self::CleanupDisabled => "cleanup-disabled",
            Self::ProvisioningDisabled => "provisioning-disabled",
            Self::Ipv6 => "ipv6",
            Self::NoClusterTag => "no-cluster-tag",
            Self::NoInstanceTag => "no-instance-tag",
            Self::NoOwnerTag => "no-owner-tag",
            Self::NoCni => "no-cni",
        }
    }

    /// Whether it will go by itself, as far as is known.
    pub(super) const fn passes(self) -> bool {
        matches!(self, Self::Pending)
    }

    /// The second half of a message.
    pub(super) const fn why(self) -> &'static str {
        match self {
            Self::Pending => "a cleaner of the CNI or of the resource controller removes it within the hour",
            Self::Overdue => "the cleaners should have removed it and have not: a right to delete it may be missing",
            Self::CleanupDisabled => "the CNI does not remove it: DISABLE_LEAKED_ENI_CLEANUP is true",
            Self::ProvisioningDisabled => "the CNI does not remove it: it provisions nothing here",
            Self::Ipv6 => "the CNI does not remove it: it has no such clean-up with IPv6",
            Self::NoClusterTag => "the CNI does not see it: CLUSTER_NAME is set and the interface has no cluster's tag",
            Self::NoInstanceTag => "no cleaner sees it: it has no tag of its instance",
            Self::NoOwnerTag => "no cleaner sees it: it lacks the tags of its owner or of its cluster",
            Self::NoCni => {
                "no cleaner sees it: no node runs the CNI, and the tags for the resource controller are missing"
            }
        }
    }

    /// What keeps the next one from staying.
    pub(super) fn cure(self, cni: Option<&Cni>) -> String {
        match self {
            Self::CleanupDisabled => {
                " Unset DISABLE_LEAKED_ENI_CLEANUP, and the CNI removes the next by itself.".to_owned()
            }
            Self::Overdue => " Check that the CNI's role allows ec2:DeleteNetworkInterface.".to_owned(),
            Self::NoClusterTag | Self::NoOwnerTag | Self::NoCni | Self::Ipv6 | Self::ProvisioningDisabled => {
                let named = cni.is_some_and(|cni| cni.config().cluster_name.is_some());
                let version = cni.and_then(Cni::known_version);
                match version {
                    Some(version) if version < WRITES_OWNER => {
                        " From version 1.19.4 on, with CLUSTER_NAME set, the CNI writes the tags by which the resource \
                         controller removes the next."
                            .to_owned()
                    }
                    _ if !named => " Set CLUSTER_NAME of aws-node: then the CNI writes the tags by which the resource \
                                    controller removes the next."
                        .to_owned(),
                    _ => String::new(),
                }
            }
            Self::Pending | Self::NoInstanceTag => String::new(),
        }
    }
}

/// An age in a message.
pub(super) fn aged(age: Option<SignedDuration>) -> String {
    age.map_or_else(|| "of unknown age".to_owned(), |age| format!("created {} ago", text::age(age)))
}
