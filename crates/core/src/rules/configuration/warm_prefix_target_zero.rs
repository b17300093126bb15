//! IPAM609: a target that is a zero in disguise.

use crate::{
    cni::CniConfig,
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
    /// The target of warm blocks passes the check at the start and still counts as zero.
    ///
    /// ## What it means
    ///
    /// The entry point compares texts, ipamd numbers. A value such as `00` is above `0` as a text and zero as a number:
    /// the container starts, no block stays warm, and each pod that finds nothing free waits for EC2. Where all blocks
    /// are full, the one free block is taken and given back in turn.
    ///
    /// ## Why it happens
    ///
    /// A value was padded or mistyped.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get daemonset aws-node -n kube-system -o jsonpath='{range .spec.template.spec.containers[?(@.name=="aws-node")].env[*]}{.name}={.value}{"\n"}{end}' | grep -E 'PREFIX|_TARGET'
    /// ```
    ///
    /// ## What to do
    ///
    /// Set `WARM_PREFIX_TARGET=1`. With the EKS add-on, set the value in its configuration (`aws eks update-addon
    /// --configuration-values`): a change of the DaemonSet alone is undone by the next update of the add-on.
    ///
    /// ## What it costs
    ///
    /// At least one /28 block (16 addresses) per node beyond those in use.
    ///
    /// ## When it fires
    ///
    /// Prefix delegation is on, no target is refused, and all targets count as 0. Warning. Values that are no numbers
    /// are IPAM606.
    pub WarmPrefixTargetZero;
    code: "IPAM609",
    name: "warm-prefix-target-zero",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [AwsNode],
    check: check,
}

const NEEDS: &[&str] = &["ENABLE_PREFIX_DELEGATION", "WARM_PREFIX_TARGET", "WARM_IP_TARGET", "MINIMUM_IP_TARGET"];

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    environment::each(facts, found, NEEDS, zero);
}

fn zero(environment: &Environment<'_>) -> Option<Violation> {
    let CniConfig { warm_prefix_target, prefix_delegation, .. } = environment.config();
    let starts = environment.config().entry_point_refusals(environment.version()).is_empty();
    let sized = environment.sizes_a_pool() && prefix_delegation.value_or(false) && !environment.has_ip_targets();
    if !starts || !sized || warm_prefix_target.value() != Some(0) {
        return None;
    }
    let raw = warm_prefix_target.raw().unwrap_or_default();
    Some(Violation {
        severity: Severity::Warning,
        message: format!(
            "{} sets WARM_PREFIX_TARGET=`{raw}`, which lets it start and then counts as 0: no block stays warm",
            environment.who(),
        ),
        remediation: format!("Run `{}`.", environment.installation.set_env("WARM_PREFIX_TARGET=1")),
        evidence: vec![sink::evidence("value", format!("`{raw}`"))],
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        tests::configuration::{self as cluster, answer, is_inconclusive, only},
    };

    const CODE: &str = "IPAM609";

    const PREFIXES: (&str, &str) = ("ENABLE_PREFIX_DELEGATION", "true");

    #[test]
    fn a_padded_zero_is_zero() {
        let finding = only(&cluster::with(&[PREFIXES, ("WARM_PREFIX_TARGET", "00")]), CODE);
        assert_eq!(finding.severity, Severity::Warning);
        assert!(finding.message.contains("WARM_PREFIX_TARGET=`00`"), "{}", finding.message);
    }

    #[test]
    fn what_does_not_start_or_is_sized_otherwise_is_left_alone() {
        for targets in [[PREFIXES, ("WARM_PREFIX_TARGET", "0")], [PREFIXES, ("WARM_PREFIX_TARGET", "1")]] {
            assert!(cluster::found(&cluster::with(&targets), CODE).is_empty(), "{targets:?}");
        }
        let sized = [PREFIXES, ("WARM_PREFIX_TARGET", "00"), ("WARM_IP_TARGET", "3")];
        assert!(cluster::found(&cluster::with(&sized), CODE).is_empty());
    }

    #[test]
    fn an_unread_target_leaves_it_open() {
        let mut snapshot = cluster::with(&[PREFIXES, ("WARM_PREFIX_TARGET", "00")]);
        cluster::unread(&mut snapshot, "WARM_IP_TARGET");
        assert!(is_inconclusive(&answer(&snapshot, CODE)));
    }
}
