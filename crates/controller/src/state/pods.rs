//! Pods, and which of them were refused an address.

use std::{collections::HashMap, hash::Hash};

use hashbrown::HashTable;
use ipam_audit_api::views::{EventView, Interner, Malformed, PodView};
use ipam_audit_core::{ids::Uid, pages::Pages, snapshot::Pod};
use jiff::Timestamp;
use kube::{Resource, core::ObjectMeta};

use super::{Census, Counted, Rows, table::Changed};

/// Pods by uid: a pod that is replaced under the same name is another row.
///
/// The rows lie in pages that snapshots share, and the table has their places: there are a hundred and fifty thousand.
#[derive(Debug, Default)]
pub(crate) struct Pods {
    rows: Pages<Pod>,
    /// Whether the list under way named the row at this place.
    named: Vec<bool>,
    places: HashTable<Place>,
}

/// Where a row lies.
type Place = u32;

/// Uids are random already.
#[expect(clippy::cast_possible_truncation, reason = "both halves are in it")]
const fn hash_of(key: u128) -> u64 {
    key as u64 ^ (key >> 64) as u64
}

impl Rows<PodView> for Pods {
    fn begin(&mut self) {
        self.named.fill(false);
    }

    fn apply(&mut self, object: &PodView, interner: &mut Interner) -> Result<Changed, Malformed> {
        let pod = object.row(interner)?;
        let Some(at) = self.place(pod.uid_key()) else {
            self.add(pod);
            return Ok(Changed::Yes);
        };
        self.named[at] = true;
        let changed = self.rows[at] != pod;
        if changed {
            self.rows[at] = pod;
        }
        Ok(Changed::when(changed))
    }

    fn remove(&mut self, object: &PodView) -> Changed {
        self.lose(object.meta())
    }

    fn lose(&mut self, meta: &ObjectMeta) -> Changed {
        let key = meta.uid.as_deref().map(|uid| Uid::from(uid).key());
        let place = key.and_then(|key| self.place(key));
        Changed::when(place.map(|at| self.drop_at(at)).is_some())
    }

    fn finish(&mut self) -> Changed {
        let before = self.rows.len();
        for at in (0..before).rev() {
            if !self.named[at] {
                self.drop_at(at);
            }
        }
        if self.places.capacity() > 4 * self.places.len().max(64) {
            let rows = &self.rows;
            self.places.shrink_to_fit(|at| hash_of(rows[*at as usize].uid_key()));
            self.named.shrink_to_fit();
        }
        Changed::when(self.rows.len() < before)
    }

    fn len(&self) -> usize {
        self.rows.len()
    }
}

impl Counted for Pods {
    fn census(&self) -> Census {
        let table = self.places.capacity() * (size_of::<Place>() + 1);
        Census::sum(table, &self.rows, |pod, hasher| {
            pod.hash(hasher);
            size_of::<Pod>()
        })
    }
}

impl Pods {
    /// The pods of a snapshot; those that were refused an address and have none say so.
    pub(crate) fn rows(&self, refusals: &Refusals) -> Pages<Pod> {
        let mut rows = self.rows.clone();
        for (key, refused) in &refusals.by_pod {
            if let Some(pod) = self.place(*key).and_then(|at| rows.get_mut(at))
                && pod.address.is_none()
            {
                *pod = pod.refused(refused.at);
            }
        }
        rows
    }

    fn find(&self, key: u128) -> Option<&Pod> {
        self.place(key).map(|at| &self.rows[at])
    }

    fn place(&self, key: u128) -> Option<usize> {
        let place = self.places.find(hash_of(key), |at| self.rows[*at as usize].uid_key() == key);
        place.map(|at| *at as usize)
    }

    fn add(&mut self, pod: Pod) {
        // No cluster has four thousand million pods.
        let Ok(at) = Place::try_from(self.rows.len()) else { return };
        let hash = hash_of(pod.uid_key());
        self.rows.push(pod);
        self.named.push(true);
        let rows = &self.rows;
        self.places.insert_unique(hash, at, |at| hash_of(rows[*at as usize].uid_key()));
    }

    /// Drops a row; the last one moves to its place.
    fn drop_at(&mut self, at: usize) {
        let last = self.rows.len() - 1;
        self.forget_place(at);
        if at != last {
            self.move_place(last, at);
        }
        self.rows.swap_remove(at);
        self.named.swap_remove(at);
    }

    fn forget_place(&mut self, at: usize) {
        let hash = hash_of(self.rows[at].uid_key());
        if let Ok(found) = self.places.find_entry(hash, |place| *place as usize == at) {
            found.remove();
        }
    }

    fn move_place(&mut self, from: usize, to: usize) {
        let hash = hash_of(self.rows[from].uid_key());
        if let Some(place) = self.places.find_mut(hash, |place| *place as usize == from) {
            // It was the place of another row until now.
            *place = Place::try_from(to).unwrap_or(*place);
        }
    }
}

#[derive(Debug)]
struct Refused {
    at: Timestamp,
    epoch: u32,
    /// The event is gone: API servers keep events for an hour, and pods wait longer.
    forgotten: bool,
}

/// When each pod was last refused an address.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    by_pod: HashMap<u128, Refused>,
    epoch: u32,
}

impl Refusals {
    pub(super) const fn begin(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
    }

    pub(super) fn apply(&mut self, object: &EventView) -> Changed {
        let Some(refusal) = object.refusal() else {
            return Changed::No;
        };
        let refused = Refused { at: refusal.at, epoch: self.epoch, forgotten: false };
        let known = self.by_pod.insert(Uid::from(refusal.pod.as_str()).key(), refused);
        Changed::when(known.is_none())
    }

    /// An event that is gone says nothing about the pod: it still waits.
    pub(super) fn remove(&mut self, object: &EventView) {
        let refused = object.refusal().and_then(|refusal| self.by_pod.get_mut(&Uid::from(refusal.pod.as_str()).key()));
        if let Some(refused) = refused {
            refused.forgotten = true;
        }
    }

    pub(super) fn finish(&mut self) {
        let epoch = self.epoch;
        for refused in self.by_pod.values_mut() {
            refused.forgotten |= refused.epoch != epoch;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_pod.len()
    }
}

impl Counted for Refusals {
    /// Which pods were refused; when they were depends on when a replica first saw it.
    fn census(&self) -> Census {
        Census::of(&self.by_pod, |_, _| 0)
    }
}

impl Refusals {
    /// Drops what is over: the pod has its address, or both the pod and the event are gone.
    pub(crate) fn settle(&mut self, pods: &Pods) {
        self.by_pod.retain(|key, refused| match pods.find(*key) {
            Some(pod) => pod.address.is_none(),
            None => !refused.forgotten,
        });
    }
}
