//! Facts about instance types: the table in `data/instance-types.csv`.
//!
//! It holds the types that scenarios use. A type it does not know has no limits here and cannot be described, which is
//! what a brand-new type looks like to a client with an old table.

use std::collections::BTreeMap;
use std::sync::LazyLock;

static TABLE: &str = include_str!("../../data/instance-types.csv");

static TYPES: LazyLock<BTreeMap<&'static str, InstanceType>> =
    LazyLock::new(|| TABLE.lines().skip(1).filter_map(InstanceType::parse).map(|one| (one.name, one)).collect());

/// What `DescribeInstanceTypes` says about one type, and how many branches its trunk carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InstanceType {
    pub(crate) name: &'static str,
    pub(crate) vcpus: u32,
    pub(crate) memory_mib: u64,
    pub(crate) architectures: Vec<&'static str>,
    /// Absent for most bare-metal types.
    pub(crate) hypervisor: Option<&'static str>,
    pub(crate) bare_metal: bool,
    /// Interfaces that each network card takes; card 0 is the default one.
    pub(crate) cards: Vec<u32>,
    pub(crate) ipv4_per_interface: u32,
    /// 0 when the type has no IPv6.
    pub(crate) ipv6_per_interface: u32,
    /// 0 when the type has no EFA.
    pub(crate) efa_interfaces: u32,
    /// 0 when the type carries no trunk; EC2 does not publish it.
    pub(crate) branches: u32,
}

impl InstanceType {
    /// The facts about a type.
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        TYPES.get(name)
    }

    /// Every type, sorted by name.
    pub(crate) fn all() -> &'static BTreeMap<&'static str, Self> {
        &TYPES
    }

    /// Interfaces over all cards.
    pub(crate) fn interfaces(&self) -> u32 {
        self.cards.iter().sum()
    }

    fn parse(line: &'static str) -> Option<Self> {
        let mut fields = line.split(',');
        let mut next = || fields.next();
        Some(Self {
            name: next()?,
            vcpus: next()?.parse().ok()?,
            memory_mib: next()?.parse().ok()?,
            architectures: next()?.split('/').collect(),
            hypervisor: next().map(|name| (name != "none").then_some(name))?,
            bare_metal: next()?.parse().ok()?,
            cards: cards(next()?)?,
            ipv4_per_interface: next()?.parse().ok()?,
            ipv6_per_interface: next()?.parse().ok()?,
            efa_interfaces: next()?.parse().ok()?,
            branches: next()?.parse().ok()?,
        })
    }
}

/// Reads `8+4x2` as 8, 4, 4.
fn cards(text: &str) -> Option<Vec<u32>> {
    let mut cards = Vec::new();
    for run in text.split('+') {
        let (interfaces, count) = run.split_once('x').unwrap_or((run, "1"));
        let interfaces: u32 = interfaces.parse().ok()?;
        cards.extend(std::iter::repeat_n(interfaces, count.parse().ok()?));
    }
    Some(cards)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_read() {
        assert_eq!(InstanceType::all().len(), TABLE.lines().count() - 1);
        assert!(InstanceType::all().values().all(|one| !one.cards.is_empty() && one.ipv4_per_interface > 0));
    }

    #[test]
    fn reads_cards_hypervisor_and_branches() {
        let p5 = InstanceType::find("p5.48xlarge").unwrap();
        assert_eq!((p5.cards.len(), p5.cards[0], p5.interfaces()), (32, 2, 64));
        let m5 = InstanceType::find("m5.large").unwrap();
        assert_eq!((m5.interfaces(), m5.ipv4_per_interface, m5.branches), (3, 10, 9));
        assert_eq!(InstanceType::find("m4.large").unwrap().hypervisor, Some("xen"));
        let metal = InstanceType::find("m5.metal").unwrap();
        assert_eq!((metal.hypervisor, metal.bare_metal), (None, true));
        assert_eq!(InstanceType::find("t3.medium").unwrap().branches, 0);
        assert_eq!(InstanceType::find("x9.nosuch"), None);
    }

    #[test]
    fn cards_come_in_runs() {
        assert_eq!(cards("8+4x2"), Some(vec![8, 4, 4]));
        assert_eq!(cards("x"), None);
    }
}
