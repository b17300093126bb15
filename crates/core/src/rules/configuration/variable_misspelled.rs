//! IPAM605: a variable that the CNI does not know.

use crate::{
    cni::Variable,
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
    /// A variable's name is close to one that the CNI knows, but is not it.
    ///
    /// ## What it means
    ///
    /// The CNI reads variables by their exact names and says nothing about others. The setting that was meant is not in
    /// force: its default is.
    ///
    /// ## Why it happens
    ///
    /// `ENABLE_IPV4` for `ENABLE_IPv4`, `MIN_IP_TARGET` for `MINIMUM_IP_TARGET`, a letter too many. Kubernetes takes
    /// any name.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get daemonset aws-node -n kube-system -o jsonpath='{range .spec.template.spec.containers[?(@.name=="aws-node")].env[*]}{.name}={.value}{"\n"}{end}'
    /// ```
    ///
    /// ## What to do
    ///
    /// Set the variable under its right name and remove the wrong one. With the EKS add-on, set the value in its
    /// configuration (`aws eks update-addon --configuration-values`): a change of the DaemonSet alone is undone by the
    /// next update of the add-on.
    ///
    /// ## What it costs
    ///
    /// The setting that was meant comes into force with a restart of each `aws-node` pod: look at what it does first,
    /// `ipam-audit simulate` shows it for pool targets.
    ///
    /// ## When it fires
    ///
    /// A name that the CNI does not know equals a known one but for case and separators, has one of its words cut
    /// short, or differs by at most two letters. Warning. Names that other software uses are left alone.
    pub VariableMisspelled;
    code: "IPAM605",
    name: "variable-misspelled",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [AwsNode],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    environment::each(facts, found, &[], misspelled);
}

fn misspelled(environment: &Environment<'_>) -> Option<Violation> {
    let names = environment.variant.env.values.keys();
    let slips: Vec<(&str, &str)> =
        names.filter_map(|name| Some((name.as_str(), Variable::meant_by(name)?.name))).collect();
    let (wrong, right) = slips.first()?;
    let listed: Vec<String> = slips.iter().map(|(wrong, right)| format!("{wrong} (for {right})")).collect();
    let value = environment.variant.text(wrong).unwrap_or("…");
    Some(Violation {
        severity: Severity::Warning,
        message: format!(
            "{} sets {}, which the CNI does not know and therefore ignores",
            environment.who(),
            text::list(&listed, "and", 5)
        ),
        remediation: format!("Run `{}`.", environment.installation.set_env(&format!("{right}={value} {wrong}-"))),
        evidence: vec![sink::evidence("variable", wrong), sink::evidence("meant", right)],
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        tests::configuration::{self as cluster, answer, is_inconclusive, only},
    };

    const CODE: &str = "IPAM605";

    #[test]
    fn a_slip_names_what_was_meant() {
        let finding = only(&cluster::with(&[("MIN_IP_TARGET", "10"), ("WARM_IP_TARGET", "3")]), CODE);
        assert_eq!(finding.severity, Severity::Warning);
        assert_eq!(
            finding.message,
            "kube-system/aws-node sets MIN_IP_TARGET (for MINIMUM_IP_TARGET), which the CNI does not know and therefore \
             ignores"
        );
        assert!(finding.remediation.contains("MINIMUM_IP_TARGET=10 MIN_IP_TARGET-"), "{}", finding.remediation);
    }

    #[test]
    fn strangers_are_left_alone() {
        let strangers =
            [("HTTPS_PROXY", "x"), ("AWS_REGION", "x"), ("MY_TEAM", "x"), ("AWS_STS_REGIONAL_ENDPOINTS", "x")];
        assert!(cluster::found(&cluster::with(&strangers), CODE).is_empty());
    }

    #[test]
    fn without_the_daemon_set_it_cannot_tell() {
        assert!(is_inconclusive(&answer(&cluster::without_daemon_set(), CODE)));
    }

    #[test]
    fn a_node_that_runs_it_alone_has_its_own_finding_and_the_same_problem() {
        let mut snapshot = cluster::with(&[("MIN_IP_TARGET", "10")]);
        cluster::on_node(&mut snapshot, 1, &[("ENABLE_IPV4", "true"), ("ENABLE_IPv4", "true")]);
        let findings = cluster::found(&snapshot, CODE);
        let subjects: Vec<_> = findings.iter().map(|finding| (finding.subject.name(), &*finding.group)).collect();
        assert_eq!(subjects, [("kube-system/aws-node", "kube-system/aws-node"), ("node-1", "kube-system/aws-node")]);
    }
}
