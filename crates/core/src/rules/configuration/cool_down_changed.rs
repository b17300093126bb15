//! IPAM614: an unusual cool-down.

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
    text,
};

rule! {
    /// Freed addresses cool down for a time that is not the usual 30 seconds.
    ///
    /// ## What it means
    ///
    /// A freed address is kept back for `IP_COOLDOWN_PERIOD`, so that nothing talks to the old pod's address any more
    /// when a new pod gets it. A short time lets traffic of the old pod reach a new one; a long time keeps addresses
    /// back that the CNI nevertheless counts as warm, so a busy node runs out while its pool looks sized.
    ///
    /// ## Why it happens
    ///
    /// The value was lowered to have addresses back sooner, or raised after a report of crossed traffic.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get daemonset aws-node -n kube-system -o jsonpath='{range .spec.template.spec.containers[?(@.name=="aws-node")].env[*]}{.name}={.value}{"\n"}{end}' | grep IP_COOLDOWN_PERIOD
    /// ```
    ///
    /// ## What to do
    ///
    /// Remove the variable: 30 seconds cover the time in which kube-proxy forgets a pod. More addresses come from
    /// `WARM_IP_TARGET` and `MINIMUM_IP_TARGET`. With the EKS add-on, set the value in its configuration (`aws eks
    /// update-addon --configuration-values`): a change of the DaemonSet alone is undone by the next update of the
    /// add-on.
    ///
    /// ## What it costs
    ///
    /// A few more warm addresses on nodes with much churn.
    ///
    /// ## When it fires
    ///
    /// The version knows the variable (1.15.0 and newer) and it is below 30: warning; above 300: information.
    pub CoolDownChanged;
    code: "IPAM614",
    name: "cool-down-changed",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [AwsNode],
    check: check,
}

/// The first version that knows the variable.
const KNOWS: CniVersion = CniVersion::new(1, 15, 0);
const USUAL: i64 = 30;
const LONG: i64 = 300;

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    environment::each(facts, found, &["IP_COOLDOWN_PERIOD"], unusual);
}

fn unusual(environment: &Environment<'_>) -> Option<Violation> {
    let seconds = environment.config().ip_cooldown.value()?;
    let known = environment.version() >= KNOWS && !environment.variant.cni.is_ipv6();
    let (severity, consequence) = match seconds {
        _ if !known => return None,
        0 => (Severity::Warning, "a new pod can get the address of one that just ended, with its traffic"),
        ..USUAL => (Severity::Warning, "traffic for a pod that just ended can reach a new one"),
        _ if seconds > LONG => (Severity::Info, "freed addresses stay back and still count as warm"),
        _ => return None,
    };
    let shown = text::count(u32::try_from(seconds).unwrap_or(u32::MAX), "second");
    Some(Violation {
        severity,
        message: format!("{} lets freed addresses cool down for {shown}: {consequence}", environment.who()),
        remediation: format!(
            "Run `{}`: {USUAL} seconds are the default.",
            environment.installation.set_env("IP_COOLDOWN_PERIOD-"),
        ),
        evidence: vec![sink::evidence("seconds", seconds)],
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        tests::configuration::{self as cluster, answer, is_inconclusive, only},
    };

    const CODE: &str = "IPAM614";

    #[test]
    fn too_short_and_too_long_are_told_apart() {
        let short = only(&cluster::with(&[("IP_COOLDOWN_PERIOD", "10")]), CODE);
        assert_eq!(
            (short.severity, short.message.as_str()),
            (
                Severity::Warning,
                "kube-system/aws-node lets freed addresses cool down for 10 seconds: traffic for a pod that just ended can \
                 reach a new one"
            )
        );
        assert!(only(&cluster::with(&[("IP_COOLDOWN_PERIOD", "0")]), CODE).message.contains("0 seconds: a new pod"));
        assert_eq!(only(&cluster::with(&[("IP_COOLDOWN_PERIOD", "600")]), CODE).severity, Severity::Info);
    }

    #[test]
    fn usual_values_and_old_versions_are_left_alone() {
        for seconds in ["30", "60", "300"] {
            assert!(cluster::found(&cluster::with(&[("IP_COOLDOWN_PERIOD", seconds)]), CODE).is_empty(), "{seconds}");
        }
        let mut old = cluster::with(&[("IP_COOLDOWN_PERIOD", "0")]);
        cluster::run_version(&mut old, "v1.14.1");
        assert!(cluster::found(&old, CODE).is_empty());
    }

    #[test]
    fn an_unread_value_leaves_it_open() {
        let mut snapshot = cluster::with(&[]);
        cluster::unread(&mut snapshot, "IP_COOLDOWN_PERIOD");
        assert!(is_inconclusive(&answer(&snapshot, CODE)));
    }
}
