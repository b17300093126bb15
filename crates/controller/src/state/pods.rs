//! Pods, and which of them were refused an address.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use ipam_audit_api::views::{EventView, Interner, Malformed, PodView};
use ipam_audit_core::snapshot::Pod;
use jiff::Timestamp;
use kube::{Resource, core::ObjectMeta};

use super::{
    Census, Counted, Rows,
    table::{Changed, Table, uid_key},
};

/// Pods by uid: a pod that is replaced under the same name is another row.
#[derive(Debug, Default)]
pub(crate) struct Pods {
    table: Table<u128, Arc<Pod>>,
}

impl Rows<PodView> for Pods {
    fn begin(&mut self) {
        self.table.begin();
    }

    fn apply(&mut self, object: &PodView, interner: &mut Interner) -> Result<Changed, Malformed> {
        let pod = object.row(interner)?;
        Ok(self.table.apply(uid_key(&pod.uid), Arc::new(pod)))
    }

    fn remove(&mut self, object: &PodView) -> Changed {
        self.lose(object.meta())
    }

    fn lose(&mut self, meta: &ObjectMeta) -> Changed {
        meta.uid.as_ref().map_or(Changed::No, |uid| self.table.remove(&uid_key(uid)))
    }

    fn finish(&mut self) -> Changed {
        self.table.finish()
    }

    fn len(&self) -> usize {
        self.table.len()
    }
}

impl Counted for Pods {
    fn census(&self) -> Census {
        self.table.census(|pod, hasher| {
            pod.hash(hasher);
            size_of::<Pod>() + pod.name.len() + pod.uid.len()
        })
    }
}

impl Pods {
    /// The pods of a snapshot; those that were refused an address and have none say so.
    pub(crate) fn rows(&self, refusals: &Refusals) -> Vec<Arc<Pod>> {
        self.table.entries().map(|(key, pod)| refusals.mark(*key, pod)).collect()
    }

    fn waits(&self, key: u128) -> bool {
        self.table.get(&key).is_some_and(|pod| pod.address.is_none())
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
        let known = self.by_pod.insert(uid_key(&refusal.pod), refused);
        Changed::when(known.is_none())
    }

    /// An event that is gone says nothing about the pod: it still waits.
    pub(super) fn remove(&mut self, object: &EventView) {
        let refused = object.refusal().and_then(|refusal| self.by_pod.get_mut(&uid_key(&refusal.pod)));
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
        self.by_pod.retain(|key, refused| match pods.table.get(key) {
            Some(_) => pods.waits(*key),
            None => !refused.forgotten,
        });
    }

    fn mark(&self, key: u128, pod: &Arc<Pod>) -> Arc<Pod> {
        match self.by_pod.get(&key) {
            Some(refused) if pod.address.is_none() => Arc::new(Pod { refused_at: Some(refused.at), ..Pod::clone(pod) }),
            _ => pod.clone(),
        }
    }
}
