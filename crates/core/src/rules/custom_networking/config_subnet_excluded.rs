//! IPAM508: an ENIConfig's subnet is tagged so that the CNI excludes its interfaces.

use super::words;
use crate::{
    facts::{Facts, discovery},
    finding::{Severity, Subject},
    policy::AuditPolicy,
    rules::{Violations, sink},
    source::Source,
    text,
};

rule! {
    /// An ENIConfig's subnet is tagged against use by the CNI.
    ///
    /// ## What it means
    ///
    /// Since version 1.22 the CNI looks at the tag `kubernetes.io/role/cni` of the subnet of each of its interfaces, also
    /// under custom networking. An interface in a subnet tagged `0`, or tagged for other clusters only, is excluded: it
    /// takes a slot of the node and serves no pod. Addresses that no pod has are given back.
    ///
    /// ## Why it happens
    ///
    /// The tag was meant for subnet discovery of another cluster, or for a CNI in which only its presence counted.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-subnets --subnet-ids SUBNET --query 'Subnets[].Tags[?contains(Key, `cni`)]' --output text
    /// kubectl get pods -n kube-system -l k8s-app=aws-node -o jsonpath='{.items[0].spec.containers[0].image}{"\n"}'
    /// ```
    ///
    /// ## What to do
    ///
    /// Remove the tag from the subnet, or name another subnet in the ENIConfig.
    ///
    /// ## What it costs
    ///
    /// Nothing.
    ///
    /// ## When it fires
    ///
    /// A node with custom networking on and CNI 1.22.0 or newer resolves to an ENIConfig whose subnet has the tag with
    /// value `0`, or has it with another value and names clusters by tag, this one (`CLUSTER_NAME`) not among them.
    pub EniConfigSubnetExcluded;
    code: "IPAM508",
    name: "eni-config-subnet-excluded",
    severity: Critical,
    condition: ConfigurationConsistent,
    sources: [Nodes, AwsNode],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    for used in words::uses(facts, found) {
        let Some(config) = used.config else { continue };
        if !words::has(facts, found, Source::Subnets) {
            return;
        }
        let Some(row) = facts.subnet_row(&config.subnet) else { continue };
        let excluded = || {
            let nodes = used.nodes(facts);
            nodes.filter_map(|node| Some((node, discovery::excludes_interfaces(node.cni.as_ref()?, row)?)))
        };
        let Some((_, why)) = excluded().next() else { continue };
        let number = u32::try_from(excluded().count()).unwrap_or(u32::MAX);
        let hurts = words::take_pods(excluded().map(|(node, _)| node));
        let violation = sink::Violation {
            severity: if hurts { Severity::Critical } else { Severity::Warning },
            message: format!(
                "{} of ENIConfig {} serves no pods since {why}: {} {} for this ENIConfig",
                row.id,
                config.name,
                text::count(number, "node"),
                text::verb(number, "asks", "ask"),
            ),
            remediation: format!(
                "Remove the tag {} from {}, or name another subnet in ENIConfig {}.",
                discovery::ROLE_TAG,
                row.id,
                config.name
            ),
            evidence: vec![sink::evidence("subnet", &row.id), sink::evidence("nodes", number)],
        };
        found.subject(Subject::EniConfig(config.name.clone()), violation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        outcome::RuleAnswer,
        snapshot::ClusterSnapshot,
        source::{FaultCategory, Reading},
        tests::custom_networking::{answer, change_env, custom, findings},
    };

    const CODE: &str = "IPAM508";

    fn tagged(tags: &[(&str, &str)]) -> ClusterSnapshot {
        let mut snapshot = custom(2, |_| {});
        for subnet in &mut snapshot.ec2.subnets.last_good.as_mut().unwrap().value {
            if subnet.id.as_str() == "subnet-pods" {
                subnet.tags = tags.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
            }
        }
        snapshot
    }

    #[test]
    fn a_zero_excludes_the_subnet_although_the_eni_config_names_it() {
        let found = findings(&tagged(&[("kubernetes.io/role/cni", "0")]), CODE);
        assert_eq!(
            found[0].message,
            "subnet-pods of ENIConfig eu-central-1a serves no pods since its tag kubernetes.io/role/cni=0 opts it out: 2 \
             nodes ask for this ENIConfig"
        );
    }

    #[test]
    fn tags_of_other_clusters_exclude_it_and_the_own_one_does_not() {
        let role = ("kubernetes.io/role/cni", "1");
        let other = ("cni.networking.k8s.aws/cluster/other", "shared");
        assert_eq!(findings(&tagged(&[other, role]), CODE).len(), 1);
        let own = ("cni.networking.k8s.aws/cluster/shop", "shared");
        assert_eq!(answer(&tagged(&[other, own, role]), CODE), RuleAnswer::Passed);
        assert_eq!(answer(&tagged(&[role]), CODE), RuleAnswer::Passed);
    }

    #[test]
    fn older_versions_do_not_look_at_the_tag() {
        let mut snapshot = tagged(&[("kubernetes.io/role/cni", "0")]);
        change_env(&mut snapshot, |env| env.image = "registry/amazon-k8s-cni:v1.21.1".into());
        assert_eq!(answer(&snapshot, CODE), RuleAnswer::Passed);
    }

    #[test]
    fn without_subnets_no_tag_is_known() {
        let mut snapshot = custom(2, |_| {});
        snapshot.ec2.subnets = Reading::missing(FaultCategory::Denied, "not allowed");
        assert_eq!(answer(&snapshot, CODE), RuleAnswer::Inconclusive { missing: vec![Source::Subnets], suspects: 0 });
    }
}
