//! Gives out the addresses of one subnet in a scattered but fixed order, as EC2 seems to: dense order would leave whole
//! /28 blocks free in a subnet that in reality has none.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use anyhow::{Context, Result, ensure};
use ipnet::Ipv4Net;

/// The network address, the router, DNS, one for the future; and the last.
const RESERVED_AT_START: u32 = 4;
const RESERVED_AT_END: u32 = 1;
/// Addresses of a delegated prefix.
const PREFIX_SIZE: u32 = 16;
/// A step of the sequence; it becomes coprime to the number of addresses before use.
const STRIDE: u32 = 617;

/// The free addresses of a subnet.
#[derive(Debug)]
pub(super) struct AddressPool {
    cidr: Ipv4Net,
    /// Offsets from the network address, in the order in which they are given out, last first.
    order: Vec<u32>,
    taken: BTreeSet<u32>,
    /// Offsets inside these ranges are never chosen for single addresses.
    kept: Vec<(u32, u32)>,
}

impl AddressPool {
    /// A pool that gives out addresses in an order that `seed` decides.
    pub(super) fn new(cidr: Ipv4Net, seed: u32) -> Result<Self> {
        ensure!((16..=28).contains(&cidr.prefix_len()), "a subnet is a /16 to a /28, not {cidr}");
        let size = 1_u32 << (32 - cidr.prefix_len());
        let usable = size - RESERVED_AT_START - RESERVED_AT_END;
        let step = coprime_step(usable);
        let mut order: Vec<u32> = Vec::new();
        let mut next = seed % usable;
        for _ in 0..usable {
            order.push(RESERVED_AT_START + next);
            next = (next + step) % usable;
        }
        Ok(Self { cidr, order, taken: BTreeSet::new(), kept: Vec::new() })
    }

    /// Keeps a reserved block out of what [`address`](Self::address) gives out.
    pub(super) fn keep(&mut self, block: Ipv4Net) {
        let start = u32::from(block.network()) - u32::from(self.cidr.network());
        let size = 1_u32 << (32 - block.prefix_len());
        self.kept.push((start, start + size));
    }

    /// The next free address.
    pub(super) fn address(&mut self) -> Result<Ipv4Addr> {
        while let Some(offset) = self.order.pop() {
            let kept = self.kept.iter().any(|(start, end)| (*start..*end).contains(&offset));
            if !kept && self.taken.insert(offset) {
                return Ok(Ipv4Addr::from(u32::from(self.cidr.network()) + offset));
            }
        }
        self.full()
    }

    /// The lowest free /28 block, from kept blocks first as EC2 does.
    pub(super) fn prefix(&mut self) -> Result<Ipv4Net> {
        let kept: Vec<u32> = self.kept.iter().flat_map(|(start, end)| (*start..*end).step_by(16)).collect();
        let blocks = 1_u32 << (28 - self.cidr.prefix_len());
        // The first and the last block hold reserved addresses.
        let all = (1..blocks.saturating_sub(1)).map(|block| block * PREFIX_SIZE);
        let free = |start: &u32| self.taken.range(*start..start + PREFIX_SIZE).next().is_none();
        let start = kept.into_iter().chain(all).find(free);
        let Some(start) = start else { return self.full() };
        self.taken.extend(start..start + PREFIX_SIZE);
        let network = Ipv4Addr::from(u32::from(self.cidr.network()) + start);
        Ipv4Net::new(network, 28).context("28 is a prefix length")
    }

    fn full<T>(&self) -> Result<T> {
        anyhow::bail!("subnet {} is too small for what the scenario puts into it", self.cidr)
    }
}

fn coprime_step(count: u32) -> u32 {
    (STRIDE..STRIDE + count).find(|step| greatest_common_divisor(*step, count) == 1).unwrap_or(1)
}

const fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usable_address_is_given_out_once() {
        let mut pool = AddressPool::new("10.0.0.0/24".parse().unwrap(), 12_345).unwrap();
        let given: BTreeSet<Ipv4Addr> = (0..251).map(|_| pool.address().unwrap()).collect();
        assert_eq!(given.len(), 251);
        assert_eq!(given.first(), Some(&Ipv4Addr::new(10, 0, 0, 4)));
        assert_eq!(given.last(), Some(&Ipv4Addr::new(10, 0, 0, 254)));
        assert!(pool.address().unwrap_err().to_string().contains("too small"));
    }

    #[test]
    fn prefixes_are_aligned_apart_and_reserved_blocks_come_first() {
        let mut pool = AddressPool::new("10.0.0.0/26".parse().unwrap(), 0).unwrap();
        pool.keep("10.0.0.32/28".parse().unwrap());
        assert_eq!(pool.prefix().unwrap(), "10.0.0.32/28".parse().unwrap());
        assert_eq!(pool.prefix().unwrap(), "10.0.0.16/28".parse().unwrap());
        pool.prefix().unwrap_err();
        // What is left are the twelve and the fifteen of the outer blocks, without the five reserved ones.
        assert_eq!((0..64).take_while(|_| pool.address().is_ok()).count(), 12 + 15);
    }
}
