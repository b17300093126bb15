//! A finding: one rule, one subject, the number that proves it and the change that fixes it.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{NodeName, SubnetId},
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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Subject {
    /// The cluster as a whole.
    Cluster,
    /// A source of data.
    Source(Source),
    /// A subnet.
    Subnet(SubnetId),
    /// A node.
    Node(NodeName),
}

impl Subject {
    /// The kind in columns and fingerprints.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Cluster => "Cluster",
            Self::Source(_) => "Source",
            Self::Subnet(_) => "Subnet",
            Self::Node(_) => "Node",
        }
    }

    /// The name in columns and fingerprints.
    pub fn name(&self) -> &str {
        match self {
            Self::Cluster => "cluster",
            Self::Source(source) => source.name(),
            Self::Subnet(id) => id.as_str(),
            Self::Node(name) => name.as_str(),
        }
    }
}

/// One violation of one rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The rule's code, stable and never reused: `IPAM101`.
    pub code: &'static str,
    /// The rule's name: `subnet-full`.
    pub name: &'static str,
    /// How bad it is here.
    pub severity: Severity,
    /// What it is about.
    pub subject: Subject,
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
        // FNV-1a: stable over releases and machines, which `std`'s hasher does not promise.
        const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
        const PRIME: u64 = 0x0100_0000_01b3;
        let parts = [self.code, self.subject.kind(), self.subject.name()];
        let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
        let hash = bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
        format!("{hash:016x}")
    }
}

/// A named number or word that proves a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
