//! IPAM555: subnets name their clusters, and the CNI does not know its own.

use std::collections::BTreeSet;

use super::words;
use crate::{
    facts::{
        Facts,
        discovery::{self, ROLE_TAG, Regime},
    },
    finding::Severity,
    policy::AuditPolicy,
    rules::{Violations, sink},
    text,
};

rule! {
    /// Subnets are tagged for clusters, and the CNI does not know its cluster's name.
    ///
    /// ## What it means
    ///
    /// Tags `cni.networking.k8s.aws/cluster/NAME` say which clusters may use an offered subnet. Without `CLUSTER_NAME` the
    /// CNI skips that check: this cluster takes addresses of subnets that may be meant for another one.
    ///
    /// ## Why it happens
    ///
    /// The EKS add-on sets `CLUSTER_NAME`; a chart or manifest does so only if told.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// kubectl set env ds/aws-node -n kube-system --list | grep CLUSTER_NAME
    /// aws ec2 describe-subnets --filters Name=tag-key,Values=kubernetes.io/role/cni \
    ///     --query 'Subnets[].[SubnetId,Tags[?contains(Key, `cluster`)].Key]' --output json
    /// ```
    ///
    /// ## What to do
    ///
    /// Set `CLUSTER_NAME` to the cluster's name where the environment is kept. The tags on interfaces that the CNI makes
    /// then name the cluster, too.
    ///
    /// ## What it costs
    ///
    /// A restart of the `aws-node` pods.
    ///
    /// ## When it fires
    ///
    /// A CNI of 1.22 or newer with discovery on has no `CLUSTER_NAME`, and an offered subnet of its nodes' zones has a tag
    /// that names a cluster. A warning if such tags name several clusters, information if they name one.
    pub ClusterNameUnsetForTags;
    code: "IPAM555",
    name: "cluster-name-unset-for-tags",
    severity: Warning,
    condition: ConfigurationConsistent,
    sources: [Nodes, AwsNode, Subnets, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let (mut subnets, mut clusters, mut nodes) = (BTreeSet::new(), BTreeSet::new(), 0);
    for outlook in words::outlooks(facts, found) {
        if outlook.regime != Regime::Values || outlook.cluster().is_some() {
            continue;
        }
        let Some(prefix) = outlook.cluster_prefix() else { continue };
        let offered = outlook.tried.iter().filter(|subnet| discovery::is_offered(&outlook.cni, subnet));
        let before = subnets.len();
        for subnet in offered {
            let mut named = discovery::clusters(subnet, prefix).peekable();
            if named.peek().is_some() {
                subnets.insert(&subnet.id);
                clusters.extend(named);
            }
        }
        nodes += if subnets.len() > before { outlook.count() } else { 0 };
    }
    let (Some(daemon_set), false) = (words::daemon_set(facts), subnets.is_empty()) else { return };
    let number = u32::try_from(subnets.len()).unwrap_or(u32::MAX);
    let names: Vec<String> = clusters.iter().map(|name| (*name).to_owned()).collect();
    let violation = sink::Violation {
        severity: if clusters.len() > 1 { Severity::Warning } else { Severity::Info },
        message: format!(
            "CLUSTER_NAME is not set, so that {} with {ROLE_TAG} {} open to this cluster though tagged for {}",
            text::count(number, "subnet"),
            text::verb(number, "is", "are"),
            text::list(&names, "and", words::NAMED),
        ),
        remediation: "Set CLUSTER_NAME to this cluster's name.".to_owned(),
        evidence: vec![sink::evidence("subnets", number), sink::evidence("nodes", nodes)],
    };
    found.subject(daemon_set, violation);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        outcome::RuleAnswer,
        snapshot::ClusterSnapshot,
        source::{FaultCategory, Reading, Source},
        tests::custom_networking::{DISCOVERY, answer, discovering, findings, subnet},
    };

    const CODE: &str = "IPAM555";
    const NAMELESS: &[(&str, &str)] = &[("WARM_ENI_TARGET", "1"), ("ENABLE_IPv4", "true"), ("CLUSTER_NAME", "")];

    fn tagged(env: &[(&str, &str)], clusters: &[&str]) -> ClusterSnapshot {
        let keys: Vec<String> = clusters.iter().map(|name| format!("cni.networking.k8s.aws/cluster/{name}")).collect();
        let tags: Vec<(&str, &str)> = keys.iter().map(|key| (key.as_str(), "")).chain([(ROLE_TAG, "1")]).collect();
        discovering("1.23.1", env, [subnet("subnet-2", "eu-central-1a", 900, &tags)])
    }

    #[test]
    fn without_a_name_every_tagged_subnet_is_open() {
        let found = findings(&tagged(NAMELESS, &["shop", "other"]), CODE);
        assert_eq!(
            found[0].message,
            "CLUSTER_NAME is not set, so that 1 subnet with kubernetes.io/role/cni is open to this cluster though tagged \
             for other and shop"
        );
        assert_eq!(found[0].severity, Severity::Warning);
        assert_eq!(findings(&tagged(NAMELESS, &["shop"]), CODE)[0].severity, Severity::Info);
    }

    #[test]
    fn a_name_or_no_tags_pass() {
        assert_eq!(answer(&tagged(DISCOVERY, &["shop", "other"]), CODE), RuleAnswer::Passed);
        assert_eq!(answer(&tagged(NAMELESS, &[]), CODE), RuleAnswer::Passed);
    }

    #[test]
    fn without_subnets_it_cannot_tell() {
        let mut snapshot = tagged(NAMELESS, &["shop"]);
        snapshot.ec2.subnets = Reading::missing(FaultCategory::Denied, "not allowed");
        assert_eq!(answer(&snapshot, CODE), RuleAnswer::Inconclusive { missing: vec![Source::Subnets], suspects: 0 });
    }
}
