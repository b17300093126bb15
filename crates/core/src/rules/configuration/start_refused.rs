//! IPAM603: settings that the container refuses at its start.

use crate::{
    cni::{CniConfig, CniVersion, EntryPointRefusal, Setting},
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
    /// The CNI's container refuses its settings and does not start.
    ///
    /// ## What it means
    ///
    /// The entry point of the container, or ipamd after it, checks some variables and ends when a value is out of
    /// range. The pod is started again, for ever; new pods on its node get no address.
    ///
    /// ## Why it happens
    ///
    /// A value was mistyped or comes from another version's manifest: a cool-down that is no number, an MTU below 576,
    /// a prefix of interface names longer than four letters, an unknown mode.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get pods -n kube-system -l k8s-app=aws-node
    /// kubectl logs -n kube-system -l k8s-app=aws-node -c aws-node --tail=5 --previous
    /// ```
    ///
    /// ## What to do
    ///
    /// Correct the value that the finding names, or remove the variable. With the EKS add-on, set the value in its
    /// configuration (`aws eks update-addon --configuration-values`): a change of the DaemonSet alone is undone by the
    /// next update of the add-on.
    ///
    /// ## What it costs
    ///
    /// A restart of each `aws-node` pod.
    ///
    /// ## When it fires
    ///
    /// The checks of the installed version refuse a value: `IP_COOLDOWN_PERIOD`, `AWS_VPC_ENI_MTU`, `POD_MTU`,
    /// `AWS_VPC_K8S_CNI_VETHPREFIX`, `AWS_VPC_K8S_PLUGIN_LOG_FILE`, `POD_SECURITY_GROUP_ENFORCING_MODE` with
    /// `ENABLE_POD_ENI`, `NETWORK_POLICY_ENFORCING_MODE`. Critical. The address family is IPAM601, targets of prefix
    /// delegation are IPAM602.
    pub StartRefused;
    code: "IPAM603",
    name: "start-refused",
    severity: Critical,
    condition: ConfigurationConsistent,
    sources: [AwsNode],
    check: check,
}

const NEEDS: &[&str] = &[
    "AWS_VPC_K8S_CNI_VETHPREFIX",
    "AWS_VPC_K8S_PLUGIN_LOG_FILE",
    "AWS_VPC_ENI_MTU",
    "ENABLE_POD_ENI",
    "IP_COOLDOWN_PERIOD",
    "NETWORK_POLICY_ENFORCING_MODE",
    "POD_MTU",
    "POD_SECURITY_GROUP_ENFORCING_MODE",
];
/// The first version that looks at the mode of network policies, and the first that minds an empty one.
const POLICY_MODE: [CniVersion; 2] = [CniVersion::new(1, 17, 1), CniVersion::new(1, 19, 5)];

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    environment::each(facts, found, NEEDS, refusal);
}

fn refusal(environment: &Environment<'_>) -> Option<Violation> {
    let refusals = environment.config().entry_point_refusals(environment.version());
    let mut refused: Vec<(&str, String)> = refusals
        .into_iter()
        .filter_map(|refusal| Some((culprit(refusal, environment.config())?, refusal.to_string())))
        .collect();
    if refuses_policy_mode(environment) {
        let name = "NETWORK_POLICY_ENFORCING_MODE";
        refused.push((name, format!("{name} must be `none`, `strict` or `standard`")));
    }
    let (name, _) = *refused.first()?;
    let reasons: Vec<&str> = refused.iter().map(|(_, reason)| reason.as_str()).collect();
    let written = environment.variant.text(name).unwrap_or_default();
    Some(Violation {
        severity: Severity::Critical,
        message: format!("{} does not start: {}", environment.who(), reasons.join("; ")),
        remediation: format!(
            "Correct the value, or remove it with `{}` to have the default.",
            environment.installation.set_env(&format!("{name}-")),
        ),
        evidence: vec![sink::evidence("variable", name), sink::evidence("value", format!("`{written}`"))],
    })
}

/// The variable that a refusal is about; none for targets of prefix delegation, which are another rule's.
fn culprit(refusal: EntryPointRefusal, config: &CniConfig) -> Option<&'static str> {
    let own_mtu = config.eni_mtu.raw().is_some() && config.pod_mtu.raw().is_none();
    match refusal {
        EntryPointRefusal::PluginLogFile => Some("AWS_VPC_K8S_PLUGIN_LOG_FILE"),
        EntryPointRefusal::VethPrefix => Some("AWS_VPC_K8S_CNI_VETHPREFIX"),
        EntryPointRefusal::EnforcingMode => Some("POD_SECURITY_GROUP_ENFORCING_MODE"),
        EntryPointRefusal::IpCooldown => Some("IP_COOLDOWN_PERIOD"),
        EntryPointRefusal::Mtu if own_mtu || is_no_mtu(&config.eni_mtu) => Some("AWS_VPC_ENI_MTU"),
        EntryPointRefusal::Mtu => Some("POD_MTU"),
        EntryPointRefusal::PrefixTargets => None,
    }
}

/// Whether a value is an MTU for neither address family.
fn is_no_mtu(mtu: &Setting<i64>) -> bool {
    mtu.is_invalid() || mtu.value().is_some_and(|value| !(576..=9001).contains(&value))
}

fn refuses_policy_mode(environment: &Environment<'_>) -> bool {
    let Setting::Invalid { raw } = &environment.config().network_policy_mode else { return false };
    let [any, empty] = POLICY_MODE;
    environment.version() >= if raw.is_empty() { empty } else { any }
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        tests::configuration::{self as cluster, answer, is_inconclusive, only},
    };

    const CODE: &str = "IPAM603";

    #[test]
    fn a_refused_value_is_named() {
        let finding = only(&cluster::with(&[("IP_COOLDOWN_PERIOD", "30s")]), CODE);
        assert_eq!(finding.severity, Severity::Critical);
        assert_eq!(
            finding.message,
            "kube-system/aws-node does not start: IP_COOLDOWN_PERIOD must be a whole number of seconds, 0 or more"
        );
        assert!(finding.remediation.contains("IP_COOLDOWN_PERIOD-"), "{}", finding.remediation);
        let both = only(&cluster::with(&[("POD_MTU", "90"), ("NETWORK_POLICY_ENFORCING_MODE", "on")]), CODE);
        assert!(both.message.contains("POD_MTU") && both.message.contains("`none`, `strict`"), "{}", both.message);
        assert!(both.remediation.contains("POD_MTU-"), "{}", both.remediation);
    }

    #[test]
    fn what_a_version_does_not_check_is_left_alone() {
        assert!(cluster::found(&cluster::with(&[("NETWORK_POLICY_ENFORCING_MODE", "Standard")]), CODE).is_empty());
        let mut old = cluster::with(&[("IP_COOLDOWN_PERIOD", "30s"), ("NETWORK_POLICY_ENFORCING_MODE", "on")]);
        cluster::run_version(&mut old, "v1.14.1");
        assert!(cluster::found(&old, CODE).is_empty());
    }

    #[test]
    fn an_unread_variable_leaves_it_open() {
        let mut snapshot = cluster::with(&[]);
        cluster::unread(&mut snapshot, "IP_COOLDOWN_PERIOD");
        assert!(is_inconclusive(&answer(&snapshot, CODE)));
    }
}
