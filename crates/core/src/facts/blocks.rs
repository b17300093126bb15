//! Whole free /28 blocks of a subnet: what a prefix needs.
//!
//! An upper bound: occupants that are not visible, and the part of the pool that EC2 keeps for single addresses, can
//! only lower it.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::inventory::{CidrReservation, Interface, ReservationKind};

const BLOCK_BITS: u8 = 28;

/// The blocks of one subnet, occupied or not.
#[derive(Debug)]
pub(super) struct Blocks {
    cidr: Ipv4Net,
    occupied: Vec<bool>,
}

impl Blocks {
    /// The blocks of a subnet in which only AWS' own addresses are taken: the first and the last block.
    pub(super) fn of(cidr: Ipv4Net) -> Self {
        let blocks = if cidr.prefix_len() > BLOCK_BITS { 0 } else { 1_usize << (BLOCK_BITS - cidr.prefix_len()) };
        let mut occupied = vec![false; blocks];
        if let Some(first) = occupied.first_mut() {
            *first = true;
        }
        if let Some(last) = occupied.last_mut() {
            *last = true;
        }
        Self { cidr, occupied }
    }

    /// Takes what an interface has.
    pub(super) fn occupy(&mut self, interface: &Interface) {
        let singles = interface.primary.iter().chain(&interface.secondary).copied();
        for address in singles.chain(interface.prefixes.iter().map(|prefix| prefix.first())) {
            self.occupy_address(address);
        }
    }

    /// Takes what an explicit reservation covers: nothing is assigned there by itself.
    pub(super) fn reserve(&mut self, reservation: &CidrReservation) {
        if reservation.kind != ReservationKind::Explicit {
            return;
        }
        let step = u32::from(reservation.cidr.network())..=u32::from(reservation.cidr.broadcast());
        for address in step.step_by(16) {
            self.occupy_address(address.into());
        }
    }

    fn occupy_address(&mut self, address: Ipv4Addr) {
        if !self.cidr.contains(&address) {
            return;
        }
        let offset = u32::from(address) - u32::from(self.cidr.network());
        let block = usize::try_from(offset / 16).ok().and_then(|index| self.occupied.get_mut(index));
        if let Some(block) = block {
            *block = true;
        }
    }

    /// How many are whole and free.
    pub(super) fn free(&self) -> u32 {
        u32::try_from(self.occupied.iter().filter(|occupied| !**occupied).count()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::fixtures::interface;

    #[test]
    fn an_empty_subnet_loses_its_first_and_last_block() {
        for (cidr, free) in
            [("10.0.0.0/28", 0), ("10.0.0.0/27", 0), ("10.0.0.0/26", 2), ("10.0.0.0/20", 254), ("10.0.0.0/29", 0)]
        {
            assert_eq!(Blocks::of(cidr.parse().unwrap()).free(), free, "{cidr}");
        }
    }

    #[test]
    fn one_address_breaks_a_block_and_a_prefix_takes_one() {
        let mut blocks = Blocks::of("10.0.0.0/24".parse().unwrap());
        let mut row = interface("eni-1", "subnet-1");
        row.primary = Some([10, 0, 0, 20].into());
        row.secondary = [[10, 0, 0, 21].into(), [10, 0, 0, 200].into(), [10, 0, 9, 9].into()].into();
        row.prefixes = ["10.0.0.64/28".parse().unwrap()].into();
        blocks.occupy(&row);
        assert_eq!(blocks.free(), 14 - 3);
        let reservation =
            |kind| CidrReservation { subnet: "subnet-1".into(), cidr: "10.0.0.96/27".parse().unwrap(), kind };
        blocks.reserve(&reservation(ReservationKind::Prefix));
        assert_eq!(blocks.free(), 11);
        blocks.reserve(&reservation(ReservationKind::Explicit));
        assert_eq!(blocks.free(), 9);
    }
}
