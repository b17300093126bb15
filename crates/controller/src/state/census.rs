//! What the index holds in numbers: rows, bytes, and a checksum by which two replicas can be compared.
//!
//! Nothing of a row can be read back from it. It is made when somebody asks, never before.

use std::{
    collections::HashMap,
    fmt::{self, Debug, Write},
    hash::{DefaultHasher, Hash, Hasher},
};

use super::{Health, Part};

/// What one table holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Census {
    pub(crate) rows: usize,
    /// About how many bytes; what rows share is not counted.
    pub(crate) bytes: usize,
    /// Equal for equal rows, in whatever order they came. Other versions of this program may add up otherwise.
    pub(crate) checksum: u64,
}

/// Rows that can be counted.
pub(crate) trait Counted {
    /// What they are in numbers.
    fn census(&self) -> Census;
}

impl Census {
    /// Counts a map; the closure hashes a value and says about how many bytes it has elsewhere.
    pub(crate) fn of<K: Hash, V>(map: &HashMap<K, V>, look: impl Fn(&V, &mut DefaultHasher) -> usize) -> Self {
        let table = map.capacity() * (size_of::<(K, V)>() + 1);
        Self::sum(table, map, |(key, value), hasher| {
            key.hash(hasher);
            look(value, hasher)
        })
    }

    /// Counts rows that a table of so many bytes holds.
    pub(crate) fn sum<T>(
        table: usize,
        rows: impl IntoIterator<Item = T>,
        look: impl Fn(T, &mut DefaultHasher) -> usize,
    ) -> Self {
        let mut census = Self { bytes: table, ..Self::default() };
        for row in rows {
            // Its keys are fixed, so that two processes hash alike.
            let mut hasher = DefaultHasher::new();
            census.rows += 1;
            census.bytes += look(row, &mut hasher);
            // A sum and no exclusive or: two rows that hash alike must not cancel out.
            census.checksum = census.checksum.wrapping_add(hasher.finish());
        }
        census
    }
}

/// Hashes what cannot be hashed by what it looks like. Slower: for kinds with few rows.
pub(crate) fn hash_shown(row: &impl Debug, hasher: &mut DefaultHasher) {
    struct Into<'a>(&'a mut DefaultHasher);

    impl Write for Into<'_> {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.write(text.as_bytes());
            Ok(())
        }
    }

    // Writing into a hasher cannot fail.
    write!(Into(hasher), "{row:?}").ok();
}

/// How one watch is, and what it has brought.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watched<'a> {
    pub(crate) health: &'a Health,
    pub(crate) census: Census,
}

impl<R: Counted> Part<R> {
    pub(crate) fn watched(&self) -> Watched<'_> {
        Watched { health: &self.health, census: self.rows.census() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(rows: &[(&str, u32)]) -> Census {
        let map: HashMap<&str, u32> = rows.iter().copied().collect();
        Census::of(&map, |row, hasher| {
            hash_shown(row, hasher);
            0
        })
    }

    #[test]
    fn equal_rows_have_equal_checksums_in_any_order_and_others_have_not() {
        let some = counted(&[("a", 1), ("b", 2), ("c", 3)]);
        assert_eq!(some.checksum, counted(&[("c", 3), ("a", 1), ("b", 2)]).checksum);
        for other in [&[("a", 1), ("b", 2)][..], &[("a", 1), ("b", 2), ("c", 4)], &[("a", 2), ("b", 1), ("c", 3)]] {
            assert_ne!(some.checksum, counted(other).checksum, "{other:?}");
        }
        assert_eq!(counted(&[]), Census::default());
    }
}
