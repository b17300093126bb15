//! One step of growth: fill one interface that has room, else create one.

use super::{Simulation, behaviour::Behaviour, pool::Eni, subnet::Subnet};

/// What became of an attempt to fill an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fill {
    /// Addresses or prefixes were added.
    Filled,
    /// No interface has room, or (with subnet discovery) the subnet has nothing for any that has.
    NoRoom,
    /// The subnet refused, which ends the step.
    Refused,
}

impl Simulation {
    /// The step itself. A cordoned node does not grow. The back-off after a refusal is not looked at: it has always
    /// passed by the next step of this model.
    pub(super) fn increase_pool(&mut self) {
        if self.cordon_freezes() || self.rules.prefix_target_forbids_growth(&self.stats()) {
            return;
        }
        let filled = self.fill_an_interface();
        let goes_on = filled == Fill::NoRoom || filled == Fill::Refused && !self.knows_refusals();
        if goes_on && self.room_for_an_interface() {
            self.create_interface();
        }
    }

    /// Whether ipamd takes a refusal for a shortage of the subnet, which ends the step without an error. Old versions took
    /// it for any other error.
    pub(super) fn knows_refusals(&self) -> bool {
        let Behaviour { tolerates_missing_prefixes, tolerates_missing_addresses, .. } = self.rules.behaviour;
        if self.rules.prefixes { tolerates_missing_prefixes } else { tolerates_missing_addresses }
    }

    /// Whether the node is cordoned and ipamd therefore neither attaches nor frees anything.
    pub(super) fn cordon_freezes(&self) -> bool {
        self.cordoned && !self.rules.manages_cordoned
    }

    /// Asks for all that is wanted and fits on the first interface with room, then for a single one: near the end of a
    /// subnet this drains it one by one.
    pub(super) fn fill_an_interface(&mut self) -> Fill {
        let wanted = self.rules.growth_wanted(&self.stats());
        if wanted < 1 {
            return Fill::NoRoom;
        }
        for index in 0..self.pool.enis.len() {
            if !self.may_be_filled(&self.pool.enis[index]) {
                continue;
            }
            let room = self.rules.targets.slots_per_eni - self.pool.enis[index].slots();
            if self.assign(index, wanted.min(room)) || self.assign(index, 1) {
                return Fill::Filled;
            }
            if !self.rules.behaviour.tries_all_with_room || !self.rules.subnet_discovery {
                return Fill::Refused;
            }
        }
        Fill::NoRoom
    }

    /// The trunk is for branch interfaces, and under custom networking the primary is in the wrong subnet. What counts
    /// against the limit is the number of addresses and prefixes of either kind.
    fn may_be_filled(&self, eni: &Eni) -> bool {
        let spared = eni.trunk && self.rules.behaviour.spares_trunk || eni.primary && self.rules.custom_networking;
        !spared && eni.slots() < self.rules.targets.slots_per_eni
    }

    /// `AssignPrivateIpAddresses`, all or nothing.
    fn assign(&mut self, eni: usize, count: i64) -> bool {
        let mut subnet = self.subnet;
        let granted = if self.rules.prefixes { subnet.take_prefixes(count) } else { subnet.take_addresses(count) };
        if granted {
            self.growing();
            self.subnet = subnet;
            self.calls.assign_private_ip_addresses += 1;
            self.add_to_datastore(eni, count);
        }
        granted
    }

    fn add_to_datastore(&mut self, eni: usize, count: i64) {
        if self.rules.prefixes {
            for _ in 0..count {
                self.pool.add_prefix(eni, 0);
            }
        } else {
            self.pool.add_ips(eni, u32::try_from(count).unwrap_or(u32::MAX));
        }
    }

    /// Whether another interface may be attached: the trunk counts if it is there, its slot if it is to come, and
    /// interfaces that ipamd leaves alone.
    fn room_for_an_interface(&self) -> bool {
        let reserved = i64::from(self.rules.reserves_trunk && !self.pool.trunk_known());
        self.pool.count() < self.rules.targets.max_eni - self.rules.unmanaged - reserved
    }

    /// Creates an interface with the wanted amount. There is no second attempt with less: what a subnet has left below
    /// that is out of reach of a new interface.
    fn create_interface(&mut self) {
        if self.rules.custom_networking && !self.rules.eni_config {
            return;
        }
        let wanted = self.rules.growth_wanted(&self.stats());
        let fits = wanted.min(self.rules.targets.slots_per_eni);
        if !self.rules.behaviour.creates_filled {
            let waits_in_vain = wanted > fits && !self.rules.behaviour.asks_what_fits;
            self.create_then_fill(fits, waits_in_vain && self.rules.prefixes && fits == 1);
        } else if fits > 0 {
            self.create_filled(fits);
        }
    }

    fn create_filled(&mut self, wanted: i64) {
        let mut subnet = self.subnet;
        if !take_interface(&mut subnet, wanted, self.rules.prefixes) {
            return;
        }
        self.growing();
        self.calls.create_network_interface += 1;
        self.subnet = subnet;
        self.calls.attach_network_interface += 1;
        let eni = self.pool.attach(false, false);
        self.add_to_datastore(eni, wanted);
        self.young = Some(eni);
    }

    /// Until 1.15.3: created bare, attached, then filled. If the subnet had only enough for the interface itself, or ipamd
    /// takes what it got for nothing, the interface stays attached without ipamd knowing of it.
    fn create_then_fill(&mut self, wanted: i64, taken_for_nothing: bool) {
        let mut subnet = self.subnet;
        if !subnet.take_addresses(1) {
            return;
        }
        self.growing();
        self.subnet = subnet;
        self.calls.create_network_interface += 1;
        if self.attachment_refused() {
            self.delete_unattached();
            return;
        }
        self.calls.attach_network_interface += 1;
        let filled = if self.rules.prefixes { subnet.take_prefixes(wanted) } else { subnet.take_addresses(wanted) };
        if !filled || wanted < 1 {
            self.pool.orphans += 1;
            return;
        }
        self.subnet = subnet;
        self.calls.assign_private_ip_addresses += 1;
        if taken_for_nothing {
            self.pool.orphans += 1;
            self.pool.orphan_prefixes += 1;
        } else {
            let eni = self.pool.attach(false, false);
            self.add_to_datastore(eni, wanted);
            self.young = Some(eni);
        }
    }

    /// EC2 refuses to attach beyond the type's limit. Only interfaces that ipamd does not know of lead there.
    fn attachment_refused(&self) -> bool {
        self.interfaces_attached() >= self.rules.attachable
    }

    /// ipamd deletes an interface that it could not attach, and will make another in the next step.
    fn delete_unattached(&mut self) {
        self.shrinking();
        self.subnet.give_back(1, 0);
        self.calls.delete_network_interface += 1;
    }
}

/// `CreateNetworkInterface`: the interface's own address first, then the rest; nothing unless all.
fn take_interface(subnet: &mut Subnet, count: i64, prefixes: bool) -> bool {
    subnet.take_addresses(1) && if prefixes { subnet.take_prefixes(count) } else { subnet.take_addresses(count) }
}
