//! IPAM115: all nodes are in one zone.

use std::collections::BTreeSet;

use crate::{
    facts::Facts,
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

/// With fewer nodes nobody expects more than one zone.
const NODES: usize = 3;

rule! {
    /// All nodes are in one zone, whose subnets are all the cluster can use.
    ///
    /// ## What it means
    ///
    /// When the zone's subnets are full, or the zone is lost, no pod can start anywhere.
    ///
    /// ## Why it happens
    ///
    /// Node groups or node classes name subnets of one zone only: on purpose, for latency or cost, or because the tags
    /// of the other subnets do not match.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get nodes -L topology.kubernetes.io/zone
    /// aws ec2 describe-subnets --filters Name=vpc-id,Values=VPC --query 'Subnets[].[SubnetId,AvailabilityZone]' --output text
    /// ```
    ///
    /// ## What to do
    ///
    /// Let node groups use a subnet of a second zone, unless one zone is what you want.
    ///
    /// ## What it costs
    ///
    /// Traffic between zones is charged.
    ///
    /// ## When it fires
    ///
    /// At least three nodes, and the home subnets of all are in one zone. Not while one of these is full or low: IPAM101
    /// and IPAM102 say what is short.
    pub OneZone;
    code: "IPAM115",
    name: "one-zone",
    severity: Info,
    condition: CapacityAvailable,
    sources: [Nodes, Subnets, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let homes = facts.subnets.iter().filter(|subnet| !subnet.nodes.is_empty());
    if homes.clone().any(|subnet| subnet.is_full() || subnet.is_low()) {
        return;
    }
    let zones: BTreeSet<_> = homes.clone().map(|subnet| &subnet.subnet.zone).collect();
    let nodes: usize = homes.map(|subnet| subnet.nodes.len()).sum();
    let (Some(zone), 1, NODES..) = (zones.first(), zones.len(), nodes) else { return };
    let number = u32::try_from(nodes).unwrap_or(u32::MAX);
    let violation = sink::Violation {
        severity: Severity::Info,
        message: format!("all {} are in {zone}: no other zone's subnets are in use", text::count(number, "node")),
        remediation: "Let node groups use a subnet of a second zone, unless one zone is what you want.".to_owned(),
        evidence: vec![sink::evidence("zone", zone), sink::evidence("nodes", nodes)],
    };
    found.subject(Subject::Cluster, violation);
}

#[cfg(test)]
mod tests {
    use crate::{
        snapshot::ClusterSnapshot,
        source::{Reading, Source},
        tests::{
            fixtures::Cluster,
            subnets::{add_subnet, answers, interfaces},
        },
    };

    const CODE: &str = "IPAM115";

    fn cluster(nodes: u32) -> ClusterSnapshot {
        let add = |cluster: Cluster, _| cluster.node("m5.large", 29, &[9], 5);
        (0..nodes).fold(Cluster::new("10.0.0.0/22", &[]), add).snapshot()
    }

    #[test]
    fn three_nodes_in_one_zone_are_worth_a_word() {
        assert_eq!(
            answers(&cluster(3), CODE).messages(),
            ["all 3 nodes are in eu-central-1a: no other zone's subnets are in use"]
        );
        assert!(answers(&cluster(2), CODE).passed());
    }

    #[test]
    fn a_second_zone_is_enough() {
        let mut snapshot = cluster(3);
        add_subnet(&mut snapshot, "subnet-2", "10.0.16.0/20", "eu-central-1b", 4000);
        interfaces(&mut snapshot)[0].subnet = "subnet-2".into();
        assert!(answers(&snapshot, CODE).passed());
    }

    #[test]
    fn without_nodes_it_cannot_tell() {
        let mut snapshot = cluster(3);
        snapshot.nodes = Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::Nodes]);
    }
}
