//! Maps for lookups only: by name or by the address of something interned, several times as fast as those of `std`.
//!
//! Their hash is not keyed, so nothing that a stranger chooses may be a key, and nothing may depend on their order.

use std::{
    collections::{HashMap, HashSet},
    hash::{BuildHasherDefault, Hasher},
};

/// A map for lookups.
pub(crate) type Map<K, V> = HashMap<K, V, BuildHasherDefault<Quick>>;
/// A set for lookups.
pub(crate) type Set<K> = HashSet<K, BuildHasherDefault<Quick>>;

/// One multiplication for eight bytes.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Quick(u64);

impl Quick {
    fn add(&mut self, word: u64) {
        const ODD: u64 = 0xf135_7aea_2e62_a9c5;
        self.0 = self.0.wrapping_add(word).wrapping_mul(ODD);
    }
}

impl Hasher for Quick {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.add(u64::from_le_bytes(*word));
            // Without it the first bytes would not reach the low bits of a long name's hash.
            self.0 ^= self.0 >> 29;
        }
        let tail =
            rest.iter().fold(u64::try_from(rest.len()).unwrap_or_default(), |tail, byte| tail << 8 | u64::from(*byte));
        self.add(tail);
    }

    fn write_u8(&mut self, value: u8) {
        self.add(value.into());
    }

    fn write_u32(&mut self, value: u32) {
        self.add(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        self.add(value);
    }

    fn write_usize(&mut self, value: usize) {
        self.add(value as u64);
    }

    /// The map takes its bucket from the low bits, and a product is good in the high ones.
    fn finish(&self) -> u64 {
        self.0.rotate_left(26)
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, Hash};

    use super::*;

    fn hash(value: impl Hash) -> u64 {
        BuildHasherDefault::<Quick>::default().hash_one(value)
    }

    #[test]
    fn names_that_differ_in_little_are_spread_over_all_buckets() {
        let names = (0..4096).map(|at| format!("ip-10-{}-{}.eu-central-1.compute.internal", at / 256, at % 256));
        let buckets: HashSet<u64> = names.map(|name| hash(name.as_str()) % 4096).collect();
        assert!(buckets.len() > 2300, "{} of 4096; chance would give 2589", buckets.len());
        let addresses: HashSet<u64> = (0..4096_usize).map(|at| hash(0x7f00_0000 + at * 48) % 4096).collect();
        assert!(addresses.len() > 2300, "{}", addresses.len());
    }

    #[test]
    fn length_and_order_count() {
        assert_ne!(hash("a"), hash("a\0"));
        assert_ne!(hash(("ab", "c")), hash(("a", "bc")));
        assert_ne!(hash("12345678abcdefgh"), hash("abcdefgh12345678"));
    }
}
