//! IPAM651: a cluster of another CNI.

use crate::{
    facts::{Facts, installation::Installation},
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{
        Violations,
        sink::{self, Violation},
    },
    source::{FaultCategory, Source},
};

rule! {
    /// Another CNI gives the pods of this cluster their addresses.
    ///
    /// ## What it means
    ///
    /// The VPC CNI is not installed, or its DaemonSet runs nowhere, and a DaemonSet of another network plug-in does.
    /// What nodes hold follows other rules then: the audit shows subnets and interfaces, and judges no pools and no
    /// settings.
    ///
    /// ## Why it happens
    ///
    /// The cluster was moved to Cilium, Calico or another plug-in with addresses of its own.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get daemonsets -A -o wide
    /// kubectl get daemonset aws-node -n kube-system
    /// ```
    ///
    /// ## What to do
    ///
    /// Nothing, if it is meant. Audit such a cluster for its subnets only.
    ///
    /// ## What it costs
    ///
    /// Nothing.
    ///
    /// ## When it fires
    ///
    /// No DaemonSet of the VPC CNI is there, or it wants no pods, and a DaemonSet runs an image of a known network
    /// plug-in. Information. A plug-in beside a running VPC CNI, for policies or chained, is left alone.
    pub OtherCni;
    code: "IPAM651",
    name: "other-cni",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [],
    check: check,
}

/// Images of plug-ins that give addresses, and their names.
const PLUGINS: [(&str, &str); 7] = [
    ("cilium/cilium", "Cilium"),
    ("cilium/operator", "Cilium"),
    ("calico/node", "Calico"),
    ("kube-ovn", "Kube-OVN"),
    ("flannel", "Flannel"),
    ("antrea", "Antrea"),
    ("weave-kube", "Weave Net"),
];

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let off = facts.installation.as_ref().is_some_and(Installation::is_switched_off);
    let aws_node = &facts.snapshot.aws_node;
    let absent = aws_node.last_good.is_none()
        && aws_node.fault.as_ref().is_some_and(|fault| fault.category == FaultCategory::NotFound);
    if !off && !absent {
        if facts.installation.is_none() {
            found.lacks(Source::AwsNode);
        }
        return;
    }
    let Some(daemon_sets) = facts.snapshot.objects.daemon_sets.value() else {
        found.lacks(Source::DaemonSets);
        return;
    };
    let plugin = daemon_sets.iter().find_map(|set| Some((set, plugin(set.images.iter().map(|image| &**image))?)));
    let Some((set, name)) = plugin else { return };
    let full_name = format!("{}/{}", set.namespace, set.name);
    let state = if off { "the VPC CNI's DaemonSet wants no pods" } else { "the VPC CNI is not installed" };
    let violation = Violation {
        severity: Severity::Info,
        message: format!(
            "{name} ({full_name}) gives pods their addresses: {state}, so pools and settings are not judged"
        ),
        remediation: "Nothing, if it is meant: read the subnets' reports only.".to_owned(),
        evidence: vec![sink::evidence("plugin", name), sink::evidence("daemonSet", full_name)],
    };
    found.subject(Subject::Cluster, violation);
}

fn plugin<'a>(mut images: impl Iterator<Item = &'a str>) -> Option<&'static str> {
    let known = |image: &str| PLUGINS.iter().find(|(part, _)| image.contains(part)).map(|(_, name)| *name);
    images.find_map(known)
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        tests::configuration::{self as cluster, answer, aws_node, is_inconclusive, only},
    };

    const CODE: &str = "IPAM651";

    use crate::{
        snapshot::{AwsNodeEnv, ClusterSnapshot, Workload},
        source::Reading,
        tests::fixtures::now,
    };

    fn with_cilium(mut snapshot: ClusterSnapshot) -> ClusterSnapshot {
        let cilium = Workload {
            namespace: "kube-system".into(),
            name: "cilium".into(),
            images: ["quay.io/cilium/cilium:v1.18.1".into()].into(),
            env: AwsNodeEnv::default().into(),
            replicas: Some(2),
        };
        snapshot.objects.daemon_sets = Reading::fresh(vec![cilium], now());
        snapshot
    }

    #[test]
    fn another_plug_in_is_named() {
        let finding = only(&with_cilium(cluster::without_daemon_set()), CODE);
        assert_eq!(finding.severity, Severity::Info);
        assert_eq!(
            finding.message,
            "Cilium (kube-system/cilium) gives pods their addresses: the VPC CNI is not installed, so pools and settings are \
             not judged"
        );
        let mut off = with_cilium(cluster::with(&[]));
        aws_node(&mut off).manifest.desired = Some(0);
        aws_node(&mut off).pods.clear();
        assert!(only(&off, CODE).message.contains("the VPC CNI's DaemonSet wants no pods"));
    }

    #[test]
    fn a_plug_in_beside_the_vpc_cni_is_left_alone() {
        assert!(cluster::found(&with_cilium(cluster::with(&[])), CODE).is_empty());
    }

    #[test]
    fn without_daemon_sets_it_cannot_tell() {
        assert!(is_inconclusive(&answer(&cluster::without_daemon_set(), CODE)));
        assert!(!is_inconclusive(&answer(&cluster::with(&[]), CODE)), "nobody needs to know");
    }
}
