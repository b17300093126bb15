//! Karpenter's objects: which subnets and how many pods its nodes get, and why one could not be launched.

use std::collections::BTreeMap;

use ipam_audit_core::{
    ids::{SubnetId, Zone},
    snapshot::{NodeClaim, NodeClass, NodePool, Requirement},
};
use kube::core::ObjectMeta;
use serde::Deserialize;

use super::{Interner, Malformed, foreign::foreign, meta};

const NODE_POOL: &str = "karpenter.sh/nodepool";

#[derive(Debug, Clone, Default, Deserialize)]
struct Condition {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    status: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
}

/// A count that is written as a number or as a text.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Count {
    Number(u32),
    Text(String),
}

impl Count {
    fn number(&self) -> Option<u32> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
        }
    }
}

/// An `EC2NodeClass`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct NodeClassView {
    #[serde(default, deserialize_with = "meta::bare")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: NodeClassSpec,
    #[serde(default)]
    status: NodeClassStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct NodeClassSpec {
    kubelet: Option<Kubelet>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kubelet {
    max_pods: Option<Count>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct NodeClassStatus {
    subnets: Option<Vec<Subnet>>,
    conditions: Option<Vec<Condition>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Subnet {
    id: String,
    #[serde(default)]
    zone: String,
}

foreign!(NodeClassView, ClusterResourceScope, "EC2NodeClass", "ec2nodeclasses", "karpenter.k8s.aws", ["v1", "v1beta1"]);

impl NodeClassView {
    /// The row of a snapshot.
    pub fn row(&self, interner: &mut Interner) -> Result<NodeClass, Malformed> {
        let name = Malformed::or_name("EC2NodeClass", &self.metadata)?;
        let max_pods = self.spec.kubelet.as_ref().and_then(|kubelet| kubelet.max_pods.as_ref());
        let number = max_pods.and_then(Count::number);
        let ready = self.status.conditions.iter().flatten().find(|condition| condition.kind == "SubnetsReady");
        let subnets = self.status.subnets.iter().flatten();
        Ok(NodeClass {
            name: interner.text(name),
            max_pods: number,
            max_pods_is_expression: max_pods.is_some() && number.is_none(),
            subnets: subnets
                .map(|subnet| (SubnetId::new(interner.text(&subnet.id)), Zone::new(interner.text(&subnet.zone))))
                .collect(),
            subnets_ready: ready.map(|condition| (condition.status == "True", interner.text(&condition.message))),
        })
    }
}

/// A `NodePool`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct NodePoolView {
    #[serde(default, deserialize_with = "meta::bare")]
    metadata: ObjectMeta,
    #[serde(default)]
    spec: NodePoolSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct NodePoolSpec {
    #[serde(default)]
    template: Template,
    limits: Option<BTreeMap<String, Count>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Template {
    #[serde(default)]
    spec: TemplateSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct TemplateSpec {
    node_class_ref: Option<NodeClassRef>,
    requirements: Option<Vec<NodeRequirement>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct NodeClassRef {
    #[serde(default)]
    name: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct NodeRequirement {
    key: String,
    operator: String,
    values: Option<Vec<String>>,
}

foreign!(NodePoolView, ClusterResourceScope, "NodePool", "nodepools", "karpenter.sh", ["v1", "v1beta1"]);

impl NodePoolView {
    /// The row of a snapshot.
    pub fn row(&self, interner: &mut Interner) -> Result<NodePool, Malformed> {
        let name = Malformed::or_name("NodePool", &self.metadata)?;
        let template = &self.spec.template.spec;
        let class = template.node_class_ref.as_ref().map(|reference| reference.name.as_str());
        let requirements = template.requirements.iter().flatten().map(|one| Requirement {
            key: interner.text(&one.key),
            operator: interner.text(&one.operator),
            values: one.values.iter().flatten().map(|value| interner.text(value)).collect(),
        });
        let requirements = requirements.collect();
        Ok(NodePool {
            name: interner.text(name),
            node_class: interner.text(class.unwrap_or_default()),
            requirements,
            node_limit: self.spec.limits.as_ref().and_then(|limits| limits.get("nodes")?.number()),
        })
    }
}

/// A `NodeClaim`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct NodeClaimView {
    #[serde(default, deserialize_with = "meta::labelled")]
    metadata: ObjectMeta,
    #[serde(default)]
    status: NodeClaimStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeClaimStatus {
    node_name: Option<String>,
    conditions: Option<Vec<Condition>>,
}

foreign!(NodeClaimView, ClusterResourceScope, "NodeClaim", "nodeclaims", "karpenter.sh", ["v1", "v1beta1"]);

impl NodeClaimView {
    /// The row of a snapshot.
    pub fn row(&self, interner: &mut Interner) -> Result<NodeClaim, Malformed> {
        let meta = &self.metadata;
        let name = Malformed::or_name("NodeClaim", meta)?;
        let pool = meta.labels.as_ref().and_then(|labels| labels.get(NODE_POOL));
        let node = self.status.node_name.as_deref().filter(|node| !node.is_empty());
        let launched = self.status.conditions.iter().flatten().find(|condition| condition.kind == "Launched");
        let failed = launched.filter(|condition| condition.status != "True");
        Ok(NodeClaim {
            name: interner.text(name),
            node_pool: pool.map(|pool| interner.text(pool)),
            node: node.map(|node| interner.node(node)),
            launch_failure: failed
                .map(|condition| (interner.text(&condition.reason), interner.text(&condition.message))),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn max_pods_is_a_number_or_an_expression() {
        let row = |max_pods: Value| {
            let object = json!({"metadata": {"name": "default"}, "spec": {"kubelet": {"maxPods": max_pods}},
                "status": {"subnets": [{"id": "subnet-1", "zone": "eu-central-1a", "zoneID": "euc1-az1"}],
                    "conditions": [{"type": "SubnetsReady", "status": "False", "message": "none match"}]}});
            serde_json::from_value::<NodeClassView>(object).unwrap().row(&mut Interner::default()).unwrap()
        };
        let number = row(json!(58));
        assert_eq!((number.max_pods, number.max_pods_is_expression), (Some(58), false));
        assert_eq!((number.subnets.len(), number.subnets_ready), (1, Some((false, "none match".into()))));
        let expression = row(json!("default_enis * 4"));
        assert_eq!((expression.max_pods, expression.max_pods_is_expression), (None, true));
        assert!(!row(Value::Null).max_pods_is_expression);
    }

    #[test]
    fn a_pool_tells_its_class_its_requirements_and_its_limit() {
        let row = |limit: Value| {
            let object = json!({"metadata": {"name": "batch"}, "spec": {"limits": {"cpu": "1k", "nodes": limit},
                "template": {"spec": {"nodeClassRef": {"group": "karpenter.k8s.aws", "name": "default"},
                    "requirements": [{"key": "karpenter.k8s.aws/instance-family", "operator": "In", "values": ["m6a"]}]}}}});
            serde_json::from_value::<NodePoolView>(object).unwrap().row(&mut Interner::default()).unwrap()
        };
        assert_eq!((row(json!("10")).node_limit, row(json!(10)).node_limit), (Some(10), Some(10)));
        let pool = row(json!("10"));
        assert_eq!((&*pool.node_class, pool.requirements[0].values.len()), ("default", 1));
    }

    #[test]
    fn a_claim_that_was_not_launched_says_why() {
        let row = |status: &str| {
            let object = json!({"metadata": {"name": "batch-x", "labels": {"karpenter.sh/nodepool": "batch"}},
                "status": {"nodeName": "", "conditions": [{"type": "Launched", "status": status,
                    "reason": "InsufficientFreeAddressesInSubnet", "message": "no"}]}});
            serde_json::from_value::<NodeClaimView>(object).unwrap().row(&mut Interner::default()).unwrap()
        };
        let failed = row("False");
        assert_eq!(failed.launch_failure, Some(("InsufficientFreeAddressesInSubnet".into(), "no".into())));
        assert_eq!((failed.node_pool.as_deref(), failed.node), (Some("batch"), None));
        assert_eq!(row("True").launch_failure, None);
    }
}
