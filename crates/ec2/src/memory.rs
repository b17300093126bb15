//! What is remembered between readings, because it changes rarely and asking costs a call each.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use ipam_audit_core::{
    ids::{InstanceType, SubnetId, VpcId},
    intern::Interner,
    inventory::{CidrReservation, Instance, InstanceTypeFacts, Interface},
    rows::Rows,
};
use jiff::{SignedDuration, Timestamp};

use crate::listing::Listing;

/// Everything remembered. Each part has a lock of its own, never held while a call is under way.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    vpc: Mutex<Option<VpcId>>,
    texts: Mutex<Interner>,
    interfaces: Mutex<Rows<Interface>>,
    instances: Mutex<Rows<Instance>>,
    types: Mutex<Known<InstanceType, Option<InstanceTypeFacts>>>,
    reservations: Mutex<Known<SubnetId, Listing<CidrReservation>>>,
    rare: Mutex<Known<(Rare, VpcId), ()>>,
}

/// Parts that are read now and then. Their rows are with the caller: here is only when they were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rare {
    Instances,
    SecurityGroups,
    RouteTables,
}

impl Rare {
    /// How long a view of it is good enough.
    ///
    /// An interface counts as leaked from an age of ten minutes on, if its instance is gone: a list of instances that is
    /// half as old knows every instance that such an interface may be of. Groups and tables are changed by people.
    pub(crate) const fn keep(self) -> SignedDuration {
        match self {
            Self::Instances => SignedDuration::from_mins(5),
            Self::SecurityGroups | Self::RouteTables => SignedDuration::from_mins(10),
        }
    }
}

impl Memory {
    /// The VPC that the nodes were found in.
    pub(crate) fn vpc(&self) -> MutexGuard<'_, Option<VpcId>> {
        self.vpc.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What rows of all readings share, to be given back after the next one. A new row among old ones shares with them
    /// only because it is the same over all readings.
    pub(crate) fn take_texts(&self) -> Interner {
        std::mem::take(&mut *self.texts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keeps of it what a row still has.
    pub(crate) fn keep_texts(&self, mut texts: Interner) {
        texts.forget_unused();
        *self.texts.lock().unwrap_or_else(PoisonError::into_inner) = texts;
    }

    /// The interfaces of the last reading, sorted by id.
    pub(crate) fn interfaces(&self) -> MutexGuard<'_, Rows<Interface>> {
        self.interfaces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The instances of the last reading of them, sorted by id.
    pub(crate) fn instances(&self) -> MutexGuard<'_, Rows<Instance>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Instance types, among them those that EC2 does not know.
    pub(crate) fn types(&self) -> MutexGuard<'_, Known<InstanceType, Option<InstanceTypeFacts>>> {
        self.types.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a part of a VPC has to be read.
    pub(crate) fn is_due(&self, part: Rare, vpc: &VpcId, now: Timestamp) -> bool {
        let wanted = [(part, vpc.clone())];
        !self.rare().due(&wanted, now, |()| part.keep()).is_empty()
    }

    /// A part of a VPC was read to the end, and the caller has it.
    pub(crate) fn was_read(&self, part: Rare, vpc: &VpcId, as_of: Timestamp) {
        self.rare().put((part, vpc.clone()), (), as_of);
    }

    fn rare(&self) -> MutexGuard<'_, Known<(Rare, VpcId), ()>> {
        self.rare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reservations by subnet.
    pub(crate) fn reservations(&self) -> MutexGuard<'_, Known<SubnetId, Listing<CidrReservation>>> {
        self.reservations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Values with the moment they were read.
#[derive(Debug)]
pub(crate) struct Known<K, V>(BTreeMap<K, (V, Timestamp)>);

impl<K, V> Default for Known<K, V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Clone, V> Known<K, V> {
    pub(crate) fn put(&mut self, key: K, value: V, as_of: Timestamp) {
        self.0.insert(key, (value, as_of));
    }

    /// What has to be read anew: first what was never read, then the oldest.
    pub(crate) fn due(&self, wanted: &[K], now: Timestamp, keep: impl Fn(&V) -> SignedDuration) -> Vec<K> {
        let age_of =
            |key: &K| self.0.get(key).map(|(value, as_of)| (*as_of, now.duration_since(*as_of) >= keep(value)));
        let mut due: Vec<_> = wanted
            .iter()
            .filter_map(|key| match age_of(key) {
                None => Some((None, key)),
                Some((as_of, true)) => Some((Some(as_of), key)),
                Some((_, false)) => None,
            })
            .collect();
        due.sort_unstable();
        due.into_iter().map(|(_, key)| key.clone()).collect()
    }

    /// What is known of the wanted, and how old the oldest of it is.
    pub(crate) fn view<'a>(&'a self, wanted: &'a [K]) -> (Vec<(&'a K, &'a V)>, Option<Timestamp>) {
        let known = || wanted.iter().filter_map(|key| self.0.get_key_value(key));
        let oldest = known().map(|(_, (_, as_of))| *as_of).min();
        (known().map(|(key, (value, _))| (key, value)).collect(), oldest)
    }

    /// Forgets what is not wanted any more.
    pub(crate) fn keep_only(&mut self, wanted: &[K]) {
        self.0.retain(|key, _| wanted.binary_search(key).is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_was_never_read_comes_first_then_the_oldest_and_the_fresh_not_at_all() {
        let mut known = Known::default();
        known.put("fresh", 1, at(990));
        known.put("old", 2, at(500));
        known.put("older", 3, at(100));
        let wanted = ["fresh", "never", "old", "older"];
        let due = known.due(&wanted, at(1000), |_| SignedDuration::from_secs(60));
        assert_eq!(due, ["never", "older", "old"]);
    }

    #[test]
    fn a_view_is_as_old_as_its_oldest_part_and_holds_nothing_that_was_not_read() {
        let mut known = Known::default();
        known.put("a", 1, at(10));
        known.put("b", 2, at(5));
        known.put("unwanted", 3, at(1));
        assert_eq!(known.view(&["a", "b", "never"]), (vec![(&"a", &1), (&"b", &2)], Some(at(5))));
        known.keep_only(&["b"]);
        assert_eq!(known.view(&["a"]), (vec![], None));
    }
}
