//! IPAM642: a CNI that takes no addresses itself.

use crate::{
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
    /// The CNI takes no addresses itself: it uses what others attach.
    ///
    /// ## What it means
    ///
    /// ipamd creates no interface and asks for no address. Targets of the warm pool have no effect, and nodes run out
    /// of addresses when whoever attaches them does not attach enough. Pools are not judged on such nodes.
    ///
    /// ## Why it happens
    ///
    /// `DISABLE_NETWORK_RESOURCE_PROVISIONING` or `ENABLE_IMDS_ONLY_MODE` was set, for nodes whose interfaces are
    /// managed elsewhere.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get daemonset aws-node -n kube-system -o jsonpath='{range .spec.template.spec.containers[?(@.name=="aws-node")].env[*]}{.name}={.value}{"\n"}{end}' | grep -E 'PROVISIONING|IMDS_ONLY'
    /// ```
    ///
    /// ## What to do
    ///
    /// Confirm that it is meant. Otherwise remove the variable.
    ///
    /// ## What it costs
    ///
    /// Nothing.
    ///
    /// ## When it fires
    ///
    /// One of the two is on in a version that knows it. Information.
    pub ProvisioningOff;
    code: "IPAM642",
    name: "provisioning-off",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [AwsNode],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    environment::each(facts, found, &["DISABLE_NETWORK_RESOURCE_PROVISIONING", "ENABLE_IMDS_ONLY_MODE"], off);
}

fn off(environment: &Environment<'_>) -> Option<Violation> {
    let config = environment.config();
    if !config.adopts_only(environment.version()) || environment.variant.cni.is_ipv6() {
        return None;
    }
    let by = if config.sees_metadata_only(environment.version()) {
        "ENABLE_IMDS_ONLY_MODE"
    } else {
        "DISABLE_NETWORK_RESOURCE_PROVISIONING"
    };
    Some(Violation {
        severity: Severity::Info,
        message: format!(
            "{} takes no addresses itself ({by}): the targets of its warm pool have no effect",
            environment.who()
        ),
        remediation: format!(
            "Confirm that something else attaches addresses, or run `{}`.",
            environment.installation.set_env(&format!("{by}-"))
        ),
        evidence: vec![sink::evidence("variable", by)],
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        tests::configuration::{self as cluster, answer, is_inconclusive, only},
    };

    const CODE: &str = "IPAM642";

    #[test]
    fn the_switch_is_named() {
        let finding = only(&cluster::with(&[("DISABLE_NETWORK_RESOURCE_PROVISIONING", "true")]), CODE);
        assert_eq!(finding.severity, Severity::Info);
        assert_eq!(
            finding.message,
            "kube-system/aws-node takes no addresses itself (DISABLE_NETWORK_RESOURCE_PROVISIONING): the targets of its warm \
             pool have no effect"
        );
        let metadata = only(&cluster::with(&[("ENABLE_IMDS_ONLY_MODE", "true")]), CODE);
        assert!(metadata.message.contains("ENABLE_IMDS_ONLY_MODE"), "{}", metadata.message);
    }

    #[test]
    fn a_version_that_does_not_know_it_is_left_alone() {
        let mut old = cluster::with(&[("ENABLE_IMDS_ONLY_MODE", "true")]);
        cluster::run_version(&mut old, "v1.19.5");
        assert!(cluster::found(&old, CODE).is_empty());
    }

    #[test]
    fn an_unread_switch_leaves_it_open() {
        let mut snapshot = cluster::with(&[]);
        cluster::unread(&mut snapshot, "ENABLE_IMDS_ONLY_MODE");
        assert!(is_inconclusive(&answer(&snapshot, CODE)));
    }
}
