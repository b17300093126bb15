//! IPAM612: IP targets beside blocks of 16.

use crate::{
    facts::Facts,
    finding::Severity,
    net,
    policy::AuditPolicy,
    rules::{
        Violations,
        configuration::environment::{self, Environment},
        sink::{self, Violation},
    },
    text,
};

rule! {
    /// IP targets do not fit the blocks of 16 that prefix delegation works with.
    ///
    /// ## What it means
    ///
    /// With prefix delegation the CNI takes whole /28 blocks. `WARM_IP_TARGET` of 16 or more keeps a whole block spare
    /// on every node; `MINIMUM_IP_TARGET` is rounded up to the next multiple of 16.
    ///
    /// ## Why it happens
    ///
    /// The targets were chosen for single addresses and kept when prefix delegation was switched on.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get daemonset aws-node -n kube-system -o jsonpath='{range .spec.template.spec.containers[?(@.name=="aws-node")].env[*]}{.name}={.value}{"\n"}{end}' | grep -E '_TARGET|PREFIX'
    /// ```
    ///
    /// ## What to do
    ///
    /// Set `WARM_IP_TARGET` below 16 and `MINIMUM_IP_TARGET` to a multiple of 16, so that the manifest says what the
    /// nodes hold. With the EKS add-on, set the value in its configuration (`aws eks update-addon
    /// --configuration-values`): a change of the DaemonSet alone is undone by the next update of the add-on.
    ///
    /// ## What it costs
    ///
    /// Nothing for the floor; fewer warm addresses for the other.
    ///
    /// ## When it fires
    ///
    /// Prefix delegation is on and `WARM_IP_TARGET` is 16 or more, or `MINIMUM_IP_TARGET` is not a multiple of 16.
    /// Information.
    pub TargetsBesideBlocks;
    code: "IPAM612",
    name: "targets-beside-blocks",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [AwsNode],
    check: check,
}

const NEEDS: &[&str] = &["WARM_IP_TARGET", "MINIMUM_IP_TARGET", "ENABLE_PREFIX_DELEGATION"];

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    environment::each(facts, found, NEEDS, beside);
}

fn beside(environment: &Environment<'_>) -> Option<Violation> {
    let config = environment.config();
    if !environment.sizes_a_pool() || !config.prefix_delegation.value_or(false) {
        return None;
    }
    let block = i64::from(net::ADDRESSES_PER_PREFIX);
    let warm = config.warm_ip_target.value().filter(|warm| *warm >= block);
    let floor = config.minimum_ip_target.value().filter(|floor| floor % block != 0);
    let rounded = floor.map(|floor| floor.saturating_add(block - floor % block));
    let states: Vec<String> = [
        warm.map(|warm| format!("WARM_IP_TARGET={warm} keeps {} spare on every node", blocks(warm / block))),
        floor.zip(rounded).map(|(floor, rounded)| format!("MINIMUM_IP_TARGET={floor} counts as {rounded}")),
    ]
    .into_iter()
    .flatten()
    .collect();
    let settings: Vec<String> = [
        warm.map(|_| format!("WARM_IP_TARGET={}", block - 1)),
        rounded.map(|rounded| format!("MINIMUM_IP_TARGET={rounded}")),
    ]
    .into_iter()
    .flatten()
    .collect();
    (!states.is_empty()).then(|| Violation {
        severity: Severity::Info,
        message: format!("{} takes blocks of 16: {}", environment.who(), text::list(&states, "and", 2)),
        remediation: format!("Run `{}`.", environment.installation.set_env(&settings.join(" "))),
        evidence: vec![sink::evidence("targets", environment.variant.cni.targets_text())],
    })
}

fn blocks(number: i64) -> String {
    text::count(u32::try_from(number).unwrap_or(u32::MAX), "block")
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        tests::configuration::{self as cluster, answer, is_inconclusive, only},
    };

    const CODE: &str = "IPAM612";

    const PREFIXES: (&str, &str) = ("ENABLE_PREFIX_DELEGATION", "true");

    #[test]
    fn targets_are_compared_with_blocks() {
        let finding = only(&cluster::with(&[PREFIXES, ("WARM_IP_TARGET", "32"), ("MINIMUM_IP_TARGET", "20")]), CODE);
        assert_eq!(finding.severity, Severity::Info);
        assert_eq!(
            finding.message,
            "kube-system/aws-node takes blocks of 16: WARM_IP_TARGET=32 keeps 2 blocks spare on every node and \
             MINIMUM_IP_TARGET=20 counts as 32"
        );
        assert!(finding.remediation.contains("WARM_IP_TARGET=15 MINIMUM_IP_TARGET=32"), "{}", finding.remediation);
    }

    #[test]
    fn what_fits_is_left_alone() {
        assert!(
            cluster::found(&cluster::with(&[PREFIXES, ("WARM_IP_TARGET", "15"), ("MINIMUM_IP_TARGET", "32")]), CODE)
                .is_empty()
        );
        assert!(
            cluster::found(&cluster::with(&[("WARM_IP_TARGET", "32"), ("MINIMUM_IP_TARGET", "20")]), CODE).is_empty()
        );
    }

    #[test]
    fn an_unread_switch_leaves_it_open() {
        let mut snapshot = cluster::with(&[("MINIMUM_IP_TARGET", "20")]);
        cluster::unread(&mut snapshot, "ENABLE_PREFIX_DELEGATION");
        assert!(is_inconclusive(&answer(&snapshot, CODE)));
    }
}
