//! The interfaces of a node, as ipamd's datastore and as EC2 see them, in the order in which they were attached.
//!
//! Single addresses of an interface are alike, so they are counted; prefixes are listed with their pods, because it
//! matters which of them is free. Invariants: the totals are the sums over the interfaces; an interface that leaves has
//! no pods; a trunk of this model never has addresses at the start.

use super::subnet::PREFIX;

/// Names an interface or a prefix for as long as it exists; never compared between states.
pub(super) type Id = u32;

#[derive(Clone, Debug)]
pub(super) struct Prefix {
    pub id: Id,
    pub pods: u8,
}

/// An interface in ipamd's datastore.
#[derive(Clone, Debug)]
pub(super) struct Eni {
    pub id: Id,
    pub primary: bool,
    pub trunk: bool,
    /// Single addresses beside the interface's own, and how many of them pods hold.
    pub ips: u32,
    pub ips_used: u32,
    pub prefixes: Vec<Prefix>,
    pub prefix_pods: u32,
    pub free_prefixes: u32,
    /// Prefixes that EC2 knows and ipamd does not look for.
    pub hidden_prefixes: u32,
}

impl Eni {
    pub(super) fn new(id: Id, primary: bool, trunk: bool) -> Self {
        Self {
            id,
            primary,
            trunk,
            ips: 0,
            ips_used: 0,
            prefixes: Vec::new(),
            prefix_pods: 0,
            free_prefixes: 0,
            hidden_prefixes: 0,
        }
    }

    /// Slots taken, as ipamd counts them: an address or a prefix each.
    pub(super) fn slots(&self) -> i64 {
        i64::from(self.ips) + self.prefix_count()
    }

    pub(super) fn prefix_count(&self) -> i64 {
        i64::try_from(self.prefixes.len()).unwrap_or(i64::MAX)
    }

    pub(super) fn pods(&self) -> u32 {
        self.ips_used + self.prefix_pods
    }

    pub(super) fn free_ips(&self) -> u32 {
        self.ips - self.ips_used
    }

    /// Addresses and prefixes without a pod, of either kind, each counting as one.
    pub(super) fn free_slots(&self) -> i64 {
        i64::from(self.free_ips()) + i64::from(self.free_prefixes)
    }

    /// Addresses that can go to a pod, of the kind that the mode hands out.
    pub(super) fn free_of_kind(&self, prefixes: bool) -> u32 {
        if prefixes {
            // No interface has 2^28 prefixes.
            #[expect(clippy::cast_possible_truncation, reason = "an interface has at most 255 prefixes")]
            let total = 16 * self.prefixes.len() as u32;
            total - self.prefix_pods
        } else {
            self.free_ips()
        }
    }

    /// All addresses of the kind that the mode hands out.
    pub(super) fn total_of_kind(&self, prefixes: bool) -> i64 {
        if prefixes { PREFIX * self.prefix_count() } else { i64::from(self.ips) }
    }

    /// Addresses the interface uses in the subnet, beside its own.
    pub(super) fn subnet_addresses(&self) -> i64 {
        i64::from(self.ips) + PREFIX * (self.prefix_count() + i64::from(self.hidden_prefixes))
    }

    /// Equal as far as the future is concerned: names do not matter.
    fn same(&self, other: &Self) -> bool {
        self.trunk == other.trunk
            && (self.ips, self.ips_used, self.hidden_prefixes) == (other.ips, other.ips_used, other.hidden_prefixes)
            && self.prefixes.len() == other.prefixes.len()
            && self.prefixes.iter().zip(&other.prefixes).all(|(one, two)| one.pods == two.pods)
    }
}

/// The figures that sizing decisions are made of. "Of the kind" means of the kind that the mode hands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stats {
    /// Pod addresses of the kind.
    pub total: i64,
    /// Those held by pods.
    pub assigned: i64,
    /// Prefixes in the datastore, whatever the mode.
    pub prefixes: i64,
    /// Those without a pod.
    pub free_prefixes: i64,
}

