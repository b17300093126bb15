//! Every right that the program uses, with its reason: one table for the Kubernetes API, one for AWS.
//!
//! The manifests in `deploy/`, `ipam-audit rbac`, `ipam-audit iam-policy`, `docs/rights.md` and the messages that name a
//! missing right are all made from it, so that they cannot differ. A new request of the program is a new row in
//! `table`; `make crds` writes the files, and an end-to-end test compares the roles with what the API server saw.

mod manifest;
mod page;
mod policy;
mod table;
#[cfg(test)]
mod tests;

pub use manifest::{NAMESPACE, SERVICE_ACCOUNT, component, kustomization, rbac};
pub use page::page;
pub use policy::iam_policy;
pub use table::{EC2, KUBERNETES};

use crate::source::Source;

/// What needs a right. Everything but [`Feature::Audit`] is off until somebody asks for it, and so are its rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    /// The controller as it is installed.
    Audit,
    /// The condition `ipam-audit.dev/IPPressure` on nodes.
    NodeConditions,
    /// Reading ipamd's metrics through the API server.
    PodProxy,
    /// The command that removes what the controller wrote.
    Cleanup,
}

impl Feature {
    /// Every feature, in the order in which to read about them.
    pub const ALL: [Self; 4] = [Self::Audit, Self::NodeConditions, Self::PodProxy, Self::Cleanup];
    /// Those that are asked for with `--with`.
    pub const OPTIONAL: [Self; 3] = [Self::NodeConditions, Self::PodProxy, Self::Cleanup];

    /// The value of `--with`, and the name of the component in `deploy/components/`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::NodeConditions => "node-conditions",
            Self::PodProxy => "pod-proxy",
            Self::Cleanup => "cleanup",
        }
    }

    /// What switches it on.
    pub const fn asked_by(self) -> &'static str {
        match self {
            Self::Audit => "always",
            Self::NodeConditions => "`spec.outputs.nodeCondition`",
            Self::PodProxy => "`spec.ipamd.scrape: PodProxy`",
            Self::Cleanup => "`ipam-audit cleanup`",
        }
    }

    /// The ServiceAccount that has its rights: what removes everything has one of its own.
    pub const fn account(self) -> &'static str {
        match self {
            Self::Cleanup => "ipam-audit-cleanup",
            _ => SERVICE_ACCOUNT,
        }
    }

    /// The optional feature of this name.
    pub fn optional(name: &str) -> Option<Self> {
        Self::OPTIONAL.into_iter().find(|feature| feature.name() == name)
    }
}

/// Where a right holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// In the whole cluster: a ClusterRole.
    Cluster,
    /// In the namespace of the VPC CNI, `kube-system` unless `spec.cni.namespace` says otherwise: a Role there.
    Cni,
    /// In the controller's own namespace: a Role there.
    Own,
}

/// Verbs on resources of one group of the Kubernetes API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KubernetesRight {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// Plural names, with the subresource if it is about one.
    pub resources: &'static [&'static str],
    /// The only objects it is about; empty for all.
    pub names: &'static [&'static str],
    /// What is done with them.
    pub verbs: &'static [&'static str],
    /// Where.
    pub scope: Scope,
    /// What needs it.
    pub feature: Feature,
    /// What for, in a few words.
    pub why: &'static str,
}

/// One action of EC2. All are read-only and know no narrower resource than `*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ec2Right {
    /// As an IAM policy names it.
    pub action: &'static str,
    /// What it opens.
    pub source: Source,
    /// What needs it.
    pub feature: Feature,
    /// What for, in a few words.
    pub why: &'static str,
}

/// The IAM action that opens a source, if the program reads that source from EC2.
pub fn action_of(source: Source) -> Option<&'static str> {
    EC2.iter().find(|right| right.source == source).map(|right| right.action)
}

/// The right to do this; the resource is named as in a CRD: `pods`, `nodes/status` or `cninodes.vpcresources.k8s.aws`.
pub fn find(verb: &str, resource: &str) -> Option<&'static KubernetesRight> {
    let (name, group) = resource.split_once('.').unwrap_or((resource, ""));
    let is_it = |right: &&KubernetesRight| {
        right.group == group && right.resources.contains(&name) && right.verbs.contains(&verb)
    };
    KUBERNETES.iter().find(is_it)
}

/// What to run to have a right: the command that prints the roles which hold it.
pub fn command_for(verb: &str, resource: &str) -> String {
    match find(verb, resource).map_or(Feature::Audit, |right| right.feature) {
        Feature::Audit => "ipam-audit rbac".to_owned(),
        optional => format!("ipam-audit rbac --with {}", optional.name()),
    }
}
