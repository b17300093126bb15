//! IPAM602: prefix delegation without targets.

use crate::{
    cni::EntryPointRefusal,
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
    /// Prefix delegation is on without any target above zero, so aws-node does not start.
    ///
    /// ## What it means
    ///
    /// The entry point of the container wants at least one of `WARM_PREFIX_TARGET`, `WARM_IP_TARGET` and
    /// `MINIMUM_IP_TARGET` above 0 when prefix delegation is on, and ends otherwise. Pods that run keep their
    /// addresses; a node whose `aws-node` pod starts anew gives no addresses any more.
    ///
    /// ## Why it happens
    ///
    /// Somebody set `WARM_PREFIX_TARGET=0` to save addresses, or removed it. The values are compared as text: `+5`, an
    /// empty value and a leading blank count as 0 as well.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get daemonset aws-node -n kube-system -o jsonpath='{range .spec.template.spec.containers[?(@.name=="aws-node")].env[*]}{.name}={.value}{"\n"}{end}' | grep -E 'PREFIX|_TARGET'
    /// kubectl get pods -n kube-system -l k8s-app=aws-node
    /// ```
    ///
    /// ## What to do
    ///
    /// Set `WARM_PREFIX_TARGET=1`, or `WARM_IP_TARGET` and `MINIMUM_IP_TARGET` where 16 idle addresses per node are too
    /// many. With the EKS add-on, set the value in its configuration (`aws eks update-addon --configuration-values`): a
    /// change of the DaemonSet alone is undone by the next update of the add-on.
    ///
    /// ## What it costs
    ///
    /// At least one /28 block (16 addresses) per node beyond those in use.
    ///
    /// ## When it fires
    ///
    /// `ENABLE_PREFIX_DELEGATION` is on and the entry point of the installed version refuses all three targets.
    /// Critical. Silent while one of them cannot be read.
    pub PrefixTargetsMissing;
    code: "IPAM602",
    name: "prefix-targets-missing",
    severity: Critical,
    condition: ConfigurationConsistent,
    sources: [AwsNode],
    check: check,
}

const NEEDS: &[&str] = &["ENABLE_PREFIX_DELEGATION", "WARM_PREFIX_TARGET", "WARM_IP_TARGET", "MINIMUM_IP_TARGET"];

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    environment::each(facts, found, NEEDS, refusal);
}

fn refusal(environment: &Environment<'_>) -> Option<Violation> {
    let refusals = environment.config().entry_point_refusals(environment.version());
    if !refusals.contains(&EntryPointRefusal::PrefixTargets) {
        return None;
    }
    let written =
        |name: &str| environment.variant.text(name).map_or_else(|| "unset".to_owned(), |text| format!("`{text}`"));
    Some(Violation {
        severity: Severity::Critical,
        message: format!(
            "{} has prefix delegation on with WARM_PREFIX_TARGET {}, WARM_IP_TARGET {} and MINIMUM_IP_TARGET {}: \
             without a target above 0 aws-node does not start",
            environment.who(),
            written("WARM_PREFIX_TARGET"),
            written("WARM_IP_TARGET"),
            written("MINIMUM_IP_TARGET"),
        ),
        remediation: format!("Run `{}`.", environment.installation.set_env("WARM_PREFIX_TARGET=1")),
        evidence: vec![sink::evidence("warmPrefixTarget", written("WARM_PREFIX_TARGET"))],
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        tests::configuration::{self as cluster, answer, is_inconclusive, only},
    };

    const CODE: &str = "IPAM602";

    #[test]
    fn prefixes_without_targets_do_not_start() {
        let finding = only(&cluster::with(&[("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_PREFIX_TARGET", "0")]), CODE);
        assert_eq!(finding.severity, Severity::Critical);
        assert_eq!(
            finding.message,
            "kube-system/aws-node has prefix delegation on with WARM_PREFIX_TARGET `0`, WARM_IP_TARGET unset and \
             MINIMUM_IP_TARGET unset: without a target above 0 aws-node does not start"
        );
    }

    #[test]
    fn one_target_is_enough() {
        for target in ["WARM_PREFIX_TARGET", "WARM_IP_TARGET", "MINIMUM_IP_TARGET"] {
            let snapshot = cluster::with(&[("ENABLE_PREFIX_DELEGATION", "true"), (target, "1")]);
            assert!(cluster::found(&snapshot, CODE).is_empty(), "{target}");
        }
    }

    #[test]
    fn a_target_that_cannot_be_read_may_be_above_zero() {
        let mut snapshot = cluster::with(&[("ENABLE_PREFIX_DELEGATION", "true")]);
        cluster::unread(&mut snapshot, "WARM_PREFIX_TARGET");
        assert!(is_inconclusive(&answer(&snapshot, CODE)));
    }
}
