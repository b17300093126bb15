//! IPAM641: clean-up by the nodes is off.

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
    /// The nodes do not clean up interfaces that others of them left behind.
    ///
    /// ## What it means
    ///
    /// An interface whose node went away before it could be deleted keeps its addresses until something else deletes
    /// it.
    ///
    /// ## Why it happens
    ///
    /// `DISABLE_LEAKED_ENI_CLEANUP` was set to save calls of EC2; AWS advises it where the VPC resource controller
    /// cleans up, which needs `CLUSTER_NAME`.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get daemonset aws-node -n kube-system -o jsonpath='{range .spec.template.spec.containers[?(@.name=="aws-node")].env[*]}{.name}={.value}{"\n"}{end}' | grep -E 'LEAKED|CLUSTER_NAME'
    /// aws ec2 describe-network-interfaces --filters Name=vpc-id,Values=VPC Name=status,Values=available Name=description,Values='aws-K8S-*' --query 'length(NetworkInterfaces)'
    /// ```
    ///
    /// ## What to do
    ///
    /// Keep it if the controller of EKS cleans up, and set `CLUSTER_NAME` so that it can; else remove the variable.
    ///
    /// ## What it costs
    ///
    /// One call of EC2 per node and hour.
    ///
    /// ## When it fires
    ///
    /// `DISABLE_LEAKED_ENI_CLEANUP` is on in a version that knows it (1.13.0 and newer). Information.
    pub LeakCleanUpOff;
    code: "IPAM641",
    name: "leak-clean-up-off",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [AwsNode],
    check: check,
}

/// The first version that knows the switch.
const KNOWS: CniVersion = CniVersion::new(1, 13, 0);

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    environment::each(facts, found, &["DISABLE_LEAKED_ENI_CLEANUP", "CLUSTER_NAME"], off);
}

fn off(environment: &Environment<'_>) -> Option<Violation> {
    let config = environment.config();
    let is_off = config.leak_cleanup_disabled.value_or(false) && environment.version() >= KNOWS;
    if !is_off || !environment.sizes_a_pool() {
        return None;
    }
    let named = config.cluster_name.is_some();
    let (rest, remediation) = if named {
        (
            "it is left to the controller of EKS",
            "Keep it if interfaces that were left behind go away by themselves.".to_owned(),
        )
    } else {
        (
            "and without CLUSTER_NAME the controller of EKS cannot do it either",
            format!("Run `{}`, or set CLUSTER_NAME.", environment.installation.set_env("DISABLE_LEAKED_ENI_CLEANUP-")),
        )
    };
    Some(Violation {
        severity: Severity::Info,
        message: format!("{} leaves interfaces that were left behind where they are: {rest}", environment.who()),
        remediation,
        evidence: vec![sink::evidence("clusterNameSet", named)],
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        tests::configuration::{self as cluster, answer, is_inconclusive, only},
    };

    const CODE: &str = "IPAM641";

    #[test]
    fn the_clean_up_that_remains_is_named() {
        let off = ("DISABLE_LEAKED_ENI_CLEANUP", "true");
        let finding = only(&cluster::with(&[off]), CODE);
        assert_eq!(finding.severity, Severity::Info);
        assert!(finding.message.ends_with("it is left to the controller of EKS"), "{}", finding.message);
        let nobody = only(&cluster::with(&[off, ("CLUSTER_NAME", "")]), CODE);
        assert!(nobody.message.contains("without CLUSTER_NAME"), "{}", nobody.message);
    }

    #[test]
    fn the_default_is_left_alone() {
        assert!(cluster::found(&cluster::with(&[("DISABLE_LEAKED_ENI_CLEANUP", "false")]), CODE).is_empty());
        let mut old = cluster::with(&[("DISABLE_LEAKED_ENI_CLEANUP", "true")]);
        cluster::run_version(&mut old, "v1.12.6");
        assert!(cluster::found(&old, CODE).is_empty());
    }

    #[test]
    fn an_unread_switch_leaves_it_open() {
        let mut snapshot = cluster::with(&[]);
        cluster::unread(&mut snapshot, "DISABLE_LEAKED_ENI_CLEANUP");
        assert!(is_inconclusive(&answer(&snapshot, CODE)));
    }
}
