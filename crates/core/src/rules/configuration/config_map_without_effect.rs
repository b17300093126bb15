//! IPAM652: a ConfigMap that the CNI does not read.

use crate::{
    facts::{Facts, installation::Variant},
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{
        Violations,
        sink::{self, Violation},
    },
    snapshot::{ConfigMap, Platform},
    text,
};

rule! {
    /// A ConfigMap looks like it sets the CNI's warm pool, and does not.
    ///
    /// ## What it means
    ///
    /// The CNI on Linux nodes reads the environment of its DaemonSet and no ConfigMap. The keys `warm-ip-target`,
    /// `minimum-ip-target` and `warm-prefix-target` of `amazon-vpc-cni` are for Windows nodes; a ConfigMap `aws-node`
    /// is read by nobody. Changes there leave every pool as it is.
    ///
    /// ## Why it happens
    ///
    /// The names suggest it, and some guides say so.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get configmap amazon-vpc-cni aws-node -n kube-system -o yaml
    /// kubectl get daemonset aws-node -n kube-system -o jsonpath='{range .spec.template.spec.containers[?(@.name=="aws-node")].env[*]}{.name}={.value}{"\n"}{end}' | grep _TARGET
    /// ```
    ///
    /// ## What to do
    ///
    /// Set `WARM_IP_TARGET`, `MINIMUM_IP_TARGET` or `WARM_PREFIX_TARGET` in the DaemonSet or the add-on's
    /// configuration, and put the ConfigMap back to what is shipped. With the EKS add-on, set the value in its
    /// configuration (`aws eks update-addon --configuration-values`): a change of the DaemonSet alone is undone by the
    /// next update of the add-on.
    ///
    /// ## What it costs
    ///
    /// Nothing.
    ///
    /// ## When it fires
    ///
    /// A key of `amazon-vpc-cni` differs from what is shipped and the cluster has no Windows nodes; or a ConfigMap
    /// `aws-node` exists none of whose values the DaemonSet takes over. Information.
    pub ConfigMapWithoutEffect;
    code: "IPAM652",
    name: "config-map-without-effect",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [Nodes, AwsNode, ConfigMaps],
    check: check,
}

/// Keys for Windows and the values that they are shipped with.
const FOR_WINDOWS: [(&str, &str); 3] =
    [("warm-ip-target", "1"), ("minimum-ip-target", "3"), ("warm-prefix-target", "0")];

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let (Some(installation), Some(maps)) = (&facts.installation, facts.snapshot.objects.config_maps.value()) else {
        return;
    };
    let named = |name: &str| maps.iter().find(|map| *map.name == *name);
    if let Some(map) = named("amazon-vpc-cni").filter(|_| !has_windows(facts)) {
        let changed: Vec<String> = FOR_WINDOWS
            .iter()
            .filter_map(|(key, shipped)| Some((key, map.get(key)?)).filter(|(_, value)| value.trim() != *shipped))
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        if !changed.is_empty() {
            let state = format!("sets {} for Windows nodes, of which there are none", text::list(&changed, "and", 3));
            report(found, map, &state, &installation.set_env("WARM_IP_TARGET=… MINIMUM_IP_TARGET=…"));
        }
    }
    let imported = |map: &&ConfigMap| installation.template().is_some_and(|template| takes_over(template, map));
    if let Some(map) = named("aws-node").filter(|map| !imported(map)) {
        report(found, map, "is read by nobody", &installation.set_env("NAME=VALUE"));
    }
}

fn has_windows(facts: &Facts<'_>) -> bool {
    facts.snapshot.nodes.value().into_iter().flatten().any(|node| node.platform == Platform::Windows)
}

/// Whether the DaemonSet has a value of the ConfigMap, which it then imports.
fn takes_over(template: &Variant<'_>, map: &ConfigMap) -> bool {
    map.data.iter().any(|(key, value)| template.text(key) == Some(&**value))
}

fn report(found: &mut Violations<'_>, map: &ConfigMap, state: &str, command: &str) {
    let name = format!("kube-system/{}", map.name);
    let violation = Violation {
        severity: Severity::Info,
        message: format!("ConfigMap {name} {state}: it changes no warm pool"),
        remediation: format!("Set the variables of the DaemonSet instead: `{command}`."),
        evidence: vec![sink::evidence("keys", map.data.len())],
    };
    found.subject(Subject::Object("ConfigMap", name.into()), violation);
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        tests::configuration::{self as cluster, answer, is_inconclusive, only},
    };

    const CODE: &str = "IPAM652";

    use std::sync::Arc;

    use crate::{
        snapshot::{ClusterSnapshot, ConfigMap, Platform},
        source::Reading,
        tests::fixtures::now,
    };

    fn with_map(name: &str, data: &[(&str, &str)]) -> ClusterSnapshot {
        let mut snapshot = cluster::with(&[("WARM_IP_TARGET", "5"), ("MINIMUM_IP_TARGET", "9")]);
        let data = data.iter().map(|(key, value)| (Arc::from(*key), Arc::from(*value))).collect();
        snapshot.objects.config_maps = Reading::fresh(vec![ConfigMap { name: name.into(), data }], now());
        snapshot
    }

    #[test]
    fn keys_for_windows_change_no_pool() {
        let finding = only(&with_map("amazon-vpc-cni", &[("minimum-ip-target", "3"), ("warm-ip-target", "10")]), CODE);
        assert_eq!((finding.severity, finding.subject.name()), (Severity::Info, "kube-system/amazon-vpc-cni"));
        assert_eq!(
            finding.message,
            "ConfigMap kube-system/amazon-vpc-cni sets warm-ip-target=10 for Windows nodes, of which there are none: it \
             changes no warm pool"
        );
        let own = only(&with_map("aws-node", &[("WARM_IP_TARGET", "2")]), CODE);
        assert_eq!(own.message, "ConfigMap kube-system/aws-node is read by nobody: it changes no warm pool");
    }

    #[test]
    fn shipped_values_windows_nodes_and_imports_are_left_alone() {
        let shipped = [("warm-ip-target", "1"), ("minimum-ip-target", "3"), ("branch-eni-cooldown", "30")];
        assert!(cluster::found(&with_map("amazon-vpc-cni", &shipped), CODE).is_empty());
        let mut windows = with_map("amazon-vpc-cni", &[("warm-ip-target", "10")]);
        cluster::node(&mut windows, 1).platform = Platform::Windows;
        assert!(cluster::found(&windows, CODE).is_empty());
        assert!(cluster::found(&with_map("aws-node", &[("WARM_IP_TARGET", "5")]), CODE).is_empty());
    }

    #[test]
    fn without_config_maps_it_cannot_tell() {
        assert!(is_inconclusive(&answer(&cluster::with(&[]), CODE)));
    }
}
