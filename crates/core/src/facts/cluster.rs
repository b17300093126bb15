//! What this cluster is called, and how that is known.
//!
//! The first of these that tells: the user; the CNI, which is told by EKS; a label that eksctl puts on nodes; tags of the
//! nodes' instances; tags of their interfaces. Where several names are told in one of these places, that of most.

use std::collections::BTreeMap;

use super::node::{self, NodeFacts};
use crate::{
    inventory::{CLUSTER_TAG_PREFIX, CLUSTER_TAGS},
    outcome::ClusterName,
    policy::AuditPolicy,
    snapshot::ClusterSnapshot,
    tags::Tags,
};

/// The label of nodes that eksctl made.
const LABEL: &str = "alpha.eksctl.io/cluster-name";

/// The name of the cluster, if anything tells it.
pub(super) fn name(snapshot: &ClusterSnapshot, nodes: &[NodeFacts<'_>], policy: &AuditPolicy) -> Option<ClusterName> {
    let told = |name: &str, from| ClusterName { name: name.into(), from };
    if let Some(stated) = &policy.cluster {
        return Some(told(stated, "spec.scope.clusterName"));
    }
    let configured = nodes.iter().find_map(|node| node.cni.as_ref()?.config.cluster_name.as_deref());
    if let Some(configured) = configured {
        return Some(told(configured, "CLUSTER_NAME of the VPC CNI"));
    }
    let labels = nodes.iter().filter_map(|node| node.node.label(LABEL));
    if let Some(labelled) = most_frequent(labels) {
        return Some(told(labelled, "the node label alpha.eksctl.io/cluster-name"));
    }
    let by_instance = node::by_instance(nodes);
    let instances = snapshot.ec2.instances.value().into_iter().flatten();
    let of_nodes = instances.filter(|instance| by_instance.contains_key(&instance.id));
    if let Some(tagged) = most_frequent(of_nodes.flat_map(|instance| clusters(&instance.tags))) {
        return Some(told(tagged, "a tag of the nodes' instances"));
    }
    let attached = nodes.iter().flat_map(|node| node.interfaces.iter().flatten());
    let tagged = most_frequent(attached.flat_map(|interface| clusters(&interface.tags)))?;
    Some(told(tagged, "a tag of the nodes' interfaces"))
}

/// The clusters that a resource says it belongs to.
pub(crate) fn clusters(tags: &Tags) -> impl Iterator<Item = &str> {
    tags.iter().filter_map(|(key, value)| match &**key {
        key if CLUSTER_TAGS.contains(&key) => Some(&**value),
        key => key.strip_prefix(CLUSTER_TAG_PREFIX).filter(|_| &**value == "owned"),
    })
}

/// The first in the alphabet of those that are named most often.
fn most_frequent<'a>(names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
    for name in names {
        *votes.entry(name).or_default() += 1;
    }
    votes.into_iter().rev().max_by_key(|(_, votes)| *votes).map(|(name, _)| name)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        engine,
        inventory::{Instance, is_cluster_tag},
        memory::Memory,
        source::{FaultCategory, Reading},
        tests::fixtures::{Cluster, now},
    };

    fn told(snapshot: &ClusterSnapshot, policy: &AuditPolicy) -> Option<(String, &'static str)> {
        let outcome = engine::evaluate(snapshot, policy, &Memory::default());
        outcome.cluster.map(|cluster| (cluster.name.to_string(), cluster.from))
    }

    fn instance(id: &str, tags: &[(&str, &str)]) -> Instance {
        Instance {
            id: id.into(),
            state: "running".into(),
            state_since: None,
            instance_type: None,
            launched_at: None,
            tags: tags.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
        }
    }

    #[test]
    fn the_user_goes_before_tags_and_tags_of_strangers_tell_nothing() {
        let mut snapshot = Cluster::new("10.0.0.0/20", &[]).node("m5.large", 29, &[9], 2).snapshot();
        let configured = told(&snapshot, &AuditPolicy::default());
        assert_eq!(configured, Some(("shop".to_owned(), "CLUSTER_NAME of the VPC CNI")));
        snapshot.aws_node = Reading::missing(FaultCategory::NotFound, "no DaemonSet");
        let id = snapshot.nodes.value().unwrap()[0].instance.clone().unwrap();
        let policy = AuditPolicy::default();
        snapshot.ec2.instances =
            Reading::fresh(vec![instance("i-stranger", &[("aws:eks:cluster-name", "other")])].into(), now());
        assert_eq!(told(&snapshot, &policy).map(|(name, _)| name).filter(|name| name == "other"), None);
        let tags = [("aws:eks:cluster-name", "shop"), ("kubernetes.io/cluster/shop", "owned")];
        snapshot.ec2.instances = Reading::fresh(vec![instance(id.as_str(), &tags)].into(), now());
        assert_eq!(told(&snapshot, &policy), Some(("shop".to_owned(), "a tag of the nodes' instances")));
        let policy = AuditPolicy { cluster: Some("stated".into()), ..policy };
        assert_eq!(told(&snapshot, &policy), Some(("stated".to_owned(), "spec.scope.clusterName")));
    }

    #[test]
    fn what_names_a_cluster_is_kept_by_readers() {
        for key in ["eks:cluster-name", "kubernetes.io/cluster/shop", "alpha.eksctl.io/cluster-name"] {
            let tags: Tags = [(Arc::from(key), Arc::from("owned"))].into();
            assert!(is_cluster_tag(key) && clusters(&tags).count() == 1, "{key}");
        }
        assert!(!is_cluster_tag("Name"));
        assert_eq!(most_frequent(["b", "a", "b", "c"].into_iter()), Some("b"));
        assert_eq!(most_frequent(["b", "a"].into_iter()), Some("a"));
    }
}
