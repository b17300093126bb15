//! How the free addresses of each subnet went, reading by reading, and when it will be exhausted.
//!
//! There is a history for each subnet with IPv4 addresses that the last complete reading named, and for no other. A
//! failed reading adds nothing: the last good view keeps its time, and a moment is noted once.

use std::collections::BTreeMap;

use ipam_audit_core::{
    forecast::{Exhaustion, FreeHistory, forecast},
    ids::SubnetId,
    inventory::Subnet,
    source::Reading,
};

/// The subnets of which can be said when they will be exhausted.
pub(crate) type Forecasts = BTreeMap<SubnetId, Exhaustion>;

/// The histories of a scope.
#[derive(Debug, Default)]
pub(super) struct Histories(BTreeMap<SubnetId, FreeHistory>);

impl Histories {
    /// Takes in what is known of the subnets after a reading.
    pub(super) fn note(&mut self, subnets: &Reading<Vec<Subnet>>) {
        let Some(seen) = &subnets.last_good else { return };
        let mut before = std::mem::take(&mut self.0);
        for subnet in with_addresses(&seen.value) {
            let mut history = before.remove(&subnet.id).unwrap_or_default();
            history.note(seen.as_of, subnet.available);
            self.0.insert(subnet.id.clone(), history);
        }
        // A view with a fault may lack what is still there.
        if subnets.fault.is_some() {
            self.0.append(&mut before);
        }
    }

    /// When the subnets of the last good view will be exhausted.
    pub(super) fn forecasts(&self, subnets: &Reading<Vec<Subnet>>) -> Forecasts {
        let subnets = with_addresses(subnets.value().into_iter().flatten());
        let of = |subnet: &Subnet| Some((subnet.id.clone(), forecast(self.0.get(&subnet.id)?, subnet.available)?));
        subnets.filter_map(of).collect()
    }
}

/// Those that can run out of IPv4 addresses at all.
fn with_addresses<'a>(subnets: impl IntoIterator<Item = &'a Subnet>) -> impl Iterator<Item = &'a Subnet> {
    subnets.into_iter().filter(|subnet| subnet.cidr.is_some())
}

#[cfg(test)]
mod tests {
    use ipam_audit_core::source::{FaultCategory, SourceFault};
    use jiff::Timestamp;

    use super::*;
    use crate::publish::tests::snapshot;

    fn subnet(id: &str, free: u32) -> Subnet {
        let seen = snapshot(0, free).ec2.subnets;
        Subnet { id: id.into(), ..seen.value().unwrap()[0].clone() }
    }

    fn reading(minute: i64, subnets: Vec<Subnet>) -> Reading<Vec<Subnet>> {
        Reading::fresh(subnets, Timestamp::from_second(minute * 60).unwrap())
    }

    /// Two subnets that lose ten addresses in five minutes, for so many minutes.
    fn falling(minutes: i64) -> (Histories, Reading<Vec<Subnet>>) {
        let mut histories = Histories::default();
        let free = |minute: i64| u32::try_from(1000 - minute * 2).unwrap();
        let at = |minute| reading(minute, vec![subnet("subnet-1", free(minute)), subnet("subnet-2", free(minute))]);
        (0..=minutes).for_each(|minute| histories.note(&at(minute)));
        (histories, at(minutes))
    }

    #[test]
    fn after_an_hour_it_is_known_and_what_vanishes_begins_anew() {
        let (histories, last) = falling(59);
        assert_eq!(histories.forecasts(&last), Forecasts::new());
        let (mut histories, last) = falling(60);
        let known = histories.forecasts(&last);
        assert_eq!(known.len(), 2);
        assert!((known[&"subnet-1".into()].median - 440.0 * 60.0).abs() < 1.0, "{known:?}");
        histories.note(&reading(61, vec![subnet("subnet-2", 878)]));
        let both = reading(62, vec![subnet("subnet-1", 876), subnet("subnet-2", 876)]);
        histories.note(&both);
        assert_eq!(histories.forecasts(&both).keys().collect::<Vec<_>>(), [&"subnet-2".into()]);
    }

    #[test]
    fn a_fault_adds_nothing_and_costs_no_history() {
        let (mut histories, mut last) = falling(60);
        let known = histories.forecasts(&last);
        let fault = Some(SourceFault { category: FaultCategory::Throttled, message: String::new() });
        last.fault.clone_from(&fault);
        (0..100).for_each(|_| histories.note(&last));
        histories.note(&Reading { fault, ..reading(61, vec![subnet("subnet-2", 878)]) });
        histories.note(&Reading::missing(FaultCategory::Denied, ""));
        assert_eq!(histories.forecasts(&last), known);
    }

    #[test]
    fn a_subnet_without_ipv4_addresses_is_not_exhausted() {
        let mut histories = Histories::default();
        let exhausted = subnet("subnet-4", 0);
        let seen = reading(0, vec![Subnet { cidr: None, ..subnet("subnet-6", 0) }, exhausted]);
        histories.note(&seen);
        assert_eq!(histories.forecasts(&seen).keys().collect::<Vec<_>>(), [&"subnet-4".into()]);
    }
}
