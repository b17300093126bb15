//! IPAM322: what does not work together with strict mode.

use super::strict;
use crate::{
    facts::Facts,
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{Violations, sink},
    snapshot::{ClusterObjects, ConfigMap, PodTraits, Selector, Workload},
    source::Source,
};

/// ConfigMap of kube-proxy on EKS.
const PROXY_CONFIG: &str = "kube-proxy-config";

rule! {
    /// Pods with branches in strict mode cannot use something that the cluster has.
    ///
    /// ## What it means
    ///
    /// In strict mode all traffic of a pod with a branch goes through the VPC. What relies on staying on the node does
    /// not work for these pods: `NodeLocal DNSCache`, kube-proxy in IPVS mode, services that keep external traffic
    /// local, and network policies.
    ///
    /// ## Why it happens
    ///
    /// `POD_SECURITY_GROUP_ENFORCING_MODE` is `strict` unless it is set.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl set env daemonset/aws-node -n kube-system --list | grep ENFORCING_MODE
    /// kubectl get daemonset node-local-dns -n kube-system
    /// kubectl get configmap kube-proxy-config -n kube-system -o jsonpath='{.data.config}' | grep 'mode:'
    /// ```
    ///
    /// ## What to do
    ///
    /// Set `POD_SECURITY_GROUP_ENFORCING_MODE=standard` on aws-node and replace the pods that have branches.
    ///
    /// ## What it costs
    ///
    /// Security groups are then checked only for traffic that leaves the node.
    ///
    /// ## When it fires
    ///
    /// Pods have branches in strict mode, and one of these is there: a DaemonSet of `NodeLocal DNSCache`, `mode: ipvs`
    /// in ConfigMap `kube-proxy-config`, a Service with `externalTrafficPolicy: Local` or a NetworkPolicy that selects
    /// such a pod. One finding for each object.
    pub StrictModeConflict;
    code: "IPAM322",
    name: "strict-mode-conflict",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [Nodes, Pods, AwsNode],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    if strict::pods(facts).next().is_none() {
        return;
    }
    let objects = &facts.snapshot.objects;
    dns_cache(objects, found);
    proxy(objects, found);
    let templates = strict::templates(facts);
    let selects = |namespace: &str, selector: &Selector| {
        let matches = |traits: &&PodTraits| selector.matches(&traits.labels);
        templates.get(namespace).is_some_and(|templates| templates.iter().any(matches))
    };
    match objects.services.value() {
        None => found.lacks(Source::Services),
        Some(services) => {
            let local = services.iter().filter(|service| service.local_traffic);
            for service in local {
                if service.selector.as_ref().is_some_and(|selector| selects(&service.namespace, selector)) {
                    let name = format!("{}/{}", service.namespace, service.name);
                    let state = "keeps external traffic local and selects pods with a branch, which it does not reach";
                    report(found, "Service", name, state);
                }
            }
        }
    }
    match objects.network_policies.value() {
        None => found.lacks(Source::NetworkPolicies),
        Some(policies) => {
            for policy in policies.iter().filter(|policy| selects(&policy.namespace, &policy.pods)) {
                let name = format!("{}/{}", policy.namespace, policy.name);
                report(found, "NetworkPolicy", name, "selects pods with a branch, for which it is not enforced");
            }
        }
    }
}

fn dns_cache(objects: &ClusterObjects, found: &mut Violations<'_>) {
    let is_cache = |set: &&Workload| {
        &*set.name == "node-local-dns" || set.images.iter().any(|image| image.contains("k8s-dns-node-cache"))
    };
    match objects.daemon_sets.value() {
        None => found.lacks(Source::DaemonSets),
        Some(sets) => {
            for set in sets.iter().filter(is_cache) {
                let name = format!("{}/{}", set.namespace, set.name);
                report(found, "DaemonSet", name, "is a DNS cache on the node, which pods with a branch do not reach");
            }
        }
    }
}

fn proxy(objects: &ClusterObjects, found: &mut Violations<'_>) {
    match objects.config_maps.value() {
        None => found.lacks(Source::ConfigMaps),
        Some(maps) => {
            if maps.iter().any(|map| &*map.name == PROXY_CONFIG && uses_ipvs(map)) {
                let name = format!("kube-system/{PROXY_CONFIG}");
                report(found, "ConfigMap", name, "sets kube-proxy to IPVS, which pods with a branch cannot use");
            }
        }
    }
}

