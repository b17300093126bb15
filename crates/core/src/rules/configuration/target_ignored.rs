//! IPAM608: a target that another setting makes ineffective.

use crate::{
    cni::{CniConfig, Setting},
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
    /// A target of the warm pool is set that another setting makes ineffective.
    ///
    /// ## What it means
    ///
    /// The CNI sizes its pool by one kind of target only: `WARM_IP_TARGET` and `MINIMUM_IP_TARGET` win over all others,
    /// `WARM_PREFIX_TARGET` counts with prefix delegation, `WARM_ENI_TARGET` without it. The others are not added to
    /// it; nothing says so.
    ///
    /// ## Why it happens
    ///
    /// Advice such as `WARM_IP_TARGET=16 WARM_ENI_TARGET=2` sets both. The shipped manifest sets 1 for interfaces and
    /// prefixes, which is left alone here.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get daemonset aws-node -n kube-system -o jsonpath='{range .spec.template.spec.containers[?(@.name=="aws-node")].env[*]}{.name}={.value}{"\n"}{end}' | grep _TARGET
    /// kubectl get ipnode -o wide
    /// ```
    ///
    /// ## What to do
    ///
    /// Remove the target that has no effect, so that the manifest says what the nodes do. With the EKS add-on, set the
    /// value in its configuration (`aws eks update-addon --configuration-values`): a change of the DaemonSet alone is
    /// undone by the next update of the add-on.
    ///
    /// ## What it costs
    ///
    /// Nothing: the pools stay as they are.
    ///
    /// ## When it fires
    ///
    /// A target above its shipped value is not the one in force. Information.
    pub TargetIgnored;
    code: "IPAM608",
    name: "target-ignored",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [AwsNode],
    check: check,
}

const NEEDS: &[&str] =
    &["WARM_ENI_TARGET", "WARM_IP_TARGET", "MINIMUM_IP_TARGET", "WARM_PREFIX_TARGET", "ENABLE_PREFIX_DELEGATION"];
/// What the shipped manifest sets.
const SHIPPED: i64 = 1;

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    environment::each(facts, found, NEEDS, ignored);
}

fn ignored(environment: &Environment<'_>) -> Option<Violation> {
    if !environment.sizes_a_pool() {
        return None;
    }
    let CniConfig { warm_eni_target, warm_prefix_target, prefix_delegation, .. } = environment.config();
    let prefixes = prefix_delegation.value_or(false);
    let (by, interfaces, blocks) = match (environment.has_ip_targets(), prefixes) {
        (true, _) => ("WARM_IP_TARGET and MINIMUM_IP_TARGET size the pool", true, true),
        (false, true) => ("prefix delegation is on and WARM_PREFIX_TARGET sizes the pool", true, false),
        (false, false) => ("prefix delegation is off and WARM_ENI_TARGET sizes the pool", false, true),
    };
    let raised = |target: &Setting<i64>| target.value().filter(|value| *value > SHIPPED);
    let set = [
        ("WARM_ENI_TARGET", raised(warm_eni_target).filter(|_| interfaces)),
        ("WARM_PREFIX_TARGET", raised(warm_prefix_target).filter(|_| blocks)),
    ];
    let idle: Vec<String> = set.iter().filter_map(|(name, value)| Some(format!("{name}={}", (*value)?))).collect();
    let first = set.iter().find(|(_, value)| value.is_some())?.0;
    Some(Violation {
        severity: Severity::Info,
        message: format!("{} sets {} to no effect: {by}", environment.who(), text::list(&idle, "and", 2)),
        remediation: format!(
            "Run `{}`; the pools stay as they are.",
            environment.installation.set_env(&format!("{first}={SHIPPED}")),
        ),
        evidence: vec![
            sink::evidence("ignored", idle.join(" ")),
            sink::evidence("inForce", environment.variant.cni.targets_text()),
        ],
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        tests::configuration::{self as cluster, answer, is_inconclusive, only},
    };

    const CODE: &str = "IPAM608";

    #[test]
    fn the_target_without_effect_is_named() {
        let finding = only(&cluster::with(&[("WARM_IP_TARGET", "16"), ("WARM_ENI_TARGET", "2")]), CODE);
        assert_eq!(finding.severity, Severity::Info);
        assert_eq!(
            finding.message,
            "kube-system/aws-node sets WARM_ENI_TARGET=2 to no effect: WARM_IP_TARGET and MINIMUM_IP_TARGET size the pool"
        );
        let prefixes = [("ENABLE_PREFIX_DELEGATION", "true"), ("WARM_PREFIX_TARGET", "2"), ("WARM_ENI_TARGET", "3")];
        assert!(only(&cluster::with(&prefixes), CODE).message.contains("sets WARM_ENI_TARGET=3 to no effect"));
        assert!(
            only(&cluster::with(&[("WARM_PREFIX_TARGET", "2")]), CODE).message.contains("prefix delegation is off")
        );
    }

    #[test]
    fn the_shipped_manifest_is_left_alone() {
        let shipped = [
            ("WARM_ENI_TARGET", "1"),
            ("WARM_PREFIX_TARGET", "1"),
            ("WARM_IP_TARGET", "3"),
            ("MINIMUM_IP_TARGET", "9"),
        ];
        assert!(cluster::found(&cluster::with(&shipped), CODE).is_empty());
        assert!(cluster::found(&cluster::with(&[("WARM_ENI_TARGET", "2")]), CODE).is_empty());
    }

    #[test]
    fn an_unread_target_leaves_it_open() {
        let mut snapshot = cluster::with(&[("WARM_ENI_TARGET", "2")]);
        cluster::unread(&mut snapshot, "WARM_IP_TARGET");
        assert!(is_inconclusive(&answer(&snapshot, CODE)));
    }
}
