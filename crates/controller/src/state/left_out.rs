//! Objects that make no sense and are left out: each is told of once, by name, and is a fault of its source as long as
//! it stays so.

use std::collections::BTreeMap;

use ipam_audit_api::views::{Unfit, qualified_name};
use ipam_audit_core::source::{FaultCategory, SourceFault};
use kube::core::ObjectMeta;

use super::table::Changed;

/// So many are known by name, in case a program writes nothing but nonsense.
const KNOWN: usize = 500;

/// The objects of one watch that are left out.
#[derive(Debug, Default)]
pub(crate) struct LeftOut {
    by_name: BTreeMap<String, Object>,
    kind: String,
    epoch: u32,
}

#[derive(Debug)]
struct Object {
    what: String,
    epoch: u32,
}

impl LeftOut {
    /// A list begins: objects that it does not name are forgotten at its end.
    pub(super) const fn begin(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// An object is left out. Whether that is news: a new version with the same mistake is none.
    pub(super) fn note(&mut self, kind: &str, unfit: &Unfit) -> bool {
        let (name, epoch) = (unfit.object(), self.epoch);
        if let Some(known) = self.by_name.get_mut(&name) {
            known.epoch = epoch;
            let is_news = known.what != unfit.what;
            known.what.clone_from(&unfit.what);
            return is_news;
        }
        if self.by_name.len() >= KNOWN {
            return false;
        }
        kind.clone_into(&mut self.kind);
        self.by_name.insert(name, Object { what: unfit.what.clone(), epoch });
        true
    }

    /// An object makes sense now, or is gone.
    pub(super) fn forget(&mut self, meta: &ObjectMeta) -> Changed {
        // Nearly always there is none, and names need not be put together.
        Changed::when(!self.by_name.is_empty() && self.by_name.remove(&qualified_name(meta)).is_some())
    }

    /// The list is complete.
    pub(super) fn finish(&mut self) -> Changed {
        let (before, epoch) = (self.by_name.len(), self.epoch);
        self.by_name.retain(|_, object| object.epoch == epoch);
        Changed::when(self.by_name.len() < before)
    }

    /// What the source lacks.
    pub(super) fn fault(&self) -> Option<SourceFault> {
        let (name, Object { what, .. }) = self.by_name.first_key_value()?;
        let more = match self.by_name.len() - 1 {
            0 => String::new(),
            KNOWN.. => " (and hundreds more)".to_owned(),
            more => format!(" (and {more} more)"),
        };
        let message = format!("{} {name} is left out: {what}{more}", self.kind);
        Some(SourceFault { category: FaultCategory::Malformed, message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unfit(name: &str, what: &str) -> Unfit {
        let meta = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        Unfit { meta: Box::new(meta), what: what.to_owned() }
    }

    #[test]
    fn each_is_news_once_and_a_fault_until_it_makes_sense_or_is_gone() {
        let mut left_out = LeftOut::default();
        assert!(left_out.note("NodePool", &unfit("b", "spec is missing")));
        assert!(!left_out.note("NodePool", &unfit("b", "spec is missing")), "the same in a new version");
        assert!(left_out.note("NodePool", &unfit("b", "spec: expected an object")));
        assert!(left_out.note("NodePool", &unfit("a", "spec is missing")));
        let message = |left_out: &LeftOut| left_out.fault().map(|fault| fault.message);
        assert_eq!(message(&left_out).as_deref(), Some("NodePool a is left out: spec is missing (and 1 more)"));
        assert_eq!(left_out.forget(&unfit("a", "").meta), Changed::Yes);
        left_out.begin();
        assert_eq!(left_out.finish(), Changed::Yes);
        assert_eq!(message(&left_out), None);
    }

    #[test]
    fn nonsense_without_end_costs_no_memory_without_end() {
        let mut left_out = LeftOut::default();
        let news = (0..2 * KNOWN).filter(|index| left_out.note("NodeClaim", &unfit(&index.to_string(), "no"))).count();
        assert_eq!((news, left_out.by_name.len()), (KNOWN, KNOWN));
    }
}