impl Stats {
    /// Addresses that cool down count as available here: no version subtracts them.
    pub(super) fn available(&self) -> i64 {
        self.total - self.assigned
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Pool {
    pub enis: Vec<Eni>,
    /// Interfaces that are attached but that ipamd failed to take in.
    pub orphans: u32,
    /// How many of them hold a prefix, one each.
    pub orphan_prefixes: u32,
    ips: i64,
    ips_used: i64,
    prefixes: i64,
    prefix_pods: i64,
    free_prefixes: i64,
    next_id: Id,
}

impl Pool {
    pub(super) fn stats(&self, prefixes: bool) -> Stats {
        let (total, assigned) =
            if prefixes { (PREFIX * self.prefixes, self.prefix_pods) } else { (self.ips, self.ips_used) };
        Stats { total, assigned, prefixes: self.prefixes, free_prefixes: self.free_prefixes }
    }

    pub(super) fn count(&self) -> i64 {
        i64::try_from(self.enis.len()).unwrap_or(i64::MAX)
    }

    /// Addresses and prefixes without a pod, of either kind.
    pub(super) fn free_slots(&self) -> i64 {
        self.ips - self.ips_used + self.free_prefixes
    }

    /// Single addresses, prefixes and pods of the kind that the mode does not hand out.
    pub(super) fn stranded(&self, prefixes: bool) -> (i64, i64, i64) {
        if prefixes { (self.ips, 0, self.ips_used) } else { (0, self.prefixes, self.prefix_pods) }
    }

    /// Addresses in use in the subnet by what ipamd or EC2 knows of, unmanaged interfaces aside.
    pub(super) fn subnet_addresses(&self) -> i64 {
        let addresses: i64 = self.enis.iter().map(Eni::subnet_addresses).sum();
        self.count() + i64::from(self.orphans) + PREFIX * i64::from(self.orphan_prefixes) + addresses
    }

    pub(super) fn attach(&mut self, primary: bool, trunk: bool) -> usize {
        let id = self.new_id();
        self.enis.push(Eni::new(id, primary, trunk));
        self.enis.len() - 1
    }

    fn new_id(&mut self) -> Id {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn add_ips(&mut self, eni: usize, count: u32) {
        self.enis[eni].ips += count;
        self.ips += i64::from(count);
    }

    pub(super) fn add_prefix(&mut self, eni: usize, pods: u8) -> Id {
        let id = self.new_id();
        let eni = &mut self.enis[eni];
        eni.prefixes.push(Prefix { id, pods });
        eni.prefix_pods += u32::from(pods);
        eni.free_prefixes += u32::from(pods == 0);
        self.prefixes += 1;
        self.prefix_pods += i64::from(pods);
        self.free_prefixes += i64::from(pods == 0);
        id
    }

    /// Takes away free single addresses; the caller has made sure that there are as many.
    pub(super) fn remove_free_ips(&mut self, eni: usize, count: u32) {
        self.enis[eni].ips -= count;
        self.ips -= i64::from(count);
    }

    /// Takes away free prefixes, the one added last first.
    pub(super) fn remove_free_prefixes(&mut self, eni: usize, count: u32) {
        let eni = &mut self.enis[eni];
        let mut left = count;
        for index in (0..eni.prefixes.len()).rev() {
            if left == 0 {
                break;
            }
            if eni.prefixes[index].pods == 0 {
                eni.prefixes.remove(index);
                left -= 1;
            }
        }
        eni.free_prefixes -= count - left;
        self.prefixes -= i64::from(count - left);
        self.free_prefixes -= i64::from(count - left);
    }

    /// Takes an interface without pods out of the datastore.
    pub(super) fn detach(&mut self, index: usize) -> Eni {
        let eni = self.enis.remove(index);
        self.ips -= i64::from(eni.ips);
        self.prefixes -= eni.prefix_count();
        self.free_prefixes -= i64::from(eni.free_prefixes);
        eni
    }

    pub(super) fn hold_ips(&mut self, eni: usize, pods: u32) {
        self.enis[eni].ips_used += pods;
        self.ips_used += i64::from(pods);
    }

    pub(super) fn hold_in_prefix(&mut self, eni: usize, prefix: usize, pods: u8) {
        let eni = &mut self.enis[eni];
        let was_free = eni.prefixes[prefix].pods == 0 && pods > 0;
        eni.prefixes[prefix].pods += pods;
        eni.prefix_pods += u32::from(pods);
        eni.free_prefixes -= u32::from(was_free);
        self.prefix_pods += i64::from(pods);
        self.free_prefixes -= i64::from(was_free);
    }

    pub(super) fn release_ips(&mut self, eni: Id, pods: u32) {
        if let Some(eni) = self.enis.iter_mut().find(|known| known.id == eni) {
            eni.ips_used -= pods;
            self.ips_used -= i64::from(pods);
        }
    }

    pub(super) fn release_in_prefix(&mut self, eni: Id, prefix: Id, pods: u8) {
        let Some(eni) = self.enis.iter_mut().find(|known| known.id == eni) else {
            return;
        };
        let Some(prefix) = eni.prefixes.iter_mut().find(|known| known.id == prefix) else {
            return;
        };
        prefix.pods -= pods;
        eni.prefix_pods -= u32::from(pods);
        self.prefix_pods -= i64::from(pods);
        if prefix.pods == 0 && pods > 0 {
            eni.free_prefixes += 1;
            self.free_prefixes += 1;
        }
    }

    pub(super) fn trunk_known(&self) -> bool {
        self.enis.iter().any(|eni| eni.trunk)
    }

    /// Equal as far as the future is concerned.
    pub(super) fn same(&self, other: &Self) -> bool {
        (self.orphans, self.orphan_prefixes) == (other.orphans, other.orphan_prefixes)
            && self.enis.len() == other.enis.len()
            && self.enis.iter().zip(&other.enis).all(|(one, two)| one.same(two))
    }
}
