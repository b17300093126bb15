//! IPAM112: a subnet of the control plane without the addresses that an upgrade asks for.

use crate::{
    facts::{Facts, SubnetFacts, demand::Role},
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink, subnets::words},
    text,
};

/// What AWS recommends to keep free.
const RECOMMENDED: u32 = 16;

rule! {
    /// A subnet of the control plane has fewer free addresses than an upgrade asks for.
    ///
    /// ## What it means
    ///
    /// EKS keeps network interfaces in the subnets that were given to the cluster, and makes new ones when it upgrades
    /// or moves the control plane. Without free addresses it refuses the upgrade.
    ///
    /// ## Why it happens
    ///
    /// Nodes, pods or other resources share the subnet, or it was sized too small.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws eks describe-cluster --name CLUSTER --query cluster.resourcesVpcConfig.subnetIds
    /// aws ec2 describe-subnets --subnet-ids SUBNET --query 'Subnets[].AvailableIpAddressCount'
    /// ```
    ///
    /// ## What to do
    ///
    /// Free addresses in the subnet before the next upgrade, or give the cluster another subnet of the same zones
    /// (`aws eks update-cluster-config --resources-vpc-config subnetIds=…`).
    ///
    /// ## What it costs
    ///
    /// Other subnets cost nothing. Changing them takes minutes and interrupts nothing.
    ///
    /// ## When it fires
    ///
    /// The subnet holds an interface of this cluster's control plane (its description is `Amazon EKS` and the cluster's
    /// name) and fewer addresses are free than `spec.thresholds.controlPlaneAddresses` (6): warning. Fewer than 16, which
    /// AWS recommends, in a subnet that could have them: information. Not while IPAM101, or for information IPAM102, is
    /// open for it.
    pub ControlPlaneLow;
    code: "IPAM112",
    name: "control-plane-low",
    severity: Warning,
    condition: AddressesAvailable,
    sources: [Nodes, Subnets, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for subnet in facts.every_subnet().filter(|subnet| subnet.has(Role::ControlPlane) && !subnet.is_full()) {
        if let Some(severity) = severity(subnet) {
            found.subnet(&subnet.subnet.id, violation(subnet, severity));
        }
    }
}

/// How bad it is; none if it is not. Only what EC2 itself counts is free for single addresses.
pub(super) fn severity(subnet: &SubnetFacts<'_>) -> Option<Severity> {
    let available = subnet.subnet.available;
    let usable = subnet.usable?;
    if available < subnet.thresholds.control_plane_addresses {
        return Some(Severity::Warning);
    }
    // A /28 of the control plane's own can never have so many.
    (available < RECOMMENDED && usable > RECOMMENDED && !subnet.is_low()).then_some(Severity::Info)
}

fn violation(subnet: &SubnetFacts<'_>, severity: Severity) -> sink::Violation {
    let asked = subnet.thresholds.control_plane_addresses;
    let short = RECOMMENDED - subnet.subnet.available.min(RECOMMENDED);
    sink::Violation {
        severity,
        message: format!(
            "{} has {}; an upgrade of the control plane asks for {} here, and {RECOMMENDED} are recommended",
            words::name(subnet),
            words::free(subnet),
            text::thousands(asked),
        ),
        remediation: format!(
            "Free {} here before the next upgrade, or give the cluster another subnet in {}.",
            text::count(short, "address"),
            subnet.subnet.zone,
        ),
        evidence: vec![
            sink::evidence("free", subnet.subnet.available),
            sink::evidence("asked", asked),
            sink::evidence("recommended", RECOMMENDED),
        ],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        snapshot::ClusterSnapshot,
        source::{Reading, Source},
        tests::{
            fixtures::Cluster,
            subnets::{add_other, add_subnet, answers, interfaces, subnets},
        },
    };

    const CODE: &str = "IPAM112";

    /// The control plane has a small subnet of its own.
    fn cluster(free: u32) -> ClusterSnapshot {
        let mut snapshot = Cluster::new("10.0.0.0/24", &[]).node("m5.large", 29, &[9, 9], 5).snapshot();
        add_subnet(&mut snapshot, "subnet-2", "10.0.1.0/27", "eu-central-1b", free);
        add_other(&mut snapshot, "Amazon EKS shop", &["10.0.1.5"]);
        interfaces(&mut snapshot).last_mut().unwrap().subnet = "subnet-2".into();
        snapshot
    }

    #[test]
    fn an_upgrade_needs_six_addresses() {
        let seen = answers(&cluster(5), CODE);
        assert_eq!(
            seen.messages(),
            [
                "subnet-2 (eu-central-1b) has 5 of 27 addresses free; an upgrade of the control plane asks for 6 here, and \
              16 are recommended"
            ]
        );
        assert_eq!(seen.findings[0].severity, Severity::Warning);
        assert_eq!(answers(&cluster(6), CODE).findings[0].severity, Severity::Info);
        assert!(answers(&cluster(16), CODE).passed());
        let mut small = cluster(6);
        subnets(&mut small)[1].cidr = "10.0.1.0/28".parse().ok();
        assert!(answers(&small, CODE).passed(), "more than eleven are not to be had");
    }

    #[test]
    fn another_clusters_control_plane_is_not_ours() {
        let mut snapshot = cluster(5);
        interfaces(&mut snapshot).last_mut().unwrap().description = "Amazon EKS other".into();
        assert!(answers(&snapshot, CODE).passed());
    }

    #[test]
    fn without_interfaces_it_cannot_tell() {
        let mut snapshot = cluster(5);
        snapshot.ec2.interfaces = Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::NetworkInterfaces]);
    }
}
