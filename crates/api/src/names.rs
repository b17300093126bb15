//! Every name that other programs depend on: labels, field managers, and the names of reports.

use std::collections::BTreeMap;

/// The API group.
pub const GROUP: &str = "ipam-audit.dev";
/// The field manager of everything the controller writes, and the reporting controller of its events.
pub const FIELD_MANAGER: &str = "ipam-audit";

/// Who wrote an object: always [`FIELD_MANAGER`] on reports.
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The audit that a report belongs to.
pub const LABEL_AUDIT: &str = "ipam-audit.dev/audit";
/// The node that a report is about.
pub const LABEL_NODE: &str = "ipam-audit.dev/node";
/// The subnet that a report is about.
pub const LABEL_SUBNET: &str = "ipam-audit.dev/subnet";
/// The zone of that node or subnet.
pub const LABEL_ZONE: &str = "ipam-audit.dev/zone";

/// The annotation of an audit that asks for an audit now; any new value does. `status.lastHandledRequest` echoes it.
pub const ANNOTATION_REQUESTED_AT: &str = "ipam-audit.dev/requested-at";

/// The type of the condition that nodes get where `spec.outputs.nodeCondition` asks for it.
pub const NODE_CONDITION: &str = "ipam-audit.dev/IPPressure";
/// The field manager of that condition and of nothing else.
pub const NODE_CONDITION_MANAGER: &str = "ipam-audit-node-condition";

/// The audit whose reports have the plain names of their subjects.
pub const DEFAULT_AUDIT: &str = "cluster";
/// The node annotation that names a trunk interface, unless `spec.cni.trunkEniAnnotation` says otherwise.
pub const DEFAULT_TRUNK_ANNOTATION: &str = "vpc.k8s.aws/trunk-eni-id";

/// The port of ipamd's metrics in every version of the VPC CNI.
pub const IPAMD_PORT: u16 = 61678;

const LABEL_LENGTH: usize = 63;
const NAME_LENGTH: usize = 253;

/// The name of the report of an audit about a node or subnet.
///
/// The audit named `cluster` uses the subject's own name, so that `kubectl get ipnode <node>` works; every other audit
/// appends its own name, so that audits never write to each other's reports. What is too long ends in a hash.
pub fn report_name(audit: &str, subject: &str) -> String {
    if audit == DEFAULT_AUDIT {
        return shortened(subject, NAME_LENGTH);
    }
    shortened(&format!("{subject}.{audit}"), NAME_LENGTH)
}

/// The labels of a report, by which `kubectl get -l` and other programs find it.
pub fn report_labels(audit: &str, subject: (&str, &str), zone: Option<&str>) -> BTreeMap<String, String> {
    let (kind, name) = subject;
    let mut labels = BTreeMap::from([
        (LABEL_MANAGED_BY.to_owned(), FIELD_MANAGER.to_owned()),
        (LABEL_AUDIT.to_owned(), label_value(audit)),
        (kind.to_owned(), label_value(name)),
    ]);
    if let Some(zone) = zone {
        labels.insert(LABEL_ZONE.to_owned(), label_value(zone));
    }
    labels
}

/// A name as the value of a label: itself, or its first characters and a hash if it is too long for one.
pub fn label_value(name: &str) -> String {
    shortened(name, LABEL_LENGTH)
}

/// A name of at most so many bytes; a longer one keeps its beginning and ends in a hash of the whole.
fn shortened(name: &str, most: usize) -> String {
    if name.len() <= most {
        return name.to_owned();
    }
    let hash = format!("{:016x}", fnv1a(name.as_bytes()));
    let head: String = name.chars().take_while(char::is_ascii).take(most - hash.len() - 1).collect();
    format!("{}-{hash}", head.trim_end_matches(['-', '.', '_']))
}

/// FNV-1a: stable over releases and machines, which the standard library's hasher does not promise.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_audit_names_reports_like_their_subjects() {
        assert_eq!(report_name("cluster", "ip-10-0-0-1.internal"), "ip-10-0-0-1.internal");
        assert_eq!(report_name("batch", "ip-10-0-0-1.internal"), "ip-10-0-0-1.internal.batch");
    }

    #[test]
    fn long_names_stay_different_and_valid() {
        let long = |last: char| format!("{}{last}", "node.".repeat(60));
        let (one, two) = (report_name("cluster", &long('a')), report_name("cluster", &long('b')));
        assert_ne!(one, two);
        assert!(one.len() <= NAME_LENGTH, "{one}");
        let label = label_value(&long('a'));
        assert!(label.len() <= LABEL_LENGTH && label.ends_with(|last: char| last.is_ascii_alphanumeric()), "{label}");
        assert_eq!(label_value("eu-central-1a"), "eu-central-1a");
    }
}
