//! IPAM643: a CNI without metrics.

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
    /// The CNI's own metrics are switched off.
    ///
    /// ## What it means
    ///
    /// What only ipamd knows (its view of its pool, refused calls of EC2, addresses that cool down) can be read
    /// nowhere. The audit does without; a person who looks for a cause cannot.
    ///
    /// ## Why it happens
    ///
    /// `DISABLE_METRICS` was set to close port 61678 on the nodes.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get daemonset aws-node -n kube-system -o jsonpath='{range .spec.template.spec.containers[?(@.name=="aws-node")].env[*]}{.name}={.value}{"\n"}{end}' | grep DISABLE_METRICS
    /// ```
    ///
    /// ## What to do
    ///
    /// Remove the variable, or keep the port closed by a security group instead.
    ///
    /// ## What it costs
    ///
    /// An open port on each node's own address.
    ///
    /// ## When it fires
    ///
    /// `DISABLE_METRICS` is on. Information.
    pub MetricsOff;
    code: "IPAM643",
    name: "metrics-off",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [AwsNode],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    environment::each(facts, found, &["DISABLE_METRICS"], off);
}

fn off(environment: &Environment<'_>) -> Option<Violation> {
    environment.variant.is_on("DISABLE_METRICS").then(|| Violation {
        severity: Severity::Info,
        message: format!("{} has DISABLE_METRICS on: refused calls of EC2 can be seen nowhere", environment.who()),
        remediation: format!("Run `{}`.", environment.installation.set_env("DISABLE_METRICS-")),
        evidence: vec![sink::evidence("variable", "DISABLE_METRICS")],
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        tests::configuration::{self as cluster, answer, is_inconclusive, only},
    };

    const CODE: &str = "IPAM643";

    #[test]
    fn metrics_that_are_off_are_told() {
        let finding = only(&cluster::with(&[("DISABLE_METRICS", "1")]), CODE);
        assert_eq!(finding.severity, Severity::Info);
        assert!(finding.message.starts_with("kube-system/aws-node has DISABLE_METRICS on"), "{}", finding.message);
    }

    #[test]
    fn the_default_and_what_is_not_understood_are_left_alone() {
        for value in ["false", "yes", ""] {
            assert!(cluster::found(&cluster::with(&[("DISABLE_METRICS", value)]), CODE).is_empty(), "{value}");
        }
    }

    #[test]
    fn an_unread_switch_leaves_it_open() {
        let mut snapshot = cluster::with(&[]);
        cluster::unread(&mut snapshot, "DISABLE_METRICS");
        assert!(is_inconclusive(&answer(&snapshot, CODE)));
    }
}
