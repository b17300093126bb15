//! The /28 blocks of a subnet: what a prefix needs is a whole aligned block of 16 addresses in which nothing is taken.
//!
//! EC2 has no call that says how many there are, so they are counted from what is visible: interfaces and reservations.
//! Blocks follow the address, not the subnet's first address; EC2's ranges are aligned to their size, so that the two
//! agree. The count is an upper bound: occupants that are not visible, and the part of the pool that EC2 keeps for
//! single addresses, can only lower it. `docs/concepts.md` says what the letters of the map mean.

use std::{collections::BTreeMap, net::Ipv4Addr};

use ipnet::Ipv4Net;

use crate::{
    inventory::{CidrReservation, Interface, ReservationKind},
    net::{ADDRESSES_PER_PREFIX, Prefix28},
};

const BLOCK_BITS: u8 = 28;
/// All 16 addresses of a block.
const WHOLE: u16 = u16::MAX;
/// The longest map; what is left out is counted at its end.
const MAP_BYTES: usize = 2_000;

/// The blocks of one subnet, occupied or not. Empty for ranges smaller than a block.
#[derive(Debug)]
pub(crate) struct Blocks {
    cidr: Ipv4Net,
    cells: Vec<Cell>,
    kept: Vec<Ipv4Net>,
}

/// One block; each mask has a bit per address.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    /// AWS' own addresses.
    aws: u16,
    /// Single addresses of interfaces.
    used: u16,
    /// Inside a reservation of kind `explicit`.
    explicit: u16,
    /// Inside a reservation of kind `prefix`.
    kept: u16,
    /// Assigned as a prefix.
    prefix: bool,
    holder: Holder,
    /// The first interface (by index) with a single address here.
    first: usize,
}

/// Who has single addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Holder {
    #[default]
    Nobody,
    /// One node, by its index.
    Node(usize),
    /// Several nodes, or pods with interfaces of their own.
    Cluster,
    /// Somebody else, alone or beside nodes.
    Others,
}

/// What has become of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Aws,
    Prefix,
    /// Taken by 16 single addresses.
    Full,
    /// Taken by some single addresses.
    Broken,
    Explicit,
    /// Free, inside a reservation for prefixes.
    Kept,
    Free,
}

impl State {
    const fn letter(self) -> char {
        match self {
            Self::Aws => 'R',
            Self::Prefix => 'P',
            Self::Full => 'U',
            Self::Broken => 'f',
            Self::Explicit => 'X',
            Self::Kept => 'p',
            Self::Free => 'F',
        }
    }

    const fn is_free(self) -> bool {
        matches!(self, Self::Kept | Self::Free)
    }
}

impl Cell {
    fn state(self) -> State {
        match self {
            Self { aws: 1.., .. } => State::Aws,
            Self { prefix: true, .. } => State::Prefix,
            Self { used: WHOLE, .. } => State::Full,
            Self { used: 1.., .. } => State::Broken,
            Self { explicit: 1.., .. } => State::Explicit,
            Self { kept: WHOLE, .. } => State::Kept,
            Self { .. } => State::Free,
        }
    }

    /// How many addresses of a mask nobody has.
    fn untaken(self, mask: u16) -> u32 {
        if self.prefix { 0 } else { (mask & !self.used & !self.aws).count_ones() }
    }
}

/// A broken block that few addresses keep from being whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NearlyFree {
    /// Which.
    pub(crate) block: Prefix28,
    /// Single addresses in it.
    pub(crate) occupants: u32,
    /// An interface (by index) that has one of them.
    pub(crate) interface: usize,
}

/// How a reservation for prefixes is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reservation {
    /// Its range.
    pub(crate) cidr: Ipv4Net,
    /// Blocks in it that can be assigned at all.
    pub(crate) blocks: u32,
    /// Those that are free.
    pub(crate) free: u32,
    /// Those that are assigned as prefixes.
    pub(crate) prefixes: u32,
    /// Blocks that single addresses keep from being assigned.
    pub(crate) intruded: u32,
    /// Those single addresses.
    pub(crate) intruders: u32,
}

impl Blocks {
    /// The blocks of a subnet in which only AWS' own addresses are taken: the first four and the last.
    pub(crate) fn of(cidr: Ipv4Net) -> Self {
        let cidr = cidr.trunc();
        let blocks = if cidr.prefix_len() > BLOCK_BITS { 0 } else { 1_usize << (BLOCK_BITS - cidr.prefix_len()) };
        let mut cells = vec![Cell::default(); blocks];
        if let Some(first) = cells.first_mut() {
            first.aws = 0x000f;
        }
        if let Some(last) = cells.last_mut() {
            last.aws |= 0x8000;
        }
        Self { cidr, cells, kept: Vec::new() }
    }

