//! Pods that come and go: which address each takes, and who leaves first.

use super::{Placement, Simulation, pool::Id};

/// Where pods sit that arrived one after the other in the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub seat: Seat,
    pub pods: u64,
}

/// What a pod holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seat {
    /// A single address of an interface.
    Address { eni: Id },
    /// An address of a prefix.
    Prefix { eni: Id, prefix: Id },
    /// An address that ipamd does not know any more.
    Lost,
}

/// The pods of a node in order of arrival: those with an address, then those that wait for one. Nobody with an address is
/// younger than somebody without, because a free address goes to the oldest who waits.
#[derive(Clone, Debug, Default)]
pub(super) struct Pods {
    runs: Vec<Run>,
    pub pending: u64,
    pub lost: u64,
    seated: u64,
}

impl Pods {
    pub(super) fn total(&self) -> u64 {
        self.seated + self.pending
    }

    /// The pods that hold something, as a mark to return to.
    pub(super) fn mark(&self) -> (usize, Option<Run>, u64, u64) {
        (self.runs.len(), self.runs.last().copied(), self.seated, self.pending)
    }

    pub(super) fn return_to(&mut self, (runs, last, seated, pending): (usize, Option<Run>, u64, u64)) {
        self.runs.truncate(runs);
        if let (Some(run), Some(last)) = (self.runs.last_mut(), last) {
            *run = last;
        }
        (self.seated, self.pending) = (seated, pending);
    }

    pub(super) fn seat(&mut self, seat: Seat, pods: u64) {
        if pods == 0 {
            return;
        }
        self.seated += pods;
        self.lost += if seat == Seat::Lost { pods } else { 0 };
        match self.runs.last_mut() {
            Some(run) if run.seat == seat => run.pods += pods,
            _ => self.runs.push(Run { seat, pods }),
        }
    }

    /// The youngest pods in one place, at most `limit` of them, leave their seat.
    fn stand_up(&mut self, limit: u64) -> Option<Run> {
        let run = self.runs.last_mut()?;
        let left = Run { seat: run.seat, pods: run.pods.min(limit) };
        run.pods -= left.pods;
        if run.pods == 0 {
            self.runs.pop();
        }
        self.seated -= left.pods;
        self.lost -= if left.seat == Seat::Lost { left.pods } else { 0 };
        Some(left)
    }
}

impl Simulation {
    /// Pods without an address ask for one, the oldest first.
    pub(super) fn pods_ask(&mut self) {
        while self.pods.pending > 0 {
            let Some((eni, prefix)) = self.next_seat() else { return };
            self.changing();
            self.take_seat(eni, prefix);
        }
    }

    /// The interface, and in prefix mode the prefix, of the next address. Go's random choice, replaced by one order.
    fn next_seat(&self) -> Option<(usize, Option<usize>)> {
        let prefixes = self.rules.prefixes;
        let mut with_free =
            self.pool.enis.iter().enumerate().filter(|(_, eni)| eni.free_of_kind(prefixes) > 0).map(|(index, _)| index);
        let eni = match self.rules.placement {
            Placement::Packed => with_free.next(),
            Placement::Spread => with_free.min_by_key(|&index| self.pool.enis[index].pods()),
        }?;
        if !prefixes {
            return Some((eni, None));
        }
        let mut with_free = self.pool.enis[eni].prefixes.iter().enumerate().filter(|(_, prefix)| prefix.pods < 16);
        let prefix = match self.rules.placement {
            Placement::Packed => with_free.next(),
            Placement::Spread => with_free.min_by_key(|(_, prefix)| prefix.pods),
        };
        prefix.map(|(index, _)| (eni, Some(index)))
    }

    /// Seats as many waiting pods as follow each other there: one, or, packed, all that fit.
    fn take_seat(&mut self, index: usize, prefix: Option<usize>) {
        let eni = &self.pool.enis[index];
        let (seat, free) = match prefix {
            None => (Seat::Address { eni: eni.id }, eni.free_ips()),
            Some(prefix) => {
                let Some(prefix) = eni.prefixes.get(prefix) else { return };
                (Seat::Prefix { eni: eni.id, prefix: prefix.id }, 16 - u32::from(prefix.pods))
            }
        };
        let pods = match self.rules.placement {
            Placement::Packed => free.min(u32::try_from(self.pods.pending).unwrap_or(u32::MAX)),
            Placement::Spread => 1,
        };
        match prefix {
            None => self.pool.hold_ips(index, pods),
            Some(prefix) => self.pool.hold_in_prefix(index, prefix, u8::try_from(pods).unwrap_or(u8::MAX)),
        }
        self.pods.pending -= u64::from(pods);
        self.pods.seat(seat, u64::from(pods));
    }

    /// The newest pods go until `left` are left: first those without an address.
    pub(super) fn pods_leave(&mut self, left: u64) {
        let mut leaving = self.pods.total().saturating_sub(left);
        let waiting = leaving.min(self.pods.pending);
        self.pods.pending -= waiting;
        leaving -= waiting;
        while leaving > 0 {
            let Some(run) = self.pods.stand_up(leaving) else { return };
            leaving -= run.pods;
            match run.seat {
                Seat::Address { eni } => self.pool.release_ips(eni, u32::try_from(run.pods).unwrap_or(u32::MAX)),
                Seat::Prefix { eni, prefix } => {
                    self.pool.release_in_prefix(eni, prefix, u8::try_from(run.pods).unwrap_or(u8::MAX));
                }
                Seat::Lost => {}
            }
        }
    }
}
