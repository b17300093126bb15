//! IPAM624: a manifest of several versions.

use crate::{
    cni::CniVersion,
    facts::Facts,
    facts::installation::Installation,
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{
        Violations,
        sink::{self, Violation},
    },
    source::FaultCategory,
    text,
};

rule! {
    /// Parts of the CNI's DaemonSet are of different versions.
    ///
    /// ## What it means
    ///
    /// The image of the CNI was changed without the rest of its manifest: its init container, its variables, its rights
    /// and its CRDs belong to another version. What a newer version needs is missing without a word.
    ///
    /// ## Why it happens
    ///
    /// `kubectl set image`, an image that a policy rewrites, a Helm value that pins one image only.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get daemonset aws-node -n kube-system -o jsonpath='{.spec.template.spec.containers[*].image}{"\n"}{.spec.template.spec.initContainers[*].image}{"\n"}'
    /// kubectl get daemonset aws-node -n kube-system -o jsonpath='{range .spec.template.spec.containers[?(@.name=="aws-node")].env[*]}{.name}={.value}{"\n"}{end}' | grep VPC_CNI_VERSION
    /// kubectl get crd cninodes.vpcresources.k8s.aws
    /// ```
    ///
    /// ## What to do
    ///
    /// Apply the manifest, chart or add-on of the version that shall run, as a whole.
    ///
    /// ## What it costs
    ///
    /// A restart of each `aws-node` pod.
    ///
    /// ## When it fires
    ///
    /// The tag of the CNI's image, `VPC_CNI_VERSION` and the tag of the init container's image name different versions;
    /// or the version is 1.15.0 or newer, security groups for pods are on and the CRD of CNINodes is not installed.
    /// Warning.
    pub PartlyUpgraded;
    code: "IPAM624",
    name: "partly-upgraded",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [AwsNode],
    check: check,
}

/// Since this version trunks are asked for by CNINodes.
const CNI_NODES: CniVersion = CniVersion::new(1, 15, 0);

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let Some(installation) = &facts.installation else { return };
    let Some(version) = installation.template().and_then(|template| template.cni.known_version()) else { return };
    let mut strange = other_versions(installation, version);
    if lacks_cni_nodes(facts, installation, version) {
        strange.push("the CRD of CNINodes is not installed".to_owned());
    }
    if strange.is_empty() {
        return;
    }
    let daemon_set = installation.aws_node.daemon_set.clone();
    let violation = Violation {
        severity: Severity::Warning,
        message: format!("{daemon_set} runs {version}, but {}", text::list(&strange, "and", 3)),
        remediation: format!("Apply the manifest, chart or add-on of {version} as a whole."),
        evidence: vec![sink::evidence("version", version)],
    };
    found.subject(Subject::DaemonSet(daemon_set), violation);
}

/// Parts that name another version.
fn other_versions(installation: &Installation<'_>, version: CniVersion) -> Vec<String> {
    let declared = installation.template().and_then(|template| template.text("VPC_CNI_VERSION"));
    let declared = declared.and_then(|text| CniVersion::from_image(&format!(":{text}")));
    let init = installation.aws_node.manifest.init.as_ref().and_then(|init| CniVersion::from_image(&init.image));
    let parts = [("VPC_CNI_VERSION says", declared), ("its init container is of", init)];
    let differs = |(part, other): (&str, Option<CniVersion>)| {
        other.filter(|other| *other != version).map(|other| format!("{part} {other}"))
    };
    parts.into_iter().filter_map(differs).collect()
}

fn lacks_cni_nodes(facts: &Facts<'_>, installation: &Installation<'_>, version: CniVersion) -> bool {
    let pod_eni = installation.template().is_some_and(|template| template.cni.config().pod_eni.value_or(false));
    let not_installed = facts.snapshot.cni_nodes.last_good.is_none()
        && facts.snapshot.cni_nodes.fault.as_ref().is_some_and(|fault| fault.category == FaultCategory::NotFound);
    pod_eni && version >= CNI_NODES && not_installed
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        tests::configuration::{self as cluster, answer, aws_node, is_inconclusive, only},
    };

    const CODE: &str = "IPAM624";

    use crate::{
        snapshot::AwsNodeEnv,
        source::{FaultCategory, Reading},
    };

    fn declares(version: &str) -> crate::snapshot::ClusterSnapshot {
        cluster::with(&[("VPC_CNI_VERSION", version)])
    }

    #[test]
    fn parts_of_another_version_are_named() {
        let mut snapshot = declares("v1.19.2");
        let init = AwsNodeEnv { image: "registry/amazon-k8s-cni-init:v1.19.2".into(), ..AwsNodeEnv::default() };
        aws_node(&mut snapshot).manifest.init = Some(init.into());
        let finding = only(&snapshot, CODE);
        assert_eq!(finding.severity, Severity::Warning);
        assert_eq!(
            finding.message,
            "kube-system/aws-node runs 1.23.1, but VPC_CNI_VERSION says 1.19.2 and its init container is of 1.19.2"
        );
        let mut without_crd = cluster::with(&[("ENABLE_POD_ENI", "true")]);
        without_crd.cni_nodes = Reading::missing(FaultCategory::NotFound, "CNINode is not installed");
        assert!(only(&without_crd, CODE).message.contains("the CRD of CNINodes is not installed"));
    }

    #[test]
    fn builds_of_one_version_are_alike() {
        assert!(cluster::found(&declares("v1.23.1-eksbuild.2"), CODE).is_empty());
        assert!(cluster::found(&declares("unknown"), CODE).is_empty());
        let mut denied = cluster::with(&[("ENABLE_POD_ENI", "true")]);
        denied.cni_nodes = Reading::missing(FaultCategory::Denied, "not allowed");
        assert!(cluster::found(&denied, CODE).is_empty());
    }

    #[test]
    fn without_the_daemon_set_it_cannot_tell() {
        assert!(is_inconclusive(&answer(&cluster::without_daemon_set(), CODE)));
    }
}