    /// Takes what the interface of an index has, and notes whose it is.
    pub(crate) fn occupy(&mut self, at: usize, interface: &Interface, by: Holder) {
        for address in interface.primary.iter().chain(&interface.secondary) {
            let bit = 1 << (u32::from(*address) & 0xf);
            let Some(cell) = self.cell(*address) else { continue };
            if cell.used == 0 {
                cell.first = at;
            }
            cell.used |= bit;
            cell.holder = match (cell.holder, by) {
                (Holder::Nobody, by) => by,
                (same, by) if same == by => same,
                (Holder::Node(_) | Holder::Cluster, Holder::Node(_) | Holder::Cluster) => Holder::Cluster,
                _ => Holder::Others,
            };
        }
        for prefix in &interface.prefixes {
            if let Some(cell) = self.cell(prefix.first()) {
                cell.prefix = true;
            }
        }
    }

    /// Marks what a reservation covers. Nothing is assigned out of an explicit one by itself, and only prefixes out of
    /// one for prefixes. Other kinds are not known to matter.
    pub(crate) fn reserve(&mut self, reservation: &CidrReservation) {
        let explicit = match reservation.kind {
            ReservationKind::Explicit => true,
            ReservationKind::Prefix => false,
            ReservationKind::Other(_) => return,
        };
        let range = reservation.cidr.trunc();
        if !explicit {
            self.kept.push(range);
        }
        for (address, mask) in blocks_of(range) {
            let Some(cell) = self.cell(address) else { continue };
            let field = if explicit { &mut cell.explicit } else { &mut cell.kept };
            *field |= mask;
        }
    }

    fn cell(&mut self, address: Ipv4Addr) -> Option<&mut Cell> {
        let index = self.index(address)?;
        self.cells.get_mut(index)
    }

    fn index(&self, address: Ipv4Addr) -> Option<usize> {
        let offset = u32::from(address).checked_sub(u32::from(self.cidr.network()))?;
        usize::try_from(offset / ADDRESSES_PER_PREFIX).ok().filter(|index| *index < self.cells.len())
    }

    fn block(&self, index: usize) -> Prefix28 {
        let offset = u32::try_from(index).unwrap_or(u32::MAX).saturating_mul(ADDRESSES_PER_PREFIX);
        Prefix28::containing(u32::from(self.cidr.network()).saturating_add(offset).into())
    }

    fn count(&self, wanted: impl Fn(State) -> bool) -> u32 {
        u32::try_from(self.cells.iter().filter(|cell| wanted(cell.state())).count()).unwrap_or(u32::MAX)
    }

    /// Whole free blocks.
    pub(crate) fn free(&self) -> u32 {
        self.count(State::is_free)
    }

    /// Those of them that a reservation keeps for prefixes: EC2 does not count them as available.
    pub(crate) fn free_kept(&self) -> u32 {
        self.count(|state| state == State::Kept)
    }

    /// Blocks that single addresses keep from being prefixes.
    pub(crate) fn broken(&self) -> u32 {
        self.count(|state| matches!(state, State::Broken | State::Full))
    }

    /// Those of them in which somebody else than the cluster has an address.
    pub(crate) fn broken_by_others(&self) -> u32 {
        let broken = self.cells.iter().filter(|cell| matches!(cell.state(), State::Broken | State::Full));
        u32::try_from(broken.filter(|cell| cell.holder == Holder::Others).count()).unwrap_or(u32::MAX)
    }

    /// Blocks that could ever be prefixes: all but those with an address of AWS' own.
    pub(crate) fn assignable(&self) -> u32 {
        self.count(|state| state != State::Aws)
    }

    /// Broken blocks in a hundred of those that are no prefix and could be one, rounded up; none if there is none.
    pub(crate) fn fragmentation_percent(&self) -> Option<u32> {
        let broken = self.broken();
        let all = broken + self.free();
        (all > 0).then(|| (broken * 100).div_ceil(all))
    }

    /// The largest aligned range that is free, the first of that size.
    pub(crate) fn largest_free(&self) -> Option<Ipv4Net> {
        self.largest(State::is_free)
    }

    /// The largest aligned range that is free and in no reservation: a new one for prefixes fits there.
    pub(crate) fn largest_unreserved(&self) -> Option<Ipv4Net> {
        self.largest(|state| state == State::Free)
    }

    /// Ranges of each size are aligned in the subnet as they are by address, so that pairs of pairs find them all.
    fn largest(&self, wanted: impl Fn(State) -> bool) -> Option<Ipv4Net> {
        let mut level: Vec<bool> = self.cells.iter().map(|cell| wanted(cell.state())).collect();
        let mut best = None;
        let mut bits = BLOCK_BITS;
        while let Some(at) = level.iter().position(|whole| *whole) {
            let first = self.block(at << (BLOCK_BITS - bits));
            best = Ipv4Net::new(first.first(), bits).ok();
            if level.len() < 2 {
                break;
            }
            level = level.chunks(2).map(|pair| pair.iter().all(|whole| *whole)).collect();
            bits -= 1;
        }
        best
    }

