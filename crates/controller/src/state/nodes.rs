//! Nodes.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use ipam_audit_api::{
    pressure::Seen,
    views::{Interner, Malformed, NodeRow, NodeView},
};
use ipam_audit_core::snapshot::Node;
use kube::{Resource, ResourceExt, core::ObjectMeta};
use tokio::sync::watch;

use super::{
    Census, Counted, Rows,
    reports::version,
    table::{Changed, Table},
};

/// Nodes by name; the row has the uid, so that a node that is replaced under its name is a change.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    table: Table<Arc<str>, NodeRow>,
    pressures: Pressures,
}

/// Our own condition on the nodes that have it. Beside the rows: what we write ourselves must cause no audit, and a
/// cluster that does not ask for it pays nothing.
#[derive(Debug, Default)]
struct Pressures {
    seen: HashMap<Arc<str>, OnNode>,
    changes: watch::Sender<u64>,
}

/// Our own condition on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OnNode {
    /// The node's uid: another node of its name has another condition.
    pub(crate) uid: Arc<str>,
    pub(crate) seen: Seen,
    version: u64,
}

impl Pressures {
    /// A node as the API server has it. What is known to be older changes nothing: an echo may come late.
    fn keep(&mut self, name: &Arc<str>, uid: &Arc<str>, object: &NodeView) {
        let (version, known) = (version(object), self.seen.get(name));
        if known.is_some_and(|known| known.version > version && known.uid == *uid) {
            return;
        }
        let now = object.pressure().map(|seen| OnNode { uid: uid.clone(), seen, version });
        let said = |on_node: &OnNode| (on_node.uid.clone(), on_node.seen);
        let changed = known.map(said) != now.as_ref().map(said);
        match now {
            Some(now) => drop(self.seen.insert(name.clone(), now)),
            None => drop(self.seen.remove(name)),
        }
        if changed {
            self.changes.send_modify(|changes| *changes += 1);
        }
    }
}

impl Rows<NodeView> for Nodes {
    fn begin(&mut self) {
        self.table.begin();
    }

    fn apply(&mut self, object: &NodeView, interner: &mut Interner) -> Result<Changed, Malformed> {
        let row = object.row(interner)?;
        let name = interner.text(&object.name_any());
        self.pressures.keep(&name, &row.node().uid, object);
        Ok(self.table.apply(name, row))
    }

    fn remove(&mut self, object: &NodeView) -> Changed {
        self.lose(object.meta())
    }

    fn lose(&mut self, meta: &ObjectMeta) -> Changed {
        let name: Arc<str> = meta.name.as_deref().unwrap_or_default().into();
        // The old node's deletion may come after its successor, which must stay.
        let is_same = |row: &NodeRow| meta.uid.as_deref().is_none_or(|uid| *uid == *row.node().uid);
        match self.table.get(&name) {
            Some(row) if is_same(row) => {
                self.pressures.seen.remove(&name);
                self.table.remove(&name)
            }
            _ => Changed::No,
        }
    }

    fn finish(&mut self) -> Changed {
        let changed = self.table.finish();
        let Self { table, pressures } = self;
        pressures.seen.retain(|name, _| table.get(name).is_some());
        changed
    }

    fn len(&self) -> usize {
        self.table.len()
    }
}

impl Counted for Nodes {
    fn census(&self) -> Census {
        self.table.census(|row, hasher| {
            row.node().hash(hasher);
            size_of::<Node>() + row.node().labels.bytes() + row.node().annotations.bytes()
        })
    }
}

impl Nodes {
    /// Whether there is a node of this name.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.table.get(&name.into()).is_some()
    }

    /// Name and uid of every node.
    pub(crate) fn names(&self) -> Vec<(Arc<str>, Arc<str>)> {
        self.table.entries().map(|(name, row)| (name.clone(), row.node().uid.clone())).collect()
    }

    /// Our own condition, by the name of the node.
    pub(crate) const fn pressures(&self) -> &HashMap<Arc<str>, OnNode> {
        &self.pressures.seen
    }

    /// Wakes when our own condition appears, changes or goes on a node.
    pub(crate) fn pressure_changes(&self) -> watch::Receiver<u64> {
        self.pressures.changes.subscribe()
    }

    /// A node as the API server has it after a write of ours.
    pub(crate) fn wrote(&mut self, object: &NodeView) {
        let name: Arc<str> = object.name_any().into();
        if let Some((name, row)) = self.table.entry(&name)
            && object.uid().is_some_and(|uid| *uid == *row.node().uid)
        {
            let (name, uid) = (name.clone(), row.node().uid.clone());
            self.pressures.keep(&name, &uid, object);
        }
    }

    pub(crate) fn rows(&self) -> impl Iterator<Item = &NodeRow> {
        self.table.rows()
    }
}
