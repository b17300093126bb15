//! IPAM601: settings of the address family with which ipamd does not start.

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
    /// The CNI's address family is not set, set twice, or set with options that it excludes.
    ///
    /// ## What it means
    ///
    /// ipamd refuses to start unless exactly one of `ENABLE_IPv4` and `ENABLE_IPv6` is `true`. IPv6 needs prefix
    /// delegation and excludes custom networking. Each `aws-node` pod that starts with such settings ends at once and
    /// is started again, for ever; its node never becomes ready, or gives no new addresses.
    ///
    /// ## Why it happens
    ///
    /// The variables exist since 1.10.0. An upgrade from an older version that changes only the image leaves
    /// `ENABLE_IPv4` out. Values such as `yes` or `on` are not understood and count as false.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get daemonset aws-node -n kube-system -o jsonpath='{range .spec.template.spec.containers[?(@.name=="aws-node")].env[*]}{.name}={.value}{"\n"}{end}' | grep -E 'ENABLE_IPv[46]|PREFIX_DELEGATION|CUSTOM_NETWORK'
    /// kubectl get pods -n kube-system -l k8s-app=aws-node
    /// ```
    ///
    /// ## What to do
    ///
    /// Set the family that the cluster was made with; it cannot be changed later. With the EKS add-on, set the value in
    /// its configuration (`aws eks update-addon --configuration-values`): a change of the DaemonSet alone is undone by
    /// the next update of the add-on.
    ///
    /// ## What it costs
    ///
    /// A restart of each `aws-node` pod. Running pods keep their addresses.
    ///
    /// ## When it fires
    ///
    /// Version 1.10.0 or newer, or a version that the image does not tell, and: neither family is on, both are on, or
    /// IPv6 is on together with custom networking or without prefix delegation. Critical.
    pub AddressFamilyInvalid;
    code: "IPAM601",
    name: "address-family-invalid",
    severity: Critical,
    condition: ConfigurationConsistent,
    sources: [AwsNode],
    check: check,
}

const NEEDS: &[&str] =
    &["ENABLE_IPv4", "ENABLE_IPv6", "ENABLE_PREFIX_DELEGATION", "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG"];
/// The first version that wants to be told the family.
const FAMILIES: CniVersion = CniVersion::new(1, 10, 0);

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    environment::each(facts, found, NEEDS, refusal);
}

fn refusal(environment: &Environment<'_>) -> Option<Violation> {
    let config = environment.config();
    let (ipv4, ipv6) = (config.ipv4.value_or(false), config.ipv6.value_or(false));
    let prefixes = config.prefix_delegation.value_or(false);
    let (state, settings) = match (ipv4, ipv6) {
        _ if environment.version() < FAMILIES => return None,
        (false, false) => ("has neither ENABLE_IPv4 nor ENABLE_IPv6 on", "ENABLE_IPv4=true"),
        (true, true) => ("has both ENABLE_IPv4 and ENABLE_IPv6 on", "ENABLE_IPv6=false"),
        (false, true) if config.custom_networking.value_or(false) => (
            "has ENABLE_IPv6 on together with custom networking, which knows IPv4 only",
            "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG=false",
        ),
        (false, true) if !prefixes => {
            ("has ENABLE_IPv6 on without ENABLE_PREFIX_DELEGATION, which IPv6 needs", "ENABLE_PREFIX_DELEGATION=true")
        }
        _ => return None,
    };
    let families = format!("{ipv4}/{ipv6}");
    Some(Violation {
        severity: Severity::Critical,
        message: format!("{} {state}: with these settings aws-node does not start", environment.who()),
        remediation: format!("Run `{}`.", environment.installation.set_env(settings)),
        evidence: vec![sink::evidence("ipv4AndIpv6", families), sink::evidence("prefixDelegation", prefixes)],
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        tests::configuration::{self as cluster, answer, is_inconclusive, only},
    };

    const CODE: &str = "IPAM601";

    #[test]
    fn exactly_one_family_must_be_on() {
        let neither = only(&cluster::with(&[("ENABLE_IPv4", "yes")]), CODE);
        assert_eq!(neither.severity, Severity::Critical);
        assert_eq!(
            neither.message,
            "kube-system/aws-node has neither ENABLE_IPv4 nor ENABLE_IPv6 on: with these settings aws-node does not start"
        );
        assert!(neither.remediation.contains("kubectl set env daemonset/aws-node -n kube-system ENABLE_IPv4=true"));
        assert!(only(&cluster::with(&[("ENABLE_IPv6", "true")]), CODE).message.contains("both ENABLE_IPv4"));
        let alone = [("ENABLE_IPv4", "false"), ("ENABLE_IPv6", "true")];
        assert!(only(&cluster::with(&alone), CODE).message.contains("without ENABLE_PREFIX_DELEGATION"));
    }

    #[test]
    fn a_valid_family_and_an_old_version_are_left_alone() {
        let ipv6 = [("ENABLE_IPv4", "false"), ("ENABLE_IPv6", "true"), ("ENABLE_PREFIX_DELEGATION", "true")];
        assert!(cluster::found(&cluster::with(&ipv6), CODE).is_empty());
        let mut old = cluster::with(&[("ENABLE_IPv4", "")]);
        cluster::run_version(&mut old, "v1.9.3");
        assert!(cluster::found(&old, CODE).is_empty());
    }

    #[test]
    fn an_unread_variable_leaves_it_open() {
        let mut snapshot = cluster::with(&[]);
        cluster::unread(&mut snapshot, "ENABLE_IPv4");
        assert!(is_inconclusive(&answer(&snapshot, CODE)));
    }
}
