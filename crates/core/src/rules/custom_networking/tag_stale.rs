//! IPAM553: a subnet that is offered where the cluster has no nodes.

use std::collections::BTreeSet;

use super::words;
use crate::{
    facts::{
        Facts,
        discovery::{self, CLUSTER_PREFIX, Outlook, ROLE_TAG},
    },
    finding::{Severity, Subject},
    ids::Zone,
    policy::AuditPolicy,
    rules::{
        Violations,
        sink::{self, Place},
    },
    text,
};

rule! {
    /// A subnet is offered to the CNI in a zone without nodes.
    ///
    /// ## What it means
    ///
    /// An interface can only be in the zone of its node. The subnet's addresses help this cluster only when nodes come to
    /// that zone.
    ///
    /// ## Why it happens
    ///
    /// The zone was left, its node groups are scaled to zero, or the tag is for another cluster of the VPC: the tag alone
    /// is read by all of them.
    ///
    /// ## How to confirm
    ///
    /// ```sh
    /// aws ec2 describe-subnets --filters Name=tag-key,Values=kubernetes.io/role/cni \
    ///     --query 'Subnets[].[SubnetId,AvailabilityZone]' --output text
    /// kubectl get nodes -L topology.kubernetes.io/zone
    /// ```
    ///
    /// ## What to do
    ///
    /// Nothing, or remove the tag. Where the tag serves one of several clusters, say which with
    /// `cni.networking.k8s.aws/cluster/NAME`.
    ///
    /// ## What it costs
    ///
    /// Nothing.
    ///
    /// ## When it fires
    ///
    /// Nodes use subnet discovery, and a subnet of their VPC has the tag `kubernetes.io/role/cni` with a value other than
    /// `0`, in a zone in which the cluster has no node of any kind, and it is not tagged for another cluster. Information
    /// only; all such subnets are one problem.
    pub SubnetTagStale;
    code: "IPAM553",
    name: "subnet-tag-stale",
    severity: Info,
    condition: ConfigurationConsistent,
    sources: [Nodes, AwsNode, Subnets, NetworkInterfaces],
    check: check,
}

fn check(facts: &Facts<'_>, _: &AuditPolicy, found: &mut Violations<'_>) {
    let outlooks = words::outlooks(facts, found);
    let Some(outlook) = outlooks.iter().find(|outlook| outlook.regime.discovers()) else { return };
    let nodes = facts.snapshot.nodes.value().into_iter().flatten();
    let by_label = nodes.filter_map(|node| node.zone.as_ref());
    let zones: BTreeSet<&Zone> = outlooks.iter().map(|outlook| &outlook.home.zone).chain(by_label).collect();
    for subnet in facts.snapshot.ec2.subnets.value().into_iter().flatten() {
        let here = subnet.vpc == outlook.home.vpc && !zones.contains(&subnet.zone);
        if !here || !discovery::is_offered(&outlook.cni, subnet) || is_for_another(outlook, subnet) {
            continue;
        }
        let violation = sink::Violation {
            severity: Severity::Info,
            message: format!(
                "{} is offered by {ROLE_TAG} with {} in {}, where the cluster has no node",
                subnet.id,
                text::count(subnet.available, "free address"),
                subnet.zone,
            ),
            remediation: format!("Remove the tag from {} if no nodes shall come to {}.", subnet.id, subnet.zone),
            evidence: vec![sink::evidence("zone", &subnet.zone), sink::evidence("freeAddresses", subnet.available)],
        };
        let subject = Subject::Subnet(subnet.id.clone());
        found.at(Place { subject, group: "subnet-tags".into(), ..Place::subnet(&subnet.id) }, violation);
    }
}

fn is_for_another(outlook: &Outlook<'_>, subnet: &crate::inventory::Subnet) -> bool {
    discovery::clusters(subnet, CLUSTER_PREFIX).any(|name| outlook.cluster() != Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        outcome::RuleAnswer,
        source::{FaultCategory, Reading, Source},
        tests::custom_networking::{DISCOVERY, answer, discovering, findings, subnet},
    };

    const CODE: &str = "IPAM553";

    fn offered_in(zone: &str, more: &[(&str, &str)]) -> crate::snapshot::ClusterSnapshot {
        let tags = [more, &[(ROLE_TAG, "1")]].concat();
        discovering("1.23.1", DISCOVERY, [subnet("subnet-2", zone, 900, &tags)])
    }

    #[test]
    fn an_offer_without_nodes_is_worth_knowing() {
        assert_eq!(
            findings(&offered_in("eu-central-1c", &[]), CODE)[0].message,
            "subnet-2 is offered by kubernetes.io/role/cni with 900 free addresses in eu-central-1c, where the cluster \
             has no node"
        );
    }

    #[test]
    fn an_offer_beside_nodes_or_for_another_cluster_passes() {
        assert_eq!(answer(&offered_in("eu-central-1a", &[]), CODE), RuleAnswer::Passed);
        let other = [("cni.networking.k8s.aws/cluster/other", "")];
        assert_eq!(answer(&offered_in("eu-central-1c", &other), CODE), RuleAnswer::Passed);
    }

    #[test]
    fn without_subnets_it_cannot_tell() {
        let mut snapshot = offered_in("eu-central-1c", &[]);
        snapshot.ec2.subnets = Reading::missing(FaultCategory::Denied, "not allowed");
        assert_eq!(answer(&snapshot, CODE), RuleAnswer::Inconclusive { missing: vec![Source::Subnets], suspects: 0 });
    }
}
