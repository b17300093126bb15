//! What a simulation answers.

use thiserror::Error;

use super::{Simulation, Subnet};
use crate::cni::{EntryPointRefusal, SizingMode, Targets};

/// EC2 calls that succeeded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// `CreateNetworkInterface`.
    pub create_network_interface: u64,
    /// `AttachNetworkInterface`.
    pub attach_network_interface: u64,
    /// `AssignPrivateIpAddresses`.
    pub assign_private_ip_addresses: u64,
    /// `UnassignPrivateIpAddresses`.
    pub unassign_private_ip_addresses: u64,
    /// `DetachNetworkInterface`.
    pub detach_network_interface: u64,
    /// `DeleteNetworkInterface`.
    pub delete_network_interface: u64,
}

/// The end of a story, whether ipamd runs or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Whether ipamd runs, and then what it holds.
    pub end: End,
    /// All interfaces of the instance: primary, trunk, unmanaged, ipamd's own.
    pub enis_attached: i64,
    /// Addresses the instance uses in the subnet, as EC2 sees it.
    pub subnet_addresses: i64,
    /// What is left of the subnet.
    pub subnet: Subnet,
    /// EC2 calls that succeeded; `None` if the node went round in a cycle, where the number depends on when one looks.
    pub calls: Option<Calls>,
}

/// Whether ipamd runs. If not, aws-node restarts for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// ipamd runs.
    Running(Holdings),
    /// The entry point of the container refuses the environment.
    EntryPointExit(EntryPointRefusal),
    /// ipamd's initialisation fails.
    InitError(InitError),
}

/// Why ipamd's initialisation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InitError {
    /// An unknown mode of network policies.
    #[error("NETWORK_POLICY_ENFORCING_MODE must be `none`, `strict` or `standard`, or not set at all")]
    NetworkPolicyMode,
    /// Neither address family is on.
    #[error("neither ENABLE_IPv4 nor ENABLE_IPv6 is true")]
    NoIpFamily,
    /// With custom networking there is no address for pods after the first step.
    #[error(
        "custom networking, and no interface for pods: no ENIConfig, no room for an interface (MAX_ENI, trunk, unmanaged \
         interfaces), an exhausted subnet, or a cordoned node"
    )]
    EmptyCustomPool,
    /// The subnet has no address left, which this version takes for a fatal error.
    #[error("the subnet refused addresses, which this version of the CNI does not survive at its start")]
    AddressesRefused,
}

/// What ipamd holds at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holdings {
    /// Whether the last settling came to rest.
    pub settled: bool,
    /// The algorithm that sizes the pool.
    pub mode: SizingMode,
    /// The figures in force.
    pub in_force: Targets,
    /// Interfaces in ipamd's datastore.
    pub enis_in_pool: i64,
    /// Addresses plus prefixes on each of them, descending.
    pub slots: Vec<i64>,
    /// Prefixes in the datastore.
    pub prefixes: i64,
    /// Pod addresses of the kind that the mode hands out.
    pub total: i64,
    /// Those held by pods.
    pub assigned: i64,
    /// What the datastore holds of the other kind.
    pub stranded: Stranded,
    /// Pods without an address.
    pub pending: u64,
    /// Running pods whose address ipamd does not know any more.
    pub lost: u64,
}

/// Addresses of the kind that the mode does not hand out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stranded {
    /// Single addresses.
    pub ips: i64,
    /// Prefixes.
    pub prefixes: i64,
    /// Pods on them.
    pub pods: i64,
}

impl Outcome {
    /// What ipamd holds, if it runs.
    pub fn running(&self) -> Option<&Holdings> {
        match &self.end {
            End::Running(holdings) => Some(holdings),
            End::EntryPointExit(_) | End::InitError(_) => None,
        }
    }
}

impl Holdings {
    /// Pod addresses that no pod holds.
    pub fn available(&self) -> i64 {
        self.total - self.assigned
    }

    /// Pods that have an address ipamd knows.
    pub fn pods_with_address(&self) -> i64 {
        self.assigned + self.stranded.pods
    }
}

impl Simulation {
    pub(super) fn outcome(&self, end: End) -> Outcome {
        Outcome {
            end,
            enis_attached: self.interfaces_attached(),
            subnet_addresses: self.pool.subnet_addresses() + self.rules.unmanaged,
            subnet: self.subnet,
            calls: (!self.cycled).then_some(self.calls),
        }
    }

    pub(super) fn interfaces_attached(&self) -> i64 {
        self.pool.count() + i64::from(self.pool.orphans) + self.rules.unmanaged
    }

    /// The comparison with the instance metadata at the end of a settled story takes in what was attached in vain.
    pub(super) fn adopt_orphans(&mut self) {
        let with_prefix = std::mem::take(&mut self.pool.orphan_prefixes);
        for orphan in 0..std::mem::take(&mut self.pool.orphans) {
            let eni = self.pool.attach(false, false);
            if orphan < with_prefix {
                self.pool.add_prefix(eni, 0);
            }
        }
    }

    pub(super) fn holdings(&self, settled: bool) -> Holdings {
        let stats = self.stats();
        let (ips, prefixes, pods) = self.pool.stranded(self.rules.prefixes);
        let mut slots: Vec<_> = self.pool.enis.iter().map(super::pool::Eni::slots).collect();
        slots.sort_unstable_by(|one, two| two.cmp(one));
        Holdings {
            settled,
            mode: self.rules.mode,
            in_force: self.rules.targets,
            enis_in_pool: self.pool.count(),
            slots,
            prefixes: stats.prefixes,
            total: stats.total,
            assigned: stats.assigned,
            stranded: Stranded { ips, prefixes, pods },
            pending: self.pods.pending,
            lost: self.pods.lost,
        }
    }
}
