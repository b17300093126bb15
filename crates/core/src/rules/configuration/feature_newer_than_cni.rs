//! IPAM620: a setting of a later version.

use crate::{
    cni::{CniVersion, Variable},
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
    /// A setting is in use that the installed version of the CNI does not know, or does not support.
    ///
    /// ## What it means
    ///
    /// The CNI ignores variables that came with a later version. The feature that the manifest asks for is not there,
    /// and nothing says so.
    ///
    /// ## Why it happens
    ///
    /// The manifest was updated, or an image pinned to an older version; or an old version was given the settings of a
    /// newer guide.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get daemonset aws-node -n kube-system -o jsonpath='{range .spec.template.spec.containers[?(@.name=="aws-node")].env[*]}{.name}={.value}{"\n"}{end}'
    /// kubectl get daemonset aws-node -n kube-system -o jsonpath='{.spec.template.spec.containers[*].image}{"\n"}{.spec.template.spec.initContainers[*].image}{"\n"}'
    /// ```
    ///
    /// ## What to do
    ///
    /// Update the CNI to the version that the finding names, one minor version at a time.
    ///
    /// ## What it costs
    ///
    /// An update of the CNI: a restart of each `aws-node` pod.
    ///
    /// ## When it fires
    ///
    /// The version is known, and a variable has a value other than its default although it came with a later version;
    /// or security groups for pods are on with IPv6 before 1.16.0. Warning.
    pub FeatureNewerThanCni;
    code: "IPAM620",
    name: "feature-newer-than-cni",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [AwsNode],
    check: check,
}

/// The first version with security groups for pods on IPv6.
const IPV6_TRUNKS: CniVersion = CniVersion::new(1, 16, 0);

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    environment::each(facts, found, &["ENABLE_POD_ENI", "ENABLE_IPv6"], newer);
}

fn newer(environment: &Environment<'_>) -> Option<Violation> {
    let version = environment.variant.cni.known_version()?;
    let mut wanting: Vec<(String, CniVersion)> = environment
        .variant
        .env
        .values
        .keys()
        .filter_map(|name| {
            let variable = Variable::find(name)?;
            let since = variable.since.filter(|since| version < *since)?;
            let value = environment.variant.text(name).filter(|value| variable.asks_for_more(value))?;
            Some((format!("{name}={value}"), since))
        })
        .collect();
    let config = environment.config();
    if config.pod_eni.value_or(false) && config.ipv6.value_or(false) && version < IPV6_TRUNKS {
        wanting.push(("ENABLE_POD_ENI with ENABLE_IPv6".to_owned(), IPV6_TRUNKS));
    }
    let needed = wanting.iter().map(|(_, since)| *since).max()?;
    let listed: Vec<String> = wanting.iter().map(|(what, since)| format!("{what} (since {since})")).collect();
    Some(Violation {
        severity: Severity::Warning,
        message: format!(
            "{} runs {version}, which does not support {}",
            environment.who(),
            text::list(&listed, "and", 4)
        ),
        remediation: format!("Update the CNI to {needed} or newer."),
        evidence: vec![sink::evidence("version", version), sink::evidence("needed", needed)],
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        tests::configuration::{self as cluster, answer, is_inconclusive, only, run_version},
    };

    const CODE: &str = "IPAM620";

    #[test]
    fn the_version_that_brings_a_feature_is_named() {
        let mut snapshot = cluster::with(&[("ENABLE_PREFIX_DELEGATION", "true"), ("ENABLE_MULTI_NIC", "true")]);
        run_version(&mut snapshot, "v1.19.6-eksbuild.1");
        let finding = only(&snapshot, CODE);
        assert_eq!(finding.severity, Severity::Warning);
        assert_eq!(
            finding.message,
            "kube-system/aws-node runs 1.19.6, which does not support ENABLE_MULTI_NIC=true (since 1.20.0)"
        );
        assert_eq!(finding.remediation, "Update the CNI to 1.20.0 or newer.");
        let ipv6 = [("ENABLE_IPv4", "false"), ("ENABLE_IPv6", "true"), ("ENABLE_POD_ENI", "true")];
        let mut trunks = cluster::with(&ipv6);
        run_version(&mut trunks, "v1.15.5");
        assert!(only(&trunks, CODE).message.contains("ENABLE_POD_ENI with ENABLE_IPv6 (since 1.16.0)"));
    }

    #[test]
    fn defaults_and_unknown_versions_are_left_alone() {
        let mut shipped = cluster::with(&[("ENABLE_SUBNET_DISCOVERY", "false"), ("ENABLE_MULTI_NIC", "false")]);
        run_version(&mut shipped, "v1.15.5");
        assert!(cluster::found(&shipped, CODE).is_empty());
        let mut unknown = cluster::with(&[("ENABLE_MULTI_NIC", "true")]);
        run_version(&mut unknown, "latest");
        assert!(cluster::found(&unknown, CODE).is_empty());
    }

    #[test]
    fn without_the_daemon_set_it_cannot_tell() {
        assert!(is_inconclusive(&answer(&cluster::without_daemon_set(), CODE)));
    }
}
