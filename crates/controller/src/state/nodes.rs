//! Nodes.

use std::{hash::Hash, sync::Arc};

use ipam_audit_api::views::{Interner, Malformed, NodeRow, NodeView};
use ipam_audit_core::snapshot::Node;
use kube::{Resource, ResourceExt, core::ObjectMeta};

use super::{
    Census, Counted, Rows,
    table::{Changed, Table},
};

/// Nodes by name; the row has the uid, so that a node that is replaced under its name is a change.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    table: Table<Arc<str>, NodeRow>,
}

impl Rows<NodeView> for Nodes {
    fn begin(&mut self) {
        self.table.begin();
    }

    fn apply(&mut self, object: &NodeView, interner: &mut Interner) -> Result<Changed, Malformed> {
        let row = object.row(interner)?;
        Ok(self.table.apply(interner.text(&object.name_any()), row))
    }

    fn remove(&mut self, object: &NodeView) -> Changed {
        self.lose(object.meta())
    }

    fn lose(&mut self, meta: &ObjectMeta) -> Changed {
        let name: Arc<str> = meta.name.as_deref().unwrap_or_default().into();
        // The old node's deletion may come after its successor, which must stay.
        let is_same = |row: &NodeRow| meta.uid.as_deref().is_none_or(|uid| *uid == *row.node().uid);
        match self.table.get(&name) {
            Some(row) if is_same(row) => self.table.remove(&name),
            _ => Changed::No,
        }
    }

    fn finish(&mut self) -> Changed {
        self.table.finish()
    }

    fn len(&self) -> usize {
        self.table.len()
    }
}

impl Counted for Nodes {
    fn census(&self) -> Census {
        self.table.census(|row, hasher| {
            row.node().hash(hasher);
            size_of::<Node>() + size_of_val(&*row.node().labels) + size_of_val(&*row.node().annotations)
        })
    }
}

impl Nodes {
    pub(crate) fn rows(&self) -> impl Iterator<Item = &NodeRow> {
        self.table.rows()
    }
}
