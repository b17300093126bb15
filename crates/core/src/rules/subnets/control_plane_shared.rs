//! IPAM113: nodes share a subnet with the control plane while it gets scarce.

use super::control_plane_low;
use crate::{
    facts::{Facts, SubnetFacts, demand::Role},
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink, subnets::words},
    text,
};

/// A smaller share of free addresses (percent) is getting scarce.
const SCARCE: u32 = 20;

rule! {
    /// Nodes take addresses from a subnet of the control plane, and it is getting scarce.
    ///
    /// ## What it means
    ///
    /// The control plane needs a few free addresses at an upgrade, and nodes take theirs by the dozen. Whoever is first
    /// wins.
    ///
    /// ## Why it happens
    ///
    /// The cluster was made with the same subnets for the control plane and for nodes, which is the default of many
    /// tools.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws eks describe-cluster --name CLUSTER --query cluster.resourcesVpcConfig.subnetIds
    /// aws ec2 describe-network-interfaces --filters Name=subnet-id,Values=SUBNET 'Name=description,Values=Amazon EKS *' \
    ///     --query 'NetworkInterfaces[].[NetworkInterfaceId,Description]' --output text
    /// ```
    ///
    /// ## What to do
    ///
    /// Give the control plane small subnets of its own (a /28 in each of two zones is enough) with
    /// `aws eks update-cluster-config --resources-vpc-config subnetIds=…`.
    ///
    /// ## What it costs
    ///
    /// Nothing but the address space of the small subnets.
    ///
    /// ## When it fires
    ///
    /// The subnet holds interfaces of the control plane and of nodes, less than a fifth of it is free, and neither
    /// IPAM101, IPAM102 nor IPAM112 is open for it.
    pub ControlPlaneShared;
    code: "IPAM113",
    name: "control-plane-shared",
    severity: Info,
    condition: AddressesAvailable,
    sources: [Nodes, Subnets, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let shared = |subnet: &&SubnetFacts<'_>| subnet.has(Role::ControlPlane) && subnet.has(Role::NodeHome);
    let others_say_it =
        |subnet: &SubnetFacts<'_>| subnet.is_full() || subnet.is_low() || control_plane_low::severity(subnet).is_some();
    for subnet in facts.every_subnet().filter(shared).filter(|subnet| !others_say_it(subnet)) {
        let usable = subnet.usable.unwrap_or_default();
        if u64::from(subnet.headroom()) * 100 >= u64::from(usable) * u64::from(SCARCE) {
            continue;
        }
        let violation = sink::Violation {
            severity: Severity::Info,
            message: format!(
                "{} has {}, {} %, for {} and the control plane",
                words::name(subnet),
                words::free(subnet),
                text::percent(subnet.headroom(), usable),
                text::count(words::nodes(subnet), "node"),
            ),
            remediation: format!("Give the control plane a small subnet of its own in {}.", subnet.subnet.zone),
            evidence: vec![
                sink::evidence("free", subnet.subnet.available),
                sink::evidence("usable", usable),
                sink::evidence("nodes", words::nodes(subnet)),
            ],
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
            subnets::{add_other, answers, subnets},
        },
    };

    const CODE: &str = "IPAM113";

    fn cluster(free: u32) -> ClusterSnapshot {
        let mut snapshot = Cluster::new("10.0.0.0/24", &[]).node("m5.large", 29, &[9, 9], 5).snapshot();
        add_other(&mut snapshot, "Amazon EKS shop", &["10.0.0.250"]);
        subnets(&mut snapshot)[0].available = free;
        snapshot
    }

    #[test]
    fn a_scarce_subnet_of_both_is_worth_a_word() {
        assert_eq!(
            answers(&cluster(45), CODE).messages(),
            ["subnet-1 (eu-central-1a) has 45 of 251 addresses free, 18 %, for 1 node and the control plane"]
        );
        assert!(answers(&cluster(60), CODE).passed());
        assert!(answers(&cluster(20), CODE).passed(), "IPAM102 says more");
    }

    #[test]
    fn without_interfaces_it_cannot_tell() {
        let mut snapshot = cluster(45);
        snapshot.ec2.interfaces = Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::NetworkInterfaces]);
    }
}