    /// Addresses inside reservations for prefixes that nobody has: EC2 does not count them as available.
    pub(crate) fn untaken_kept(&self) -> u32 {
        self.cells.iter().map(|cell| cell.untaken(cell.kept)).sum()
    }

    /// Addresses inside explicit reservations that nobody has.
    pub(crate) fn untaken_explicit(&self) -> u32 {
        self.cells.iter().map(|cell| cell.untaken(cell.explicit & !cell.kept)).sum()
    }

    /// Addresses inside explicit reservations, taken or not.
    pub(crate) fn explicit(&self) -> u32 {
        self.cells.iter().map(|cell| cell.explicit.count_ones()).sum()
    }

    /// Addresses that visible interfaces have.
    pub(crate) fn visible(&self) -> u32 {
        let taken = |cell: &Cell| if cell.prefix { ADDRESSES_PER_PREFIX } else { (cell.used & !cell.aws).count_ones() };
        self.cells.iter().map(taken).sum()
    }

    /// Broken blocks that would be whole if one node gave back what it has, per node.
    pub(crate) fn recoverable(&self) -> BTreeMap<usize, u32> {
        let mut nodes = BTreeMap::new();
        for cell in &self.cells {
            let broken = matches!(cell.state(), State::Broken | State::Full) && cell.explicit == 0;
            if let (true, Holder::Node(node)) = (broken, cell.holder) {
                *nodes.entry(node).or_default() += 1;
            }
        }
        nodes
    }

    /// Broken blocks of a range with the fewest occupants, at most so many.
    pub(crate) fn nearly_free(&self, range: Ipv4Net, most: usize) -> Vec<NearlyFree> {
        let broken = self.cells.iter().enumerate().filter(|(_, cell)| cell.state() == State::Broken);
        let mut blocks: Vec<NearlyFree> = broken
            .map(|(index, cell)| NearlyFree {
                block: self.block(index),
                occupants: cell.used.count_ones(),
                interface: cell.first,
            })
            .collect();
        blocks.retain(|nearly| range.contains(&nearly.block.first()));
        blocks.sort_by_key(|nearly| (nearly.occupants, nearly.block));
        blocks.truncate(most);
        blocks
    }

    /// How each reservation for prefixes is used.
    pub(crate) fn reservations(&self) -> Vec<Reservation> {
        self.kept.iter().map(|cidr| self.reservation(*cidr)).collect()
    }

    fn reservation(&self, cidr: Ipv4Net) -> Reservation {
        let mut of = Reservation { cidr, blocks: 0, free: 0, prefixes: 0, intruded: 0, intruders: 0 };
        for (address, _) in blocks_of(cidr) {
            let Some(cell) = self.index(address).and_then(|index| self.cells.get(index)) else { continue };
            match cell.state() {
                State::Aws => continue,
                State::Kept => of.free += 1,
                State::Prefix => of.prefixes += 1,
                State::Broken | State::Full => {
                    of.intruded += 1;
                    of.intruders += (cell.used & cell.kept).count_ones();
                }
                State::Explicit | State::Free => {}
            }
            of.blocks += 1;
        }
        of
    }

    /// The blocks in order, run by run: `1R 14F 2P`. What does not fit is counted: `+1200`.
    pub(crate) fn map(&self) -> String {
        let mut map = String::new();
        let mut told = 0;
        for run in self.cells.chunk_by(|one, next| one.state() == next.state()) {
            let letter = run.first().map_or(' ', |cell| cell.state().letter());
            let word = format!("{}{letter}", run.len());
            if map.len() + word.len() + 1 > MAP_BYTES {
                let left_out = format!(" +{}", self.cells.len() - told);
                map.push_str(&left_out);
                break;
            }
            if told > 0 {
                map.push(' ');
            }
            map.push_str(&word);
            told += run.len();
        }
        map
    }
}

/// The blocks that a range touches, each by its first address, with the range's addresses in it.
fn blocks_of(range: Ipv4Net) -> impl Iterator<Item = (Ipv4Addr, u16)> {
    let (first, last) = (u32::from(range.network()), u32::from(range.broadcast()));
    let mask = if range.prefix_len() <= BLOCK_BITS { WHOLE } else { (WHOLE >> (15 - (last - first))) << (first & 0xf) };
    (first & !0xf..=last).step_by(16).map(move |address| (address.into(), mask))
}

#[cfg(test)]
mod tests;
