//! IPAM801: Windows nodes without anybody who gives their pods addresses.

use std::collections::BTreeSet;

use super::{CONFIG_MAP, Settings, nodes, old_controller};
use crate::{
    facts::Facts,
    finding::{Severity, Subject},
    ids::NodeName,
    policy::AuditPolicy,
    rules::{Violations, sink},
    snapshot::{Node, Pod, PodPhase},
    text,
};

rule! {
    /// Windows nodes are present, and the controller does not manage their addresses.
    ///
    /// ## What it means
    ///
    /// Pods on Windows nodes get their addresses from the VPC resource controller in EKS's control plane. It does so
    /// only if the ConfigMap `amazon-vpc-cni` says `enable-windows-ipam: "true"` and no controller of old times runs in
    /// the cluster.
    ///
    /// ## Why it happens
    ///
    /// The ConfigMap was not applied or was overwritten by an upgrade of the add-on, or the Deployment
    /// `vpc-resource-controller` of clusters before Kubernetes 1.22 was never deleted.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl -n kube-system get configmap amazon-vpc-cni -o jsonpath='{.data}'
    /// kubectl -n kube-system get deployment vpc-resource-controller
    /// kubectl get nodes -l kubernetes.io/os=windows \
    ///     -o custom-columns='NAME:.metadata.name,ADDRESSES:.status.allocatable.vpc\.amazonaws\.com/PrivateIPv4Address'
    /// ```
    ///
    /// ## What to do
    ///
    /// Set the key, by the add-on's configuration (`enableWindowsIpam`) where it is managed; delete the old Deployment
    /// and its webhook once the key is set.
    ///
    /// ## What it costs
    ///
    /// A few warm addresses per Windows node.
    ///
    /// ## When it fires
    ///
    /// Windows nodes are present and the key is not true: critical if a pod on one of them has waited for an address for
    /// longer than `settleSeconds` (300), else warning; or the old Deployment exists: warning. Not if pods there have
    /// addresses although the nodes never offered any: then another CNI serves them.
    pub WindowsIpamOff;
    code: "IPAM801",
    name: "windows-ipam-off",
    severity: Critical,
    condition: ConfigurationConsistent,
    sources: [Nodes, Pods],
    check: check,
}

fn check(facts: &Facts<'_>, policy: &AuditPolicy, found: &mut Violations<'_>) {
    let nodes = nodes(facts);
    if nodes.is_empty() {
        return;
    }
    let count = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
    let old = old_controller(facts, found);
    if old.is_some() {
        found.subject(
            Subject::Object("Deployment", "kube-system/vpc-resource-controller".into()),
            two_controllers(count),
        );
        return;
    }
    let Some(settings) = Settings::of(facts, found).filter(|settings| !settings.manages_addresses()) else { return };
    let pods = Pods::on(facts, &nodes, policy);
    if pods.served > 0 && nodes.iter().all(|node| node.state.windows_addresses.is_none()) {
        return;
    }
    found.subject(Subject::Object("ConfigMap", CONFIG_MAP.into()), switched_off(&settings, count, pods.waiting));
}

/// Pods of the Windows nodes that need an address.
struct Pods {
    served: u32,
    waiting: u32,
}

impl Pods {
    fn on(facts: &Facts<'_>, nodes: &[&Node], policy: &AuditPolicy) -> Self {
        let names: BTreeSet<&NodeName> = nodes.iter().map(|node| &node.name).collect();
        let settle = jiff::SignedDuration::from_secs(i64::from(policy.thresholds.settle_seconds));
        let now = facts.snapshot.taken_at;
        let is_old = |pod: &Pod| pod.created_at().is_some_and(|at| now.duration_since(at) > settle);
        let all = facts.snapshot.pods.value().into_iter().flatten();
        let here = all.filter(|pod| !pod.host_network() && pod.node().is_some_and(|node| names.contains(node)));
        let mut pods = Self { served: 0, waiting: 0 };
        for pod in here.filter(|pod| pod.phase != PodPhase::Finished) {
            pods.served += u32::from(pod.address.is_some());
            pods.waiting += u32::from(pod.address.is_none() && is_old(pod));
        }
        pods
    }
}

