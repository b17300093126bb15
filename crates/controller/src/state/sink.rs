//! From watch events into rows, under the index's lock for one row at a time.

use std::{marker::PhantomData, sync::Arc};

use ipam_audit_core::source::SourceFault;
use kube::runtime::watcher::Event;

use super::{Part, Parts, Rows, State, table::Changed};
use crate::watch::Sink;

/// Finds the part of the index that a watch fills; none once nobody wants it any more.
type Select<R> = Box<dyn for<'a> Fn(&'a mut Parts) -> Option<&'a mut Part<R>> + Send + Sync>;

/// Fills one part of the index.
pub(crate) struct IndexSink<K, R> {
    state: Arc<State>,
    select: Select<R>,
    kind: PhantomData<fn(K)>,
}

impl<K, R> IndexSink<K, R> {
    pub(crate) fn new(
        state: Arc<State>,
        select: impl for<'a> Fn(&'a mut Parts) -> Option<&'a mut Part<R>> + Send + Sync + 'static,
    ) -> Self {
        Self { state, select: Box::new(select), kind: PhantomData }
    }

    fn part(&self, change: impl FnOnce(&mut Part<R>) -> Changed) {
        self.state.change(|parts, _| (self.select)(parts).map_or(Changed::No, change));
    }
}

impl<K: Send, R: Rows<K>> IndexSink<K, R> {
    fn begin(&self) {
        self.part(|part| {
            part.rows.begin();
            part.health.begin_list();
            part.touched = false;
            Changed::No
        });
    }

    /// During a list changes are only noted: an audit of half a list would be of no use.
    fn apply(&self, object: &K, listing: bool) {
        self.state.change(|parts, interner| {
            let Some(part) = (self.select)(parts) else {
                return Changed::No;
            };
            let changed = match part.rows.apply(object, interner) {
                Ok(changed) => changed,
                Err(malformed) => {
                    part.health.counts.malformed += 1;
                    tracing::warn!(%malformed, "an object makes no sense and is left out");
                    Changed::No
                }
            };
            if listing {
                part.touched |= changed == Changed::Yes;
                return Changed::No;
            }
            changed
        });
    }

    fn finish(&self) {
        self.state.change(|parts, interner| {
            let Some(part) = (self.select)(parts) else {
                return Changed::No;
            };
            let swept = part.rows.finish();
            let first = part.health.end_list(part.rows.len());
            let touched = std::mem::take(&mut part.touched);
            interner.forget_unused();
            Changed::when(touched || swept == Changed::Yes || first == Changed::Yes)
        });
    }
}

impl<K: Send, R: Rows<K>> Sink<K> for IndexSink<K, R> {
    fn event(&self, event: Event<K>) {
        match event {
            Event::Init => self.begin(),
            Event::InitApply(object) => self.apply(&object, true),
            Event::InitDone => self.finish(),
            Event::Apply(object) => self.apply(&object, false),
            Event::Delete(object) => self.part(|part| part.rows.remove(&object)),
        }
    }

    fn connected(&self) {
        self.part(|part| part.health.connect());
    }

    fn failed(&self, fault: SourceFault) {
        self.part(|part| part.health.fail(fault));
    }

    fn undecodable(&self, error: &str) {
        self.part(|part| {
            part.health.counts.malformed += 1;
            tracing::warn!(watch = part.health.what(), error, "an event could not be decoded and is left out");
            Changed::No
        });
    }

    fn moved(&self, position: &str) {
        self.part(|part| {
            part.health.moved(position);
            Changed::No
        });
    }

    fn paged(&self) {
        self.part(|part| {
            part.health.counts.paged = true;
            tracing::info!(watch = part.health.what(), "the API server does not stream lists; reading them in pages");
            Changed::No
        });
    }
}
