//! The table of instance limits in this binary: `data/instance-limits.csv`, sorted by name, parsed once.

use std::sync::LazyLock;

use super::{Hypervisor, InterfaceLimits};

const CSV: &str = include_str!("../../data/instance-limits.csv");

/// Whether a type can have a trunk interface, as the VPC resource controller's table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trunking {
    /// It can, with this many branch interfaces.
    Supported {
        /// Branch interfaces of one node of the type.
        branches: u32,
    },
    /// It cannot.
    Unsupported,
    /// The controller's table lacks the type: the controller refuses it, but ipamd reserves a slot all the same.
    Unknown,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TypeLimits {
    /// The instance type, for example `m6a.32xlarge`.
    pub name: &'static str,
    /// Interfaces of the default network card.
    pub enis: u32,
    /// Addresses of one interface, its own included.
    pub ipv4_per_eni: u32,
    /// What virtualises the instance.
    pub hypervisor: Hypervisor,
    /// Index of the default network card.
    pub default_card: u32,
    /// Number of network cards.
    pub cards: u32,
    /// Interfaces of all network cards together.
    pub enis_all_cards: u32,
    /// Trunk and branch interfaces.
    pub trunking: Trunking,
    /// Whether the CNI's own table has the type. For one it lacks it asks EC2 and takes the sum over all cards.
    pub known_to_cni: bool,
}

impl TypeLimits {
    /// The limits by which ipamd runs a node of this type.
    pub fn interface_limits(&self) -> InterfaceLimits {
        InterfaceLimits {
            enis: if self.known_to_cni { self.enis } else { self.enis_all_cards },
            ipv4_per_eni: self.ipv4_per_eni,
            hypervisor: self.hypervisor,
            trunking: self.trunking != Trunking::Unsupported,
        }
    }
}

/// Where the table comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSource {
    /// Module and version.
    pub module: &'static str,
    /// The day it was published.
    pub date: &'static str,
}

static TABLE: LazyLock<Vec<TypeLimits>> = LazyLock::new(|| {
    let mut rows: Vec<_> = CSV.lines().filter_map(row).collect();
    rows.sort_unstable_by_key(|row| row.name);
    rows
});

/// The row of a type, if the table has it.
pub fn lookup(instance_type: &str) -> Option<&'static TypeLimits> {
    let table = types();
    table.binary_search_by_key(&instance_type, |row| row.name).ok().map(|found| &table[found])
}

/// All rows, sorted by name.
pub fn types() -> &'static [TypeLimits] {
    &TABLE
}

/// The sources of the table, from its first lines.
pub fn sources() -> Vec<TableSource> {
    CSV.lines()
        .map_while(|line| line.strip_prefix("# "))
        .filter_map(|comment| comment.split_once(": ")?.1.split_once(", "))
        .map(|(module, date)| TableSource { module, date })
        .collect()
}

/// One line of the file; comments and the heading are none. A test holds that no other line is dropped.
fn row(line: &'static str) -> Option<TypeLimits> {
    let fields: Vec<&'static str> = line.split(',').collect();
    let &[
        name,
        enis,
        ipv4_per_eni,
        hypervisor,
        bare_metal,
        default_card,
        cards,
        enis_all_cards,
        trunk,
        branches,
        source,
    ] = fields.as_slice()
    else {
        return None;
    };
    Some(TypeLimits {
        name,
        enis: enis.parse().ok()?,
        ipv4_per_eni: ipv4_per_eni.parse().ok()?,
        hypervisor: Hypervisor::from_ec2(hypervisor, bare_metal == "true"),
        default_card: default_card.parse().ok()?,
        cards: cards.parse().ok()?,
        enis_all_cards: enis_all_cards.parse().ok()?,
        trunking: match trunk {
            "true" => Trunking::Supported { branches: branches.parse().ok()? },
            "false" => Trunking::Unsupported,
            _ => Trunking::Unknown,
        },
        known_to_cni: source.starts_with("cni"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_row_and_names_are_unique() {
        let lines = CSV.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(types().len(), lines - 1, "all but the heading");
        assert!(types().windows(2).all(|pair| pair[0].name < pair[1].name));
        assert!(types().len() > 1400);
    }

    #[test]
    fn the_table_is_dated() {
        let sources = sources();
        assert_eq!(sources.len(), 2, "{sources:?}");
        for source in sources {
            assert!(source.date.parse::<jiff::civil::Date>().is_ok(), "{source:?}");
            assert!(source.module.contains(" v"), "{source:?}");
        }
    }

    #[test]
    fn the_default_card_counts_not_the_sum() {
        for (name, default_card, sum) in
            [("p4d.24xlarge", 15, 60), ("p5.48xlarge", 2, 64), ("c6in.32xlarge", 8, 16), ("trn1.32xlarge", 5, 40)]
        {
            let row = lookup(name).unwrap();
            assert_eq!((row.enis, row.enis_all_cards), (default_card, sum), "{name}");
            assert_eq!(row.interface_limits().enis, default_card, "{name}");
        }
    }

    #[test]
    fn reference_types() {
        for (name, enis, addresses) in [
            ("t3.micro", 2, 2),
            ("t3.small", 3, 4),
            ("t3.medium", 3, 6),
            ("m5.large", 3, 10),
            ("m5.xlarge", 4, 15),
            ("c5.4xlarge", 8, 30),
            ("m5.8xlarge", 8, 30),
            ("m4.4xlarge", 8, 30),
            ("d3en.12xlarge", 3, 30),
            ("c7g.medium", 2, 4),
            ("r7g.medium", 2, 4),
            ("m6g.medium", 2, 4),
            ("m6a.32xlarge", 15, 50),
        ] {
            let row = lookup(name).unwrap();
            assert_eq!((row.enis, row.ipv4_per_eni), (enis, addresses), "{name}");
        }
    }

    #[test]
    fn branch_limits_and_trunking() {
        for (name, branches) in [
            ("m5.large", 9),
            ("m5.xlarge", 18),
            ("c5.4xlarge", 54),
            ("m6a.32xlarge", 107),
            ("c7g.medium", 4),
            ("a1.medium", 10),
        ] {
            assert_eq!(lookup(name).unwrap().trunking, Trunking::Supported { branches }, "{name}");
        }
        for name in ["t3.large", "t4g.nano", "m4.large"] {
            let row = lookup(name).unwrap();
            assert_eq!(row.trunking, Trunking::Unsupported, "{name}");
            assert!(!row.interface_limits().trunking, "{name}");
        }
        let unknown = lookup("c5a.metal").unwrap();
        assert_eq!(unknown.trunking, Trunking::Unknown);
        assert!(unknown.interface_limits().trunking, "ipamd reserves a slot on types it does not know");
    }

    #[test]
    fn hypervisors() {
        assert_eq!(lookup("m4.large").unwrap().hypervisor, Hypervisor::Xen);
        assert_eq!(lookup("m5.large").unwrap().hypervisor, Hypervisor::Nitro);
        assert_eq!(lookup("c5.metal").unwrap().hypervisor, Hypervisor::BareMetal);
        assert_eq!(lookup("x1.imaginary"), None);
    }
}
