//! The address ledger: every address of every interface in a subnet gets exactly one class.
//!
//! An interface of a node is booked address by address against the pods of its node; any other interface is booked
//! whole, by its owner. What EC2 counts as taken and no interface shows is explained by reservations as far as they
//! go, and is the residue beyond that. Sums hold by construction: no class is computed as "the rest" of another sum.

use std::{collections::BTreeMap, net::Ipv4Addr, ops::AddAssign};

use ipnet::Ipv4Net;

use super::{lookup::Map, node::NodeFacts, owner::Owner, pool::Pool};
use crate::{
    ids::SubnetId,
    inventory::{CidrReservation, Interface, ReservationKind, Seat, Subnet},
    net,
    outcome::{OtherOwner, SubnetLedger},
    rows::Rows,
    snapshot::ClusterSnapshot,
};

/// Where the addresses of one interface of a node, or of all of them, went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Uses {
    /// The interface's own address.
    pub own: u32,
    /// Those that a pod has.
    pub pods: u32,
    /// Those whose only claimant is a pod that has finished.
    pub finished: u32,
    /// Those that the next pod can get.
    pub warm: u32,
    /// Those that were freed so short a time ago that the CNI does not give them away yet.
    pub cooling: u32,
    /// Those that no pod can get in the CNI's present mode.
    pub stranded: u32,
}

impl Uses {
    /// Those that no pod has.
    pub fn idle(self) -> u32 {
        self.finished + self.warm + self.cooling + self.stranded
    }

    /// All for pods.
    pub fn held(self) -> u32 {
        self.pods + self.idle()
    }
}

impl AddAssign for Uses {
    fn add_assign(&mut self, other: Self) {
        self.own += other.own;
        self.pods += other.pods;
        self.finished += other.finished;
        self.warm += other.warm;
        self.cooling += other.cooling;
        self.stranded += other.stranded;
    }
}

/// One interface of a node: what pods can get of it, and what they have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolInterface<'a> {
    /// The interface.
    pub interface: &'a Interface,
    /// Whether pods can get its single addresses.
    pub singles_serve: bool,
    /// Whether pods can get addresses out of its prefixes.
    pub prefixes_serve: bool,
    /// Pods' addresses among its single ones.
    pub on_addresses: u32,
    /// Pods' addresses on each of its prefixes.
    pub on_prefixes: Vec<u32>,
    finished: u32,
    cooling: u32,
}

/// Who claims an address of a node's interface; the first of several wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Claim {
    /// A pod that has it.
    Live,
    /// A pod that finished less than the cool-down ago.
    Cooling,
    /// A pod that finished.
    Finished,
}

impl<'a> PoolInterface<'a> {
    pub(super) fn new(interface: &'a Interface, singles_serve: bool, prefixes_serve: bool) -> Self {
        let on_prefixes = vec![0; interface.prefixes.len()];
        Self { interface, singles_serve, prefixes_serve, on_addresses: 0, on_prefixes, finished: 0, cooling: 0 }
    }

    /// Books a claim if the address is here; false if it is not.
    pub(super) fn book(&mut self, address: Ipv4Addr, claim: Claim) -> bool {
        let Some(seat) = self.interface.seat(address) else { return false };
        let (serves, pods) = match seat {
            Seat::Secondary => (self.singles_serve, Some(&mut self.on_addresses)),
            Seat::Prefix(index) => (self.prefixes_serve, self.on_prefixes.get_mut(index)),
        };
        match (claim, pods) {
            (Claim::Live, Some(pods)) => *pods += 1,
            (Claim::Cooling, _) if serves => self.cooling += 1,
            (Claim::Finished, _) if serves => self.finished += 1,
            _ => {}
        }
        true
    }

    /// Pods' addresses on it.
    pub fn used(&self) -> u32 {
        self.on_addresses + self.on_prefixes.iter().sum::<u32>()
    }

    /// The classes of its addresses.
    pub fn uses(&self) -> Uses {
        let singles = u32::try_from(self.interface.secondary.len()).unwrap_or(u32::MAX);
        let in_prefixes = self.interface.pod_addresses() - singles;
        let on_prefixes: u32 = self.on_prefixes.iter().sum();
        let (free_singles, free_in_prefixes) = (singles - self.on_addresses, in_prefixes - on_prefixes);
        let serving = |serves: bool, free: u32| if serves { free } else { 0 };
        let available = serving(self.singles_serve, free_singles) + serving(self.prefixes_serve, free_in_prefixes);
        Uses {
            own: u32::from(self.interface.primary.is_some()),
            pods: self.on_addresses + on_prefixes,
            finished: self.finished,
            cooling: self.cooling,
            warm: available - self.finished - self.cooling,
            stranded: free_singles + free_in_prefixes - available,
        }
    }
}

