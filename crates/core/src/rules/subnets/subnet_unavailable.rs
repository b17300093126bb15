//! IPAM119: a subnet in use that EC2 does not call available.

use crate::{
    facts::{Facts, SubnetFacts, demand::Role},
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink, subnets::words},
    text,
};

rule! {
    /// EC2 says that a subnet of the cluster is not available.
    ///
    /// ## What it means
    ///
    /// EC2 makes no interface in a subnet that is not in state `available`: new nodes do not start there, and the CNI
    /// gets no interface for the pods of those that are there.
    ///
    /// ## Why it happens
    ///
    /// Its creation failed, or the hardware behind it (an Outpost, for example) is out of order.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-subnets --subnet-ids SUBNET --query 'Subnets[].[State,OutpostArn,AvailabilityZone]' --output text
    /// ```
    ///
    /// ## What to do
    ///
    /// Take it out of node groups, node classes and ENIConfigs, and use another subnet of the zone until it is back.
    ///
    /// ## What it costs
    ///
    /// Nothing.
    ///
    /// ## When it fires
    ///
    /// A subnet that nodes or pods take addresses from, or that an ENIConfig in use names, is in another state than
    /// `available` or, while it is made, `pending`.
    pub SubnetUnavailable;
    code: "IPAM119",
    name: "subnet-unavailable",
    severity: Warning,
    condition: AddressesAvailable,
    sources: [Nodes, Subnets, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let in_use = |subnet: &&SubnetFacts<'_>| {
        [Role::NodeHome, Role::Pods, Role::EniConfig].into_iter().any(|role| subnet.has(role))
    };
    for subnet in facts.every_subnet().filter(in_use) {
        let state = &*subnet.subnet.state;
        if matches!(state, "available" | "pending") {
            continue;
        }
        let place = if subnet.subnet.outpost { "on an Outpost, " } else { "" };
        let violation = sink::Violation {
            severity: Severity::Warning,
            message: format!(
                "{} is in state {state}, {place}and {} {} on it",
                words::name(subnet),
                text::count(words::nodes(subnet), "node"),
                text::verb(words::nodes(subnet), "depends", "depend"),
            ),
            remediation: format!("Use another subnet in {} until EC2 calls this one available.", subnet.subnet.zone),
            evidence: vec![sink::evidence("state", state), sink::evidence("nodes", words::nodes(subnet))],
        };
        found.subnet(&subnet.subnet.id, violation);
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        snapshot::ClusterSnapshot,
        source::{Reading, Source},
        tests::{
            fixtures::Cluster,
            subnets::{answers, subnets},
        },
    };

    const CODE: &str = "IPAM119";

    fn cluster(state: &str) -> ClusterSnapshot {
        let mut snapshot = Cluster::new("10.0.0.0/24", &[]).node("m5.large", 29, &[9], 3).snapshot();
        subnets(&mut snapshot)[0].state = state.into();
        snapshot
    }

    #[test]
    fn a_failed_subnet_is_told() {
        assert_eq!(
            answers(&cluster("unavailable"), CODE).messages(),
            ["subnet-1 (eu-central-1a) is in state unavailable, and 1 node depends on it"]
        );
        assert!(answers(&cluster("available"), CODE).passed() && answers(&cluster("pending"), CODE).passed());
    }

    #[test]
    fn without_subnets_it_cannot_tell() {
        let mut snapshot = cluster("unavailable");
        snapshot.ec2.subnets = Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::Subnets]);
    }
}
