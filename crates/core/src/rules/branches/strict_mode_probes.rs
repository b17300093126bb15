//! IPAM321: probes over the network that strict mode breaks.

use super::strict;
use crate::{
    cni::parse_bool,
    facts::Facts,
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{Violations, sink},
    snapshot::{AwsNodeEnv, EnvValue},
    source::Source,
    text,
};

/// Variable of the init container.
const EARLY_DEMUX: &str = "DISABLE_TCP_EARLY_DEMUX";

rule! {
    /// Kubelet's probes cannot reach pods with branches in strict mode.
    ///
    /// ## What it means
    ///
    /// In strict mode, traffic between the node and a pod with a branch leaves the node and comes back. With TCP early
    /// demux, the kernel drops kubelet's probes on that way: pods are restarted or never become ready.
    ///
    /// ## Why it happens
    ///
    /// `POD_SECURITY_GROUP_ENFORCING_MODE` is `strict` unless it is set, and `DISABLE_TCP_EARLY_DEMUX` is `false`
    /// unless it is set, on the init container.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl set env daemonset/aws-node -n kube-system --list | grep ENFORCING_MODE
    /// kubectl get daemonset aws-node -n kube-system -o jsonpath='{.spec.template.spec.initContainers[0].env}'
    /// ```
    ///
    /// ## What to do
    ///
    /// Set `DISABLE_TCP_EARLY_DEMUX=true` on the init container of aws-node, or set the enforcing mode to `standard`.
    ///
    /// ## What it costs
    ///
    /// Local TCP connections get slightly slower. Standard mode checks security groups only for traffic that leaves the
    /// node.
    ///
    /// ## When it fires
    ///
    /// Pods with a branch run in strict mode and have HTTP, TCP or gRPC probes, and the init container's variable is
    /// not true.
    pub StrictModeProbes;
    code: "IPAM321",
    name: "strict-mode-probes",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [Nodes, Pods, AwsNode],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let Some(aws_node) = facts.snapshot.aws_node.value() else { return };
    let mut probed = 0_u32;
    for (_, pod) in strict::pods(facts) {
        match pod.traits() {
            None => found.lacks(Source::Pods),
            Some(traits) => probed += u32::from(traits.network_probes),
        }
    }
    if probed == 0 {
        return;
    }
    match aws_node.manifest.init.as_deref().map_or(Demux::Unknown, demux) {
        Demux::Disabled => return,
        Demux::Unknown => return found.lacks(Source::AwsNode),
        Demux::Enabled => {}
    }
    let violation = sink::Violation {
        severity: Severity::Warning,
        message: format!(
            "strict mode without {EARLY_DEMUX}: kubelet's probes do not reach {} with a branch",
            text::count(probed, "pod")
        ),
        remediation: format!("Set {EARLY_DEMUX}=true on the init container of aws-node, or use standard mode."),
        evidence: vec![sink::evidence("probedPods", probed)],
    };
    found.subject(Subject::DaemonSet(aws_node.daemon_set.clone()), violation);
}

enum Demux {
    Disabled,
    Enabled,
    Unknown,
}

fn demux(init: &AwsNodeEnv) -> Demux {
    match init.values.get(EARLY_DEMUX) {
        Some(EnvValue::Unresolved(_)) => Demux::Unknown,
        Some(EnvValue::Literal(value)) if parse_bool(value) == Some(true) => Demux::Disabled,
        Some(EnvValue::Literal(_)) | None => Demux::Enabled,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::{
        outcome::RuleAnswer,
        snapshot::{AwsNodeEnv, ClusterSnapshot, EnvValue},
        source::Source,
        tests::branches::*,
    };

    fn probed() -> ClusterSnapshot {
        let mut snapshot = cluster("m5.large", 1);
        branch_pod(&mut snapshot, 0, "db-1");
        edit_traits(&mut snapshot, "db-1", |traits| traits.network_probes = true);
        set_env(&mut snapshot, "POD_SECURITY_GROUP_ENFORCING_MODE", "strict");
        snapshot
    }

    #[test]
    fn probes_need_early_demux_off_in_strict_mode() {
        let mut snapshot = probed();
        assert_eq!(
            messages(&snapshot, "IPAM321"),
            ["strict mode without DISABLE_TCP_EARLY_DEMUX: kubelet's probes do not reach 1 pod with a branch"]
        );
        set_env(&mut snapshot, "POD_SECURITY_GROUP_ENFORCING_MODE", "standard");
        assert_eq!(answer(&snapshot, "IPAM321"), RuleAnswer::Passed);
    }

    #[test]
    fn the_init_container_decides() {
        let mut snapshot = probed();
        edit_aws_node(&mut snapshot, |aws_node| {
            let values = [("DISABLE_TCP_EARLY_DEMUX".to_owned(), EnvValue::Literal("true".to_owned()))].into();
            aws_node.manifest.init = Some(Arc::new(AwsNodeEnv { image: String::new(), values }));
        });
        assert_eq!(answer(&snapshot, "IPAM321"), RuleAnswer::Passed);
        edit_aws_node(&mut snapshot, |aws_node| aws_node.manifest.init = None);
        let lacks = RuleAnswer::Inconclusive { missing: vec![Source::AwsNode], suspects: 0 };
        assert_eq!(answer(&snapshot, "IPAM321"), lacks);
    }
}
