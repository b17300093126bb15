//! What differs between versions of the CNI in how ipamd fills and empties a node, one flag per difference.
//!
//! Each flag is named after the newer behaviour unless only some old versions had the peculiarity. Read in the sources of
//! the releases; a version between two releases does not exist, so "since" is always a release.

use crate::cni::CniVersion;

/// The behaviour of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one independent difference between versions each")]
pub(super) struct Behaviour {
    /// Growth stops once the pool holds as many addresses as the node admits pods (1.16.3).
    pub max_pods_stop: bool,
    /// A low pool is refilled without pause until it is no longer low, if ever (1.16.3 alone).
    pub endless_increase: bool,
    /// A target of zero prefixes still gets one when nothing is free (1.16.3).
    pub grows_at_prefix_target_zero: bool,
    /// A cordoned node attaches and frees nothing (1.11.3).
    pub cordon_freeze: bool,
    /// The freeze can be switched off (1.12.6).
    pub cordon_switch: bool,
    /// No slot is reserved for a trunk on types that cannot have one (1.20.4).
    pub knows_trunk_types: bool,
    /// Addresses never land on the trunk (1.16.4).
    pub spares_trunk: bool,
    /// All interfaces with room are tried when the subnet refuses, not only the first (1.18.3, with subnet discovery).
    pub tries_all_with_room: bool,
    /// A surplus is given back once, not once on each interface (1.13.0).
    pub surplus_once: bool,
    /// Whether an extra interface may go is decided by the figures from before the step (1.20.0).
    pub release_by_old_figures: bool,
    /// A new interface is created with its addresses in one call (1.15.4); before, they were assigned after attaching.
    pub creates_filled: bool,
    /// A new interface is not asked for more than it can hold (1.11.4). Before, ipamd waited in vain for the rest, and took an
    /// interface with a single prefix for one that had got nothing.
    pub asks_what_fits: bool,
    /// The start makes one full step of growth, and an empty pool with custom networking is fatal (1.13.0). Before, it
    /// filled one interface, whether the pool was low or not.
    pub start_grows_if_low: bool,
    /// The start, too, leaves a node alone whose provisioning is disabled (1.9.1).
    pub start_heeds_provisioning: bool,
    /// A refusal for want of prefixes does not stop the start (1.9.1).
    pub tolerates_missing_prefixes: bool,
    /// A refusal for want of addresses does not stop the start (1.10.2).
    pub tolerates_missing_addresses: bool,
    /// `ENABLE_IPv4` must be true (1.10.0).
    pub needs_ipv4_switch: bool,
    /// An invalid `NETWORK_POLICY_ENFORCING_MODE` stops the start (1.17.1).
    pub checks_policy_mode: bool,
    /// So does an empty one (1.19.4).
    pub checks_empty_policy_mode: bool,
}

impl Behaviour {
    pub(super) fn of(version: CniVersion) -> Self {
        let since = |major, minor, patch| version >= CniVersion::new(major, minor, patch);
        Self {
            max_pods_stop: since(1, 16, 3),
            endless_increase: version == CniVersion::new(1, 16, 3),
            grows_at_prefix_target_zero: since(1, 16, 3),
            cordon_freeze: since(1, 11, 3),
            cordon_switch: since(1, 12, 6),
            knows_trunk_types: since(1, 20, 4),
            spares_trunk: since(1, 16, 4),
            tries_all_with_room: since(1, 18, 3),
            surplus_once: since(1, 13, 0),
            release_by_old_figures: since(1, 20, 0),
            creates_filled: since(1, 15, 4),
            asks_what_fits: since(1, 11, 4),
            start_grows_if_low: since(1, 13, 0),
            start_heeds_provisioning: since(1, 9, 1),
            tolerates_missing_prefixes: since(1, 9, 1),
            tolerates_missing_addresses: since(1, 10, 2),
            needs_ipv4_switch: since(1, 10, 0),
            checks_policy_mode: since(1, 17, 1),
            checks_empty_policy_mode: since(1, 19, 4),
        }
    }
}
