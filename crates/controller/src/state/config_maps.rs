//! The ConfigMaps of `kube-system` that decide about addresses, by their names.

use std::{collections::HashMap, sync::Arc};

use ipam_audit_core::snapshot::ConfigMap;

use super::{Census, Changed, Counted, census::hash_shown};

/// Those that are there.
#[derive(Debug, Default)]
pub(crate) struct SystemMaps {
    by_name: HashMap<Arc<str>, ConfigMap>,
}

impl SystemMaps {
    /// All of them were read, and these are there.
    pub(crate) fn replace(&mut self, maps: Vec<ConfigMap>) -> Changed {
        let now: HashMap<Arc<str>, ConfigMap> = maps.into_iter().map(|map| (map.name.clone(), map)).collect();
        Changed::when(std::mem::replace(&mut self.by_name, now) != self.by_name)
    }

    /// The rows of a snapshot, sorted by name.
    pub(crate) fn rows(&self) -> Vec<ConfigMap> {
        let mut maps: Vec<ConfigMap> = self.by_name.values().cloned().collect();
        maps.sort_by(|a, b| a.name.cmp(&b.name));
        maps
    }
}

impl Counted for SystemMaps {
    fn census(&self) -> Census {
        Census::of(&self.by_name, |map, hasher| {
            hash_shown(map, hasher);
            0
        })
    }
}
