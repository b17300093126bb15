//! Pods, and which of them were refused an address.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use hashbrown::{HashTable, hash_table};
use ipam_audit_api::views::{EventView, Interner, Malformed, PodView};
use ipam_audit_core::{ids::Uid, snapshot::Pod};
use jiff::Timestamp;
use kube::{Resource, core::ObjectMeta};

use super::{Census, Counted, Rows, table::Changed};

/// Pods by uid: a pod that is replaced under the same name is another row.
///
/// The key is in the row, so that an entry is a pointer and a stamp: there are a hundred and fifty thousand.
#[derive(Debug, Default)]
pub(crate) struct Pods {
    table: HashTable<Entry>,
    epoch: u32,
}

#[derive(Debug)]
struct Entry {
    pod: Arc<Pod>,
    /// The last list that had it.
    epoch: u32,
}

/// Uids are random already.
#[expect(clippy::cast_possible_truncation, reason = "both halves are in it")]
const fn hash_of(key: u128) -> u64 {
    key as u64 ^ (key >> 64) as u64
}

fn hash_of_entry(entry: &Entry) -> u64 {
    hash_of(entry.pod.uid.key())
}

impl Rows<PodView> for Pods {
    fn begin(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
    }

    fn apply(&mut self, object: &PodView, interner: &mut Interner) -> Result<Changed, Malformed> {
        let (pod, epoch) = (object.row(interner)?, self.epoch);
        let same_pod = |entry: &Entry| entry.pod.uid == pod.uid;
        match self.table.entry(hash_of(pod.uid.key()), same_pod, hash_of_entry) {
            hash_table::Entry::Occupied(mut known) if *known.get().pod == pod => {
                known.get_mut().epoch = epoch;
                return Ok(Changed::No);
            }
            hash_table::Entry::Occupied(mut known) => *known.get_mut() = Entry { pod: Arc::new(pod), epoch },
            hash_table::Entry::Vacant(free) => drop(free.insert(Entry { pod: Arc::new(pod), epoch })),
        }
        Ok(Changed::Yes)
    }

    fn remove(&mut self, object: &PodView) -> Changed {
        self.lose(object.meta())
    }

    fn lose(&mut self, meta: &ObjectMeta) -> Changed {
        let Some(uid) = meta.uid.as_deref().map(Uid::from) else { return Changed::No };
        let known = self.table.find_entry(hash_of(uid.key()), |entry| entry.pod.uid == uid);
        Changed::when(known.map(|known| drop(known.remove())).is_ok())
    }

    fn finish(&mut self) -> Changed {
        let (before, epoch) = (self.table.len(), self.epoch);
        self.table.retain(|entry| entry.epoch == epoch);
        if self.table.capacity() > 4 * self.table.len().max(64) {
            self.table.shrink_to_fit(hash_of_entry);
        }
        Changed::when(self.table.len() < before)
    }

    fn len(&self) -> usize {
        self.table.len()
    }
}

impl Counted for Pods {
    fn census(&self) -> Census {
        let table = self.table.capacity() * (size_of::<Entry>() + 1);
        Census::sum(table, &self.table, |entry, hasher| {
            entry.pod.hash(hasher);
            size_of::<Pod>()
        })
    }
}

impl Pods {
    /// The pods of a snapshot; those that were refused an address and have none say so.
    pub(crate) fn rows(&self, refusals: &Refusals) -> Vec<Arc<Pod>> {
        self.table.iter().map(|entry| refusals.mark(&entry.pod)).collect()
    }

    fn find(&self, key: u128) -> Option<&Pod> {
        let entry = self.table.find(hash_of(key), |entry| entry.pod.uid.key() == key);
        entry.map(|entry| &*entry.pod)
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

    fn mark(&self, pod: &Arc<Pod>) -> Arc<Pod> {
        // Nearly all pods have an address: no look at the table for those.
        let refused = pod.address.is_none().then(|| self.by_pod.get(&pod.uid.key())).flatten();
        refused.map_or_else(|| pod.clone(), |refused| Arc::new(pod.refused(refused.at)))
    }
}
