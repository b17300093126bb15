//! One copy of each text that many rows share: namespaces, node names, workloads, label values.

use std::{collections::HashSet, sync::Arc};

use ipam_audit_core::ids::NodeName;

/// Hands out shared copies of texts.
#[derive(Debug, Default)]
pub struct Interner {
    texts: HashSet<Arc<str>>,
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

    /// Forgets texts that no row holds any more; for callers that live long, after a relist.
    pub fn forget_unused(&mut self) {
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
}
