//! Whether the next pod on a node finds an address, by the real engine's outcomes.

use std::sync::Arc;

use ipam_audit_core::{
    outcome::{AuditOutcome, BranchSlots, ConditionStatus, ConditionType, NodeCapacity, NodeOutcome},
    policy::AuditPolicy,
    source::{FaultCategory, Reading},
};

use super::{
    Context, at,
    fixture::{audit, incident, incident_at},
};
use crate::pressure::{Reason, judge, may_judge, message, most};

fn judged(outcome: &AuditOutcome) -> (Reason, String) {
    let verdict = judge(&Context::new(outcome, &AuditPolicy::default()), &outcome.nodes[0]);
    (verdict.reason, verdict.message)
}

fn reason_with(change: impl FnOnce(&mut NodeOutcome)) -> Reason {
    let mut outcome = audit(&incident(3));
    change(&mut outcome.nodes[0]);
    judged(&outcome).0
}

fn empty(node: &mut NodeOutcome) {
    let addresses = node.addresses.as_mut().unwrap();
    (addresses.used, addresses.idle, addresses.warm) = (addresses.held, 0, 0);
}

#[test]
fn a_node_with_addresses_at_the_ready_is_under_no_pressure_in_a_full_subnet() {
    let outcome = audit(&incident(3));
    let full = outcome.nodes[0].conditions.iter().find(|one| one.kind == ConditionType::SubnetCapacityAvailable);
    assert_eq!(full.unwrap().status, ConditionStatus::False);
    assert_eq!(
        judged(&outcome),
        (Reason::AddressesSufficient, "97 addresses at the ready for the next pods".to_owned())
    );
}

#[test]
fn the_reason_is_what_keeps_the_next_pod_from_an_address() {
    assert_eq!(reason_with(empty), Reason::SubnetExhausted);
    let waits = |node: &mut NodeOutcome| node.waiting_pods = Some(2);
    assert_eq!(reason_with(waits), Reason::SubnetExhausted, "whatever is at the ready, pods wait");
    let no_block = |node: &mut NodeOutcome| {
        empty(node);
        let subnet = Arc::make_mut(&mut node.conditions)
            .iter_mut()
            .find(|one| one.kind == ConditionType::SubnetCapacityAvailable)
            .unwrap();
        subnet.reason = "NoFreePrefix";
    };
    assert_eq!(reason_with(no_block), Reason::PrefixesExhausted);
    let at_limit = |unreachable: u32| {
        move |node: &mut NodeOutcome| {
            empty(node);
            let addresses = node.addresses.unwrap().used;
            node.capacity = Some(NodeCapacity { addresses, schedulable: addresses + unreachable, unreachable });
        }
    };
    assert_eq!(reason_with(at_limit(5)), Reason::NodeAtAddressLimit);
    assert_eq!(reason_with(at_limit(0)), Reason::AddressesSufficient, "a node that is full gets no further pod");
    let branches = |node: &mut NodeOutcome| {
        node.branches = Some(Box::new(BranchSlots { used: 9, limit: Some(9), chain: None }));
        let of = Arc::make_mut(&mut node.conditions)
            .iter_mut()
            .find(|one| one.kind == ConditionType::BranchCapacityAvailable)
            .unwrap();
        (of.status, of.reason) = (ConditionStatus::False, "BranchNotGiven");
    };
    assert_eq!(reason_with(branches), Reason::BranchSlotsExhausted);
    assert_eq!(reason_with(|node| node.addresses = None), Reason::AuditDataStale);
}

#[test]
fn old_data_are_unknown_and_data_that_were_never_read_are_nothing() {
    let mut snapshot = incident_at(1, at("12:00:00"));
    snapshot.ec2.interfaces = Reading::missing(FaultCategory::Denied, "denied");
    let (reason, message) = judged(&audit(&snapshot));
    assert_eq!((reason, message.as_str()), (Reason::AuditDataStale, "missing or too old: network-interfaces"));
    assert_eq!(reason.status(), ConditionStatus::Unknown);
    snapshot.ec2.interfaces = Reading::default();
    let outcome = audit(&snapshot);
    assert!(!may_judge(&Context::new(&outcome, &AuditPolicy::default())), "the first reading is under way");
}

#[test]
fn the_message_names_the_audits_and_the_time_and_the_share_is_never_nothing() {
    let outcome = audit(&incident(1));
    let verdict = judge(&Context::new(&outcome, &AuditPolicy::default()), &outcome.nodes[0]);
    let said = message(&verdict, &["batch", "cluster"], at("12:00:00"));
    assert!(said.ends_with(" (IpamAudit batch and cluster, 2026-11-21T12:00:00Z)"), "{said}");
    assert_eq!([most(0, 20), most(3, 20), most(10, 20), most(10, 100)], [1, 1, 2, 10]);
}