/// Whether a line of the configuration says so: it is YAML, and the only key `mode` on the outermost level.
fn uses_ipvs(map: &ConfigMap) -> bool {
    let lines = map.data.iter().flat_map(|(_, text)| text.lines());
    let mode = lines.filter_map(|line| line.strip_prefix("mode:"));
    mode.map(|value| value.trim().trim_matches(['"', '\''])).any(|value| value == "ipvs")
}

fn report(found: &mut Violations<'_>, kind: &'static str, name: String, state: &str) {
    let violation = sink::Violation {
        severity: Severity::Warning,
        message: format!("{kind} {name} {state} in strict mode"),
        remediation: "Set POD_SECURITY_GROUP_ENFORCING_MODE=standard on aws-node and replace pods with branches."
            .to_owned(),
        evidence: Vec::new(),
    };
    found.subject(Subject::Object(kind, name.into()), violation);
}

#[cfg(test)]
mod tests {
    use crate::{
        outcome::RuleAnswer,
        snapshot::{ClusterSnapshot, ConfigMap, NetworkPolicy, Service, Workload},
        source::Source,
        tests::branches::*,
    };

    fn strict() -> ClusterSnapshot {
        let mut snapshot = cluster("m5.large", 1);
        branch_pod(&mut snapshot, 0, "db-1");
        set_env(&mut snapshot, "POD_SECURITY_GROUP_ENFORCING_MODE", "strict");
        snapshot
    }

    fn add_all(snapshot: &mut ClusterSnapshot, app: &str) {
        edit(&mut snapshot.objects.daemon_sets).push(Workload {
            namespace: "kube-system".into(),
            name: "node-local-dns".into(),
            images: Box::default(),
            env: std::sync::Arc::default(),
            replicas: None,
        });
        edit(&mut snapshot.objects.config_maps).push(ConfigMap {
            name: "kube-proxy-config".into(),
            data: [("config".into(), "kind: KubeProxyConfiguration\nmode: \"ipvs\"\n".into())].into(),
        });
        edit(&mut snapshot.objects.services).push(Service {
            namespace: "shop".into(),
            name: "db".into(),
            cluster_address: None,
            local_traffic: true,
            selector: Some(selector(app)),
        });
        edit(&mut snapshot.objects.network_policies).push(NetworkPolicy {
            namespace: "shop".into(),
            name: "db".into(),
            pods: selector(app),
        });
    }

    #[test]
    fn each_object_that_cannot_work_is_named() {
        let mut snapshot = strict();
        assert_eq!(answer(&snapshot, "IPAM322"), RuleAnswer::Passed);
        add_all(&mut snapshot, "db");
        let mut found = messages(&snapshot, "IPAM322");
        found.sort();
        assert_eq!(
            found,
            [
                "ConfigMap kube-system/kube-proxy-config sets kube-proxy to IPVS, which pods with a branch cannot use in \
                 strict mode",
                "DaemonSet kube-system/node-local-dns is a DNS cache on the node, which pods with a branch do not reach in \
                 strict mode",
                "NetworkPolicy shop/db selects pods with a branch, for which it is not enforced in strict mode",
                "Service shop/db keeps external traffic local and selects pods with a branch, which it does not reach in \
                 strict mode",
            ]
        );
    }

    #[test]
    fn standard_mode_and_other_pods_are_no_conflict() {
        let mut snapshot = strict();
        add_all(&mut snapshot, "web");
        assert_eq!(findings(&snapshot, "IPAM322").len(), 2, "service and network policy select other pods");
        set_env(&mut snapshot, "POD_SECURITY_GROUP_ENFORCING_MODE", "standard");
        assert_eq!(answer(&snapshot, "IPAM322"), RuleAnswer::Passed);
    }

    #[test]
    fn objects_that_were_not_read_are_named() {
        let mut snapshot = strict();
        snapshot.objects.services = missing();
        let lacks = RuleAnswer::Inconclusive { missing: vec![Source::Services], suspects: 0 };
        assert_eq!(answer(&snapshot, "IPAM322"), lacks);
    }
}
