//! Nodes for the tests of the ipamd model, built from names and short words.

#![expect(clippy::panic, reason = "a test fails by panicking")]

use ipam_audit_core::{
    cni::CniConfig,
    ipamd::{self, Holdings, Initial, Node, Outcome, Story},
    limits::{Hypervisor, InterfaceLimits},
};

/// An environment: IPv4 as in the shipped manifest, and these variables.
pub(crate) fn config(env: &[(&str, &str)]) -> CniConfig {
    CniConfig::from_env(|name| {
        let set = env.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        if name == "ENABLE_IPv4" { set.or(Some("true")) } else { set }
    })
}

/// A nitro type with these limits.
pub(crate) fn nitro(enis: u32, ipv4_per_eni: u32) -> InterfaceLimits {
    InterfaceLimits { enis, ipv4_per_eni, hypervisor: Hypervisor::Nitro, trunking: true }
}

/// Pods come one by one to a fresh node.
pub(crate) fn fresh(node: &Node<'_>, trunk: bool, pods: u64) -> Outcome {
    ipamd::simulate(node, &Story { initial: Initial::Fresh { trunk }, ..Story::fresh(pods) })
}

/// What a node holds on which ipamd must run.
pub(crate) fn holdings(outcome: &Outcome) -> &Holdings {
    outcome.running().unwrap_or_else(|| panic!("ipamd runs: {outcome:?}"))
}
