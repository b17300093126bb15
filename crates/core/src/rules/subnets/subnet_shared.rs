//! IPAM116: others than the cluster hold a good part of a pod subnet.

use crate::{
    facts::{Facts, SubnetFacts, demand::Role},
    finding::Severity,
    outcome::OtherOwner,
    policy::AuditPolicy,
    rules::{Violations, sink, subnets::words},
    text,
};

/// Kinds of others that a message names.
const NAMED: usize = 3;

rule! {
    /// Others than this cluster hold a good part of the subnet.
    ///
    /// ## What it means
    ///
    /// Load balancers, endpoints, databases, functions, other clusters or other instances take addresses from a subnet
    /// that pods depend on. What is free can change without anything happening in the cluster, and no setting of the
    /// CNI frees these addresses.
    ///
    /// ## Why it happens
    ///
    /// The subnet is the VPC's general private subnet, or several clusters share it.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-network-interfaces --filters Name=subnet-id,Values=SUBNET \
    ///     --query 'NetworkInterfaces[].[InterfaceType,Description,PrivateIpAddress]' --output text | sort
    /// ```
    ///
    /// ## What to do
    ///
    /// Place new load balancers, endpoints and databases in other subnets, or give pods subnets of their own (custom
    /// networking, or a subnet with the tag `kubernetes.io/role/cni`).
    ///
    /// ## What it costs
    ///
    /// Moving a load balancer or a database changes its addresses.
    ///
    /// ## When it fires
    ///
    /// Interfaces of others hold more than `spec.thresholds.othersPercent` (30) in a hundred of the addresses of a
    /// subnet that pods get addresses from. Nodes of this cluster that the VPC CNI does not manage are no others.
    pub SubnetShared;
    code: "IPAM116",
    name: "subnet-shared",
    severity: Info,
    condition: AddressesAvailable,
    sources: [Nodes, Pods, Subnets, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for subnet in facts.every_subnet().filter(|subnet| subnet.has(Role::Pods)) {
        let mut others: Vec<(OtherOwner, u32)> = subnet.others.clone();
        others.retain(|(owner, _)| !matches!(owner, OtherOwner::LeftAloneNode | OtherOwner::AutoMode));
        others.sort_by_key(|(owner, held)| (std::cmp::Reverse(*held), *owner));
        let held: u32 = others.iter().map(|(_, held)| held).sum();
        let usable = subnet.usable.unwrap_or_default();
        if u64::from(held) * 100 > u64::from(usable) * u64::from(subnet.thresholds.others_percent) {
            found.subnet(&subnet.subnet.id, violation(subnet, &others, held, usable));
        }
    }
}

fn violation(subnet: &SubnetFacts<'_>, others: &[(OtherOwner, u32)], held: u32, usable: u32) -> sink::Violation {
    let named: Vec<String> =
        others.iter().map(|(owner, held)| format!("{} {}", owner.name(), text::thousands(*held))).collect();
    sink::Violation {
        severity: Severity::Info,
        message: format!(
            "{} has {} of its {} with others than this cluster, {} %: {}",
            words::name(subnet),
            text::thousands(held),
            text::count(usable, "address"),
            text::percent(held, usable),
            text::list(&named, "and", NAMED),
        ),
        remediation: "Place what others add in other subnets, or give pods subnets of their own.".to_owned(),
        evidence: vec![
            sink::evidence("others", held),
            sink::evidence("usable", usable),
            sink::evidence("thresholdPercent", subnet.thresholds.others_percent),
        ],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        snapshot::ClusterSnapshot,
        source::{Reading, Source},
        tests::{
            fixtures::Cluster,
            subnets::{add_other, answers},
        },
    };

    const CODE: &str = "IPAM116";

    fn cluster(others: u32) -> ClusterSnapshot {
        let mut snapshot = Cluster::new("10.0.0.0/26", &[]).node("t3.nano", 4, &[1, 1], 2).snapshot();
        for number in 0..others {
            add_other(&mut snapshot, "ELB app/shop/1", &[&format!("10.0.0.{}", 20 + number)]);
        }
        snapshot
    }

    #[test]
    fn a_third_with_others_is_worth_a_word() {
        assert_eq!(
            answers(&cluster(20), CODE).messages(),
            [
                "subnet-1 (eu-central-1a) has 20 of its 59 addresses with others than this cluster, 34 %: load-balancer 20"
            ]
        );
        assert!(answers(&cluster(17), CODE).passed());
    }

    #[test]
    fn without_pods_it_cannot_tell() {
        let mut snapshot = cluster(20);
        snapshot.pods = Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::Pods]);
    }
}
