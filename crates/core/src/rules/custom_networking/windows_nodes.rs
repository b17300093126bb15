//! IPAM520: Windows nodes beside custom networking.

use super::words;
use crate::{
    facts::Facts,
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{Violations, sink},
    snapshot::Platform,
    text,
};

rule! {
    /// Windows nodes take no part in custom networking.
    ///
    /// ## What it means
    ///
    /// Pods on Windows nodes get addresses of their node's own subnet, whatever the ENIConfigs say. The plan for the node
    /// subnets has to count them in.
    ///
    /// ## Why it happens
    ///
    /// The VPC resource controller serves Windows nodes, on the primary interface only.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl get nodes -l kubernetes.io/os=windows -L topology.kubernetes.io/zone
    /// kubectl set env ds/aws-node -n kube-system --list | grep CUSTOM_NETWORK_CFG
    /// ```
    ///
    /// ## What to do
    ///
    /// Nothing, or put the Windows nodes into subnets that are large enough for their pods.
    ///
    /// ## What it costs
    ///
    /// Nothing.
    ///
    /// ## When it fires
    ///
    /// There are Windows nodes, and Linux nodes run with custom networking. Information only.
    pub WindowsWithCustomNetworking;
    code: "IPAM520",
    name: "windows-with-custom-networking",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [Nodes, AwsNode],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let linux: u32 = words::uses(facts, found).iter().map(crate::facts::eni_config::Use::count).sum();
    let nodes = facts.snapshot.nodes.value().into_iter().flatten();
    let windows = nodes.filter(|node| node.platform == Platform::Windows).count();
    let windows = u32::try_from(windows).unwrap_or(u32::MAX);
    if linux == 0 || windows == 0 {
        return;
    }
    let violation = sink::Violation {
        severity: Severity::Info,
        message: format!(
            "{} {} pods addresses of their own subnets, while {} {} with custom networking",
            text::count(windows, "Windows node"),
            text::verb(windows, "gives", "give"),
            text::count(linux, "Linux node"),
            text::verb(linux, "runs", "run"),
        ),
        remediation: "Count the pods of Windows nodes in when you size the node subnets.".to_owned(),
        evidence: vec![sink::evidence("windowsNodes", windows), sink::evidence("linuxNodes", linux)],
    };
    found.subject(Subject::Cluster, violation);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        outcome::RuleAnswer,
        source::{FaultCategory, Reading, Source},
        tests::custom_networking::{answer, custom, findings},
    };

    const CODE: &str = "IPAM520";

    fn with_windows() -> crate::snapshot::ClusterSnapshot {
        custom(2, |node| {
            if node.name.as_str() == "node-1" {
                node.platform = Platform::Windows;
            }
        })
    }

    #[test]
    fn windows_pods_stay_in_the_node_subnets() {
        assert_eq!(
            findings(&with_windows(), CODE)[0].message,
            "1 Windows node gives pods addresses of their own subnets, while 1 Linux node runs with custom networking"
        );
        assert_eq!(answer(&custom(2, |_| {}), CODE), RuleAnswer::Passed);
    }

    #[test]
    fn without_the_objects_it_cannot_tell() {
        let mut snapshot = with_windows();
        snapshot.objects.eni_configs = Reading::missing(FaultCategory::NotCollected, "not collected");
        let missing = vec![Source::EniConfigs];
        assert_eq!(answer(&snapshot, CODE), RuleAnswer::Inconclusive { missing, suspects: 0 });
    }
}
