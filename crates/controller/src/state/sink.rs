//! From watch events into rows, under the index's lock for one row at a time.

use std::{marker::PhantomData, sync::Arc};

use ipam_audit_api::views::Unfit;
use ipam_audit_core::source::SourceFault;
use kube::{Resource, core::ObjectMeta};

use super::{Part, Parts, Rows, State, table::Changed};
use crate::{
    watch::{Event, Sink},
    wire::Item,
};

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

impl<K, R> IndexSink<K, R>
where
    K: Resource<DynamicType = ()> + Send,
    R: Rows<K>,
{
    fn begin(&self) {
        self.part(|part| {
            part.rows.begin();
            part.left_out.begin();
            part.health.begin_list();
            part.touched = false;
            Changed::No
        });
    }

    /// During a list changes are only noted: an audit of half a list would be of no use.
    fn apply(&self, item: Item<K>, listing: bool) {
        self.state.change(|parts, interner| {
            let Some(part) = (self.select)(parts) else {
                return Changed::No;
            };
            let applied = item.and_then(|object| match part.rows.apply(&object, interner) {
                Ok(changed) => Ok(changed.or(part.left_out.forget(object.meta()))),
                Err(malformed) => Err(Unfit { meta: Box::new(identity(object.meta())), what: malformed.what }),
            });
            let changed = applied.unwrap_or_else(|unfit| leave_out::<K, R>(part, &unfit));
            if listing {
                part.touched |= changed == Changed::Yes;
                return Changed::No;
            }
            changed
        });
    }

    fn remove(&self, item: &Item<K>) {
        self.part(|part| match item {
            Ok(object) => part.rows.remove(object).or(part.left_out.forget(object.meta())),
            Err(unfit) => part.rows.lose(&unfit.meta).or(part.left_out.forget(&unfit.meta)),
        });
    }

    fn finish(&self) {
        self.state.change(|parts, interner| {
            let Some(part) = (self.select)(parts) else {
                return Changed::No;
            };
            let swept = part.rows.finish().or(part.left_out.finish());
            let first = part.health.end_list(part.rows.len());
            let touched = std::mem::take(&mut part.touched);
            interner.forget_unused();
            swept.or(first).or(Changed::when(touched))
        });
    }
}

/// An object makes no sense: what was known of it is of another time, and it is told of by name, once.
fn leave_out<K: Resource<DynamicType = ()>, R: Rows<K>>(part: &mut Part<R>, unfit: &Unfit) -> Changed {
    let lost = part.rows.lose(&unfit.meta);
    let kind = K::kind(&());
    if !part.left_out.note(&kind, unfit) {
        return lost;
    }
    part.health.counts.malformed += 1;
    tracing::warn!(
        kind = &*kind,
        object = unfit.object(),
        what = unfit.what,
        "an object makes no sense and is left out"
    );
    Changed::Yes
}

fn identity(meta: &ObjectMeta) -> ObjectMeta {
    let ObjectMeta { name, namespace, uid, .. } = meta;
    ObjectMeta { name: name.clone(), namespace: namespace.clone(), uid: uid.clone(), ..ObjectMeta::default() }
}

impl<K, R> Sink<K> for IndexSink<K, R>
where
    K: Resource<DynamicType = ()> + Send,
    R: Rows<K>,
{
    fn event(&self, event: Event<K>) {
        match event {
            Event::Begin => self.begin(),
            Event::Listed(item) => self.apply(item, true),
            Event::Complete => self.finish(),
            Event::Changed(item) => self.apply(item, false),
            Event::Gone(item) => self.remove(&item),
        }
    }

    fn connected(&self) {
        self.part(|part| part.health.connect());
    }

    fn failed(&self, fault: SourceFault) {
        self.part(|part| part.health.fail(fault));
    }

    fn unreadable(&self, what: &'static str) {
        self.part(|part| {
            part.health.counts.malformed += 1;
            tracing::warn!(watch = part.health.what(), what, "a line of a watch makes no sense and is left out");
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
