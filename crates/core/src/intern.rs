//! One copy of what many rows share: namespaces, node names, workloads, label values, what pods have in common.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use crate::{
    ids::NodeName,
    inventory::InterfaceTraits,
    snapshot::{PodFamily, PodTraits},
    tags::{Tag, Tags},
};

/// A look for copies that nobody holds any more is not worth it for fewer.
const FEW: usize = 4096;

/// Hands out shared copies.
///
/// What nobody holds any more is forgotten now and then, so that names of pods that came and went do not pile up.
#[derive(Debug, Default)]
pub struct Interner {
    texts: HashSet<Arc<str>>,
    lists: HashSet<Arc<[Arc<str>]>>,
    tags: HashSet<Arc<Tag>>,
    traits: HashSet<Arc<PodTraits>>,
    families: HashSet<Arc<PodFamily>>,
    interfaces: HashSet<Arc<InterfaceTraits>>,
    /// Names of nodes that rows keep by one pointer.
    nodes: HashSet<Arc<NodeName>>,
    /// So many are known before the next look.
    look_at: usize,
}

impl Interner {
    /// The shared copy of a text.
    pub fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        if self.texts.len() >= self.look_at.max(FEW) {
            self.forget_unused();
        }
        let shared: Arc<str> = text.into();
        self.texts.insert(shared.clone());
        shared
    }

    /// The shared copy of a node's name.
    pub fn node(&mut self, name: &str) -> NodeName {
        NodeName::new(self.text(name))
    }

    /// The shared copy of a node's name behind a thin pointer.
    pub fn kept_node(&mut self, name: NodeName) -> Arc<NodeName> {
        shared(&mut self.nodes, name)
    }

    /// Labels as rows keep them, every pair shared.
    pub fn tags(&mut self, labels: Option<&BTreeMap<String, String>>) -> Tags {
        labels.into_iter().flatten().map(|(key, value)| self.tag(key, value)).collect()
    }

    /// The shared copy of a list of texts.
    pub fn list<'t>(&mut self, texts: impl Iterator<Item = &'t str>) -> Arc<[Arc<str>]> {
        let list: Arc<[Arc<str>]> = texts.map(|text| self.text(text)).collect();
        if let Some(known) = self.lists.get(&list) {
            return known.clone();
        }
        self.lists.insert(list.clone());
        list
    }

    /// The shared copy of a key with its value.
    pub fn tag(&mut self, key: &str, value: &str) -> Arc<Tag> {
        let tag = (self.text(key), self.text(value));
        shared(&mut self.tags, tag)
    }

    /// The shared copy of what a pod has in common with others.
    pub fn traits(&mut self, traits: PodTraits) -> Arc<PodTraits> {
        shared(&mut self.traits, traits)
    }

    /// The shared copy of what the pods of one workload have in common.
    pub fn family(&mut self, family: PodFamily) -> Arc<PodFamily> {
        shared(&mut self.families, family)
    }

    /// The shared copy of what interfaces have in common.
    pub fn interface(&mut self, traits: InterfaceTraits) -> Arc<InterfaceTraits> {
        shared(&mut self.interfaces, traits)
    }

    /// Forgets what no row holds any more; for callers that live long, after a relist.
    pub fn forget_unused(&mut self) {
        // Families hold traits, interfaces lists, and all hold texts.
        self.families.retain(|family| Arc::strong_count(family) > 1);
        self.traits.retain(|traits| Arc::strong_count(traits) > 1);
        self.interfaces.retain(|traits| Arc::strong_count(traits) > 1);
        self.lists.retain(|list| Arc::strong_count(list) > 1);
        self.tags.retain(|tag| Arc::strong_count(tag) > 1);
        self.nodes.retain(|node| Arc::strong_count(node) > 1);
        self.texts.retain(|text| Arc::strong_count(text) > 1);
        self.look_at = 2 * self.texts.len();
    }
}

/// The copy of a value that is known, or this one from now on.
pub(crate) fn shared<T: Eq + std::hash::Hash>(known: &mut HashSet<Arc<T>>, new: T) -> Arc<T> {
    if let Some(known) = known.get(&new) {
        return known.clone();
    }
    let shared = Arc::new(new);
    known.insert(shared.clone());
    shared
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
    fn texts_that_come_and_go_do_not_pile_up() {
        let mut interner = Interner::default();
        let kept = interner.text("kept");
        for number in 0..20 * FEW {
            interner.text(&number.to_string());
        }
        assert!(interner.texts.len() <= FEW + 1, "{}", interner.texts.len());
        assert!(Arc::ptr_eq(&kept, &interner.text("kept")));
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
