//! The VPC CNI as it is installed: its template, and every other environment that runs.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{Cni, NodeFacts, cni};
use crate::{
    cni::parse_bool,
    snapshot::{AwsNode, AwsNodeEnv, AwsNodePod, ClusterSnapshot, EnvValue},
};

/// The DaemonSet and what its pods run.
#[derive(Debug)]
pub(crate) struct Installation<'a> {
    /// The DaemonSet.
    pub(crate) aws_node: &'a AwsNode,
    /// The template first, then every other environment that runs on a node of the audit.
    pub(crate) variants: Vec<Variant<'a>>,
}

/// One environment.
#[derive(Debug)]
pub(crate) struct Variant<'a> {
    /// As it stands in the container.
    pub(crate) env: &'a AwsNodeEnv,
    /// As the CNI reads it.
    pub(crate) cni: Arc<Cni>,
    /// Whether it is the template's.
    pub(crate) is_template: bool,
    /// Nodes (by index) whose pods run it.
    pub(crate) nodes: Vec<usize>,
}

impl<'a> Variant<'a> {
    fn new(env: &'a AwsNodeEnv, cni: Arc<Cni>, is_template: bool) -> Self {
        Self { env, cni, is_template, nodes: Vec::new() }
    }

    /// The text of a variable; none if it is absent or could not be read.
    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        match self.env.values.get(name)? {
            EnvValue::Literal(text) => Some(text),
            EnvValue::Unresolved(_) => None,
        }
    }

    /// Whether a switch is on.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.text(name).and_then(parse_bool).unwrap_or(false)
    }
}

impl<'a> Installation<'a> {
    /// None while the DaemonSet is not known.
    pub(super) fn of(snapshot: &'a ClusterSnapshot, nodes: &[NodeFacts<'a>]) -> Option<Self> {
        let aws_node = snapshot.aws_node.value()?;
        let template = Variant::new(&aws_node.template, Arc::new(Cni::of(&aws_node.template)), true);
        let mut installation = Self { aws_node, variants: vec![template] };
        for (at, facts) in nodes.iter().enumerate() {
            installation.book(at, facts);
        }
        Some(installation)
    }

    fn book(&mut self, at: usize, facts: &NodeFacts<'a>) {
        let (Some(pod), Some(cni)) = (facts.aws_node, &facts.cni) else { return };
        let same =
            |variant: &&mut Variant<'_>| std::ptr::eq(variant.env, &raw const *pod.env) || *variant.env == *pod.env;
        let variant =
            if facts.runs_template { self.variants.first_mut() } else { self.variants.iter_mut().skip(1).find(same) };
        if let Some(variant) = variant {
            variant.nodes.push(at);
        } else {
            let variant = Variant::new(&pod.env, Arc::clone(cni), false);
            self.variants.push(Variant { nodes: vec![at], ..variant });
        }
    }

    /// The template.
    pub(crate) fn template(&self) -> Option<&Variant<'a>> {
        self.variants.first()
    }

    /// Namespace and name of the DaemonSet.
    pub(crate) fn place(&self) -> (&'a str, &'a str) {
        self.aws_node.daemon_set.split_once('/').unwrap_or(("kube-system", &self.aws_node.daemon_set))
    }

    /// The command that sets variables of the template.
    pub(crate) fn set_env(&self, settings: &str) -> String {
        let (namespace, name) = self.place();
        format!("kubectl set env daemonset/{name} -n {namespace} {settings}")
    }

    /// The variables by which an environment differs from the template's.
    pub(crate) fn differences(&self, variant: &Variant<'a>) -> Vec<&'a str> {
        let template: &'a AwsNodeEnv = &self.aws_node.template;
        let mut names: Vec<&str> = cni::differences(variant.env, template).collect();
        names.sort_unstable();
        names
    }

    /// Whether the DaemonSet replaces its pods right now: some have yet to be updated, and one was a short time ago.
    pub(crate) fn is_rolling_out(&self, now: Timestamp, settle: SignedDuration) -> bool {
        let manifest = &self.aws_node.manifest;
        let behind = manifest.updated.zip(manifest.desired).is_none_or(|(updated, desired)| updated < desired);
        let young = |pod: &AwsNodePod| pod.started_at.is_some_and(|at| now.duration_since(at) <= settle);
        behind && self.aws_node.pods.iter().any(young)
    }

    /// Whether the DaemonSet is made to run nowhere.
    pub(crate) fn is_switched_off(&self) -> bool {
        self.aws_node.pods.is_empty() && self.aws_node.manifest.desired == Some(0)
    }
}
