//! The files of a bundle: their names, what is in them, and the command that makes each.

use std::fmt;

use ipam_audit_core::text::edits;

/// One file of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Nodes,
    Pods,
    DaemonSets,
    ConfigMaps,
    Events,
    EniConfigs,
    CniNodes,
    SecurityGroupPolicies,
    ServiceAccounts,
    Deployments,
    Services,
    NetworkPolicies,
    MutatingWebhooks,
    NodeClasses,
    NodePools,
    NodeClaims,
    Subnets,
    NetworkInterfaces,
    Instances,
    InstanceTypes,
    Vpcs,
    Reservations,
    SecurityGroups,
    RouteTables,
}

impl Part {
    pub(crate) const ALL: [Self; 24] = [
        Self::Nodes,
        Self::Pods,
        Self::DaemonSets,
        Self::ConfigMaps,
        Self::Events,
        Self::EniConfigs,
        Self::CniNodes,
        Self::SecurityGroupPolicies,
        Self::ServiceAccounts,
        Self::Deployments,
        Self::Services,
        Self::NetworkPolicies,
        Self::MutatingWebhooks,
        Self::NodeClasses,
        Self::NodePools,
        Self::NodeClaims,
        Self::Subnets,
        Self::NetworkInterfaces,
        Self::Instances,
        Self::InstanceTypes,
        Self::Vpcs,
        Self::Reservations,
        Self::SecurityGroups,
        Self::RouteTables,
    ];

    /// The file's name without folder and ending: what kubectl or the AWS CLI calls the resource.
    pub(crate) const fn stem(self) -> &'static str {
        match self {
            Self::Nodes => "nodes",
            Self::Pods => "pods",
            Self::DaemonSets => "daemonsets",
            Self::ConfigMaps => "configmaps",
            Self::Events => "events",
            Self::EniConfigs => "eniconfigs",
            Self::CniNodes => "cninodes",
            Self::SecurityGroupPolicies => "securitygrouppolicies",
            Self::ServiceAccounts => "serviceaccounts",
            Self::Deployments => "deployments",
            Self::Services => "services",
            Self::NetworkPolicies => "networkpolicies",
            Self::MutatingWebhooks => "mutatingwebhookconfigurations",
            Self::NodeClasses => "ec2nodeclasses",
            Self::NodePools => "nodepools",
            Self::NodeClaims => "nodeclaims",
            Self::Subnets => "subnets",
            Self::NetworkInterfaces => "network-interfaces",
            Self::Instances => "instances",
            Self::InstanceTypes => "instance-types",
            Self::Vpcs => "vpcs",
            Self::Reservations => "subnet-cidr-reservations",
            Self::SecurityGroups => "security-groups",
            Self::RouteTables => "route-tables",
        }
    }

    /// The key under which the list is; in `instances.json` the list of reservations, which have lists of their own.
    pub(crate) const fn list_key(self) -> &'static str {
        match self {
            Self::Subnets => "Subnets",
            Self::NetworkInterfaces => "NetworkInterfaces",
            Self::Instances => "Reservations",
            Self::InstanceTypes => "InstanceTypes",
            Self::Vpcs => "Vpcs",
            Self::Reservations => "SubnetIpv4CidrReservations",
            Self::SecurityGroups => "SecurityGroups",
            Self::RouteTables => "RouteTables",
            _ => "items",
        }
    }

    /// The kind of its objects, for those of Kubernetes.
    pub(crate) const fn kind(self) -> Option<&'static str> {
        Some(match self {
            Self::Nodes => "Node",
            Self::Pods => "Pod",
            Self::DaemonSets => "DaemonSet",
            Self::ConfigMaps => "ConfigMap",
            Self::Events => "Event",
            Self::EniConfigs => "ENIConfig",
            Self::CniNodes => "CNINode",
            Self::SecurityGroupPolicies => "SecurityGroupPolicy",
            Self::ServiceAccounts => "ServiceAccount",
            Self::Deployments => "Deployment",
            Self::Services => "Service",
            Self::NetworkPolicies => "NetworkPolicy",
            Self::MutatingWebhooks => "MutatingWebhookConfiguration",
            Self::NodeClasses => "EC2NodeClass",
            Self::NodePools => "NodePool",
            Self::NodeClaims => "NodeClaim",
            _ => return None,
        })
    }

    /// The file, as its path in the bundle.
    pub(crate) fn path(self) -> String {
        let folder = if self.kind().is_some() { "kubernetes" } else { "ec2" };
        format!("{folder}/{}.json", self.stem())
    }

    /// The command that makes it.
    pub(crate) fn command(self) -> String {
        let stem = self.stem();
        match self {
            Self::ConfigMaps => format!("kubectl get {stem} -n kube-system -o json"),
            Self::Reservations => "aws ec2 get-subnet-cidr-reservations --subnet-id SUBNET --output json".to_owned(),
            _ if self.kind().is_some() => format!("kubectl get {stem} -A -o json"),
            _ => format!("aws ec2 describe-{stem} --output json"),
        }
    }

    /// Whether an audit needs it for its core: who has which address, and how many are left.
    pub(crate) const fn is_required(self) -> bool {
        matches!(self, Self::Nodes | Self::Pods | Self::DaemonSets | Self::Subnets | Self::NetworkInterfaces)
    }

    /// Whether an item that is lacking makes others look wrong: an address whose pod is lacking looks idle, a pod whose
    /// interface is lacking looks lost. Half a list of these is worth less than none.
    pub(crate) const fn misleads_by_half(self) -> bool {
        matches!(self, Self::Pods | Self::NetworkInterfaces)
    }

    /// The part of a path in the bundle, with or without `.gz`.
    pub(crate) fn of_path(path: &str) -> Option<Self> {
        let path = path.strip_suffix(".gz").unwrap_or(path);
        Self::ALL.into_iter().find(|part| part.path() == path)
    }

    /// The part that a misnamed or misplaced file may have been meant for.
    pub(crate) fn resembling(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next().unwrap_or(path).to_ascii_lowercase();
        let stem = name.split_once('.')?.0.replace('_', "-");
        let distance = |part: &Self| edits(&stem, part.stem());
        let nearest = Self::ALL.into_iter().min_by_key(distance)?;
        (distance(&nearest) <= nearest.stem().len() / 5).then_some(nearest)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_found_by_its_path() {
        for part in Part::ALL {
            assert_eq!(Part::of_path(&part.path()), Some(part));
            assert_eq!(Part::of_path(&format!("{part}.gz")), Some(part));
        }
        assert_eq!(Part::of_path("nodes.json"), None);
    }

    #[test]
    fn a_near_name_is_taken_for_what_was_meant() {
        for (path, want) in [
            ("node.json", Some(Part::Nodes)),
            ("kubernetes/daemonset.json", Some(Part::DaemonSets)),
            ("ec2/network_interfaces.json", Some(Part::NetworkInterfaces)),
            ("Nodes.JSON", Some(Part::Nodes)),
            ("ec2/instancetypes.json", Some(Part::InstanceTypes)),
            ("kubernetes/namespaces.json", None),
            ("README.md", None),
            ("nodes.yaml", Some(Part::Nodes)),
            ("notes", None),
            ("", None),
        ] {
            assert_eq!(Part::resembling(path), want, "{path}");
        }
    }
}
