//! Rows that readings share: the next reading keeps those that are the same, and a copy of the list copies no row.
//!
//! EC2 is read every minute and says the same nearly every time. Twenty thousand interfaces are then held once, by the
//! view, by the reading that replaces it and by every snapshot; what looks at them sees plain references.

use std::{
    ops::{Index, IndexMut},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

/// A list of shared rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rows<T>(Vec<Arc<T>>);

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: 'static> Rows<T> {
    /// No row.
    pub const NONE: &'static Self = &Self(Vec::new());
}

impl<T> Rows<T> {
    /// How many there are.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The row at a place.
    pub fn get(&self, at: usize) -> Option<&T> {
        self.0.get(at).map(Arc::as_ref)
    }

    /// The rows in order.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter(self.0.iter())
    }

    /// The row that a list, sorted by a key, has for it.
    fn find<K: Ord + ?Sized>(&self, key: &K, of: impl Fn(&T) -> &K) -> Option<&Arc<T>> {
        let at = self.0.binary_search_by(|row| of(row).cmp(key)).ok()?;
        self.0.get(at)
    }

    /// A new row of a list that is sorted by a key, or the one that is known already if it is the same.
    pub fn share<K: Ord + ?Sized>(&self, row: T, key: impl Fn(&T) -> &K) -> Arc<T>
    where
        T: PartialEq,
    {
        match self.find(key(&row), &key) {
            Some(same) if **same == row => same.clone(),
            _ => Arc::new(row),
        }
    }

    /// One more row.
    pub fn push(&mut self, row: T) {
        self.0.push(Arc::new(row));
    }

    /// No row any more.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Keeps the rows that are wanted.
    pub fn retain(&mut self, mut wanted: impl FnMut(&T) -> bool) {
        self.0.retain(|row| wanted(row));
    }

    /// The rows in order, to be changed; shared ones are copied first.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T>
    where
        T: Clone,
    {
        self.0.iter_mut().map(Arc::make_mut)
    }

    /// The last row, to be changed.
    pub fn last_mut(&mut self) -> Option<&mut T>
    where
        T: Clone,
    {
        self.0.last_mut().map(Arc::make_mut)
    }
}

impl<T> Extend<T> for Rows<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, rows: I) {
        self.0.extend(rows.into_iter().map(Arc::new));
    }
}

/// Goes through rows.
#[derive(Debug)]
pub struct Iter<'a, T>(std::slice::Iter<'a, Arc<T>>);

impl<T> Clone for Iter<'_, T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<'a, T> Iterator for Iter<'a, T> {
    type Item = &'a T;

    fn next(&mut self) -> Option<&'a T> {
        self.0.next().map(Arc::as_ref)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<T> DoubleEndedIterator for Iter<'_, T> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back().map(Arc::as_ref)
    }
}

impl<T> ExactSizeIterator for Iter<'_, T> {}

impl<'a, T> IntoIterator for &'a Rows<T> {
    type Item = &'a T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> Index<usize> for Rows<T> {
    type Output = T;

    fn index(&self, at: usize) -> &T {
        &self.0[at]
    }
}

impl<T: Clone> IndexMut<usize> for Rows<T> {
    fn index_mut(&mut self, at: usize) -> &mut T {
        Arc::make_mut(&mut self.0[at])
    }
}

impl<T> FromIterator<T> for Rows<T> {
    fn from_iter<I: IntoIterator<Item = T>>(rows: I) -> Self {
        Self(rows.into_iter().map(Arc::new).collect())
    }
}

impl<T> FromIterator<Arc<T>> for Rows<T> {
    fn from_iter<I: IntoIterator<Item = Arc<T>>>(rows: I) -> Self {
        Self(rows.into_iter().collect())
    }
}

impl<T> From<Vec<T>> for Rows<T> {
    fn from(rows: Vec<T>) -> Self {
        rows.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_rows_of_two_readings_are_one() {
        let first: Rows<(u8, u8)> = vec![(1, 1), (2, 2), (3, 3)].into();
        let second = [(1, 1), (2, 9), (4, 4)].into_iter().map(|row| first.share(row, |row| &row.0));
        let second: Rows<(u8, u8)> = second.collect();
        let shared = |at: usize| std::ptr::eq(&raw const first[at], &raw const second[at]);
        assert_eq!([shared(0), shared(1), shared(2)], [true, false, false]);
        assert_eq!(second, vec![(1, 1), (2, 9), (4, 4)].into());
    }

    #[test]
    fn a_change_touches_no_other_list() {
        let first: Rows<u8> = vec![1, 2].into();
        let mut second = first.clone();
        second[0] = 7;
        second.iter_mut().for_each(|row| *row += 1);
        assert_eq!((first, second), (vec![1, 2].into(), vec![8, 3].into()));
    }
}