fn switched_off(settings: &Settings<'_>, nodes: u32, waiting: u32) -> sink::Violation {
    let key = settings.get("enable-windows-ipam").map_or_else(|| "not set".to_owned(), |value| format!("{value:?}"));
    let waits = match waiting {
        0 => String::new(),
        _ => format!("; {} {} for an address", text::count(waiting, "pod"), text::verb(waiting, "waits", "wait")),
    };
    sink::Violation {
        severity: if waiting > 0 { Severity::Critical } else { Severity::Warning },
        message: format!(
            "enable-windows-ipam in ConfigMap {CONFIG_MAP} is {key}, and the cluster has {}: nobody gives pods there \
             addresses{waits}",
            text::count(nodes, "Windows node"),
        ),
        remediation: "Set enable-windows-ipam to \"true\" there, by the add-on's configuration if it is managed."
            .to_owned(),
        evidence: vec![sink::evidence("windowsNodes", nodes), sink::evidence("waitingPods", waiting)],
    }
}

fn two_controllers(nodes: u32) -> sink::Violation {
    sink::Violation {
        severity: Severity::Warning,
        message: format!(
            "Deployment kube-system/vpc-resource-controller is the controller of old times; while it exists that of EKS \
             does nothing for {}",
            text::count(nodes, "Windows node"),
        ),
        remediation:
            "Set enable-windows-ipam to \"true\", then delete the Deployment and its webhook vpc-admission-webhook."
                .to_owned(),
        evidence: vec![sink::evidence("windowsNodes", nodes)],
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        snapshot::{ClusterSnapshot, Workload},
        source::{Reading, Source},
        tests::{
            fixtures::now,
            karpenter::answers,
            windows::{waiting_pod, windows},
        },
    };

    const CODE: &str = "IPAM801";

    #[test]
    fn a_cluster_whose_config_map_is_silent() {
        let seen = answers(&windows(&[], |node| node.state.windows_addresses = None), CODE);
        assert_eq!(
            seen.messages(),
            ["enable-windows-ipam in ConfigMap kube-system/amazon-vpc-cni is not set, and the cluster has 1 Windows \
                 node: nobody gives pods there addresses"]
        );
        assert_eq!(seen.findings[0].severity, Severity::Warning);
        let mut snapshot = windows(&[("enable-windows-ipam", "yes")], |_| {});
        waiting_pod(&mut snapshot);
        let seen = answers(&snapshot, CODE);
        assert_eq!(seen.findings[0].severity, Severity::Critical);
        assert!(
            seen.messages()[0].contains("is \"yes\"") && seen.messages()[0].ends_with("1 pod waits for an address")
        );
    }

    #[test]
    fn the_key_or_another_cni_is_enough() {
        assert!(answers(&windows(&[("enable-windows-ipam", "true")], |_| {}), CODE).passed());
        let mut other_cni = windows(&[], |node| node.state.windows_addresses = None);
        waiting_pod(&mut other_cni);
        let pods = &mut other_cni.pods.last_good.as_mut().unwrap().value;
        let last = pods.len() - 1;
        pods[last].address = Some([192, 168, 0, 9].into());
        assert!(answers(&other_cni, CODE).passed());
    }

    #[test]
    fn the_controller_of_old_times_is_in_the_way() {
        let mut snapshot = windows(&[("enable-windows-ipam", "true")], |_| {});
        let old = Workload {
            namespace: "kube-system".into(),
            name: "vpc-resource-controller".into(),
            images: Box::default(),
            env: std::sync::Arc::default(),
            replicas: Some(1),
        };
        snapshot.objects.deployments = Reading::fresh(vec![old], now());
        assert_eq!(answers(&snapshot, CODE).findings[0].subject.name(), "kube-system/vpc-resource-controller");
    }

    #[test]
    fn without_its_sources_it_cannot_tell() {
        let without = |change: fn(&mut ClusterSnapshot)| {
            let mut snapshot = windows(&[("enable-windows-ipam", "true")], |_| {});
            change(&mut snapshot);
            answers(&snapshot, CODE).missing().to_vec()
        };
        let missing = without(|snapshot| snapshot.objects.config_maps = Reading::default());
        assert_eq!(missing, [Source::ConfigMaps]);
        let missing = without(|snapshot| snapshot.objects.deployments = Reading::default());
        assert_eq!(missing, [Source::Deployments]);
    }
}
