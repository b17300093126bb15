//! Scenarios: a cluster and its VPC in one readable file, put into EC2 and into the API server so that both agree.
//!
//! The shipped ones are in `tests/scenarios`. A scenario states what nodes hold; nothing here computes it, and nothing
//! here knows the engine that will judge it. Ids and addresses are the same on every run.

mod addresses;
mod bundle;
mod change;
mod ec2;
mod eks;
mod file;
mod full_size;
mod large;
mod load;
mod names;
mod nodes;
mod plan;
mod pods;
mod tags;
mod workloads;

use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;
use kube::Client;
use serde_json::Value;

pub use change::{AwsNodeChange, delete_pods};
pub use file::Workload;
pub use large::Shape;
pub use plan::{OwnerKind, Place, Plan, PlannedNode, PlannedPod};

use crate::ec2::seed::Ec2Seed;
use file::{NodeGroupSpec, ScenarioFile, SubnetSpec};
use names::Names;

const SHIPPED: [(&str, &str); 5] = [
    ("awkward", include_str!("../../../../tests/scenarios/awkward.yaml")),
    ("branch-limit", include_str!("../../../../tests/scenarios/branch-limit.yaml")),
    ("healthy", include_str!("../../../../tests/scenarios/healthy.yaml")),
    ("incident", include_str!("../../../../tests/scenarios/incident.yaml")),
    ("mess", include_str!("../../../../tests/scenarios/mess.yaml")),
];

/// A scenario with everything in its place.
#[derive(Debug, Clone)]
pub struct Scenario {
    file: ScenarioFile,
    names: Names,
    plan: Plan,
    now: Timestamp,
}

impl Scenario {
    /// The definition of `CNINode`, reduced to what exists of it.
    pub(crate) const CNI_NODE_CRD: &'static str = load::CNI_NODE_CRD;

    /// A shipped scenario.
    ///
    /// # Errors
    /// Lists the names there are.
    pub fn named(name: &str) -> Result<Self> {
        let shipped = SHIPPED.iter().find(|(shipped, _)| *shipped == name);
        let (_, yaml) = shipped.with_context(|| {
            let names = SHIPPED.map(|(shipped, _)| shipped).join(", ");
            format!("there is no scenario {name:?}; the shipped ones are {names}")
        })?;
        Self::from_yaml(yaml).with_context(|| format!("scenario {name}"))
    }

    /// A scenario from a file's text.
    pub fn from_yaml(yaml: &str) -> Result<Self> {
        let file: ScenarioFile = serde_saphyr::from_str(yaml).context("this is not a scenario")?;
        let now = Timestamp::from_second(Timestamp::now().as_second()).context("the clock is out of range")?;
        let plan = plan::place(&file, now)?;
        Ok(Self { names: Names::new(&file.name), file, plan, now })
    }

    /// The same scenario seen at another time, which ages count from; at a fixed one its output never changes.
    pub fn at(self, now: Timestamp) -> Result<Self> {
        let plan = plan::place(&self.file, now)?;
        Ok(Self { plan, now, ..self })
    }

    /// Names of the shipped scenarios.
    pub fn names() -> impl Iterator<Item = &'static str> {
        SHIPPED.iter().map(|(name, _)| *name)
    }

    /// The EC2 half.
    pub fn to_ec2_seed(&self) -> Ec2Seed {
        ec2::seed(self)
    }

    /// Writes the Kubernetes half into an API server that has none of it yet.
    pub async fn load_into(&self, client: &Client) -> Result<()> {
        load::load(self, client).await.with_context(|| format!("cannot load scenario {}", self.file.name))
    }

    /// Writes it as a directory of what `kubectl get … -o json` and `aws ec2 describe-… --output json` would print, taken
    /// at this moment: another moment makes a later look at the same things.
    pub fn write_bundle(&self, dir: &Path, taken_at: Timestamp) -> Result<()> {
        bundle::write(self, dir, taken_at).with_context(|| format!("cannot write scenario {}", self.file.name))
    }

    /// Visits every object as the API server keeps it, by its key in etcd: nodes and pods in the size that kubelet and
    /// controllers give them, nothing that an API server makes by itself.
    pub(crate) fn each_stored(&self, mut visit: impl FnMut(&str, &str, &Value) -> Result<()>) -> Result<()> {
        bundle::each_object(self, |mut stored| {
            full_size::fill_up(self, &mut stored);
            visit(stored.kind, &names::etcd_key(stored.kind, &stored.object), &stored.object)
        })
    }

    /// Whether the cluster has not even the definition of a kind.
    fn lacks(&self, kind: &str) -> bool {
        match kind {
            "CNINode" | "SecurityGroupPolicy" => !self.file.cni_nodes,
            "EC2NodeClass" | "NodePool" | "NodeClaim" => true,
            _ => false,
        }
    }

    /// The moment that its ages count from.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Which node, interface and pod has which address.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The AWS region.
    pub fn region(&self) -> &str {
        &self.file.region
    }

    /// The name of the EKS cluster.
    pub fn cluster(&self) -> &str {
        &self.file.cluster
    }

    /// The id of the VPC.
    pub fn vpc(&self) -> &str {
        &self.file.vpc.id
    }

    /// The id of a subnet by the file's label.
    pub fn subnet_id(&self, label: &str) -> Option<&str> {
        self.file.subnets.iter().find(|subnet| subnet.name == label).map(|subnet| subnet.id.as_str())
    }

    /// The nodes of a node group.
    pub fn nodes_of<'a>(&'a self, group: &'a str) -> impl Iterator<Item = &'a PlannedNode> {
        self.plan.nodes.iter().filter(move |node| self.group(node).name == group)
    }

    fn group(&self, node: &PlannedNode) -> &NodeGroupSpec {
        &self.file.node_groups[node.group]
    }

    /// Placing a node fails unless its subnet exists.
    fn subnet(&self, node: &PlannedNode) -> &SubnetSpec {
        let found = self.file.subnets.iter().position(|subnet| subnet.name == node.subnet);
        &self.file.subnets[found.unwrap_or_default()]
    }
}