/// Where the addresses of one subnet went, and who "other" is.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    pub(super) ledger: SubnetLedger,
    pub(super) others: BTreeMap<OtherOwner, u32>,
}

/// The sheets of all subnets.
#[derive(Debug, Default)]
pub(super) struct Ledgers(Map<SubnetId, Sheet>);

impl Ledgers {
    /// Books every interface; the owners are in the interfaces' order.
    pub(super) fn of(nodes: &[NodeFacts<'_>], interfaces: &Rows<Interface>, owners: &[Owner]) -> Self {
        let mut ledgers = Self::default();
        for on in nodes.iter().filter_map(|node| node.pool.as_ref()).flat_map(Pool::all) {
            ledgers.sheet(&on.interface.subnet).book_uses(on.uses());
        }
        for (interface, owner) in interfaces.iter().zip(owners) {
            ledgers.sheet(&interface.subnet).book(interface, *owner);
        }
        ledgers
    }

    fn sheet(&mut self, subnet: &SubnetId) -> &mut Sheet {
        self.0.entry(subnet.clone()).or_default()
    }

    /// The sheet of one subnet, with what EC2's own count adds.
    pub(super) fn close(&mut self, subnet: &Subnet, reservations: &Reservations<'_>) -> Sheet {
        let mut sheet = self.0.remove(&subnet.id).unwrap_or_default();
        if let Some(cidr) = subnet.cidr {
            sheet.ledger.reserved = net::RESERVED_BY_AWS;
            let taken = i64::from(net::usable_addresses(cidr)) - i64::from(subnet.available);
            let residue = taken - i64::from(sheet.ledger.seen());
            sheet.ledger.reserved_ranges = reservations.explain(residue, subnet, cidr);
            sheet.ledger.unaccounted = residue - i64::from(sheet.ledger.reserved_ranges);
        }
        sheet
    }
}

impl Sheet {
    fn book_uses(&mut self, uses: Uses) {
        let Uses { own, pods, finished, warm, cooling, stranded } = uses;
        let ledger = &mut self.ledger;
        ledger.own += own;
        ledger.pods += pods;
        ledger.finished += finished;
        ledger.warm += warm;
        ledger.cooling += cooling;
        ledger.stranded += stranded;
    }

    /// Books an interface that is no node's: those of nodes are booked by their uses.
    fn book(&mut self, interface: &Interface, owner: Owner) {
        let addresses = interface.addresses();
        match owner {
            Owner::Node(_) => {}
            Owner::Branch => self.ledger.branches += addresses,
            Owner::Leaked => self.ledger.leaked += addresses,
            Owner::InTransit => {
                self.ledger.own += u32::from(interface.primary.is_some());
                self.ledger.warm += interface.pod_addresses();
            }
            Owner::Other(who) => {
                self.ledger.other += addresses;
                if addresses > 0 {
                    *self.others.entry(who).or_default() += addresses;
                }
            }
        }
    }
}

/// Reserved ranges, and the interfaces of the subnets that have any.
#[derive(Debug, Default)]
pub(super) struct Reservations<'a>(BTreeMap<&'a SubnetId, (Vec<&'a CidrReservation>, Vec<&'a Interface>)>);

impl<'a> Reservations<'a> {
    pub(super) fn of(snapshot: &'a ClusterSnapshot) -> Self {
        let mut by_subnet = Self::default();
        for reservation in snapshot.ec2.reservations.value().into_iter().flatten() {
            by_subnet.0.entry(&reservation.subnet).or_default().0.push(reservation);
        }
        if !by_subnet.0.is_empty() {
            for interface in snapshot.ec2.interfaces.value().into_iter().flatten() {
                if let Some((_, interfaces)) = by_subnet.0.get_mut(&interface.subnet) {
                    interfaces.push(interface);
                }
            }
        }
        by_subnet
    }

    /// How much of a residue the reservations of a subnet explain.
    ///
    /// EC2 does not count the untaken space of a reservation for prefixes as free. Whether it does so for explicit ones
    /// is not documented: theirs explains only a difference of exactly that size.
    fn explain(&self, residue: i64, subnet: &Subnet, cidr: Ipv4Net) -> u32 {
        let Some((reservations, interfaces)) = self.0.get(&subnet.id) else { return 0 };
        let Ok(residue) = u32::try_from(residue) else { return 0 };
        let untaken = |kind: &ReservationKind| -> u32 {
            let of_kind = reservations.iter().filter(|reservation| reservation.kind == *kind);
            of_kind.map(|reservation| untaken(reservation.cidr, cidr, interfaces)).sum()
        };
        let for_prefixes = untaken(&ReservationKind::Prefix);
        if residue <= for_prefixes {
            return residue;
        }
        let all = for_prefixes.saturating_add(untaken(&ReservationKind::Explicit));
        if residue == all { all } else { for_prefixes }
    }
}

