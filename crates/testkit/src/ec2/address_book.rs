//! Which addresses of a subnet are taken, one bit each.
//!
//! Invariants: the first four addresses and the last one are never given out; an address or a /28 block is held at most
//! once; `available` is what EC2 reports, so it falls at once by the unallocated space of prefix reservations and does
//! not fall by explicit ones. A block is one 16-bit lane of a word, since a subnet's base is aligned to its size.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::seed::{Placement, ReservationKind};

/// Addresses in a delegated prefix.
const BLOCK: u32 = 16;
const WORD: u32 = u64::BITS;
const LANES: u32 = WORD / BLOCK;

/// Why the book refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("is not inside the subnet's block")]
    Outside,
    #[error("is one of the five addresses that AWS keeps in every subnet")]
    KeptByAws,
    #[error("is already in use")]
    InUse,
    #[error("is not an aligned /28")]
    NotAligned,
    #[error("overlaps another reservation")]
    ReservationOverlap,
    /// Fewer free addresses than asked for.
    #[error("asks for more addresses than are free")]
    Exhausted,
    /// Enough free addresses, but no free aligned block.
    #[error("asks for more free aligned /28 blocks than there are, although enough addresses are free")]
    Fragmented,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Bits(Vec<u64>);

impl Bits {
    fn zeros(words: u32) -> Self {
        Self(vec![0; words as usize])
    }

    fn get(&self, at: u32) -> bool {
        self.0[(at / WORD) as usize] >> (at % WORD) & 1 == 1
    }

    fn set(&mut self, at: u32, value: bool) {
        let mask = 1 << (at % WORD);
        let word = &mut self.0[(at / WORD) as usize];
        if value { *word |= mask } else { *word &= !mask }
    }

    fn set_range(&mut self, from: u32, count: u32, value: bool) {
        (from..from + count).for_each(|at| self.set(at, value));
    }

    fn any(&self, from: u32, count: u32) -> bool {
        (from..from + count).any(|at| self.get(at))
    }

    /// The sixteen bits of a block.
    fn lane(&self, block: u32) -> u64 {
        self.0[(block / LANES) as usize] >> (block % LANES * BLOCK) & 0xffff
    }
}

/// The addresses of one subnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AddressBook {
    base: u32,
    size: u32,
    placement: Placement,
    draws: u64,
    held: Bits,
    for_prefixes: Bits,
    for_requests: Bits,
}

impl AddressBook {
    /// A book for a block of /16 to /28 with nothing taken but the five addresses that AWS keeps.
    pub(crate) fn new(block: Ipv4Net, placement: Placement) -> Self {
        let size = 1 << (32 - block.prefix_len());
        let words = u32::div_ceil(size, WORD);
        let mut held = Bits::zeros(words);
        held.set_range(0, 4, true);
        // The tail of the only word of a /27 or /28 is no address at all.
        held.set_range(size - 1, words * WORD - (size - 1), true);
        Self {
            base: u32::from(block.network()),
            size,
            placement,
            draws: 0,
            held,
            for_prefixes: Bits::zeros(words),
            for_requests: Bits::zeros(words),
        }
    }

    /// What EC2 reports as available.
    pub(crate) fn available(&self) -> u32 {
        self.free_where(|held, for_prefixes, _| held | for_prefixes)
    }

    /// Addresses that a request without a wish may get.
    fn assignable(&self) -> u32 {
        self.free_where(|held, for_prefixes, for_requests| held | for_prefixes | for_requests)
    }

    fn free_where(&self, taken: impl Fn(u64, u64, u64) -> u64) -> u32 {
        let words = self.held.0.iter().zip(&self.for_prefixes.0).zip(&self.for_requests.0);
        words.map(|((held, prefixes), requests)| taken(*held, *prefixes, *requests).count_zeros()).sum()
    }

    /// Takes exactly this address. It may lie in a reservation of either kind.
    pub(crate) fn take(&mut self, address: Ipv4Addr) -> Result<(), Refusal> {
        let at = self.offset(address)?;
        if at < 4 || at == self.size - 1 {
            return Err(Refusal::KeptByAws);
        }
        if self.held.get(at) {
            return Err(Refusal::InUse);
        }
        self.held.set(at, true);
        Ok(())
    }

