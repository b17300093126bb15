//! IPAM621: a CNI older than its cluster wants.

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
};

rule! {
    /// The CNI is older than the version recommended for the cluster's Kubernetes.
    ///
    /// ## What it means
    ///
    /// Each version of Kubernetes on EKS has a version of the CNI from which on they are supported together. Below it,
    /// nodes may start without addresses after an upgrade of their image, and defects are not mended.
    ///
    /// ## Why it happens
    ///
    /// The control plane and the nodes were upgraded, the add-on was not: EKS does not do it by itself.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get daemonset aws-node -n kube-system -o jsonpath='{.spec.template.spec.containers[*].image}{"\n"}{.spec.template.spec.initContainers[*].image}{"\n"}'
    /// kubectl get nodes -o wide
    /// aws eks describe-addon-versions --addon-name vpc-cni --kubernetes-version VERSION --query 'addons[].addonVersions[].addonVersion'
    /// ```
    ///
    /// ## What to do
    ///
    /// Update the CNI to the version that the finding names or a newer one, one minor version at a time.
    ///
    /// ## What it costs
    ///
    /// An update of the CNI: a restart of each `aws-node` pod.
    ///
    /// ## When it fires
    ///
    /// The version is known and older than 1.13.4 (Kubernetes 1.28), 1.14.1 (1.29), 1.16.0 (1.30), 1.16.4 (1.31) or
    /// 1.17.1 (1.32 and newer); the newest kubelet of the nodes tells the version of Kubernetes. Warning.
    pub CniTooOldForCluster;
    code: "IPAM621",
    name: "cni-too-old-for-cluster",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [Nodes, AwsNode],
    check: check,
}

/// The least version for each minor version of Kubernetes, and for all that follow.
const LEAST: [(u32, CniVersion); 5] = [
    (32, CniVersion::new(1, 17, 1)),
    (31, CniVersion::new(1, 16, 4)),
    (30, CniVersion::new(1, 16, 0)),
    (29, CniVersion::new(1, 14, 1)),
    (28, CniVersion::new(1, 13, 4)),
];

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let minors = facts.nodes.iter().filter_map(|node| minor(node.node.state.kubelet.as_deref()?));
    let Some(minor) = minors.max() else { return };
    let Some((_, least)) = LEAST.iter().find(|(from, _)| minor >= *from) else { return };
    environment::each(facts, found, &[], |environment| too_old(environment, minor, *least));
}

/// The minor version of `v1.33.1-eks-1`.
fn minor(kubelet: &str) -> Option<u32> {
    let mut parts = kubelet.trim_start_matches('v').split('.');
    (parts.next()? == "1").then(|| parts.next()?.parse().ok())?
}

fn too_old(environment: &Environment<'_>, minor: u32, least: CniVersion) -> Option<Violation> {
    let version = environment.variant.cni.known_version().filter(|version| *version < least)?;
    Some(Violation {
        severity: Severity::Warning,
        message: format!(
            "{} runs {version}; Kubernetes 1.{minor}, which nodes run, wants {least} or newer",
            environment.who()
        ),
        remediation: format!("Update the CNI to {least} or newer, one minor version at a time."),
        evidence: vec![sink::evidence("version", version), sink::evidence("kubernetes", format!("1.{minor}"))],
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        tests::configuration::{self as cluster, answer, is_inconclusive, only, run_version},
    };

    const CODE: &str = "IPAM621";

    fn of(kubelet: &str, tag: &str) -> crate::snapshot::ClusterSnapshot {
        let mut snapshot = cluster::with(&[]);
        run_version(&mut snapshot, tag);
        cluster::node(&mut snapshot, 1).state.kubelet = Some(kubelet.into());
        snapshot
    }

    #[test]
    fn the_newest_kubelet_decides() {
        let finding = only(&of("v1.33.1-eks-1", "v1.16.4"), CODE);
        assert_eq!(finding.severity, Severity::Warning);
        assert_eq!(
            finding.message,
            "kube-system/aws-node runs 1.16.4; Kubernetes 1.33, which nodes run, wants 1.17.1 or newer"
        );
    }

    #[test]
    fn recent_and_unknown_versions_are_left_alone() {
        for (kubelet, tag) in
            [("v1.33.1-eks-1", "v1.17.1"), ("v1.27.9", "v1.12.0"), ("v1.33.1", "latest"), ("?", "v1.9.0")]
        {
            assert!(cluster::found(&of(kubelet, tag), CODE).is_empty(), "{kubelet} {tag}");
        }
    }

    #[test]
    fn without_the_daemon_set_it_cannot_tell() {
        assert!(is_inconclusive(&answer(&cluster::without_daemon_set(), CODE)));
    }
}