/// Addresses of a reservation that nobody has: neither an interface nor AWS, which keeps five of the subnet.
fn untaken(range: Ipv4Net, subnet: Ipv4Net, interfaces: &[&Interface]) -> u32 {
    let (first, last) = (u32::from(range.network()), u32::from(range.broadcast()));
    let inside = |address: Ipv4Addr| (first..=last).contains(&u32::from(address));
    let start = u32::from(subnet.network());
    let of_aws = (0..4).map(|offset| start + offset).chain([u32::from(subnet.broadcast())]);
    let mut taken = of_aws.filter(|address| (first..=last).contains(address)).count();
    for interface in interfaces {
        taken += interface.primary.iter().chain(&interface.secondary).filter(|address| inside(**address)).count();
        for prefix in &interface.prefixes {
            let from = u32::from(prefix.first()).max(first);
            let to = u32::from(prefix.first()).saturating_add(net::ADDRESSES_PER_PREFIX - 1).min(last);
            taken += usize::try_from((to + 1).saturating_sub(from)).unwrap_or_default();
        }
    }
    let size = net::usable_addresses(range).saturating_add(net::RESERVED_BY_AWS);
    size.saturating_sub(u32::try_from(taken).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use crate::{
        inventory::{CidrReservation, ReservationKind},
        outcome::SubnetLedger,
        source::Reading,
        tests::{
            addresses::{cluster, interfaces, leaked, once},
            fixtures::{interface, now},
        },
    };

    /// The ledger when EC2 counts so many addresses less than the interfaces leave, with these reservations.
    fn ledger(fewer: u32, reservations: &[(&str, ReservationKind)]) -> SubnetLedger {
        let mut snapshot = cluster();
        snapshot.ec2.subnets.last_good.as_mut().unwrap().value[0].available -= fewer;
        let row = |(cidr, kind): &(&str, ReservationKind)| CidrReservation {
            subnet: "subnet-1".into(),
            cidr: cidr.parse().unwrap(),
            kind: kind.clone(),
        };
        snapshot.ec2.reservations = Reading::fresh(reservations.iter().map(row).collect(), now());
        once(&snapshot).subnets[0].ledger.unwrap()
    }

    #[test]
    fn reserved_ranges_explain_what_ec2_does_not_count_as_free() {
        use ReservationKind::{Explicit, Prefix};
        let far = "10.0.0.64/27";
        for (fewer, reservations, reserved, unaccounted) in [
            (0, &[(far, Prefix)][..], 0, 0),
            (32, &[(far, Prefix)], 32, 0),
            (40, &[(far, Prefix)], 32, 8),
            (40, &[], 0, 40),
            (32, &[(far, Explicit)], 32, 0),
            (31, &[(far, Explicit)], 0, 31),
            // The last of a subnet is that of AWS; the first sixteen of this one are on interfaces.
            (15, &[("10.0.0.240/28", Prefix)], 15, 0),
            (2, &[("10.0.0.0/28", Prefix)], 0, 2),
        ] {
            let ledger = ledger(fewer, reservations);
            assert_eq!(
                (ledger.reserved_ranges, ledger.unaccounted),
                (reserved, unaccounted),
                "{fewer} {reservations:?}"
            );
        }
    }

    #[test]
    fn interfaces_of_nobody_are_booked_whole() {
        let mut snapshot = cluster();
        let mut balancer = interface("eni-elb", "subnet-1");
        balancer.description = "ELB app/shop".into();
        balancer.primary = Some([10, 0, 0, 230].into());
        interfaces(&mut snapshot).extend([leaked("eni-old", 300, &[]), leaked("eni-new", 3, &[]), balancer]);
        let subnet = &once(&snapshot).subnets[0];
        let ledger = subnet.ledger.unwrap();
        assert_eq!((ledger.leaked, ledger.other), (6, 1));
        // On its way to an instance: an own address, and five that wait for pods, beside the nodes' 2 and 6.
        assert_eq!((ledger.own, ledger.warm), (3, 11));
        let others: Vec<_> = subnet.others.iter().map(|(who, addresses)| (who.name(), *addresses)).collect();
        assert_eq!(others, [("load-balancer", 1)]);
    }
}