    /// Takes `count` addresses outside reservations, all or none.
    pub(crate) fn choose(&mut self, count: u32) -> Result<Vec<Ipv4Addr>, Refusal> {
        if count > self.assignable() {
            return Err(Refusal::Exhausted);
        }
        let mut chosen = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let start = self.draw(self.size);
            let at = self.next_free(start).or_else(|| self.next_free(0)).ok_or(Refusal::Exhausted)?;
            self.held.set(at, true);
            chosen.push(Ipv4Addr::from(self.base + at));
        }
        Ok(chosen)
    }

    fn next_free(&self, from: u32) -> Option<u32> {
        let first = from / WORD;
        (first..u32::div_ceil(self.size, WORD)).find_map(|index| {
            let skipped = if index == first { (1_u64 << (from % WORD)) - 1 } else { 0 };
            let at = index as usize;
            let taken = self.held.0[at] | self.for_prefixes.0[at] | self.for_requests.0[at] | skipped;
            (taken != u64::MAX).then(|| index * WORD + taken.trailing_ones())
        })
    }

    /// Takes exactly this /28.
    pub(crate) fn take_prefix(&mut self, prefix: Ipv4Net) -> Result<(), Refusal> {
        if prefix.prefix_len() != 28 || prefix.trunc() != prefix {
            return Err(Refusal::NotAligned);
        }
        let at = self.offset(prefix.network())?;
        if at == 0 || at + BLOCK == self.size {
            return Err(Refusal::KeptByAws);
        }
        if self.held.any(at, BLOCK) {
            return Err(Refusal::InUse);
        }
        self.held.set_range(at, BLOCK, true);
        Ok(())
    }

    /// Takes `count` free /28 blocks, those in prefix reservations first, all or none.
    pub(crate) fn choose_prefixes(&mut self, count: u32) -> Result<Vec<Ipv4Net>, Refusal> {
        let mut trial = self.clone();
        let mut chosen = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let Some(block) = trial.next_block() else {
                return Err(self.why_no_prefixes(count));
            };
            trial.held.set_range(block * BLOCK, BLOCK, true);
            let network = Ipv4Addr::from(self.base + block * BLOCK);
            chosen.push(Ipv4Net::new(network, 28).map_err(|_| Refusal::NotAligned)?);
        }
        *self = trial;
        Ok(chosen)
    }

    fn next_block(&mut self) -> Option<u32> {
        let blocks = self.size / BLOCK;
        let start = self.draw(blocks);
        let order = || (start..blocks).chain(0..start);
        let reserved = |block: &u32| self.for_prefixes.lane(*block) == 0xffff && self.held.lane(*block) == 0;
        let general = |block: &u32| {
            (self.held.lane(*block) | self.for_prefixes.lane(*block) | self.for_requests.lane(*block)) == 0
        };
        order().find(reserved).or_else(|| order().find(general))
    }

    fn why_no_prefixes(&self, count: u32) -> Refusal {
        let free = self.free_where(|held, _, for_requests| held | for_requests);
        if free >= count.saturating_mul(BLOCK) { Refusal::Fragmented } else { Refusal::Exhausted }
    }

    /// Gives an address back.
    pub(crate) fn release(&mut self, address: Ipv4Addr) {
        if let Ok(at) = self.offset(address) {
            self.held.set(at, false);
        }
    }

    /// Gives a prefix back.
    pub(crate) fn release_prefix(&mut self, prefix: Ipv4Net) {
        if let Ok(at) = self.offset(prefix.network()) {
            self.held.set_range(at, BLOCK, false);
        }
    }

    /// Reserves a block; addresses in it that are already in use stay so.
    pub(crate) fn reserve(&mut self, block: Ipv4Net, kind: ReservationKind) -> Result<(), Refusal> {
        let (at, count) = self.range(block)?;
        if self.for_prefixes.any(at, count) || self.for_requests.any(at, count) {
            return Err(Refusal::ReservationOverlap);
        }
        self.reserved(kind).set_range(at, count, true);
        Ok(())
    }

    /// Ends a reservation.
    pub(crate) fn unreserve(&mut self, block: Ipv4Net, kind: ReservationKind) {
        if let Ok((at, count)) = self.range(block) {
            self.reserved(kind).set_range(at, count, false);
        }
    }

    fn reserved(&mut self, kind: ReservationKind) -> &mut Bits {
        match kind {
            ReservationKind::Prefix => &mut self.for_prefixes,
            ReservationKind::Explicit => &mut self.for_requests,
        }
    }

    fn range(&self, block: Ipv4Net) -> Result<(u32, u32), Refusal> {
        let at = self.offset(block.network())?;
        let count = 1_u32.checked_shl(32 - u32::from(block.prefix_len())).ok_or(Refusal::Outside)?;
        if count > self.size - at { Err(Refusal::Outside) } else { Ok((at, count)) }
    }

    fn offset(&self, address: Ipv4Addr) -> Result<u32, Refusal> {
        let at = u32::from(address).checked_sub(self.base).ok_or(Refusal::Outside)?;
        if at < self.size { Ok(at) } else { Err(Refusal::Outside) }
    }

    /// Where to begin looking: at the bottom, or at a place that a fixed sequence names.
    fn draw(&mut self, bound: u32) -> u32 {
        match self.placement {
            Placement::Lowest => 0,
            Placement::Scattered => {
                self.draws += 1;
                let mixed = super::ids::mix(u64::from(self.base) << 32 | self.draws);
                (mixed >> 32) as u32 % bound
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    fn book(text: &str) -> AddressBook {
        AddressBook::new(net(text), Placement::Lowest)
    }

    #[test]
    fn five_addresses_are_never_available() {
        for (block, free) in [("10.0.0.0/28", 11), ("10.0.0.0/27", 27), ("10.0.0.0/26", 59), ("10.0.0.0/16", 65_531)] {
            let mut book = book(block);
            assert_eq!(book.available(), free, "{block}");
            let all = book.choose(free).unwrap();
            assert_eq!(all.first(), Some(&Ipv4Addr::new(10, 0, 0, 4)));
            assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), free as usize);
            assert_eq!(book.choose(1), Err(Refusal::Exhausted));
        }
    }

    #[test]
    fn refuses_addresses_it_may_not_give() {
        let mut book = book("10.0.1.0/24");
        for (address, why) in [
            ("10.0.0.255", Refusal::Outside),
            ("10.0.2.0", Refusal::Outside),
            ("10.0.1.0", Refusal::KeptByAws),
            ("10.0.1.3", Refusal::KeptByAws),
            ("10.0.1.255", Refusal::KeptByAws),
        ] {
            assert_eq!(book.take(address.parse().unwrap()), Err(why), "{address}");
        }
        let address = "10.0.1.4".parse().unwrap();
        assert_eq!(book.take(address), Ok(()));
        assert_eq!(book.take(address), Err(Refusal::InUse));
        book.release(address);
        assert_eq!(book.available(), 251);
    }

    #[test]
    fn a_subnet_holds_two_prefixes_fewer_than_it_has_blocks() {
        for (block, prefixes) in [("10.0.0.0/28", 0), ("10.0.0.0/27", 0), ("10.0.0.0/26", 2), ("10.0.0.0/24", 14)] {
            let mut book = book(block);
            let before = book.available();
            assert_eq!(book.choose_prefixes(prefixes).unwrap().len(), prefixes as usize, "{block}");
            assert_eq!(book.available(), before - 16 * prefixes);
            assert!(book.choose_prefixes(1).is_err());
        }
    }

    #[test]
    fn tells_fragmentation_from_exhaustion() {
        let mut book = book("10.0.0.0/26");
        book.take("10.0.0.20".parse().unwrap()).unwrap();
        book.take("10.0.0.40".parse().unwrap()).unwrap();
        assert_eq!(book.available(), 57);
        assert_eq!(book.choose_prefixes(1), Err(Refusal::Fragmented));
        book.choose(50).unwrap();
        assert_eq!(book.choose_prefixes(1), Err(Refusal::Exhausted));
        assert_eq!(book.available(), 7, "a refused request takes nothing");
    }

    #[test]
    fn prefix_reservations_fall_at_once_and_are_used_first() {
        let mut book = book("10.0.0.0/24");
        book.reserve(net("10.0.0.128/26"), ReservationKind::Prefix).unwrap();
        assert_eq!(book.available(), 251 - 64);
        assert_eq!(book.choose_prefixes(1).unwrap(), [net("10.0.0.128/28")]);
        assert_eq!(book.available(), 251 - 64, "the prefix was already counted");
        assert_eq!(book.choose_prefixes(4).unwrap().last(), Some(&net("10.0.0.16/28")), "then the general pool");
        book.unreserve(net("10.0.0.128/26"), ReservationKind::Prefix);
        assert_eq!(book.available(), 251 - 5 * 16);
    }

    #[test]
    fn explicit_reservations_count_as_available_and_are_never_chosen() {
        let mut book = book("10.0.0.0/27");
        book.reserve(net("10.0.0.16/28"), ReservationKind::Explicit).unwrap();
        assert_eq!(book.available(), 27);
        assert_eq!(book.choose(12).unwrap().len(), 12);
        assert_eq!(book.choose(1), Err(Refusal::Exhausted));
        assert_eq!(book.take("10.0.0.20".parse().unwrap()), Ok(()));
        assert_eq!(book.reserve(net("10.0.0.24/29"), ReservationKind::Prefix), Err(Refusal::ReservationOverlap));
    }

    #[test]
    fn refuses_prefixes_that_are_no_aligned_blocks_of_the_subnet() {
        let mut book = book("10.0.0.0/26");
        for (prefix, why) in [
            ("10.0.0.8/28", Refusal::NotAligned),
            ("10.0.0.16/27", Refusal::NotAligned),
            ("10.0.0.0/28", Refusal::KeptByAws),
            ("10.0.0.48/28", Refusal::KeptByAws),
            ("10.0.1.0/28", Refusal::Outside),
        ] {
            assert_eq!(book.take_prefix(net(prefix)), Err(why), "{prefix}");
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Choose(u32),
        Prefixes(u32),
        Take(u8),
        Give(usize),
        GivePrefix(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0_u32..40).prop_map(Step::Choose),
            (0_u32..4).prop_map(Step::Prefixes),
            any::<u8>().prop_map(Step::Take),
            any::<usize>().prop_map(Step::Give),
            any::<usize>().prop_map(Step::GivePrefix),
        ]
    }

    proptest! {
        /// Whatever happens, no address is held twice and the free count is what a plain set says.
        #[test]
        fn agrees_with_a_set(steps in prop::collection::vec(step(), 1..60), scattered: bool) {
            let placement = if scattered { Placement::Scattered } else { Placement::Lowest };
            let mut book = AddressBook::new(net("10.9.8.0/24"), placement);
            let (mut singles, mut prefixes) = (Vec::new(), Vec::new());
            for step in steps {
                match step {
                    Step::Choose(count) => singles.extend(book.choose(count).unwrap_or_default()),
                    Step::Prefixes(count) => prefixes.extend(book.choose_prefixes(count).unwrap_or_default()),
                    Step::Take(last) => {
                        let address = Ipv4Addr::new(10, 9, 8, last);
                        if book.take(address).is_ok() {
                            singles.push(address);
                        }
                    }
                    Step::Give(at) if !singles.is_empty() => book.release(singles.swap_remove(at % singles.len())),
                    Step::GivePrefix(at) if !prefixes.is_empty() => {
                        book.release_prefix(prefixes.swap_remove(at % prefixes.len()));
                    }
                    Step::Give(_) | Step::GivePrefix(_) => {}
                }
                let mut held: Vec<Ipv4Addr> = singles.clone();
                held.extend(prefixes.iter().flat_map(|p: &Ipv4Net| (0..16).map(|i| Ipv4Addr::from(u32::from(p.network()) + i))));
                let distinct: BTreeSet<_> = held.iter().collect();
                prop_assert_eq!(distinct.len(), held.len());
                prop_assert!(held.iter().all(|a| (4..255).contains(&a.octets()[3])));
                prop_assert_eq!(book.available() as usize, 251 - held.len());
            }
        }
    }
}
