//! Time: rounds until nothing changes, and configurations for which that never happens.
//!
//! A state is cyclic only if something is both taken and given back, so states are compared from the moment on at which
//! one settling has done both; it is then repeated from its beginning with every state kept.

use super::{Calls, Simulation, pods::Run, pool::Pool, subnet::Subnet};

/// A state to return to.
#[derive(Clone, Debug)]
pub(super) struct Saved {
    pool: Pool,
    subnet: Subnet,
    pods: (usize, Option<Run>, u64, u64),
    calls: Calls,
}

/// What one settling has done so far.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "marks that are set independently of each other")]
pub(super) struct Progress {
    /// States are saved before the first change.
    watching: bool,
    /// Something changed in this round.
    changed: bool,
    /// Something changed in this settling.
    touched: bool,
    grew: bool,
    shrank: bool,
}

impl Simulation {
    /// To be called before pods, addresses or interfaces change.
    pub(super) fn changing(&mut self) {
        if self.progress.watching && !self.progress.touched {
            self.saved = Some(self.save());
        }
        self.progress.changed = true;
        self.progress.touched = true;
    }

    /// To be called before something is taken from EC2.
    pub(super) fn growing(&mut self) {
        self.changing();
        self.progress.grew = true;
    }

    /// To be called before something is given back to EC2.
    pub(super) fn shrinking(&mut self) {
        self.changing();
        self.progress.shrank = true;
    }

    /// Rounds until one changes nothing. If they come back to an earlier state instead, the answer is `false`, and the node
    /// is left in that state of the cycle in which it uses most of the subnet.
    pub(super) fn settle(&mut self) -> bool {
        self.progress = Progress { watching: true, ..Progress::default() };
        while self.round() {
            if self.progress.grew && self.progress.shrank {
                if let Some(saved) = self.saved.take() {
                    self.become_again(saved);
                }
                self.progress.watching = false;
                return self.settle_comparing();
            }
        }
        true
    }

    /// Whether the last settling found the node as it left it.
    pub(super) fn nothing_changed(&self) -> bool {
        !self.progress.touched
    }

    fn settle_comparing(&mut self) -> bool {
        let mut seen = vec![self.save()];
        while self.round() {
            let now = self.save();
            if let Some(first) = seen.iter().position(|earlier| earlier.same(&now)) {
                self.cycled = true;
                let used = |state: &Saved| state.pool.subnet_addresses();
                // The first of equals: `max_by_key` would take the last.
                if let Some(most) =
                    seen.drain(first..).reduce(|most, next| if used(&next) > used(&most) { next } else { most })
                {
                    self.become_again(most);
                }
                return false;
            }
            seen.push(now);
        }
        true
    }

    /// One round: pods ask; the timers of the CNI expire (address cool-down, minimum age of an interface, spacing of
    /// decreases, back-off), which leaves nothing of them to model but the age within a step; the pool manager makes one
    /// step. The answer is whether anything changed.
    fn round(&mut self) -> bool {
        self.progress.changed = false;
        self.pods_ask();
        self.young = None;
        if !self.rules.provisioning_disabled {
            self.size_pool();
        }
        self.progress.changed
    }

    /// One step of the pool manager: grow or trim, then release at most one interface.
    fn size_pool(&mut self) {
        let before = self.stats();
        if self.rules.pool_is_low(&before) {
            self.increase_pool();
            if self.rules.behaviour.endless_increase && self.stuck_in_increase() {
                return;
            }
        } else if self.rules.pool_is_high(&before) {
            self.give_back_surplus();
        }
        let figures = if self.rules.behaviour.release_by_old_figures { before } else { self.stats() };
        if self.extra_interface_possible(&figures) {
            self.free_an_interface();
        }
    }

    /// Version 1.16.3 goes on increasing until the pool is no longer low. Where it cannot grow it never comes out of that
    /// loop, so that nothing is released either.
    fn stuck_in_increase(&mut self) -> bool {
        loop {
            let before = self.calls;
            if !self.rules.pool_is_low(&self.stats()) {
                return false;
            }
            self.increase_pool();
            if self.calls == before {
                return true;
            }
        }
    }

    fn save(&self) -> Saved {
        Saved { pool: self.pool.clone(), subnet: self.subnet, pods: self.pods.mark(), calls: self.calls }
    }

    fn become_again(&mut self, saved: Saved) {
        self.pool = saved.pool;
        self.subnet = saved.subnet;
        self.calls = saved.calls;
        self.pods.return_to(saved.pods);
    }
}

impl Saved {
    /// Equal as far as the future is concerned.
    fn same(&self, other: &Self) -> bool {
        self.subnet == other.subnet && self.pods == other.pods && self.pool.same(&other.pool)
    }
}
