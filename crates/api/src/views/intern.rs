//! One copy of what many rows share: namespaces, node names, workloads, label values, what pods have in common.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use ipam_audit_core::{
    ids::NodeName,
    snapshot::{PodTraits, Tags},
};

/// Hands out shared copies.
#[derive(Debug, Default)]
pub struct Interner {
    texts: HashSet<Arc<str>>,
    traits: HashSet<Arc<PodTraits>>,
}

impl Interner {
    /// The shared copy of a text.
    pub fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        let shared: Arc<str> = text.into();
        self.texts.insert(shared.clone());
        shared
    }

    /// The shared copy of a node's name.
    pub fn node(&mut self, name: &str) -> NodeName {
        NodeName::new(self.text(name))
    }

    /// Labels as rows keep them: sorted by key, every text shared.
    pub fn tags(&mut self, labels: Option<&BTreeMap<String, String>>) -> Tags {
        labels.into_iter().flatten().map(|(key, value)| (self.text(key), self.text(value))).collect()
    }

    /// The shared copy of what a pod has in common with others.
    pub fn traits(&mut self, traits: PodTraits) -> Arc<PodTraits> {
        if let Some(known) = self.traits.get(&traits) {
            return known.clone();
        }
        let shared = Arc::new(traits);
        self.traits.insert(shared.clone());
        shared
    }

    /// Forgets what no row holds any more; for callers that live long, after a relist.
    pub fn forget_unused(&mut self) {
        self.traits.retain(|traits| Arc::strong_count(traits) > 1);
        self.texts.retain(|text| Arc::strong_count(text) > 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_share_one_copy_until_nobody_holds_it() {
        let mut interner = Interner::default();
        let (one, two) = (interner.text("shop"), interner.text("shop"));
        assert!(Arc::ptr_eq(&one, &two));
        drop((one, two));
        interner.forget_unused();
        assert!(interner.texts.is_empty());
    }

    #[test]
    fn pods_of_one_template_share_their_traits() {
        let mut interner = Interner::default();
        let labels = BTreeMap::from([("app".to_owned(), "shop".to_owned())]);
        let mut traits = || {
            let labels = interner.tags(Some(&labels));
            interner.traits(PodTraits { labels, ..PodTraits::default() })
        };
        let (one, two) = (traits(), traits());
        assert!(Arc::ptr_eq(&one, &two));
        drop((one, two));
        interner.forget_unused();
        assert!(interner.traits.is_empty() && interner.texts.is_empty());
    }
}
