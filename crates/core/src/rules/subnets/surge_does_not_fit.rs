//! IPAM105: a subnet that cannot take the new nodes of a rolling upgrade.

use crate::{
    facts::{Facts, SubnetFacts, demand::Take},
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink, subnets::words},
    text,
};

rule! {
    /// The subnet has not enough free addresses to replace its nodes at the pace of an upgrade.
    ///
    /// ## What it means
    ///
    /// A rolling upgrade starts new nodes before old ones go, and each brings its full warm pool. The addresses of the
    /// old ones come back minutes later. Without room for both, new nodes come up and cannot give their pods addresses.
    ///
    /// ## Why it happens
    ///
    /// The subnet was sized for its nodes and not for more of them at a time, or warm pools are large.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get ipsubnet SUBNET -o jsonpath='{.status.needs}{"\n"}'
    /// aws eks describe-nodegroup --cluster-name CLUSTER --nodegroup-name GROUP --query nodegroup.updateConfig
    /// ```
    ///
    /// ## What to do
    ///
    /// Before the next upgrade let no more nodes be replaced at once than the finding says fit: `maxUnavailable` of a
    /// managed node group, the disruption budget of a Karpenter NodePool. Or lower what a new node takes at its start
    /// (`WARM_IP_TARGET` with `MINIMUM_IP_TARGET`), or add space.
    ///
    /// ## What it costs
    ///
    /// Fewer nodes at a time make an upgrade take longer.
    ///
    /// ## When it fires
    ///
    /// What is free, in addresses or in whole blocks for nodes in prefix mode, is less than what
    /// `spec.thresholds.surgePercent` (10) in a hundred of the nodes here, at least one, take as new nodes. Neither
    /// IPAM101, IPAM102, IPAM103 nor IPAM104 is open for it.
    pub SurgeDoesNotFit;
    code: "IPAM105",
    name: "surge-does-not-fit",
    severity: Warning,
    condition: AddressesAvailable,
    sources: [Nodes, Subnets, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let others_say_it = |subnet: &SubnetFacts<'_>| {
        subnet.is_full() || subnet.is_low() || subnet.lacks_blocks() || subnet.is_fragmented()
    };
    for subnet in facts.every_subnet().filter(|subnet| !others_say_it(subnet)) {
        if let Some((nodes, take)) = subnet.surge().filter(|(_, take)| !subnet.meets(*take)) {
            found.subnet(&subnet.subnet.id, violation(subnet, nodes, take));
        }
    }
}

fn violation(subnet: &SubnetFacts<'_>, nodes: u32, take: Take) -> sink::Violation {
    let blocks = match take.blocks {
        0 => String::new(),
        blocks => format!(", {} of {} whole /28 blocks", text::thousands(blocks), text::known(subnet.free_prefixes)),
    };
    let fits = subnet.fits();
    let short = take.addresses.saturating_sub(subnet.headroom());
    let more = if short > 0 { format!(", or make room for {}", text::count(short, "address")) } else { String::new() };
    sink::Violation {
        severity: Severity::Warning,
        message: format!(
            "{} has {}; replacing {} of its {} at once takes {}{blocks}: room for {}",
            words::name(subnet),
            words::free(subnet),
            text::thousands(nodes),
            text::count(words::nodes(subnet), "node"),
            text::thousands(take.addresses),
            text::thousands(fits),
        ),
        remediation: format!("Replace at most {} at a time here{more}.", text::count(fits, "node")),
        evidence: vec![
            sink::evidence("free", subnet.subnet.available),
            sink::evidence("surgeNodes", nodes),
            sink::evidence("surgeTakes", take.addresses),
            sink::evidence("surgeTakesBlocks", take.blocks),
            sink::evidence("newNodesThatFit", fits),
        ],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        snapshot::ClusterSnapshot,
        source::{Reading, Source},
        tests::{fixtures::Cluster, subnets::answers},
    };

    const CODE: &str = "IPAM105";

    /// Twelve nodes whose surge of two takes 100.
    fn cluster(free: u32) -> ClusterSnapshot {
        let env = [("WARM_ENI_TARGET", "1")];
        let twelve = |cluster: Cluster, _| cluster.node("m6a.32xlarge", 250, &[49], 1);
        (0..12).fold(Cluster::new("10.0.0.0/22", &env), twelve).with_free(free).snapshot()
    }

    /// The line of IPAM102 is above that of a surge here.
    fn with_low_line(snapshot: &ClusterSnapshot, percent: u32) -> Vec<String> {
        let mut policy = crate::policy::AuditPolicy::default();
        policy.thresholds.subnet_free_percent = percent;
        let outcome = crate::engine::evaluate(snapshot, &policy, &crate::memory::Memory::default());
        let findings = outcome.subnets.into_iter().flat_map(|subnet| subnet.findings);
        findings.filter(|finding| finding.code == CODE).map(|finding| finding.message).collect()
    }

    #[test]
    fn a_surge_that_does_not_fit_is_told_with_what_fits() {
        assert_eq!(
            with_low_line(&cluster(99), 1),
            [
                "subnet-1 (eu-central-1a) has 99 of 1,019 addresses free; replacing 2 of its 12 nodes at once takes 100: \
              room for 1"
            ]
        );
        assert_eq!(with_low_line(&cluster(100), 1), Vec::<String>::new());
    }

    #[test]
    fn a_low_subnet_is_told_once() {
        assert!(answers(&cluster(99), CODE).passed());
    }

    #[test]
    fn a_subnet_without_ipv4_is_asked_for_nothing() {
        let mut snapshot = cluster(0);
        crate::tests::subnets::subnets(&mut snapshot)[0].cidr = None;
        assert!(answers(&snapshot, CODE).passed());
    }

    #[test]
    fn without_nodes_it_cannot_tell() {
        let mut snapshot = cluster(99);
        snapshot.nodes = Reading::default();
        assert_eq!(answers(&snapshot, CODE).missing(), [Source::Nodes]);
    }
}
