//! What ipamd gives back: surplus addresses and prefixes, then at most one whole interface a step.

use super::{
    Simulation,
    pool::{Eni, Stats},
};

impl Simulation {
    /// Gives the surplus back. It is a number of addresses or prefixes by the mode, but what goes is whatever is free on
    /// the interface, of either kind, each counting as one. Until 1.12 the number was not reduced from one interface to
    /// the next, so that more went than should.
    pub(super) fn give_back_surplus(&mut self) {
        let mut over = self.rules.surplus(&self.stats());
        for index in (0..self.pool.enis.len()).rev() {
            let free = self.pool.enis[index].free_slots();
            if free == 0 && !self.rules.behaviour.surplus_once {
                return;
            }
            let given = over.min(free);
            self.unassign(index, given);
            if self.rules.behaviour.surplus_once {
                over -= given;
            }
            if over <= 0 {
                return;
            }
        }
    }

    /// `UnassignPrivateIpAddresses`, once for prefixes and once for addresses; prefixes go first.
    fn unassign(&mut self, index: usize, count: i64) {
        let eni = &self.pool.enis[index];
        let prefixes = count.min(i64::from(eni.free_prefixes));
        self.unassign_prefixes(index, prefixes);
        self.unassign_addresses(index, count - prefixes);
    }

    pub(super) fn unassign_prefixes(&mut self, index: usize, count: i64) {
        if count > 0 {
            self.shrinking();
            self.pool.remove_free_prefixes(index, u32::try_from(count).unwrap_or(u32::MAX));
            self.subnet.give_back(0, count);
            self.calls.unassign_private_ip_addresses += 1;
        }
    }

    pub(super) fn unassign_addresses(&mut self, index: usize, count: i64) {
        if count > 0 {
            self.shrinking();
            self.pool.remove_free_ips(index, u32::try_from(count).unwrap_or(u32::MAX));
            self.subnet.give_back(count, 0);
            self.calls.unassign_private_ip_addresses += 1;
        }
    }

    /// Whether it is worth looking for an interface to release. In prefix mode an interface without pods is reason
    /// enough, because a reduced target leaves empty interfaces behind.
    pub(super) fn extra_interface_possible(&self, stats: &Stats) -> bool {
        self.rules.interface_to_spare(stats) || self.rules.prefixes && self.pool.enis.iter().any(without_use)
    }

    /// Releases the last attached interface that qualifies. A cordoned node keeps what it has.
    pub(super) fn free_an_interface(&mut self) {
        if self.cordon_freezes() {
            return;
        }
        let Some(index) = (0..self.pool.enis.len()).rev().find(|&index| self.may_be_released(index)) else {
            return;
        };
        self.shrinking();
        let eni = self.pool.detach(index);
        self.subnet.give_back(1 + i64::from(eni.ips), eni.prefix_count());
        self.calls.detach_network_interface += 1;
        self.calls.delete_network_interface += 1;
    }

    /// Never the primary, a trunk, an interface with pods, one made in this very step, or one that a target needs.
    fn may_be_released(&self, index: usize) -> bool {
        let eni = &self.pool.enis[index];
        without_use(eni)
            && self.young != Some(index)
            && !self.needed_for_warm_addresses(eni)
            && !self.needed_for_minimum_addresses(eni)
            && !self.needed_for_warm_prefixes(eni)
    }

    /// The others must have the warm addresses; in prefix mode rounded up to whole prefixes.
    fn needed_for_warm_addresses(&self, eni: &Eni) -> bool {
        let warm = self.rules.targets.warm_ip;
        let of_eni = i64::from(eni.free_of_kind(self.rules.prefixes));
        warm != 0 && self.stats().available() - of_eni < self.rules.rounded_to_prefixes(warm)
    }

    /// The others must reach the minimum; in prefix mode rounded up to whole prefixes.
    fn needed_for_minimum_addresses(&self, eni: &Eni) -> bool {
        let minimum = self.rules.targets.minimum_ip;
        let of_eni = eni.total_of_kind(self.rules.prefixes);
        minimum != 0 && self.stats().total - of_eni < self.rules.rounded_to_prefixes(minimum)
    }

    /// The others must have the warm prefixes, also where an IP target sizes the pool. A free single address, left over
    /// from before prefixes, counts as a free prefix here.
    fn needed_for_warm_prefixes(&self, eni: &Eni) -> bool {
        let warm = self.rules.targets.warm_prefix;
        self.rules.prefixes && warm != 0 && self.pool.free_slots() - eni.free_slots() < warm
    }
}

fn without_use(eni: &Eni) -> bool {
    !eni.primary && !eni.trunk && eni.pods() == 0
}
