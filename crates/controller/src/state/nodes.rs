//! Nodes, and the CNINodes that belong to them.

use std::{hash::Hash, sync::Arc};

use ipam_audit_api::views::{CniNodeView, Interner, Malformed, NodeRow, NodeView};
use ipam_audit_core::snapshot::{CniNode, Node};
use kube::{ResourceExt, core::DeserializeGuard};

use super::{
    Census, Counted, Rows,
    census::hash_shown,
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
        let name: Arc<str> = object.name_any().into();
        // The old node's deletion may come after its successor, which must stay.
        let is_same = |row: &NodeRow| object.uid().is_none_or(|uid| *uid == *row.node().uid);
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

/// CNINodes by name.
#[derive(Debug, Default)]
pub(crate) struct CniNodes {
    table: Table<Arc<str>, CniNode>,
}

impl Rows<DeserializeGuard<CniNodeView>> for CniNodes {
    fn begin(&mut self) {
        self.table.begin();
    }

    fn apply(&mut self, object: &DeserializeGuard<CniNodeView>, interner: &mut Interner) -> Result<Changed, Malformed> {
        let view = object.0.as_ref().map_err(|invalid| Malformed {
            kind: "CNINode",
            object: invalid.metadata.name.clone().unwrap_or_default(),
            what: invalid.error.clone(),
        })?;
        Ok(self.table.apply(interner.text(&object.name_any()), view.row(interner)?))
    }

    fn remove(&mut self, object: &DeserializeGuard<CniNodeView>) -> Changed {
        self.table.remove(&object.name_any().into())
    }

    fn finish(&mut self) -> Changed {
        self.table.finish()
    }

    fn len(&self) -> usize {
        self.table.len()
    }
}

impl Counted for CniNodes {
    fn census(&self) -> Census {
        self.table.census(|row, hasher| {
            hash_shown(row, hasher);
            0
        })
    }
}

impl CniNodes {
    /// The rows of a snapshot, sorted by name.
    pub(crate) fn rows(&self) -> Vec<CniNode> {
        let mut rows: Vec<CniNode> = self.table.rows().cloned().collect();
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        rows
    }

    pub(crate) fn clear(&mut self) {
        self.table = Table::default();
    }
}
