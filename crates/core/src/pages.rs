//! Rows that lie side by side in pages, which copies of the list share until one of them changes a row.
//!
//! For the most numerous rows: a hundred and fifty thousand pods cost their own bytes and nothing for each, a snapshot
//! of them costs a pointer for each page, and a change copies one page while a snapshot looks at it. Rows have no
//! order; one that is removed leaves its place to the last.

use std::{
    iter::FlatMap,
    ops::{Index, IndexMut},
    slice,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

/// Rows of a page: what a change copies, against what a copy of the list points to.
const PAGE: usize = 128;

/// A list of rows in pages. All pages but the last are full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<T>", into = "Vec<T>", bound = "T: Clone + Serialize + serde::de::DeserializeOwned")]
pub struct Pages<T> {
    pages: Vec<Arc<Vec<T>>>,
}

/// Goes through rows.
pub type Iter<'a, T> =
    FlatMap<slice::Iter<'a, Arc<Vec<T>>>, slice::Iter<'a, T>, fn(&'a Arc<Vec<T>>) -> slice::Iter<'a, T>>;

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self { pages: Vec::new() }
    }
}

impl<T> Pages<T> {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.pages.last().map_or(0, |last| (self.pages.len() - 1) * PAGE + last.len())
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// The row at a place.
    pub fn get(&self, at: usize) -> Option<&T> {
        self.pages.get(at / PAGE)?.get(at % PAGE)
    }

    /// The rows.
    pub fn iter(&self) -> Iter<'_, T> {
        self.pages.iter().flat_map(|page| page.iter())
    }
}

impl<T: Clone> Pages<T> {
    /// The row at a place, to be changed.
    pub fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        Arc::make_mut(self.pages.get_mut(at / PAGE)?).get_mut(at % PAGE)
    }

    /// The rows, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.pages.iter_mut().flat_map(|page| Arc::make_mut(page).iter_mut())
    }

    /// One more row, at the last place.
    pub fn push(&mut self, row: T) {
        match self.pages.last_mut() {
            Some(last) if last.len() < PAGE => {
                let last = Arc::make_mut(last);
                // A copy of a page has room for its rows only, and would be moved to one of twice the room.
                last.reserve_exact(PAGE - last.len());
                last.push(row);
            }
            _ => {
                let mut page = Vec::with_capacity(PAGE);
                page.push(row);
                self.pages.push(Arc::new(page));
            }
        }
    }

    /// Removes the row at a place, which becomes that of the last row.
    pub fn swap_remove(&mut self, at: usize) -> Option<T> {
        if at >= self.len() {
            return None;
        }
        let last = self.pop()?;
        match self.get_mut(at) {
            Some(row) => Some(std::mem::replace(row, last)),
            None => Some(last),
        }
    }

    /// Keeps the rows that are wanted.
    pub fn retain(&mut self, mut wanted: impl FnMut(&T) -> bool) {
        for at in (0..self.len()).rev() {
            if !wanted(&self[at]) {
                self.swap_remove(at);
            }
        }
    }

    fn pop(&mut self) -> Option<T> {
        let page = self.pages.last_mut()?;
        let row = Arc::make_mut(page).pop();
        if page.is_empty() {
            self.pages.pop();
        }
        row
    }
}

impl<'a, T> IntoIterator for &'a Pages<T> {
    type Item = &'a T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> Index<usize> for Pages<T> {
    type Output = T;

    fn index(&self, at: usize) -> &T {
        &self.pages[at / PAGE][at % PAGE]
    }
}

impl<T: Clone> IndexMut<usize> for Pages<T> {
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut Arc::make_mut(&mut self.pages[at / PAGE])[at % PAGE]
    }
}

impl<T: Clone> Extend<T> for Pages<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, rows: I) {
        rows.into_iter().for_each(|row| self.push(row));
    }
}

impl<T: Clone> FromIterator<T> for Pages<T> {
    fn from_iter<I: IntoIterator<Item = T>>(rows: I) -> Self {
        let mut pages = Self::default();
        pages.extend(rows);
        pages
    }
}

impl<T: Clone> From<Vec<T>> for Pages<T> {
    fn from(rows: Vec<T>) -> Self {
        rows.into_iter().collect()
    }
}

impl<T: Clone> From<Pages<T>> for Vec<T> {
    fn from(pages: Pages<T>) -> Self {
        pages.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(pages: &Pages<String>) -> Vec<&str> {
        pages.iter().map(String::as_str).collect()
    }

    #[test]
    fn a_change_copies_one_page_and_no_copy_of_the_list_sees_it() {
        let mut rows: Pages<usize> = (0..3 * PAGE).collect();
        let before = rows.clone();
        rows[PAGE] = 7;
        let shared = |page: usize| Arc::ptr_eq(&rows.pages[page], &before.pages[page]);
        assert_eq!([shared(0), shared(1), shared(2)], [true, false, true]);
        assert_eq!((before[PAGE], rows[PAGE]), (PAGE, 7));
    }

    #[test]
    fn a_page_that_was_shared_grows_without_room_to_spare() {
        let mut rows: Pages<usize> = (0..5).collect();
        let _snapshot = rows.clone();
        rows.push(5);
        assert_eq!(rows.pages[0].capacity(), PAGE);
    }

    #[test]
    fn it_is_written_down_as_a_list() {
        let rows: Pages<String> = ["a".to_owned(), "b".to_owned()].into_iter().collect();
        let text = serde_json::to_string(&rows).unwrap();
        assert_eq!(text, r#"["a","b"]"#);
        assert_eq!(serde_json::from_str::<Pages<String>>(&text).unwrap(), rows);
        assert_eq!(texts(&rows), ["a", "b"]);
    }

    proptest! {
        /// Whatever is added, changed and removed, it is what a plain list makes of it.
        #[test]
        fn it_does_what_a_list_does(steps in prop::collection::vec((0..4_u8, any::<usize>(), any::<u16>()), 0..600)) {
            let (mut rows, mut list) = (Pages::default(), Vec::new());
            for (step, at, value) in steps {
                let at = at % list.len().max(1);
                match step {
                    0 if !list.is_empty() => prop_assert_eq!(rows.swap_remove(at), Some(list.swap_remove(at))),
                    1 if !list.is_empty() => (rows[at], list[at]) = (value, value),
                    _ => {
                        rows.push(value);
                        list.push(value);
                    }
                }
                prop_assert_eq!(rows.len(), list.len());
                prop_assert_eq!(rows.get(list.len()), None);
            }
            prop_assert_eq!(rows.swap_remove(list.len()), None);
            rows.retain(|row| row % 3 != 0);
            list.retain(|row| row % 3 != 0);
            let mut rest = Vec::from(rows);
            rest.sort_unstable();
            list.sort_unstable();
            prop_assert_eq!(rest, list);
        }
    }
}
