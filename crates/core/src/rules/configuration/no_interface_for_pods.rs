//! IPAM604: one interface under custom networking.

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
    /// Only one interface is allowed, and custom networking takes pods off it.
    ///
    /// ## What it means
    ///
    /// Under custom networking the primary interface carries no pods: they live on further interfaces in the
    /// ENIConfig's subnet. With `MAX_ENI=1` there are none, ipamd finds no address for pods and new nodes never become
    /// ready.
    ///
    /// ## Why it happens
    ///
    /// `MAX_ENI` was lowered to save addresses, or custom networking was switched on later.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get daemonset aws-node -n kube-system -o jsonpath='{range .spec.template.spec.containers[?(@.name=="aws-node")].env[*]}{.name}={.value}{"\n"}{end}' | grep -E 'MAX_ENI|CUSTOM_NETWORK'
    /// ```
    ///
    /// ## What to do
    ///
    /// Remove `MAX_ENI`, or set it to 2 at least. With the EKS add-on, set the value in its configuration (`aws eks
    /// update-addon --configuration-values`): a change of the DaemonSet alone is undone by the next update of the
    /// add-on.
    ///
    /// ## What it costs
    ///
    /// One more interface per node, with its own address in the ENIConfig's subnet.
    ///
    /// ## When it fires
    ///
    /// `MAX_ENI` is 1 and `AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG` is on. Critical.
    pub NoInterfaceForPods;
    code: "IPAM604",
    name: "no-interface-for-pods",
    severity: Critical,
    condition: ConfigurationConsistent,
    sources: [AwsNode],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    environment::each(facts, found, &["MAX_ENI", "AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG"], contradiction);
}

fn contradiction(environment: &Environment<'_>) -> Option<Violation> {
    let config = environment.config();
    let contradicts = config.max_eni.value() == Some(1) && config.custom_networking.value_or(false);
    contradicts.then(|| Violation {
        severity: Severity::Critical,
        message: format!(
            "{} has MAX_ENI=1 and custom networking on: the only interface is the primary, which then carries no pods",
            environment.who(),
        ),
        remediation: format!(
            "Run `{}`: the instance type's own limit then holds.",
            environment.installation.set_env("MAX_ENI-"),
        ),
        evidence: vec![sink::evidence("maxEni", 1)],
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        tests::configuration::{self as cluster, answer, is_inconclusive, only},
    };

    const CODE: &str = "IPAM604";
    const CUSTOM: (&str, &str) = ("AWS_VPC_K8S_CNI_CUSTOM_NETWORK_CFG", "true");

    #[test]
    fn one_interface_is_none_for_pods() {
        let finding = only(&cluster::with(&[CUSTOM, ("MAX_ENI", "1")]), CODE);
        assert_eq!(finding.severity, Severity::Critical);
        assert!(finding.message.starts_with("kube-system/aws-node has MAX_ENI=1"), "{}", finding.message);
    }

    #[test]
    fn two_are_enough_and_so_is_one_without_custom_networking() {
        assert!(cluster::found(&cluster::with(&[CUSTOM, ("MAX_ENI", "2")]), CODE).is_empty());
        assert!(cluster::found(&cluster::with(&[("MAX_ENI", "1")]), CODE).is_empty());
    }

    #[test]
    fn an_unread_variable_leaves_it_open() {
        let mut snapshot = cluster::with(&[CUSTOM]);
        cluster::unread(&mut snapshot, "MAX_ENI");
        assert!(is_inconclusive(&answer(&snapshot, CODE)));
    }
}
