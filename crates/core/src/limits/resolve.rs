//! Which source of limits speaks for a type: EC2's own answer, the table in this binary, or none.

use super::{Hypervisor, InterfaceLimits, Trunking, TypeLimits, lookup};
use crate::inventory::InstanceTypeFacts;

/// The limits of a type and who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limits {
    /// EC2 described the type. Trunking still comes from the table: no EC2 call reports it.
    Described {
        /// The limits by which ipamd runs a node of the type.
        interfaces: InterfaceLimits,
        /// Trunk and branch interfaces.
        trunking: Trunking,
        /// Virtual processors, if EC2 said.
        vcpus: Option<u32>,
    },
    /// The table in this binary.
    Table(&'static TypeLimits),
    /// Nobody knows the type. It is reported as such, never guessed.
    Unknown,
}

impl Limits {
    /// The limits by which ipamd runs a node of the type, if known.
    pub fn interfaces(&self) -> Option<InterfaceLimits> {
        match self {
            Self::Described { interfaces, .. } => Some(*interfaces),
            Self::Table(row) => Some(row.interface_limits()),
            Self::Unknown => None,
        }
    }

    /// Trunk and branch interfaces.
    pub fn trunking(&self) -> Trunking {
        match self {
            Self::Described { trunking, .. } => *trunking,
            Self::Table(row) => row.trunking,
            Self::Unknown => Trunking::Unknown,
        }
    }

    /// Virtual processors, if known: the table does not carry them.
    pub fn vcpus(&self) -> Option<u32> {
        match self {
            Self::Described { vcpus, .. } => *vcpus,
            Self::Table(_) | Self::Unknown => None,
        }
    }
}

/// The limits of a type: EC2's answer if it is complete, else the table, else unknown.
pub fn resolve(instance_type: &str, described: Option<&InstanceTypeFacts>) -> Limits {
    let row = lookup(instance_type);
    let trunking = row.map_or(Trunking::Unknown, |row| row.trunking);
    match (described.and_then(|described| default_card_limits(described, trunking)), row) {
        (Some(interfaces), _) => {
            Limits::Described { interfaces, trunking, vcpus: described.and_then(|described| described.vcpus) }
        }
        (None, Some(row)) => Limits::Table(row),
        (None, None) => Limits::Unknown,
    }
}

/// An answer without an interface or address limit says nothing, and the table stands in.
fn default_card_limits(described: &InstanceTypeFacts, trunking: Trunking) -> Option<InterfaceLimits> {
    (described.default_card_interfaces > 0 && described.ipv4_per_interface > 0).then(|| InterfaceLimits {
        enis: described.default_card_interfaces,
        ipv4_per_eni: described.ipv4_per_interface,
        hypervisor: Hypervisor::from_ec2(described.hypervisor.as_deref().unwrap_or_default(), described.bare_metal),
        trunking: trunking != Trunking::Unsupported,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(name: &str, default_card: u32, all_cards: u32) -> InstanceTypeFacts {
        InstanceTypeFacts {
            name: name.into(),
            default_card_interfaces: default_card,
            all_card_interfaces: all_cards,
            ipv4_per_interface: 50,
            hypervisor: Some("nitro".into()),
            bare_metal: false,
            vcpus: Some(192),
        }
    }

    #[test]
    fn ec2_is_preferred_and_its_default_card_counts() {
        let limits = resolve("p4d.24xlarge", Some(&described("p4d.24xlarge", 15, 60)));
        assert_eq!(limits.interfaces().map(|limits| limits.enis), Some(15));
        assert_eq!(limits.vcpus(), Some(192));
        let unlisted = resolve("x9.imaginary", Some(&described("x9.imaginary", 8, 23)));
        assert_eq!(unlisted.interfaces().map(|limits| limits.enis), Some(8));
        assert_eq!(unlisted.trunking(), Trunking::Unknown);
    }

    #[test]
    fn the_table_stands_in_and_the_unknown_is_said() {
        assert_eq!(resolve("m5.large", None).interfaces().map(|limits| limits.enis), Some(3));
        assert_eq!(resolve("m5.large", None).vcpus(), None);
        assert_eq!(resolve("m5.large", Some(&described("m5.large", 0, 0))), resolve("m5.large", None));
        assert_eq!(resolve("x9.imaginary", None), Limits::Unknown);
        assert_eq!(resolve("x9.imaginary", None).interfaces(), None);
    }
}
