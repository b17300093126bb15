//! The subnet as two counters: free addresses, and free aligned /28 blocks among them.
//!
//! Every call of EC2 is all or nothing. A broken block stays broken: an address given back does not make a block whole,
//! as far as a node can know.

/// Addresses of a prefix.
pub(super) const PREFIX: i64 = 16;

/// What is left in the subnet that pays for interfaces, addresses and prefixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subnet {
    free: Option<i64>,
    blocks: Option<i64>,
}

impl Subnet {
    /// A subnet that never runs out.
    pub const UNLIMITED: Self = Self { free: None, blocks: None };

    /// A subnet with this many free addresses and whole free /28 blocks among them; `None` is unlimited. `None` if more
    /// blocks are claimed than the addresses can hold, or a figure is negative.
    pub fn new(free: Option<i64>, blocks: Option<i64>) -> Option<Self> {
        let negative = |figure: Option<i64>| figure.is_some_and(|figure| figure < 0);
        let too_many = matches!((free, blocks), (Some(free), Some(blocks)) if blocks > free / PREFIX);
        let blocks = blocks.or_else(|| free.map(|free| free / PREFIX));
        (!negative(free) && !negative(blocks) && !too_many).then_some(Self { free, blocks })
    }

    /// Free addresses, `None` if unlimited.
    pub fn free(&self) -> Option<i64> {
        self.free
    }

    /// Free aligned /28 blocks, `None` if unlimited.
    pub fn free_blocks(&self) -> Option<i64> {
        self.blocks
    }

    /// Takes single addresses: first those outside whole blocks, then out of a block, which is broken by that.
    #[must_use = "the subnet may refuse"]
    pub(super) fn take_addresses(&mut self, count: i64) -> bool {
        let Some(free) = self.free else { return true };
        if free < count {
            return false;
        }
        if let Some(blocks) = &mut self.blocks {
            let outside = free - PREFIX * *blocks;
            if count > outside {
                *blocks -= (count - outside + PREFIX - 1) / PREFIX;
            }
        }
        self.free = Some(free - count);
        true
    }

    /// Takes whole blocks.
    #[must_use = "the subnet may refuse"]
    pub(super) fn take_prefixes(&mut self, count: i64) -> bool {
        let enough_blocks = self.blocks.is_none_or(|blocks| blocks >= count);
        let enough_addresses = self.free.is_none_or(|free| free >= PREFIX * count);
        if enough_blocks && enough_addresses {
            self.blocks = self.blocks.map(|blocks| blocks - count);
            self.free = self.free.map(|free| free - PREFIX * count);
        }
        enough_blocks && enough_addresses
    }

    pub(super) fn give_back(&mut self, addresses: i64, prefixes: i64) {
        self.free = self.free.map(|free| free + addresses + PREFIX * prefixes);
        self.blocks = self.blocks.map(|blocks| blocks + prefixes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(free: i64, blocks: i64) -> Subnet {
        Subnet::new(Some(free), Some(blocks)).unwrap()
    }

    #[test]
    fn taking_many_at_once_breaks_the_blocks_that_taking_one_by_one_breaks() {
        for free in 0..70 {
            for blocks in 0..=free / 16 {
                for count in 0..=free {
                    let mut at_once = subnet(free, blocks);
                    assert!(at_once.take_addresses(count));
                    let mut one_by_one = subnet(free, blocks);
                    for _ in 0..count {
                        assert!(one_by_one.take_addresses(1));
                    }
                    assert_eq!(at_once, one_by_one, "{count} of {free} with {blocks} blocks");
                }
            }
        }
    }

    #[test]
    fn refusals_take_nothing() {
        let mut small = subnet(20, 1);
        assert!(!small.take_addresses(21));
        assert!(!small.take_prefixes(2));
        assert_eq!(small, subnet(20, 1));
        assert!(small.take_addresses(4), "outside the block");
        assert_eq!(small, subnet(16, 1));
        assert!(small.take_addresses(1));
        assert_eq!(small, subnet(15, 0));
        small.give_back(1, 0);
        assert_eq!(small, subnet(16, 0), "a broken block stays broken");
    }

    #[test]
    fn figures_must_fit_each_other() {
        assert_eq!(Subnet::new(Some(31), None), Subnet::new(Some(31), Some(1)));
        assert_eq!(Subnet::new(Some(31), Some(2)), None);
        assert_eq!(Subnet::new(Some(-1), None), None);
        assert_eq!(Subnet::new(None, Some(-1)), None);
        let mut blocks_only = Subnet::new(None, Some(1)).unwrap();
        assert!(blocks_only.take_addresses(1000));
        assert!(blocks_only.take_prefixes(1));
        assert!(!blocks_only.take_prefixes(1));
    }
}
