//! IPAM625: an agent older than the CNI needs.

use crate::{
    cni::CniVersion,
    facts::Facts,
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{
        Violations,
        sink::{self, Violation},
    },
};

rule! {
    /// The network policy agent is too old for the version of the CNI.
    ///
    /// ## What it means
    ///
    /// Since 1.23.0 the CNI speaks to its network policy agent through another channel, which agents before 1.4.1 do
    /// not have. Pods start without their policies, or do not start at all.
    ///
    /// ## Why it happens
    ///
    /// The agent's image is pinned on its own, in the chart's values or by a policy.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get daemonset aws-node -n kube-system -o jsonpath='{range .spec.template.spec.containers[*]}{.name} {.image}{"\n"}{end}'
    /// ```
    ///
    /// ## What to do
    ///
    /// Update the agent's image to 1.4.1 or newer, best by the manifest of the CNI's own version.
    ///
    /// ## What it costs
    ///
    /// A restart of each `aws-node` pod.
    ///
    /// ## When it fires
    ///
    /// The CNI is 1.23.0 or newer, its template has an agent, and the agent's tag is older than 1.4.1. Warning.
    pub PolicyAgentTooOld;
    code: "IPAM625",
    name: "policy-agent-too-old",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [AwsNode],
    check: check,
}

/// Since this version of the CNI, this version of the agent.
const CNI: CniVersion = CniVersion::new(1, 23, 0);
const AGENT: CniVersion = CniVersion::new(1, 4, 1);

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let Some(installation) = &facts.installation else { return };
    let template = installation.template().and_then(|template| template.cni.known_version());
    let agent = installation.aws_node.manifest.agent_image.as_deref().and_then(CniVersion::from_image);
    let (Some(version), Some(agent)) = (template, agent) else { return };
    if version < CNI || agent >= AGENT {
        return;
    }
    let daemon_set = installation.aws_node.daemon_set.clone();
    let violation = Violation {
        severity: Severity::Warning,
        message: format!(
            "{daemon_set} runs {version} with the network policy agent {agent}; it needs {AGENT} or newer"
        ),
        remediation: format!("Update the agent's image to {AGENT} or newer."),
        evidence: vec![sink::evidence("version", version), sink::evidence("agent", agent)],
    };
    found.subject(Subject::DaemonSet(daemon_set), violation);
}

#[cfg(test)]
mod tests {
    use crate::{
        finding::Severity,
        tests::configuration::{self as cluster, answer, aws_node, is_inconclusive, only, run_version},
    };

    const CODE: &str = "IPAM625";

    fn with_agent(tag: &str) -> crate::snapshot::ClusterSnapshot {
        let mut snapshot = cluster::with(&[]);
        aws_node(&mut snapshot).manifest.agent_image = Some(format!("registry/aws-network-policy-agent:{tag}").into());
        snapshot
    }

    #[test]
    fn an_old_agent_is_named() {
        let finding = only(&with_agent("v1.2.7-eksbuild.1"), CODE);
        assert_eq!(finding.severity, Severity::Warning);
        assert_eq!(
            finding.message,
            "kube-system/aws-node runs 1.23.1 with the network policy agent 1.2.7; it needs 1.4.1 or newer"
        );
    }

    #[test]
    fn recent_agents_no_agent_and_older_versions_are_left_alone() {
        assert!(cluster::found(&with_agent("v1.4.1"), CODE).is_empty());
        assert!(cluster::found(&cluster::with(&[]), CODE).is_empty());
        let mut older = with_agent("v1.2.7");
        run_version(&mut older, "v1.20.4");
        assert!(cluster::found(&older, CODE).is_empty());
    }

    #[test]
    fn without_the_daemon_set_it_cannot_tell() {
        assert!(is_inconclusive(&answer(&cluster::without_daemon_set(), CODE)));
    }
}
