//! Events about addresses: pods that were refused one, and what the CNI, the VPC resource controller and Karpenter say.

use ipam_audit_api::views::{EventView, Interner, Malformed, POD_SANDBOX_FAILED};
use ipam_audit_core::{ids::Uid, snapshot::Event};
use kube::{Resource, ResourceExt, core::ObjectMeta};

use super::{
    Census, Counted, Refusals, Rows,
    census::hash_shown,
    table::{Changed, Table},
};

/// The events of one watch.
#[derive(Debug, Default)]
pub(crate) struct Events {
    pub(crate) refusals: Refusals,
    /// By uid.
    rows: Table<u128, Event>,
}

impl Rows<EventView> for Events {
    fn begin(&mut self) {
        self.refusals.begin();
        self.rows.begin();
    }

    fn apply(&mut self, object: &EventView, interner: &mut Interner) -> Result<Changed, Malformed> {
        let refused = self.refusals.apply(object);
        // Of refused pods the refusal is all that counts, and they may be thousands.
        let row = object.row(interner)?.filter(|event| *event.reason != *POD_SANDBOX_FAILED);
        let (Some(row), Some(uid)) = (row, object.uid()) else {
            return Ok(refused);
        };
        let key = Uid::from(&*uid).key();
        let again = self.rows.get(&key).is_some_and(|known| Event { last_at: known.last_at, ..row.clone() } == *known);
        let said = self.rows.apply(key, row);
        // That it was said once more is kept, and is no reason to audit.
        Ok(if again { refused } else { refused.or(said) })
    }

    fn remove(&mut self, object: &EventView) -> Changed {
        self.refusals.remove(object);
        self.lose(object.meta())
    }

    fn lose(&mut self, meta: &ObjectMeta) -> Changed {
        meta.uid.as_ref().map_or(Changed::No, |uid| self.rows.remove(&Uid::from(uid.as_str()).key()))
    }

    fn finish(&mut self) -> Changed {
        self.refusals.finish();
        self.rows.finish()
    }

    fn len(&self) -> usize {
        self.refusals.len() + self.rows.len()
    }
}

impl Counted for Events {
    fn census(&self) -> Census {
        let (refused, said) = (
            self.refusals.census(),
            self.rows.census(|row, hasher| {
                hash_shown(&Event { last_at: None, ..row.clone() }, hasher);
                0
            }),
        );
        Census {
            rows: refused.rows + said.rows,
            bytes: refused.bytes + said.bytes,
            checksum: refused.checksum.wrapping_add(said.checksum),
        }
    }
}

impl Events {
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Event> {
        self.rows.rows()
    }
}
