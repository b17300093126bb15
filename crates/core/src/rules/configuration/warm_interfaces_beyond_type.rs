//! IPAM610: more warm interfaces than a node can have.

use crate::{
    facts::{Facts, NodeFacts},
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
    /// So many warm interfaces are asked for that nodes take every one they can have.
    ///
    /// ## What it means
    ///
    /// `WARM_ENI_TARGET` counts whole interfaces. Where it reaches what an instance type allows, or what the node's
    /// max-pods can use, each node takes all of it at its start, whatever runs there.
    ///
    /// ## Why it happens
    ///
    /// One value serves all instance types: three interfaces hold 12 addresses on a t3.small and 147 on an m5.12xlarge.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get daemonset aws-node -n kube-system -o jsonpath='{range .spec.template.spec.containers[?(@.name=="aws-node")].env[*]}{.name}={.value}{"\n"}{end}' | grep WARM_ENI_TARGET
    /// kubectl get ipnode -o wide
    /// ```
    ///
    /// ## What to do
    ///
    /// Size the pool by addresses: `WARM_IP_TARGET` with `MINIMUM_IP_TARGET`, as IPAM210 computes them. With the EKS
    /// add-on, set the value in its configuration (`aws eks update-addon --configuration-values`): a change of the
    /// DaemonSet alone is undone by the next update of the add-on.
    ///
    /// ## What it costs
    ///
    /// EC2 calls when pods start beyond the pool; IPAM210 says how many.
    ///
    /// ## When it fires
    ///
    /// `WARM_ENI_TARGET` is 2 or more and in force, and on some nodes it reaches the type's interfaces or max-pods.
    /// Information: what the addresses cost is in IPAM210 and in the subnets' findings.
    pub WarmInterfacesBeyondType;
    code: "IPAM610",
    name: "warm-interfaces-beyond-type",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [AwsNode],
    check: check,
}

const NEEDS: &[&str] = &["WARM_ENI_TARGET", "WARM_IP_TARGET", "MINIMUM_IP_TARGET", "ENABLE_PREFIX_DELEGATION"];

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    environment::each(facts, found, NEEDS, beyond);
}

fn beyond(environment: &Environment<'_>) -> Option<Violation> {
    let config = environment.config();
    let target = config.warm_eni_target.value().filter(|target| *target > 1)?;
    if !environment.sizes_a_pool() || environment.has_ip_targets() || config.prefix_delegation.value_or(false) {
        return None;
    }
    let all = u32::try_from(environment.nodes().count()).unwrap_or(u32::MAX);
    let reached = environment.nodes().filter(|node| takes_all(node, target)).count();
    let reached = u32::try_from(reached).ok().filter(|reached| *reached > 0)?;
    Some(Violation {
        severity: Severity::Info,
        message: format!(
            "{} sets WARM_ENI_TARGET={target}: {} of {} {} every interface that the type or max-pods allows",
            environment.who(),
            text::thousands(reached),
            text::count(all, "node"),
            text::verb(reached, "takes", "take"),
        ),
        remediation: format!(
            "Size the pool by addresses instead: `{}`.",
            environment.installation.set_env(environment.facts.advice.settings()),
        ),
        evidence: vec![sink::evidence("warmEniTarget", target), sink::evidence("nodes", reached)],
    })
}

fn takes_all(node: &NodeFacts<'_>, target: i64) -> bool {
    let Some(limits) = node.limits.as_ref().and_then(crate::limits::Limits::interfaces) else { return false };
    let warm = target.saturating_mul(i64::from(limits.slots_per_eni()));
    target >= i64::from(limits.enis) || node.node.max_pods.is_some_and(|most| warm >= i64::from(most))
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        tests::configuration::{self as cluster, answer, is_inconclusive, only},
    };

    const CODE: &str = "IPAM610";

    #[test]
    fn three_interfaces_are_all_of_a_small_type() {
        let finding = only(&cluster::with(&[("WARM_ENI_TARGET", "3")]), CODE);
        assert_eq!(finding.severity, Severity::Info);
        assert_eq!(
            finding.message,
            "kube-system/aws-node sets WARM_ENI_TARGET=3: 2 of 2 nodes take every interface that the type or max-pods \
             allows"
        );
    }

    #[test]
    fn the_default_and_ignored_targets_are_left_alone() {
        assert!(cluster::found(&cluster::with(&[("WARM_ENI_TARGET", "1")]), CODE).is_empty());
        assert!(cluster::found(&cluster::with(&[("WARM_ENI_TARGET", "2")]), CODE).is_empty(), "18 of 29, 2 of 3");
        assert!(cluster::found(&cluster::with(&[("WARM_ENI_TARGET", "3"), ("WARM_IP_TARGET", "3")]), CODE).is_empty());
    }

    #[test]
    fn an_unread_target_leaves_it_open() {
        let mut snapshot = cluster::with(&[("WARM_ENI_TARGET", "3")]);
        cluster::unread(&mut snapshot, "WARM_IP_TARGET");
        assert!(is_inconclusive(&answer(&snapshot, CODE)));
    }
}
