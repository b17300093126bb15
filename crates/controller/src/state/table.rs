//! Rows of one kind, kept by mark and sweep: a relist replaces them in place and needs no second copy.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash},
};

use super::Census;

/// Whether something happened that an audit could see.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Changed {
    Yes,
    No,
}

impl Changed {
    pub(crate) const fn when(changed: bool) -> Self {
        if changed { Self::Yes } else { Self::No }
    }

    /// Whether either happened.
    pub(crate) fn or(self, other: Self) -> Self {
        Self::when(self == Self::Yes || other == Self::Yes)
    }
}

#[derive(Debug)]
struct Stamped<R> {
    row: R,
    epoch: u32,
}

/// Rows by key, each with the stamp of the last list that had it.
#[derive(Debug)]
pub(crate) struct Table<K, R> {
    rows: HashMap<K, Stamped<R>>,
    epoch: u32,
}

impl<K, R> Default for Table<K, R> {
    fn default() -> Self {
        Self { rows: HashMap::new(), epoch: 0 }
    }
}

impl<K: Hash + Eq, R: PartialEq> Table<K, R> {
    /// A list begins: rows that it does not name are swept at its end.
    pub(crate) const fn begin(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// A row is as given.
    pub(crate) fn apply(&mut self, key: K, row: R) -> Changed {
        let epoch = self.epoch;
        match self.rows.get_mut(&key) {
            Some(known) if known.row == row => {
                known.epoch = epoch;
                Changed::No
            }
            _ => {
                self.rows.insert(key, Stamped { row, epoch });
                Changed::Yes
            }
        }
    }

    /// A row stays as it is, and the list under way names it.
    pub(crate) fn confirm(&mut self, key: &K) {
        if let Some(known) = self.rows.get_mut(key) {
            known.epoch = self.epoch;
        }
    }

    pub(crate) fn remove(&mut self, key: &K) -> Changed {
        Changed::when(self.rows.remove(key).is_some())
    }

    /// The list is complete: what it did not name is gone.
    pub(crate) fn finish(&mut self) -> Changed {
        let before = self.rows.len();
        let epoch = self.epoch;
        self.rows.retain(|_, stamped| stamped.epoch == epoch);
        if self.rows.capacity() > 4 * self.rows.len().max(64) {
            self.rows.shrink_to_fit();
        }
        Changed::when(self.rows.len() < before)
    }

    pub(crate) fn get(&self, key: &K) -> Option<&R> {
        self.rows.get(key).map(|stamped| &stamped.row)
    }

    /// A row with its key as it is kept.
    pub(crate) fn entry(&self, key: &K) -> Option<(&K, &R)> {
        self.rows.get_key_value(key).map(|(key, stamped)| (key, &stamped.row))
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &R> {
        self.rows.values().map(|stamped| &stamped.row)
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (&K, &R)> {
        self.rows.iter().map(|(key, stamped)| (key, &stamped.row))
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The table in numbers; the closure hashes a row and says about how many bytes it has elsewhere.
    pub(crate) fn census(&self, look: impl Fn(&R, &mut DefaultHasher) -> usize) -> Census {
        Census::of(&self.rows, |stamped, hasher| look(&stamped.row, hasher))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relist_keeps_what_it_names_and_sweeps_the_rest() {
        let mut table = Table::default();
        assert_eq!(table.apply("a", 1), Changed::Yes);
        assert_eq!(table.apply("b", 1), Changed::Yes);
        table.begin();
        assert_eq!(table.apply("a", 1), Changed::No, "the same row again is no change");
        assert_eq!(table.len(), 2, "until its end a list takes nothing away");
        assert_eq!(table.finish(), Changed::Yes);
        assert_eq!(table.entries().collect::<Vec<_>>(), [(&"a", &1)]);
        table.begin();
        assert_eq!(table.apply("a", 1), Changed::No);
        assert_eq!(table.finish(), Changed::No);
    }
}
