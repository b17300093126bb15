//! A finding: one rule, one subject, the number that proves it and the change that fixes it.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{EniId, NodeName, SubnetId, VpcId},
    source::Source,
};

/// How bad. Ordered: a gate compares with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Severity {
    /// Good to know.
    Info,
    /// Will hurt, or wastes.
    Warning,
    /// Hurts now.
    Critical,
}

impl Severity {
    /// The word in columns, labels and documents.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Subject {
    /// The cluster as a whole.
    Cluster,
    /// A source of data.
    Source(Source),
    /// The VPC.
    Vpc(VpcId),
    /// A subnet.
    Subnet(SubnetId),
    /// A node.
    Node(NodeName),
    /// A network interface.
    Interface(EniId),
    /// A pod, as `namespace/name`.
    Pod(Arc<str>),
    /// The VPC CNI's DaemonSet, as `namespace/name`.
    DaemonSet(Arc<str>),
    /// An ENIConfig.
    EniConfig(Arc<str>),
    /// A SecurityGroupPolicy, as `namespace/name`.
    SecurityGroupPolicy(Arc<str>),
    /// A CNINode.
    CniNode(NodeName),
    /// Any other Kubernetes object: its kind, and its name or `namespace/name`.
    Object(&'static str, Arc<str>),
}

impl Subject {
    /// The kind in columns and fingerprints.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Cluster => "Cluster",
            Self::Source(_) => "Source",
            Self::Vpc(_) => "Vpc",
            Self::Subnet(_) => "Subnet",
            Self::Node(_) => "Node",
            Self::Interface(_) => "NetworkInterface",
            Self::Pod(_) => "Pod",
            Self::DaemonSet(_) => "DaemonSet",
            Self::EniConfig(_) => "ENIConfig",
            Self::SecurityGroupPolicy(_) => "SecurityGroupPolicy",
            Self::CniNode(_) => "CNINode",
            Self::Object(kind, _) => kind,
        }
    }

    /// The name in columns and fingerprints.
    pub fn name(&self) -> &str {
        match self {
            Self::Cluster => "cluster",
            Self::Source(source) => source.name(),
            Self::Vpc(id) => id.as_str(),
            Self::Subnet(id) => id.as_str(),
            Self::Interface(id) => id.as_str(),
            Self::Node(name) | Self::CniNode(name) => name.as_str(),
            Self::Pod(name)
            | Self::DaemonSet(name)
            | Self::EniConfig(name)
            | Self::SecurityGroupPolicy(name)
            | Self::Object(_, name) => name,
        }
    }
}

/// The evidence that says which pod of its name a finding is about; events about the pod need it.
pub const POD_UID: &str = "podUid";

/// Whose report a finding is in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Home {
    /// The audit's own.
    Audit,
    /// A subnet's.
    Subnet(SubnetId),
    /// A node's.
    Node(NodeName),
}

/// One violation of one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The rule's code, stable and never reused: `IPAM101`.
    pub code: &'static str,
    /// The rule's name: `subnet-full`.
    pub name: &'static str,
    /// How bad it is here.
    pub severity: Severity,
    /// What it is about.
    pub subject: Subject,
    /// Whose report it is in.
    pub home: Home,
    /// Findings of one code and group are one problem: the node group for nodes, the subject itself else.
    pub group: Arc<str>,
    /// One sentence, the subject's state first, with the number that proves it.
    pub message: String,
    /// The change that fixes it, and what it costs.
    pub remediation: String,
    /// The numbers behind it, few and named.
    pub evidence: Vec<Evidence>,
}

impl Finding {
    /// The identity of a finding over time: code and subject, never the text, so that numbers may move.
    pub fn fingerprint(&self) -> String {
        fingerprint(self.code, &self.subject)
    }
}

/// The fingerprint of a finding of this rule about this subject.
pub fn fingerprint(code: &str, subject: &Subject) -> String {
    // FNV-1a: stable over releases and machines, which `std`'s hasher does not promise.
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let parts = [code, subject.kind(), subject.name()];
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    let hash = bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    format!("{hash:016x}")
}

/// A named number or word that proves a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// What it is, in `camelCase`.
    pub name: &'static str,
    /// Its value as text.
    pub value: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(message: &str, subject: Subject) -> Finding {
        Finding {
            code: "IPAM101",
            name: "subnet-full",
            severity: Severity::Critical,
            group: subject.name().into(),
            subject,
            home: Home::Audit,
            message: message.into(),
            remediation: String::new(),
            evidence: Vec::new(),
        }
    }

    #[test]
    fn the_fingerprint_is_of_the_subject_not_of_the_text() {
        let one = finding("13 free", Subject::Subnet("subnet-1".into()));
        let moved = finding("12 free", Subject::Subnet("subnet-1".into()));
        let other = finding("13 free", Subject::Subnet("subnet-2".into()));
        assert_eq!(one.fingerprint(), moved.fingerprint());
        assert_ne!(one.fingerprint(), other.fingerprint());
        assert_eq!(one.fingerprint(), "cdf723577769a416", "it must be the same in every release");
    }
}
