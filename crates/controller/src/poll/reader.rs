//! Readers of EC2: what one has to offer, and the one of a scope with its calls counted.

use std::{collections::BTreeMap, future::Future, time::Duration};

use ipam_audit_api::settings::AssumedRole;
use ipam_audit_core::{
    inventory::{Inventory, InventoryScope, ReadInventory},
    source::{FaultCategory, Reading},
};

/// A reading that takes longer than this will never end.
const READING_LIMIT: Duration = Duration::from_mins(15);

/// Where to look for EC2.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ec2Place {
    /// The region that the audit's spec names.
    pub region: Option<String>,
    /// The region that most nodes say they are in, if the spec names none: to use when the environment names none, too.
    pub region_of_nodes: Option<String>,
    /// Where the audit's spec has EC2 asked.
    pub endpoint: Option<String>,
    /// The role that the audit's spec has assumed.
    pub role: Option<AssumedRole>,
}

/// Calls of one action that were sent to EC2 since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CallStats {
    /// The action, for example `DescribeSubnets`.
    pub action: &'static str,
    /// Requests, repeated ones included.
    pub requests: u64,
    /// How many of them were answered with what was asked for.
    pub answered: u64,
    /// How many of them EC2 asked to repeat later.
    pub throttles: u64,
    /// How many of them failed in another way.
    pub errors: u64,
    /// Calls that failed in the end.
    pub failures: u64,
    /// Calls that the reader's budget allows now without waiting, below zero while some are owed; none once it is closed.
    pub budget: Option<i64>,
}

/// A reader of EC2 that counts what it sends, and knows where to.
pub trait CountCalls {
    /// What was sent so far, by action.
    fn calls(&self) -> Vec<CallStats>;

    /// The region that it reads, and what told it, if one is known.
    fn region(&self) -> Option<(String, &'static str)>;
}

/// Makes readers of EC2: the controller has one for each region that its audits name.
pub trait OpenInventory: Send + Sync + 'static {
    /// The readers.
    type Inventory: ReadInventory + CountCalls;

    /// A reader. It must not fail: what is wrong shows as the faults of its first reading.
    fn open(&self, place: &Ec2Place) -> impl Future<Output = Self::Inventory> + Send;
}

/// The reader of one scope, opened when it is needed.
///
/// One that lacks credentials is closed again: where they come from is looked up when it opens, and a profile or a token
/// that appears later would never be seen. Its calls stay counted.
pub(super) struct Reader<'a, O: OpenInventory> {
    open: &'a O,
    current: Option<(Ec2Place, O::Inventory)>,
    closed: Vec<CallStats>,
}

impl<'a, O: OpenInventory> Reader<'a, O> {
    pub(super) const fn new(open: &'a O) -> Self {
        Self { open, current: None, closed: Vec::new() }
    }

    pub(super) async fn read(&mut self, place: Ec2Place, wish: InventoryScope) -> Inventory {
        if self.current.as_ref().is_some_and(|(opened, _)| *opened != place) {
            self.close();
        }
        if self.current.is_none() {
            let opened = self.open.open(&place).await;
            self.current = Some((place, opened));
        }
        let Some((_, inventory)) = &self.current else { return Inventory::default() };
        let answer = tokio::time::timeout(READING_LIMIT, inventory.read(&wish)).await;
        answer.unwrap_or_else(|_| unanswered())
    }

    pub(super) fn throttles(&self) -> u64 {
        self.calls().iter().map(|stats| stats.throttles).sum()
    }

    pub(super) fn close(&mut self) {
        self.closed = self.calls().into_iter().map(|stats| CallStats { budget: None, ..stats }).collect();
        self.current = None;
    }

    pub(super) fn region(&self) -> Option<(String, &'static str)> {
        self.current.as_ref()?.1.region()
    }

    pub(super) fn calls(&self) -> Vec<CallStats> {
        let current = self.current.iter().flat_map(|(_, inventory)| inventory.calls());
        sums(self.closed.iter().copied().chain(current)).into_values().collect()
    }
}

/// Nothing of EC2, because it took too long.
fn unanswered() -> Inventory {
    fn late<T>() -> Reading<T> {
        let message = format!("EC2 was not read within {} minutes", READING_LIMIT.as_secs() / 60);
        Reading::missing(FaultCategory::Unreachable, message)
    }
    Inventory {
        vpcs: late(),
        subnets: late(),
        interfaces: late(),
        instance_types: late(),
        reservations: late(),
        instances: late(),
        security_groups: late(),
        route_tables: late(),
    }
}

/// Counters added up by action.
pub(super) fn sums(stats: impl Iterator<Item = CallStats>) -> BTreeMap<&'static str, CallStats> {
    let mut sums: BTreeMap<&'static str, CallStats> = BTreeMap::new();
    for CallStats { action, requests, answered, throttles, errors, failures, budget } in stats {
        let sum = sums.entry(action).or_insert_with(|| CallStats { action, ..CallStats::default() });
        sum.requests += requests;
        sum.answered += answered;
        sum.throttles += throttles;
        sum.errors += errors;
        sum.failures += failures;
        // Each reader has a budget of its own; the one that has least left is the one that waits.
        sum.budget = [sum.budget, budget].into_iter().flatten().min();
    }
    sums
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use jiff::Timestamp;

    use super::*;

    /// Finds credentials from the second opening on.
    struct Late(Mutex<u64>);

    struct Account(bool);

    impl OpenInventory for Late {
        type Inventory = Account;

        async fn open(&self, _: &Ec2Place) -> Account {
            let mut opened = self.0.lock().unwrap();
            *opened += 1;
            Account(*opened > 1)
        }
    }

    impl ReadInventory for Account {
        async fn read(&self, _: &InventoryScope) -> Inventory {
            let now = Timestamp::UNIX_EPOCH;
            let subnets = if self.0 {
                Reading::fresh(Vec::new(), now)
            } else {
                Reading::missing(FaultCategory::Credentials, "no credentials")
            };
            Inventory { subnets, ..unanswered() }
        }
    }

    impl CountCalls for Account {
        fn calls(&self) -> Vec<CallStats> {
            let failures = u64::from(!self.0);
            vec![CallStats {
                action: "DescribeSubnets",
                requests: 1,
                failures,
                budget: Some(9),
                ..CallStats::default()
            }]
        }

        fn region(&self) -> Option<(String, &'static str)> {
            None
        }
    }

    #[tokio::test]
    async fn a_reader_without_credentials_is_opened_again_and_its_calls_stay_counted() {
        let late = Late(Mutex::new(0));
        let mut reader = Reader::new(&late);
        let first = reader.read(Ec2Place::default(), InventoryScope::default()).await;
        assert_eq!(first.subnets.value(), None);
        reader.close();
        let second = reader.read(Ec2Place::default(), InventoryScope::default()).await;
        assert_eq!(second.subnets.value(), Some(&Vec::new()));
        let calls = reader.calls();
        assert_eq!([calls[0].requests, calls[0].failures], [2, 1]);
        assert_eq!(calls[0].budget, Some(9), "that of the reader that is open");
        reader.read(Ec2Place::default(), InventoryScope::default()).await;
        assert_eq!(*late.0.lock().unwrap(), 2, "what works is kept");
    }
}
