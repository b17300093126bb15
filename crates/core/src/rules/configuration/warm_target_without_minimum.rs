//! IPAM611: a warm target without a floor.

use crate::{
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
    /// Warm addresses are asked for without a floor.
    ///
    /// ## What it means
    ///
    /// The pool follows the pods with each start and stop: beyond the warm addresses every pod costs a call of EC2, and
    /// while pods are replaced the addresses of the old ones still cool down. On many nodes these calls throttle each
    /// other, and those of everything else in the account.
    ///
    /// ## Why it happens
    ///
    /// `WARM_IP_TARGET` is advised as the one way to save addresses; its counterpart, which takes a floor in one call,
    /// is often left out.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get daemonset aws-node -n kube-system -o jsonpath='{range .spec.template.spec.containers[?(@.name=="aws-node")].env[*]}{.name}={.value}{"\n"}{end}' | grep _TARGET
    /// aws cloudtrail lookup-events --lookup-attributes AttributeKey=EventName,AttributeValue=AssignPrivateIpAddresses --max-results 20
    /// ```
    ///
    /// ## What to do
    ///
    /// Set `MINIMUM_IP_TARGET` to about the pods that a node of the cluster runs. With the EKS add-on, set the value in
    /// its configuration (`aws eks update-addon --configuration-values`): a change of the DaemonSet alone is undone by
    /// the next update of the add-on.
    ///
    /// ## What it costs
    ///
    /// The floor's addresses on each node, used or not.
    ///
    /// ## When it fires
    ///
    /// `WARM_IP_TARGET` is above 0, `MINIMUM_IP_TARGET` is not, and the cluster has more than 50 nodes: warning. On
    /// smaller clusters: information where `WARM_IP_TARGET` is 1 or 2.
    pub WarmTargetWithoutMinimum;
    code: "IPAM611",
    name: "warm-target-without-minimum",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [AwsNode],
    check: check,
}

const NEEDS: &[&str] = &["WARM_IP_TARGET", "MINIMUM_IP_TARGET"];
/// On more nodes than these the calls of all together matter.
const MANY_NODES: usize = 50;
/// With so few addresses warm each pod start costs a call.
const FEW: i64 = 2;

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    environment::each(facts, found, NEEDS, alone);
}

fn alone(environment: &Environment<'_>) -> Option<Violation> {
    let config = environment.config();
    let warm = config.warm_ip_target.value().filter(|warm| *warm > 0)?;
    let many = environment.facts.nodes.len() > MANY_NODES;
    if !environment.sizes_a_pool() || config.minimum_ip_target.value_or(0) > 0 || !(many || warm <= FEW) {
        return None;
    }
    let nodes = u32::try_from(environment.facts.nodes.len()).unwrap_or(u32::MAX);
    let pods = pods_per_node(environment);
    let floor = pods.unwrap_or(10).max(1);
    Some(Violation {
        severity: if many { Severity::Warning } else { Severity::Info },
        message: format!(
            "{} sets WARM_IP_TARGET={warm} without MINIMUM_IP_TARGET: beyond {warm} each pod start costs an EC2 call, on {}",
            environment.who(),
            text::count(nodes, "node"),
        ),
        remediation: format!(
            "Run `{}`{}.",
            environment.installation.set_env(&format!("MINIMUM_IP_TARGET={floor}")),
            pods.map_or_else(String::new, |pods| format!(
                "; half of the nodes run {} or fewer",
                text::count(pods, "pod")
            )),
        ),
        evidence: vec![sink::evidence("warmIpTarget", warm), sink::evidence("nodes", nodes)],
    })
}

/// The median of pool pods.
fn pods_per_node(environment: &Environment<'_>) -> Option<u32> {
    let mut pods: Vec<u32> = environment.nodes().filter_map(|node| node.pool_pods).collect();
    pods.sort_unstable();
    pods.get(pods.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        tests::configuration::{self as cluster, answer, is_inconclusive, only},
    };

    const CODE: &str = "IPAM611";

    #[test]
    fn on_many_nodes_it_is_a_warning() {
        let finding = only(&cluster::nodes(&[("WARM_IP_TARGET", "5")], 51), CODE);
        assert_eq!(finding.severity, Severity::Warning);
        assert_eq!(
            finding.message,
            "kube-system/aws-node sets WARM_IP_TARGET=5 without MINIMUM_IP_TARGET: beyond 5 each pod start costs an EC2 \
             call, on 51 nodes"
        );
        assert!(finding.remediation.contains("MINIMUM_IP_TARGET=3`; half of the nodes run 3 pods or fewer"));
        assert_eq!(only(&cluster::with(&[("WARM_IP_TARGET", "1")]), CODE).severity, Severity::Info);
    }

    #[test]
    fn a_floor_or_a_small_cluster_is_fine() {
        assert!(cluster::found(&cluster::with(&[("WARM_IP_TARGET", "5")]), CODE).is_empty());
        let floor = [("WARM_IP_TARGET", "5"), ("MINIMUM_IP_TARGET", "10")];
        assert!(cluster::found(&cluster::nodes(&floor, 51), CODE).is_empty());
    }

    #[test]
    fn an_unread_target_leaves_it_open() {
        let mut snapshot = cluster::with(&[("WARM_IP_TARGET", "1")]);
        cluster::unread(&mut snapshot, "MINIMUM_IP_TARGET");
        assert!(is_inconclusive(&answer(&snapshot, CODE)));
    }
}
