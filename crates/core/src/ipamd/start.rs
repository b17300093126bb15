//! The start of ipamd: what it refuses, what it finds, what it gives back, and its first step of growth.

use super::{Attached, End, InitError, Initial, Node, Simulation, growth::Fill, pods::Seat};
use crate::cni::{CniConfig, EntryPointRefusal, Setting};

/// Why ipamd does not come to run.
#[derive(Clone, Copy, Debug)]
pub(super) enum StartFailure {
    EntryPoint(EntryPointRefusal),
    Init(InitError),
}

impl From<StartFailure> for End {
    fn from(failure: StartFailure) -> Self {
        match failure {
            StartFailure::EntryPoint(refusal) => Self::EntryPointExit(refusal),
            StartFailure::Init(error) => Self::InitError(error),
        }
    }
}

impl Simulation {
    /// Starts ipamd. On failure the simulation stands as the first attempt left the node.
    pub(super) fn start(&mut self, node: &Node<'_>, initial: &Initial<'_>) -> Result<(), StartFailure> {
        self.find_interfaces(node, initial);
        if let Some(refusal) = entry_point_refusal(node) {
            return Err(StartFailure::EntryPoint(refusal));
        }
        self.refuse_configuration(node.config).map_err(StartFailure::Init)?;
        self.give_back_other_kind();
        if self.rules.provisioning_disabled && self.rules.behaviour.start_heeds_provisioning {
            return Ok(());
        }
        self.first_growth().map_err(StartFailure::Init)
    }

    /// What the instance metadata and the checkpoint file show. Without EC2's tags, interfaces that are marked as not to
    /// be managed look like any other.
    fn find_interfaces(&mut self, node: &Node<'_>, initial: &Initial<'_>) {
        match initial {
            Initial::Fresh { trunk } => {
                self.pool.attach(true, false);
                if *trunk {
                    self.pool.attach(false, !self.rules.metadata_only);
                }
            }
            Initial::Running(interfaces) => {
                for (index, interface) in interfaces.iter().enumerate() {
                    self.find_interface(index == 0, interface);
                }
            }
        }
        if self.rules.metadata_only {
            for _ in 0..node.unmanaged {
                self.pool.attach(false, false);
            }
        }
    }

    /// Prefixes on the primary are not looked for under custom networking: nodes are expected to be replaced when it is
    /// switched on. Pods on them are unknown from then on.
    fn find_interface(&mut self, primary: bool, interface: &Attached) {
        let index = self.pool.attach(primary, interface.trunk && !self.rules.metadata_only);
        self.pool.add_ips(index, interface.ips);
        self.pool.hold_ips(index, interface.assigned);
        let eni = self.pool.enis[index].id;
        self.pods.seat(Seat::Address { eni }, u64::from(interface.assigned));
        let hidden = primary && self.rules.custom_networking;
        for &pods in &interface.prefixes {
            let seat = if hidden {
                self.pool.enis[index].hidden_prefixes += 1;
                Seat::Lost
            } else {
                Seat::Prefix { eni, prefix: self.pool.add_prefix(index, pods) }
            };
            self.pods.seat(seat, u64::from(pods));
        }
    }

    /// ipamd's own checks. IPv6 is not modelled, so IPv4 must be on.
    fn refuse_configuration(&self, config: &CniConfig) -> Result<(), InitError> {
        let behaviour = &self.rules.behaviour;
        if let Setting::Invalid { raw } = &config.network_policy_mode
            && behaviour.checks_policy_mode
            && (behaviour.checks_empty_policy_mode || !raw.is_empty())
        {
            return Err(InitError::NetworkPolicyMode);
        }
        if behaviour.needs_ipv4_switch && !config.ipv4.value_or(false) {
            return Err(InitError::NoIpFamily);
        }
        Ok(())
    }

    /// What is free of the kind that the mode does not hand out goes at once, on every interface and even where nothing
    /// else is provisioned. It is not looked for again until the next start.
    fn give_back_other_kind(&mut self) {
        for index in 0..self.pool.enis.len() {
            if self.rules.prefixes {
                self.unassign_addresses(index, i64::from(self.pool.enis[index].free_ips()));
            } else {
                self.unassign_prefixes(index, i64::from(self.pool.enis[index].free_prefixes));
            }
        }
    }

    /// Growth before the node becomes ready: one step if the pool is low. With custom networking an empty pool after it is
    /// taken for a misconfiguration.
    fn first_growth(&mut self) -> Result<(), InitError> {
        if !self.rules.behaviour.start_grows_if_low {
            return self.first_fill();
        }
        if self.rules.pool_is_low(&self.stats()) {
            self.increase_pool();
            if self.rules.custom_networking && self.stats().total == 0 {
                return Err(InitError::EmptyCustomPool);
            }
        }
        Ok(())
    }

    /// Until 1.12.6: one interface is filled, even where the pool is not low, unless no address or prefix is missing from
    /// a target that counts them. A refusal the version does not know ends the start.
    fn first_fill(&mut self) -> Result<(), InitError> {
        let stats = self.stats();
        let by_address = self.rules.targets.ip_targets_defined();
        if by_address && self.rules.short_of_ip_targets(&stats) == 0 || self.rules.prefix_target_forbids_growth(&stats)
        {
            return Ok(());
        }
        match self.fill_an_interface() {
            Fill::Refused if !self.knows_refusals() => Err(InitError::AddressesRefused),
            _ => Ok(()),
        }
    }
}

fn entry_point_refusal(node: &Node<'_>) -> Option<EntryPointRefusal> {
    node.config.entry_point_refusals(node.version).into_iter().find(|refusal| refusal.concerns_addresses())
}
