//! IPAM433: an instance of the cluster that is stopped and holds pod addresses.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::waste;
use crate::{
    facts::{Facts, NodeFacts, owner},
    finding::{Severity, Subject},
    ids::InstanceId,
    inventory::{Instance, Interface},
    policy::AuditPolicy,
    rules::{
        Violations,
        sink::{self, Place},
    },
    text,
};

rule! {
    /// A stopped instance of the cluster holds pod addresses.
    ///
    /// ## What it means
    ///
    /// A stopped instance keeps all its interfaces and their addresses. No pod can use them, and nobody else either.
    ///
    /// ## Why it happens
    ///
    /// Somebody stopped a node by hand, or a schedule that saves money stops instances that an autoscaler made. Nodes
    /// are made to be ended, not stopped.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-instances --instance-ids INSTANCE \
    ///     --query 'Reservations[].Instances[].[State.Name,StateTransitionReason,NetworkInterfaces[].NetworkInterfaceId]'
    /// ```
    ///
    /// ## What to do
    ///
    /// Terminate the instance: its interfaces go with it, and its group starts a new one when it needs one.
    ///
    /// ## What it costs
    ///
    /// What is on the instance's own disks.
    ///
    /// ## When it fires
    ///
    /// An instance that is a node, or carries the cluster's tag, is stopped for longer than
    /// `spec.thresholds.cordonedSeconds` (default 3600) and has more than its interfaces' own addresses. Warning in a subnet that
    /// is low or full, info elsewhere.
    pub StoppedInstanceHoldsAddresses;
    code: "IPAM433",
    name: "stopped-instance-holds-addresses",
    severity: Warning,
    condition: WarmPoolSized,
    sources: [Nodes, NetworkInterfaces, Instances],
    check: check,
}

fn check(facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations<'_>) {
    let instances = facts.snapshot.ec2.instances.value().into_iter().flatten();
    let stopped: Vec<&Instance> = instances.filter(|row| matches!(&*row.state, "stopped" | "stopping")).collect();
    if stopped.is_empty() {
        return;
    }
    let held = held(facts, &stopped);
    let now = facts.snapshot.taken_at;
    let grace = SignedDuration::from_secs(policy.thresholds.cordoned_seconds.into());
    for row in stopped {
        let Some(interfaces) = held.get(&row.id) else { continue };
        let node = facts.nodes.iter().find(|node| node.node.instance.as_ref() == Some(&row.id));
        let ours = || owner::clusters(&row.tags).any(|cluster| facts.cluster_names.contains(cluster));
        if interfaces.iter().all(|row| row.pod_addresses() == 0) || !(node.is_some() || ours()) {
            continue;
        }
        let place = node.map_or_else(|| Place::audit(Subject::Object("Instance", row.id.as_str().into())), Place::node);
        match row.state_since.map(|since| now.duration_since(since)) {
            Some(length) if length < grace => {}
            Some(length) => found.at(place, violation(facts, row, node, interfaces, length)),
            None => found.suspicion(place, "", now, grace, violation(facts, row, node, interfaces, grace)),
        }
    }
}

/// The interfaces of some instances.
fn held<'a>(facts: &Facts<'a>, instances: &[&'a Instance]) -> BTreeMap<&'a InstanceId, Vec<&'a Interface>> {
    let mut held: BTreeMap<&InstanceId, Vec<&Interface>> = instances.iter().map(|row| (&row.id, Vec::new())).collect();
    for interface in facts.snapshot.ec2.interfaces.value().into_iter().flatten() {
        let instance = interface.attachment.as_ref().and_then(|attachment| attachment.instance.as_ref());
        if let Some(list) = instance.and_then(|instance| held.get_mut(instance)) {
            list.push(interface);
        }
    }
    held
}

fn violation(
    facts: &Facts<'_>,
    row: &Instance,
    node: Option<&NodeFacts<'_>>,
    interfaces: &[&Interface],
    length: SignedDuration,
) -> sink::Violation {
    let addresses: u32 = interfaces.iter().map(|interface| interface.addresses()).sum();
    let number = u32::try_from(interfaces.len()).unwrap_or(u32::MAX);
    let severity = node.map_or(Severity::Info, |node| waste::severity(facts, node));
    sink::Violation {
        severity,
        message: format!(
            "{} is {} for {} and holds {} on {}",
            row.id,
            row.state,
            text::age(length),
            text::count(addresses, "address"),
            text::count(number, "interface"),
        ),
        remediation: format!(
            "aws ec2 terminate-instances --instance-ids {} gives {} back.",
            row.id,
            text::count(addresses, "address")
        ),
        evidence: vec![sink::evidence("addresses", addresses), sink::evidence("state", &row.state)],
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use crate::{
        inventory::Instance,
        outcome::RuleAnswer,
        snapshot::ClusterSnapshot,
        source::{Reading, Source},
        tests::{
            addresses::{answer, cluster, instance, of, once},
            fixtures::now,
        },
    };

    const CODE: &str = "IPAM433";

    fn with(row: Instance) -> ClusterSnapshot {
        let mut snapshot = cluster();
        snapshot.ec2.instances = Reading::fresh(vec![row].into(), now());
        snapshot
    }

    fn stopped(id: &str, hours: i64) -> Instance {
        instance(id, "stopped", Some(now() - SignedDuration::from_hours(hours)))
    }

    #[test]
    fn a_stopped_node_is_waste() {
        let finding = of(&once(&with(stopped("i-0", 5))), CODE).remove(0);
        assert_eq!(finding.message, "i-0 is stopped for 5 h and holds 7 addresses on 1 interface");
        assert_eq!(finding.remediation, "aws ec2 terminate-instances --instance-ids i-0 gives 7 addresses back.");
    }

    #[test]
    fn instances_that_run_just_stopped_or_are_not_ours_are_not_judged() {
        for row in [instance("i-0", "running", None), stopped("i-0", 0), stopped("i-x", 5)] {
            assert_eq!(of(&once(&with(row)), CODE), []);
        }
    }

    #[test]
    fn without_instances_it_cannot_tell() {
        let answer = answer(&once(&cluster()), CODE);
        assert_eq!(answer, RuleAnswer::Inconclusive { missing: vec![Source::Instances], suspects: 0 });
    }
}
