//! What ipamd goes by on one node: targets, mode and switches in force, after version and instance type had their say.

use super::{Node, Placement, behaviour::Behaviour};
use crate::cni::{SizingMode, Targets};

/// Everything that stays the same while a node lives under one configuration.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "one switch of the CNI each")]
pub(super) struct Rules {
    pub behaviour: Behaviour,
    pub targets: Targets,
    pub mode: SizingMode,
    /// Pods get addresses out of prefixes.
    pub prefixes: bool,
    /// Pods' interfaces belong to the subnet of an `ENIConfig`, the primary gets no new addresses.
    pub custom_networking: bool,
    /// An `ENIConfig` for the node exists.
    pub eni_config: bool,
    pub subnet_discovery: bool,
    /// Nothing is created, filled, trimmed or released.
    pub provisioning_disabled: bool,
    /// Tags and kinds of interfaces are unknown to ipamd.
    pub metadata_only: bool,
    /// A slot is kept for a trunk while none is known.
    pub reserves_trunk: bool,
    pub manages_cordoned: bool,
    pub max_pods: Option<i64>,
    /// Attached interfaces that ipamd leaves alone.
    pub unmanaged: i64,
    /// Interfaces EC2 lets the instance attach.
    pub attachable: i64,
    pub placement: Placement,
}

impl Rules {
    pub(super) fn of(node: &Node<'_>) -> Self {
        let Node { config, version, limits, .. } = *node;
        let behaviour = Behaviour::of(version);
        let metadata_only = config.sees_metadata_only(version);
        let discovery_exists = behaviour.tries_all_with_room;
        Self {
            behaviour,
            targets: config.targets(&limits),
            mode: config.sizing_mode(version, &limits),
            prefixes: config.uses_prefixes(version, limits.hypervisor),
            custom_networking: config.custom_networking.value_or(false),
            eni_config: node.eni_config,
            subnet_discovery: discovery_exists && config.subnet_discovery.value_or(true),
            provisioning_disabled: config.adopts_only(version),
            metadata_only,
            reserves_trunk: config.pod_eni.value_or(false) && (limits.trunking || !behaviour.knows_trunk_types),
            manages_cordoned: !behaviour.cordon_freeze
                || behaviour.cordon_switch && config.manage_non_schedulable.value_or(false),
            max_pods: node.max_pods.filter(|_| behaviour.max_pods_stop),
            unmanaged: if metadata_only { 0 } else { i64::from(node.unmanaged) },
            attachable: i64::from(limits.enis),
            placement: node.placement,
        }
    }

    /// Addresses of one interface that is full of the kind the mode hands out.
    pub(super) fn addresses_per_eni(&self) -> i64 {
        if self.prefixes { self.targets.slots_per_eni * super::subnet::PREFIX } else { self.targets.slots_per_eni }
    }
}
