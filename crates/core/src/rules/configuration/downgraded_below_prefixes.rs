//! IPAM623: prefixes that the version cannot handle.

use crate::{
    cni::CniVersion,
    facts::Facts,
    finding::Severity,
    policy::AuditPolicy,
    rules::{
        Violations,
        configuration::environment::{self, Environment},
        sink::{self, Violation},
    },
    text,
};

rule! {
    /// Interfaces carry prefixes, and the installed version of the CNI cannot handle them.
    ///
    /// ## What it means
    ///
    /// Versions before 1.9.0 do not know prefixes and versions before 1.10.1 handle them badly. Pods on those prefixes
    /// run on, but the CNI loses sight of their addresses and may give none of them to others, or fail to remove a pod.
    ///
    /// ## Why it happens
    ///
    /// The CNI was downgraded after prefix delegation had been in use.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get daemonset aws-node -n kube-system -o jsonpath='{.spec.template.spec.containers[*].image}{"\n"}{.spec.template.spec.initContainers[*].image}{"\n"}'
    /// aws ec2 describe-network-interfaces --filters Name=vpc-id,Values=VPC --query 'NetworkInterfaces[?Ipv4Prefixes].NetworkInterfaceId'
    /// ```
    ///
    /// ## What to do
    ///
    /// Update the CNI again, or replace the nodes that carry prefixes; do not downgrade below 1.10.1 while one does.
    ///
    /// ## What it costs
    ///
    /// New nodes, one after another.
    ///
    /// ## When it fires
    ///
    /// The version is known and older than 1.10.1, and an interface of a node carries a /28 prefix. Critical.
    pub DowngradedBelowPrefixes;
    code: "IPAM623",
    name: "downgraded-below-prefixes",
    severity: Critical,
    condition: ConfigurationConsistent,
    sources: [Nodes, AwsNode, NetworkInterfaces],
    check: check,
}

/// The first version that handles prefixes well.
const HANDLES_PREFIXES: CniVersion = CniVersion::new(1, 10, 1);

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    environment::each(facts, found, &[], downgraded);
}

fn downgraded(environment: &Environment<'_>) -> Option<Violation> {
    let version = environment.variant.cni.known_version().filter(|version| *version < HANDLES_PREFIXES)?;
    let attached = environment.nodes().flat_map(|node| node.interfaces.iter().flatten());
    let prefixes = attached.map(|interface| interface.prefixes.len()).sum::<usize>();
    let prefixes = u32::try_from(prefixes).ok().filter(|prefixes| *prefixes > 0)?;
    Some(Violation {
        severity: Severity::Critical,
        message: format!(
            "{} runs {version}, which cannot handle the {} on its nodes",
            environment.who(),
            text::count(prefixes, "prefix"),
        ),
        remediation: format!(
            "Update the CNI to {HANDLES_PREFIXES} or newer, or replace the nodes that carry prefixes."
        ),
        evidence: vec![sink::evidence("version", version), sink::evidence("prefixes", prefixes)],
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        tests::configuration::{self as cluster, answer, is_inconclusive, only, run_version},
    };

    const CODE: &str = "IPAM623";

    fn of(tag: &str, prefixes: bool) -> crate::snapshot::ClusterSnapshot {
        let mut snapshot = cluster::with(&[]);
        run_version(&mut snapshot, tag);
        if prefixes {
            let interfaces = &mut snapshot.ec2.interfaces.last_good.as_mut().unwrap().value;
            interfaces[0].prefixes = ["10.0.9.0/28".parse().unwrap()].into();
        }
        snapshot
    }

    #[test]
    fn prefixes_outlive_a_downgrade() {
        let finding = only(&of("v1.7.10", true), CODE);
        assert_eq!(finding.severity, Severity::Critical);
        assert_eq!(finding.message, "kube-system/aws-node runs 1.7.10, which cannot handle the 1 prefix on its nodes");
    }

    #[test]
    fn old_versions_without_prefixes_and_newer_ones_are_left_alone() {
        assert!(cluster::found(&of("v1.7.10", false), CODE).is_empty());
        assert!(cluster::found(&of("v1.10.1", true), CODE).is_empty());
    }

    #[test]
    fn without_interfaces_it_cannot_tell() {
        let mut snapshot = of("v1.7.10", true);
        snapshot.ec2.interfaces = crate::source::Reading::default();
        assert!(is_inconclusive(&answer(&snapshot, CODE)));
    }
}
